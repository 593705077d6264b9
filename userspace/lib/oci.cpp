// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/oci.h>

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sched.h>

#include <dlgroup/cgroup.h>
#include <dlgroup/fs.h>

namespace dlgroup {

namespace {

using Json = nlohmann::ordered_json;
using Path = std::vector<const char *>;

constexpr const char *kRtMax = "cpu.rt.max";
constexpr const char *kLimit = "RLIMIT_RTPRIO";
constexpr const char *kSysNice = "CAP_SYS_NICE";
// What docker and the kernel took for cgroup v1 when no period was given.
constexpr microseconds kV1Period{1000000};
// A real one has about ten; writing it out again recurses.
constexpr int kDeepest = 100;

std::string joined(const Path &path)
{
	std::string text;
	for (const auto *key : path)
		text += (text.empty() ? "" : ".") + std::string(key);
	return text;
}

Result<Json> parse(std::string_view text, const std::string &name)
{
	if (text.size() > kLargestConfig)
		return bad_input(name, fmt::format("larger than {} bytes", kLargestConfig));
	bool too_deep = false;
	auto json = Json(nullptr);
	try {
		json = Json::parse(text, [&](int depth, Json::parse_event_t, Json &) {
			too_deep = too_deep || depth > kDeepest;
			return !too_deep;
		});
	} catch (const Json::exception &error) {
		// "[...] parse error at line 1, column 2: what it is"
		std::string what = error.what();
		return bad_input(name, "not JSON: " + printable(what.substr(what.find("] ") + 2)));
	}
	if (too_deep)
		return bad_input(name, fmt::format("nested deeper than {}", kDeepest));
	if (!json.is_object())
		return bad_input(name, "not a JSON object");
	return json;
}

// The value at a path; null where there is none, as in Go's JSON.
class Reader {
public:
	Reader(const Json &json, std::string name) : json_(json), name_(std::move(name)) {}

