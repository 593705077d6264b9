// SPDX-License-Identifier: GPL-2.0-only
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "common.h"

#include <dlgroup/diagnosis.h>

namespace dlgroup::tool {

Result<int> doctor(const Context &context)
{
	std::optional<std::string> target;
	if (!context.options.target.empty()) {
		auto group = resolve(context, context.options.target);
		if (!group)
			return tl::unexpected(group.error());
		target = *group;
	}
	// Counters matter only while they rise: long enough for a few periods.
	auto wait = [] { std::this_thread::sleep_for(std::chrono::seconds(1)); };
	auto facts = gather_facts(context.roots, context.tasks, wait);
	if (!facts)
		return tl::unexpected(facts.error());
	if (target)
		if (auto index = find_group(facts->tree, *target); !index)
			return tl::unexpected(index.error());
	auto findings = diagnose(*facts, target, context.options.irq);
	if (context.options.json) {
		auto out = answer();
		out["findings"] = Json::array();
		for (const auto &finding : findings)
			out["findings"].push_back({{"id", finding.id},
						   {"severity", name_severity(finding.severity)},
						   {"object", finding.object},
						   {"what", finding.what},
						   {"why", finding.why},
						   {"remedy", finding.remedy},
						   {"remedy_is_command", finding.is_command}});
		print(out);
	} else {
		for (const auto &finding : findings) {
			print(fmt::format("{}: {}: {}: {}", name_severity(finding.severity),
					  finding.id, finding.object, finding.what));
			print("  why:    " + finding.why);
			print("  remedy: " + finding.remedy);
		}
		if (findings.empty())
			print(std::string("nothing found"));
	}
	return findings.empty() ? 0 : static_cast<int>(Status::failed);
}

} // namespace dlgroup::tool
