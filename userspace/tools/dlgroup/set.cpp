// SPDX-License-Identifier: GPL-2.0-only
// set and rm
#include <fmt/format.h>

#include "common.h"

#include <dlgroup/diagnosis.h>

namespace dlgroup::tool {

Result<int> set(const Context &context)
{
	const auto &options = context.options;
	auto request = requested(options);
	if (!request)
		return tl::unexpected(request.error());
	auto policy = requested_policy(options);
	if (policy && !request->is_max && request->runtime.count() == 0)
		return bad_input(options.target, "runtime 0 forbids FIFO/RR, --fifo and --rr "
						 "ask for it");
	std::optional<CpuSet> cpus;
	if (!options.cpus.empty()) {
		auto parsed = parse_cpus(options.cpus);
		if (!parsed)
			return tl::unexpected(parsed.error());
		cpus = *parsed;
	}
	auto group = resolve(context, options.target);
	if (!group)
		return tl::unexpected(group.error());
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	if (!tree->find(*group) && !tree->find(parent_of(*group)))
		return bad_input(*group, "its parent does not exist");

	Changes changes(context.roots, context.groups, context.tasks, options.dry_run);
	auto done = enable_controllers(*tree, changes, *group, cpus.has_value());
	if (done && !tree->find(*group))
		done = changes.create(*group);
	if (done)
		done = reserve(context, changes, *group, *request, cpus);
	if (done && policy) {
		auto now = options.dry_run ? tree : read_tree(context.roots);
		std::vector<std::string> sharing;
		if (auto index = now ? now->find(*group) : std::nullopt)
			for (auto i : now->sharing(*index))
				sharing.push_back(now->groups[i].path);
		done = set_policies(context, changes, sharing, *policy);
	}
	if (!done)
		return roll_back(changes, done.error());
	if (options.dry_run)
		return print_steps(changes, options.json);
	changes.keep();

	auto now = read_tree(context.roots);
	auto index = now ? now->find(*group) : std::nullopt;
	if (!index)
		return fail(Status::failed, *group, "was set, and is gone");
	if (options.json) {
		auto out = answer();
		out.update(describe(context, *now, *index));
		print(out);
	} else {
		print(*group + ": " + summary(*now, *index));
	}
	if (auto sentence = nothing_served(*now, *index,
					   tasks_sharing(context.roots, *now, *index)))
		say(*group, *sentence);
	return 0;
}

Result<int> rm(const Context &context)
{
	const auto &options = context.options;
	auto group = resolve(context, options.target);
	if (!group)
		return tl::unexpected(group.error());
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	auto index = find_group(*tree, *group);
	if (!index)
		return tl::unexpected(index.error());
	for (const auto &other : tree->groups)
		if (other.parent == *index)
			return fail(Status::failed, *group, "has children: " + other.path);
	std::string pids;
	for (auto pid : processes_in(context.roots, *group))
		pids += fmt::format("{}{}", pids.empty() ? "" : " ", pid);
	if (!pids.empty())
		return fail(Status::failed, *group, "has processes: " + pids);

	Changes changes(context.roots, context.groups, context.tasks, options.dry_run);
	if (auto done = changes.remove(*group); !done)
		return tl::unexpected(done.error());
	if (options.dry_run)
		return print_steps(changes, options.json);
	if (options.json) {
		auto out = answer();
		out["removed"] = *group;
		print(out);
	} else {
		print(*group + ": removed");
	}
	return 0;
}

} // namespace dlgroup::tool
