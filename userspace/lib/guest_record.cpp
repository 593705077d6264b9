// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/guest_record.h>

#include "record_json.h"

namespace dlgroup {

namespace {

Json rule_to_json(const ClassRule &rule)
{
	Json json = {{"cpus", rule.cpus ? Json(format_cpus(*rule.cpus)) : Json()}};
	if (rule.policy)
		json.update({{"policy", rule.policy->policy}, {"priority", rule.policy->priority}});
	return json;
}

ClassRule rule_from_json(const Json &json)
{
	ClassRule rule;
	if (json.contains("policy"))
		rule.policy = Policy{json.at("policy"), json.at("priority")};
	if (!json.at("cpus").is_null())
		rule.cpus = parse_cpus(json.at("cpus").get<std::string>()).value_or(CpuSet{});
	return rule;
}

} // namespace

std::string GuestRecord::to_text() const
{
	Json json = {{"pid", pid}, {"started", started}, {"name", name}, {"qmp", qmp}, {"group", group},
		     {"made", made}, {"inode", inode}, {"cpu_rt_max", rt_max},
		     {"cpuset_cpus", cpus ? Json(*cpus) : Json()},
		     {"profile", Json::object()}, {"threads", Json::array()}};
	for (const auto &[of, rule] : profile)
		json["profile"][name_class(of)] = rule_to_json(rule);
	for (const auto &one : threads)
		json["threads"].push_back(thread_to_json(one));
	return record_text(json);
}

Result<GuestRecord> GuestRecord::parse(const std::string &text, const std::string &path)
{
	auto damaged = [&] {
		return fail(Status::failed, path, "is damaged: what the guest was before is not known");
	};
	GuestRecord record;
	try {
		auto json = Json::parse(text);
		record.pid = json.at("pid");
		record.started = json.at("started");
		record.name = json.at("name");
		record.qmp = json.at("qmp");
		record.group = json.at("group");
		record.made = json.at("made");
		record.inode = json.at("inode");
		record.rt_max = json.at("cpu_rt_max");
		if (!json.at("cpuset_cpus").is_null())
			record.cpus = json.at("cpuset_cpus");
		for (auto of : kThreadClasses)
			if (auto rule = json.at("profile").find(name_class(of));
			    rule != json.at("profile").end())
				record.profile[of] = rule_from_json(*rule);
		for (const auto &one : json.at("threads")) {
			auto thread = thread_from_json(one);
			if (!thread)
				return damaged();
			record.threads.push_back(*thread);
		}
	} catch (const Json::exception &) {
		return damaged();
	}
	return record;
}

const ThreadState *GuestRecord::find(const Task &task) const
{
	for (const auto &one : threads)
		if (is_same(one, task))
			return &one;
	return nullptr;
}

Result<std::optional<GuestRecord>> peek_record(const Roots &roots, pid_t pid)
{
	auto records = GuestRecords::peek(roots);
	if (!records)
		return tl::unexpected(records.error());
	if (!*records)
		return std::nullopt;
	return (*records)->read(pid);
}

std::optional<GuestRecord> look_up_record(const Roots &roots, pid_t pid, std::uint64_t started)
{
	auto record = peek_record(roots, pid);
	if (!record || !*record || (*record)->started != started)
		return std::nullopt;
	return *record;
}

} // namespace dlgroup
