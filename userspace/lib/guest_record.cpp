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
		rule.cpus = cpus_from_json(json.at("cpus"));
	return rule;
}

} // namespace

std::string GuestRecord::to_text() const
{
	Json json = {{"pid", pid}, {"started", started}, {"name", name}, {"qmp", qmp}, {"group", group},
		     {"made", made}, {"inode", inode}, {"cpu_rt_max", rt_max},
		     {"cpuset_cpus", cpus ? Json(*cpus) : Json()},
		     {"profile", Json::object()}, {"threads", threads_to_json(threads)}};
	for (const auto &[of, rule] : profile)
		json["profile"][name_class(of)] = rule_to_json(rule);
	return record_text(json);
}

Result<GuestRecord> GuestRecord::parse(const std::string &text, const std::string &path)
{
	return parse_record(text, path, "what the guest was before", [](const Json &json) {
		GuestRecord record;
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
		const auto &profile = json.at("profile");
		for (auto of : kThreadClasses)
			if (profile.contains(name_class(of)))
				record.profile[of] = rule_from_json(profile.at(name_class(of)));
		record.threads = threads_from_json(json.at("threads"));
		return record;
	});
}

Result<std::optional<GuestRecord>> peek_record(const Roots &roots, pid_t pid)
{
	return GuestRecords::peek_at(roots, pid);
}

std::optional<GuestRecord> look_up_record(const Roots &roots, pid_t pid, std::uint64_t started)
{
	auto record = peek_record(roots, pid);
	if (!record || !*record || (*record)->started != started)
		return std::nullopt;
	return *record;
}

} // namespace dlgroup
