// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/plan.h>

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sched.h>

#include <dlgroup/fs.h>

#include "json.h"

namespace dlgroup {

namespace {

using Json = nlohmann::json;

constexpr unsigned kVersion = 1;
constexpr const char *kExpected = "expected {\"group\": \"/a\", \"cpu_rt_max\": \"5000 20000\"}, an "
				  "array of such, or what dlgroup save or design --json prints";
constexpr const char *kKeys = "group, cpu_rt_max, cpus, policy, cpu_rt_cpus or flags";

Result<Policy> parse_policy(const std::string &text)
{
	for (int policy : {SCHED_FIFO, SCHED_RR})
		for (int priority = 1; priority <= 99; priority++)
			if (name_policy({policy, priority}) == text)
				return Policy{policy, priority};
	return bad_input("'" + text + "'", "not a policy: FIFO or RR with a priority from 1 to 99, such as "
					   "FIFO 10");
}

Result<std::string> as_it_is(const std::string &text)
{
	return text;
}

Result<CpuSet> parse_some_cpus(const std::string &text)
{
	auto cpus = parse_cpus(text);
	if (cpus && cpus->empty())
		return bad_input("'" + text + "'", "not a list of CPUs such as 0-3,5");
	return cpus;
}

// A line of cpu.rt.cpus: CPUs, then what they have.
Result<std::string> parse_by_cpu(const std::string &text)
{
	auto space = text.find(' ');
	auto cpus = parse_some_cpus(text.substr(0, space));
	auto value = space == text.npos ? bad_input("'" + text + "'", "has no runtime and period")
					: parse_file_text(text.substr(space + 1));
	if (!cpus || !value || value->is_max)
		return bad_input("'" + text + "'", "expected CPUs, runtime and period in us such as "
						   "\"1 6000 20000\"");
	return text;
}

Result<std::string> parse_flag(const std::string &text)
{
	if (std::find(kFlags.begin(), kFlags.end(), text) == kFlags.end())
		return bad_input("'" + text + "'", "expected reclaim, unpriv or fair");
	return text;
}

class Entry {
public:
	Entry(const PlacedJson &placed, const Json &json, std::string pointer)
	    : placed_(placed), json_(json), pointer_(std::move(pointer))
	{
	}

	Result<Planned> read() const
	{
		if (!json_.is_object())
			return placed_.refuse(pointer_, kExpected);
		// An answer of ours has more keys, all known to be harmless.
		bool answer = json_.contains("schema_version");
		static const std::set<std::string> known{"group", "cpu_rt_max", "cpus",
							 "policy", "cpu_rt_cpus", "flags"};
		for (const auto &[key, value] : json_.items())
			if (!answer && !known.count(key))
				return placed_.refuse_key((Json::json_pointer(pointer_) / key).to_string(),
							  fmt::format("unknown key '{}'; expected {}", key, kKeys));
		if (!json_.contains("cpu_rt_max"))
			return placed_.refuse(pointer_, std::string("no \"cpu_rt_max\"; ") + kExpected);
		if (answer && json_["cpu_rt_max"].is_null())
			return fail(Status::refused, placed_.name(),
				    "has no reservation: the tasks were not found schedulable");
		Planned planned;
		if (answer && json_.contains("cpus") && json_["cpus"].is_number_unsigned())
			planned.designed_for = json_["cpus"].get<unsigned>();

		auto done = read("group", as_it_is, planned.group);
		if (done)
			done = read("cpu_rt_max", parse_file_text, planned.request);
		if (done && !planned.designed_for)
			done = read("cpus", parse_some_cpus, planned.cpus);
		if (done)
			done = read("policy", parse_policy, planned.policy);
		if (done)
			done = read_list("cpu_rt_cpus", parse_by_cpu, planned.by_cpu);
		if (done)
			done = read_list("flags", parse_flag, planned.flags);
		if (!done)
			return tl::unexpected(done.error());
		return planned;
	}

private:
	// One text at a place of the file.
	template <class Parse>
	auto text_at(const Json &value, const std::string &pointer, Parse parse) const
		-> decltype(parse(std::string()))
	{
		if (!value.is_string() || value.get_ref<const std::string &>().empty())
			return placed_.refuse(pointer, "expected a text");
		auto parsed = parse(value.get_ref<const std::string &>());
		if (!parsed)
			return placed_.refuse(pointer, parsed.error().object + ": " + parsed.error().reason);
		return parsed;
	}
	// The value of a key, if it is there.
	template <class Parse, class T>
	Result<void> read(const std::string &key, Parse parse, T &into) const
	{
		if (!json_.contains(key))
			return {};
		auto parsed = text_at(json_[key], pointer_ + "/" + key, parse);
		if (!parsed)
			return tl::unexpected(parsed.error());
		into = *parsed;
		return {};
	}
	template <class Parse, class T>
	Result<void> read_list(const std::string &key, Parse parse, std::optional<T> &into) const
	{
		if (!json_.contains(key))
			return {};
		auto pointer = pointer_ + "/" + key;
		const auto &list = json_[key];
		if (!list.is_array())
			return placed_.refuse(pointer, "expected an array of texts");
		into.emplace();
		for (std::size_t i = 0; i < list.size(); i++) {
			auto parsed = text_at(list[i], fmt::format("{}/{}", pointer, i), parse);
			if (!parsed)
				return tl::unexpected(parsed.error());
			into->insert(into->end(), *parsed);
		}
		return {};
	}

