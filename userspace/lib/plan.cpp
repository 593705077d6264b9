// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/plan.h>

#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sched.h>

#include <dlgroup/fs.h>

namespace dlgroup {

namespace {

using Json = nlohmann::json;

constexpr const char *kExpected = "expected {\"group\": \"/a\", \"cpu_rt_max\": \"5000 20000\"}, an "
				  "array of such, or what dlgroup design --json prints";

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

class Entry {
public:
	Entry(const Json &json, std::string object) : json_(json), object_(std::move(object)) {}

	Result<Planned> read() const
	{
		if (!json_.is_object())
			return refuse(kExpected);
		// An answer of ours has more keys, all known to be harmless.
		bool answer = json_.contains("schema_version");
		static const std::set<std::string> known{"group", "cpu_rt_max", "cpus", "policy"};
		for (const auto &[key, value] : json_.items())
			if (!answer && !known.count(key))
				return refuse(fmt::format("unknown key '{}'; expected group, "
							  "cpu_rt_max, cpus or policy", key));
		if (!json_.contains("cpu_rt_max"))
			return refuse(std::string("no \"cpu_rt_max\"; ") + kExpected);
		if (answer && json_["cpu_rt_max"].is_null())
			return fail(Status::refused, object_,
				    "has no reservation: the tasks were not found schedulable");
		Planned planned;
		if (answer && json_.contains("cpus") && json_["cpus"].is_number_unsigned())
			planned.designed_for = json_["cpus"].get<unsigned>();

		auto done = read("group", as_it_is, planned.group);
		if (done)
			done = read("cpu_rt_max", parse_file_text, planned.request);
		if (done && !planned.designed_for)
			done = read("cpus", parse_cpus, planned.cpus);
		if (done)
			done = read("policy", parse_policy, planned.policy);
		if (!done)
			return tl::unexpected(done.error());
		return planned;
	}

private:
	tl::unexpected<Error> refuse(const std::string &reason) const
	{
		return bad_input(object_, printable(reason));
	}
	// The value of a key, if it is there.
	template <class Parse, class T>
	Result<void> read(const char *key, Parse parse, T &into) const
	{
		if (!json_.contains(key))
			return {};
		const auto &value = json_[key];
		if (!value.is_string() || value.get_ref<const std::string &>().empty())
			return refuse(fmt::format("\"{}\": expected a text", key));
		auto parsed = parse(value.get_ref<const std::string &>());
		if (!parsed)
			return refuse(fmt::format("\"{}\": {}: {}", key, parsed.error().object,
						  parsed.error().reason));
		into = *parsed;
		return {};
	}

	const Json &json_;
	std::string object_;
};

} // namespace

Result<std::vector<Planned>> parse_plan(std::string_view text, const std::string &name)
{
	Json json;
	try {
		json = Json::parse(text);
	} catch (const Json::exception &error) {
		// "[...] parse error at line 1, column 2: what it is"
		std::string what = error.what();
		return bad_input(name, "not JSON: " + printable(what.substr(what.find("] ") + 2)));
	}
	std::vector<Planned> plan;
	if (!json.is_array()) {
		auto one = Entry(json, name).read();
		if (!one)
			return tl::unexpected(one.error());
		plan.push_back(*one);
	}
	for (std::size_t i = 0; json.is_array() && i < json.size(); i++) {
		auto one = Entry(json[i], fmt::format("{}: reservation {}", name, i + 1)).read();
		if (!one)
			return tl::unexpected(one.error());
		plan.push_back(*one);
	}
	if (plan.empty())
		return bad_input(name, std::string("no reservations; ") + kExpected);
	return plan;
}

} // namespace dlgroup
