// SPDX-License-Identifier: GPL-2.0-only
// set and rm
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "common.h"

#include <dlgroup/diagnosis.h>
#include <dlgroup/plan.h>

namespace dlgroup::tool {

namespace {

using Plan = std::vector<Planned>;

Result<Plan> plan_of_options(const Options &options)
{
	if (options.target.empty())
		return bad_input("usage", "TARGET is required (dlgroup --help)");
	auto request = requested(options);
	if (!request)
		return tl::unexpected(request.error());
	return Plan{{options.target, *request, {}, {}, {}}};
}

Result<Plan> plan_of_file(const Options &options)
{
	auto text = read_input(options.plan);
	if (!text)
		return tl::unexpected(text.error());
	auto name = options.plan == "-" ? "standard input" : options.plan;
	auto plan = parse_plan(*text, name);
	if (!plan)
		return plan;
	auto &first = plan->front();
	if (options.target.empty()) {
		if (!options.cpus.empty() || requested_policy(options))
			return bad_input(name, "--cpus, --fifo and --rr need the TARGET they are for");
		for (const auto &one : *plan)
			if (one.group.empty())
				return bad_input(name, "names no group: dlgroup set TARGET --plan FILE");
		return plan;
	}
	if (plan->size() > 1 || !first.group.empty())
		return bad_input(name, "names its groups itself, and TARGET is given");
	if ((first.cpus && !options.cpus.empty()) || (first.policy && requested_policy(options)))
		return bad_input(name, "says itself what --cpus, --fifo or --rr say");
	first.group = options.target;
	return plan;
}

// What there is to do, with the paths of the groups.
Result<Plan> make_plan(const Context &context)
{
	const auto &options = context.options;
	auto plan = options.plan.empty() ? plan_of_options(options) : plan_of_file(options);
	if (!plan)
		return plan;
	std::set<std::string> known;
	for (auto &one : *plan) {
		if (auto policy = requested_policy(options))
			one.policy = policy;
		if (one.policy && !one.request.is_max && one.request.runtime.count() == 0)
			return bad_input(one.group, "runtime 0 forbids FIFO/RR, and it is to have a "
						    "FIFO or RR policy");
		if (!options.cpus.empty()) {
			auto cpus = parse_cpus(options.cpus);
			if (!cpus)
				return tl::unexpected(cpus.error());
			one.cpus = *cpus;
		}
		auto group = resolve(context, one.group);
		if (!group)
			return tl::unexpected(group.error());
		one.group = *group;
		if (!known.insert(one.group).second)
			return bad_input(one.group, "planned twice");
	}
	return plan;
}

// What gives bandwidth back comes first, from the leaves up, then what takes
// more, from the root down: on the way no sum exceeds what it was or will be.
void order(const Tree &tree, Plan &plan)
{
	auto place = [&](const Planned &one) {
		auto depth = std::count(one.group.begin(), one.group.end(), '/');
		auto index = tree.find(one.group);
		if (!index)
			return std::pair(true, depth);
		const auto &now = tree.groups[*index];
		bool takes = bandwidth(apply_request(now.rt_max, one.request)) > bandwidth(now.rt_max);
		for (auto cpu : one.cpus.value_or(CpuSet{}))
			takes |= !now.cpus.count(cpu);
		return std::pair(takes, takes ? depth : -depth);
	};
	std::stable_sort(plan.begin(), plan.end(), [&](const Planned &a, const Planned &b) {
		return place(a) < place(b);
	});
}

// In a dry run: the tree as the next reservation would find it.
void imagine(Tree &tree, const Planned &one)
{
	auto parent = tree.find(parent_of(one.group));
	for (auto at = parent; at; at = tree.groups[*at].parent)
		tree.groups[*at].subtree_control += one.cpus ? " cpu cpuset" : " cpu";
	if (tree.find(one.group))
		return;
	Group made;
	made.path = one.group;
	made.parent = parent;
	tree.groups.push_back(made);
}

Result<void> carry_out(const Context &context, Changes &changes, Tree &tree, const Planned &one)
{
	if (!tree.find(one.group) && !tree.find(parent_of(one.group)))
		return bad_input(one.group, "its parent does not exist");
	if (auto done = set_up(context, changes, tree, one.group, one.request, one.cpus); !done)
		return done;
	if (changes.dry_run()) {
		imagine(tree, one);
	} else {
		auto now = read_tree(context.roots);
		if (!now)
			return tl::unexpected(now.error());
		tree = std::move(*now);
	}
	if (!one.policy)
		return {};
	std::vector<std::string> sharing;
	if (auto index = tree.find(one.group))
		for (auto i : tree.sharing(*index))
			sharing.push_back(tree.groups[i].path);
	return set_policies(context, changes, sharing, *one.policy);
}

Result<void> check_made(const Tree &tree, const Plan &plan)
{
	for (const auto &one : plan)
		if (!tree.find(one.group))
			return fail(Status::failed, one.group, "was set, and is gone");
	return {};
}

} // namespace

Result<int> set(const Context &context)
{
	const auto &options = context.options;
	auto plan = make_plan(context);
	if (!plan)
		return tl::unexpected(plan.error());
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	auto ordered = *plan;
	order(*tree, ordered);

	Changes changes(context.roots, context.groups, context.tasks, options.dry_run);
	for (const auto &one : ordered)
		if (auto done = carry_out(context, changes, *tree, one); !done)
			return roll_back(changes, done.error());
	if (options.dry_run)
		return print_steps(changes.steps(), options.json);
	changes.keep();

	if (auto made = check_made(*tree, *plan); !made)
		return tl::unexpected(made.error());
	auto out = answer();
	if (!options.plan.empty())
		out["groups"] = Json::array();
	for (const auto &one : *plan) {
		auto index = *tree->find(one.group);
		if (!options.json)
			print(one.group + ": " + summary(*tree, index));
		else if (options.plan.empty())
			out.update(describe(context, *tree, index));
		else
			out["groups"].push_back(describe(context, *tree, index));
	}
	if (options.json)
		print(out);
	for (const auto &one : *plan) {
		auto index = *tree->find(one.group);
		const auto &cpus = tree->groups[index].cpus;
		if (one.designed_for && cpus.size() > *one.designed_for)
			say(one.group, fmt::format("designed for {} of its {}: on all nothing is "
						   "proved (--cpus)", *one.designed_for,
						   name_cpus(cpus)));
		if (auto sentence = nothing_served(*tree, index,
						   tasks_sharing(context.roots, *tree, index)))
			say(one.group, *sentence);
	}
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
		return print_steps(changes.steps(), options.json);
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