	const PlacedJson &placed_;
	const Json &json_;
	std::string pointer_;
};

// What save writes: the one form with a version.
Result<std::string> find_saved(const PlacedJson &placed)
{
	const auto &json = placed.json();
	for (const auto &[key, value] : json.items())
		if (key != "version" && key != "groups")
			return placed.refuse_key((Json::json_pointer() / key).to_string(),
						 fmt::format("unknown key '{}'; expected version or groups", key));
	if (json["version"] != kVersion)
		return placed.refuse("/version", fmt::format("expected {}: this is the only version known",
							     kVersion));
	if (!json.contains("groups") || !json["groups"].is_array())
		return placed.refuse(json.contains("groups") ? "/groups" : "",
				     "expected \"groups\", an array of reservations");
	return "/groups";
}

} // namespace

Result<std::vector<Planned>> parse_plan(std::string_view text, const std::string &name)
{
	auto placed = PlacedJson::parse(Source(text, name));
	if (!placed)
		return tl::unexpected(placed.error());
	const auto &json = placed->json();
	bool saved = json.is_object() && json.contains("version");
	std::string list;
	if (saved) {
		auto found = find_saved(*placed);
		if (!found)
			return tl::unexpected(found.error());
		list = *found;
	}
	std::vector<Planned> plan;
	const auto &entries = saved ? json["groups"] : json;
	auto read = [&](const Json &entry, const std::string &pointer) {
		return Entry(*placed, entry, pointer).read().map([&](Planned one) { plan.push_back(std::move(one)); });
	};
	Result<void> done;
	if (!entries.is_array())
		done = read(entries, "");
	for (std::size_t i = 0; done && entries.is_array() && i < entries.size(); i++)
		done = read(entries[i], fmt::format("{}/{}", list, i));
	if (!done)
		return tl::unexpected(done.error());
	if (plan.empty() && !saved)
		return placed->refuse("", std::string("no reservations; ") + kExpected);
	return plan;
}

Result<std::string> plan_text(const std::vector<Planned> &plan)
{
	std::string text;
	for (const auto &one : plan) {
		nlohmann::ordered_json entry;
		if (!one.group.empty())
			entry["group"] = one.group;
		entry["cpu_rt_max"] = file_text(one.request);
		if (one.cpus)
			entry["cpus"] = format_cpus(*one.cpus);
		if (one.policy)
			entry["policy"] = name_policy(*one.policy);
		if (one.by_cpu)
			entry["cpu_rt_cpus"] = *one.by_cpu;
		if (one.flags)
			entry["flags"] = *one.flags;
		std::string line;
		try {
			for (const auto &[key, value] : entry.items())
				line += fmt::format("{}\"{}\": {}", line.empty() ? "" : ", ", key, value.dump());
		} catch (const nlohmann::ordered_json::exception &) {
			return fail(Status::failed, printable(one.group), "its name is not UTF-8: JSON cannot hold it");
		}
		text += (text.empty() ? "\n    {" : ",\n    {") + line + "}";
	}
	return fmt::format("{{\n  \"version\": {},\n  \"groups\": [{}]\n}}\n", kVersion, text + (plan.empty() ? "" : "\n  "));
}

} // namespace dlgroup