	Result<const Json *> at(const Path &path) const
	{
		const Json *here = &json_;
		for (const auto *key : path) {
			if (!here->is_object())
				return bad(path, "is inside something that is not an object");
			auto it = here->find(key);
			if (it == here->end() || it->is_null())
				return nullptr;
			here = &*it;
		}
		return here;
	}
	Result<const Json *> object(const Path &path) const
	{
		auto found = at(path);
		if (found && *found && !(*found)->is_object())
			return bad(path, "is not an object");
		return found;
	}
	Result<const Json *> array(const Path &path) const
	{
		auto found = at(path);
		if (found && *found && !(*found)->is_array())
			return bad(path, "is not an array");
		return found;
	}
	Result<std::optional<std::string>> text(const Path &path) const
	{
		auto found = at(path);
		if (!found)
			return tl::unexpected(found.error());
		if (!*found)
			return std::nullopt;
		if (!(*found)->is_string())
			return bad(path, "is not a text");
		return (*found)->get<std::string>();
	}
	// A time in microseconds; 0 is as good as none.
	Result<std::optional<microseconds>> time(const Path &path) const
	{
		auto found = at(path);
		if (!found)
			return tl::unexpected(found.error());
		if (!*found)
			return std::nullopt;
		if (!(*found)->is_number_unsigned() ||
		    (*found)->get<std::uint64_t>() > static_cast<std::uint64_t>(microseconds::max().count()))
			return bad(path, "is not a number of microseconds");
		microseconds us((*found)->get<std::int64_t>());
		return us.count() ? std::optional(us) : std::nullopt;
	}
	tl::unexpected<Error> bad(const Path &path, const std::string &reason) const
	{
		return bad_input(name_, joined(path) + ": " + reason);
	}

private:
	const Json &json_;
	std::string name_;
};

Result<std::optional<Ask>> ask_of_annotation(const Reader &config)
{
	// A key with a dot in it is no path.
	auto text = config.text({"annotations", kAnnotation});
	if (!text)
		return tl::unexpected(text.error());
	if (!*text)
		return std::nullopt;
	auto ask = parse_ask(**text, std::string("the annotation ") + kAnnotation);
	if (!ask)
		return tl::unexpected(ask.error());
	ask->from_annotation = true;
	return *ask;
}

Result<std::optional<Ask>> ask_of_unified(const Reader &config)
{
	Path path{"linux", "resources", "unified"};
	auto unified = config.object(path);
	if (!unified)
		return tl::unexpected(unified.error());
	if (!*unified)
		return std::nullopt;
	for (const auto &[key, value] : (*unified)->items())
		if (key.starts_with("cpu.rt.") && key != kRtMax)
			return config.bad(path, printable(key) + ": only cpu.rt.max can be asked for");
	auto text = config.text({"linux", "resources", "unified", kRtMax});
	if (!text)
		return tl::unexpected(text.error());
	if (!*text)
		return std::nullopt;
	auto request = parse_file_text(**text);
	if (!request)
		return config.bad(path, printable(request.error().object) + ": " + request.error().reason);
	// What takes nothing needs nobody's leave.
	if (request->is_max || request->runtime.count() == 0)
		return std::nullopt;
	Ask ask;
	ask.source = "unified cpu.rt.max";
	ask.request = *request;
	return ask;
}

Result<std::optional<Ask>> ask_of_realtime(const Reader &config)
{
	Path path{"linux", "resources", "cpu", "realtimeRuntime"};
	auto runtime = config.time(path);
	auto period = config.time({"linux", "resources", "cpu", "realtimePeriod"});
	if (!runtime || !period)
		return tl::unexpected(runtime ? period.error() : runtime.error());
	if (!*runtime)
		return std::nullopt;
	auto request = parse_file_text(fmt::format("{} {}", (*runtime)->count(),
						   period->value_or(kV1Period).count()));
	if (!request)
		return config.bad(path, request.error().reason);
	Ask ask;
	ask.source = "realtimeRuntime";
	ask.request = *request;
	return ask;
}

Result<bool> has_sys_nice(const Reader &config)
{
	// In a user namespace of its own the capability is for what is in there only.
	auto namespaces = config.array({"linux", "namespaces"});
	if (!namespaces)
		return tl::unexpected(namespaces.error());
	if (*namespaces)
		for (const auto &one : **namespaces)
			if (one.is_object() && one.value("type", Json()) == "user" &&
			    (!one.contains("path") || one["path"] == ""))
				return false;
	auto sets = config.object({"process", "capabilities"});
	if (!sets)
		return tl::unexpected(sets.error());
	if (*sets)
		for (const auto &set : **sets)
			if (set.is_array() && std::find(set.begin(), set.end(), kSysNice) != set.end())
				return true;
	return false;
}

// The object at a path, made where it is not there; Reader has looked at it.
Json &make(Json &json, const Path &path)
{
	auto *here = &json;
	for (const auto *key : path) {
		here = &(*here)[key];
		if (here->is_null())
			*here = Json::object();
	}
	return *here;
}

Json &make_array(Json &object, const char *key)
{
	auto &array = object[key];
	if (array.is_null())
		array = Json::array();
	return array;
}

// What asks for a reservation, and is no annotation.
void take_out_asks(Json &json)
{
	for (auto [object, key] : {std::pair("unified", kRtMax), std::pair("cpu", "realtimeRuntime"),
				   std::pair("cpu", "realtimePeriod")})
		if (Json::json_pointer path(std::string("/linux/resources/") + object);
		    json.contains(path) && json[path].is_object())
			json[path].erase(key);
}

bool has_limit(const Json &limits)
{
	return std::any_of(limits.begin(), limits.end(), [](const Json &one) {
		return one.is_object() && one.value("type", Json()) == kLimit;
	});
}

} // namespace

Result<std::optional<Policy>> parse_policy_word(std::string_view text)
{
	if (text == "keep")
		return std::nullopt;
	for (auto [name, policy] : {std::pair("fifo:", SCHED_FIFO), std::pair("rr:", SCHED_RR)}) {
		if (!text.starts_with(name))
			continue;
		auto number = text.substr(std::string_view(name).size());
		int priority = 0;
		auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), priority);
		if (error == std::errc{} && end == number.data() + number.size() && priority >= 1 &&
		    priority <= 99)
			return Policy{policy, priority};
	}
	return bad_input(fmt::format("'{}'", printable(std::string(text))),
			 "not a policy: fifo:N or rr:N with N from 1 to 99, or keep");
}

std::string policy_word(const std::optional<Policy> &policy)
{
	if (!policy)
		return "keep";
	return fmt::format("{}:{}", policy->policy == SCHED_RR ? "rr" : "fifo", policy->priority);
}

Result<Ask> parse_ask(std::string_view text, const std::string &source)
{
	auto bad = [&](const Error &error) {
		return bad_input(source, printable(error.object) + ": " + error.reason);
	};
	auto parts = words(std::string(text));
	if (parts.empty() || parts.size() > 2)
		return bad_input(source, fmt::format("'{}': not a request: RES[@CPUS] [fifo:N | rr:N | keep] "
						     "such as '5ms/20ms@2-3 fifo:10'",
						     printable(std::string(text.substr(0, 100)))));
	Ask ask;
	ask.source = source;
	auto sign = parts[0].find('@');
	auto request = parse_request(std::string_view(parts[0]).substr(0, sign));
	if (!request)
		return bad(request.error());
	if (request->is_max || request->runtime.count() == 0)
		return bad_input(source, fmt::format("'{}': asks for nothing", printable(parts[0])));
	ask.request = *request;
	if (sign != std::string::npos) {
		auto cpus = parse_cpus(std::string_view(parts[0]).substr(sign + 1));
		if (!cpus)
			return bad(cpus.error());
		if (cpus->empty())
			return bad_input(source, "no CPUs after @");
		ask.cpus = *cpus;
	}
	if (parts.size() == 2) {
		auto policy = parse_policy_word(parts[1]);
		if (!policy)
			return bad(policy.error());
		ask.policy = *policy;
	}
	return ask;
}

