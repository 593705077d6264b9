// SPDX-License-Identifier: GPL-2.0-only
#include <algorithm>

#include <fmt/format.h>

#include "common.h"

#include <dlgroup/facts.h>

namespace dlgroup::tool {

namespace {

const char *name_known(Known known)
{
	switch (known) {
	case Known::yes:
		return "yes";
	case Known::no:
		return "no";
	case Known::unknown:
		break;
	}
	return "unknown";
}

} // namespace

Result<int> features(const Context &context)
{
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	auto all = probe_features(context.roots, *tree, context.groups);
	if (context.options.json) {
		auto out = answer();
		out["features"] = Json::array();
		for (const auto &feature : all)
			out["features"].push_back({{"name", feature.name},
						   {"present", name_known(feature.present)},
						   {"what", feature.what},
						   {"how", feature.how}});
		print(out);
	} else {
		for (const auto &feature : all)
			print(fmt::format("{:<16} {:<8} {}", feature.name,
					  name_known(feature.present), feature.what));
	}
	if (all.front().present == Known::no) {
		say("kernel", "has no cpu.rt.max (CONFIG_DL_GROUP_SCHED)");
		return static_cast<int>(Status::unsupported);
	}
	if (std::any_of(all.begin(), all.end(), [](const Feature &feature) {
		    return feature.present == Known::unknown;
	    }))
		say("features", "what is unknown shows once a cgroup has the cpu controller and root "
				"asks (dlgroup doctor)");
	return 0;
}

} // namespace dlgroup::tool