Result<OciContainer> read_oci_config(std::string_view text, const std::string &name)
{
	auto json = parse(text, name);
	if (!json)
		return tl::unexpected(json.error());
	Reader config(*json, name);
	OciContainer container;
	for (auto *ask_of : {ask_of_annotation, ask_of_unified, ask_of_realtime}) {
		auto ask = ask_of(config);
		if (!ask)
			return tl::unexpected(ask.error());
		if (*ask && container.ask)
			return bad_input(name, fmt::format("asks for a reservation twice: by {} and by {}",
							   container.ask->source, (*ask)->source));
		if (*ask)
			container.ask = *ask;
	}
	auto cpus = config.text({"linux", "resources", "cpu", "cpus"});
	auto path = config.text({"linux", "cgroupsPath"});
	auto sys_nice = has_sys_nice(config);
	if (!cpus || !path || !sys_nice)
		return tl::unexpected(!cpus ? cpus.error() : !path ? path.error() : sys_nice.error());
	if (!cpus->value_or("").empty()) {
		auto set = parse_cpus(**cpus);
		if (!set)
			return bad_input(name, "linux.resources.cpu.cpus: " + printable(set.error().object) +
						       ": " + set.error().reason);
		container.cpus = *set;
	}
	container.cgroups_path = path->value_or("");
	container.sys_nice = *sys_nice;
	return container;
}

Result<std::string> grant_oci_config(std::string_view text, const std::string &name,
				     const OciGrant &grant)
{
	auto json = parse(text, name);
	if (!json)
		return tl::unexpected(json.error());
	Reader config(*json, name);
	// All that is written to has the right type, or nothing is written.
	for (const auto &path : {Path{"linux", "resources", "unified"}, Path{"linux", "resources", "cpu"},
			  Path{"process"}, Path{"hooks"}})
		if (auto found = config.object(path); !found)
			return tl::unexpected(found.error());
	for (const auto &path : {Path{"process", "rlimits"}, Path{"hooks", "createRuntime"}})
		if (auto found = config.array(path); !found)
			return tl::unexpected(found.error());
	if (!config.object({"process"}).value_or(nullptr))
		return config.bad({"process"}, "is missing");
	// It would replace the CPUs that have been judged.
	if (config.at({"linux", "resources", "unified", "cpuset.cpus"}).value_or(nullptr))
		return config.bad({"linux", "resources", "unified"},
				  "cpuset.cpus: beside a reservation CPUs are said in linux.resources.cpu.cpus");

	take_out_asks(*json);
	auto &resources = make(*json, {"linux", "resources"});
	make(resources, {"unified"})[kRtMax] = file_text(grant.request);
	if (grant.cpus)
		make(resources, {"cpu"})["cpus"] = format_cpus(*grant.cpus);
	if (auto &limits = make_array((*json)["process"], "rlimits"); !has_limit(limits))
		limits.push_back({{"type", kLimit}, {"hard", grant.rtprio}, {"soft", grant.rtprio}});
	if (!grant.hook.empty())
		make_array(make(*json, {"hooks"}), "createRuntime")
			.push_back({{"path", grant.hook[0]},
				    {"args", std::vector<std::string>(grant.hook.begin() + 1,
								      grant.hook.end())}});
	return json->dump();
}

Result<std::string> plain_oci_config(std::string_view text, const std::string &name)
{
	auto json = parse(text, name);
	if (!json)
		return tl::unexpected(json.error());
	take_out_asks(*json);
	return json->dump();
}

Result<std::string> oci_cgroup(const std::string &cgroups_path)
{
	auto quoted = fmt::format("cgroupsPath '{}'", printable(cgroups_path));
	if (printable(cgroups_path) != cgroups_path)
		return bad_input(quoted, "has characters that no engine writes");
	if (cgroups_path.starts_with("/"))
		return check_group_path(cgroups_path);
	auto first = cgroups_path.find(':'), second = cgroups_path.find(':', first + 1);
	if (first == cgroups_path.npos || second == cgroups_path.npos)
		return bad_input(quoted, "neither /path nor SLICE:PREFIX:NAME: a container with a "
					 "reservation needs a cgroup of its own that is known");
	auto slice = cgroups_path.substr(0, first);
	if (slice.empty())
		slice = "system.slice";
	if (!slice.ends_with(".slice") || slice.find('/') != slice.npos ||
	    cgroups_path.find('/') != cgroups_path.npos || second + 1 == cgroups_path.size())
		return bad_input(quoted, "not SLICE:PREFIX:NAME");
	// a-b.slice is in a.slice; -.slice is the root.
	auto stem = slice.substr(0, slice.size() - std::string_view(".slice").size());
	std::string path;
	if (stem != "-")
		for (auto dash = stem.find('-');; dash = stem.find('-', dash + 1)) {
			auto part = stem.substr(0, dash);
			if (part.empty() || part.ends_with("-"))
				return bad_input(quoted, "not the name of a slice");
			path += "/" + part + ".slice";
			if (dash == stem.npos)
				break;
		}
	return path + "/" + cgroups_path.substr(first + 1, second - first - 1) + "-" +
	       cgroups_path.substr(second + 1) + ".scope";
}

} // namespace dlgroup
