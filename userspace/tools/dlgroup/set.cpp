// SPDX-License-Identifier: GPL-2.0-only
// set and rm
#include <algorithm>
#include <cerrno>
#include <set>

#include <fmt/format.h>

#include "common.h"

#include <dlgroup/diagnosis.h>

namespace dlgroup::tool {

namespace {

Result<Plan> plan_of_options(const Options &options)
{
	if (options.target.empty())
		return bad_input("usage", "TARGET is required (dlgroup --help)");
	auto request = requested(options);
	if (!request)
		return tl::unexpected(request.error());
	Planned one;
	one.group = options.target;
	one.request = *request;
	return Plan{one};
}

Result<Plan> plan_of_file(const Options &options)
{
	auto plan = read_plan(options.plan);
	if (!plan)
		return plan;
	auto name = name_input(options.plan);
	if (plan->empty())
		return bad_input(name, "has no reservations");
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
	for (auto &one : *plan) {
		if (auto policy = requested_policy(options))
			one.policy = policy;
		if (!options.cpus.empty()) {
			auto cpus = parse_cpus(options.cpus);
			if (!cpus)
				return tl::unexpected(cpus.error());
			one.cpus = *cpus;
		}
	}
	if (auto done = resolve_plan(context, *plan); !done)
		return tl::unexpected(done.error());
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

// The tree after a change, or as it would be.
Result<void> look_again(const Context &context, const Changes &changes, Tree &tree, const Planned &one)
{
	if (changes.dry_run()) {
		imagine(tree, one);
		return {};
	}
	auto now = read_tree(context.roots);
	if (!now)
		return tl::unexpected(now.error());
	tree = std::move(*now);
	return {};
}

Result<void> make_parents(const Context &context, Changes &changes, Tree &tree, const Planned &one)
{
	auto parent = parent_of(one.group);
	if (tree.find(parent))
		return {};
	Planned above;
	above.group = parent;
	above.cpus = one.cpus; // the controllers that it needs are the same
	auto done = make_parents(context, changes, tree, above);
	if (done)
		done = make_group(changes, tree, parent, one.cpus.has_value());
	if (done)
		done = look_again(context, changes, tree, above);
	return done;
}

// What a file says that a kernel can be without; nothing if it is, and not `needed`.
Result<std::optional<std::string>> read_extra(const Context &context, const Changes &changes,
					      const std::string &group, const std::string &file, bool needed)
{
	auto dir = Dir::open(directory_of(context.roots, group));
	if (!dir && changes.dry_run())
		return ""; // it would be new
	auto text = dir ? dir->read(file) : tl::unexpected(dir.error());
	if (text)
		return trimmed(*text);
	if (text.error().sys_errno != ENOENT)
		return tl::unexpected(text.error());
	if (needed)
		return fail(Status::unsupported, group, "has no " + file + " in this kernel (dlgroup features)");
	return std::nullopt;
}

Result<void> set_flag(const Context &context, Changes &changes, const std::string &group,
		      const std::string &flag, bool on)
{
	auto file = "cpu.rt." + flag;
	auto was = read_extra(context, changes, group, file, on);
	if (!was)
		return tl::unexpected(was.error());
	if (!*was || (**was == "1") == on)
		return {};
	return changes.write(group, file, on ? "1" : "0", on ? "0" : "1");
}

Result<void> set_by_cpu(const Context &context, Changes &changes, const std::string &group,
			const std::vector<std::string> &wanted)
{
	const char *file = "cpu.rt.cpus";
	auto was = read_extra(context, changes, group, file, !wanted.empty());
	if (!was)
		return tl::unexpected(was.error());
	if (!*was || lines(**was) == wanted)
		return {};
	Result<void> done;
	if (!(*was)->empty())
		done = changes.write(group, file, "max", **was);
	for (const auto &line : wanted)
		if (done)
			done = changes.write(group, file, line, line.substr(0, line.find(' ')) + " max");
	return done;
}

Result<void> set_extras(const Context &context, Changes &changes, const Planned &one)
{
	Result<void> done;
	if (one.by_cpu)
		done = set_by_cpu(context, changes, one.group, *one.by_cpu);
	for (const std::string flag : kFlags)
		if (done && one.flags)
			done = set_flag(context, changes, one.group, flag, one.flags->count(flag));
	return done;
}

Result<void> carry_out(const Context &context, Changes &changes, Tree &tree, const Planned &one)
{
	if (!tree.find(one.group) && !tree.find(parent_of(one.group)))
		return bad_input(one.group, "its parent does not exist");
	auto done = set_up(context, changes, tree, one.group, one.request, one.cpus);
	if (done)
		done = set_extras(context, changes, one);
	if (done)
		done = look_again(context, changes, tree, one);
	if (!done)
		return done;
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

Result<void> resolve_plan(const Context &context, Plan &plan)
{
	std::set<std::string> known;
	for (auto &one : plan) {
		if (one.policy && !one.request.is_max && one.request.runtime.count() == 0)
			return bad_input(one.group, "runtime 0 forbids FIFO/RR, and it is to have a "
						    "FIFO or RR policy");
		auto group = resolve(context, one.group);
		if (!group)
			return tl::unexpected(group.error());
		one.group = *group;
		if (!known.insert(one.group).second)
			return bad_input(one.group, "planned twice");
	}
	return {};
}

Result<int> carry_out_plan(const Context &context, const Plan &plan, Parents parents)
{
	const auto &options = context.options;
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	auto ordered = plan;
	order(*tree, ordered);

	Changes changes(context.roots, context.groups, context.tasks, options.dry_run);
	for (const auto &one : ordered) {
		Result<void> done;
		if (parents == Parents::made)
			done = make_parents(context, changes, *tree, one);
		if (done)
			done = carry_out(context, changes, *tree, one);
		if (!done)
			return roll_back(changes, done.error());
	}
	if (options.dry_run)
		return print_steps(changes.steps(), options.json);
	changes.keep();

	if (auto made = check_made(*tree, plan); !made)
		return tl::unexpected(made.error());
	auto out = answer();
	bool single = options.plan.empty() && options.file.empty();
	if (!single)
		out["groups"] = Json::array();
	for (const auto &one : plan) {
		auto index = *tree->find(one.group);
		if (!options.json)
			print(one.group + ": " + summary(*tree, index));
		else if (single)
			out.update(describe(context, *tree, index));
		else
			out["groups"].push_back(describe(context, *tree, index));
	}
	if (options.json)
		print(out);
	for (const auto &one : plan) {
		auto index = *tree->find(one.group);
		const auto &cpus = tree->groups[index].cpus;
		if (one.designed_for && cpus.size() > *one.designed_for)
			say(one.group, fmt::format("designed for {} of its {}: on all nothing is "
						   "proved (--cpus)", *one.designed_for,
						   name_cpus(cpus)));
		// Who comes after a boot comes later.
		if (auto sentence = nothing_served(*tree, index, tasks_sharing(context.roots, *tree, index));
		    sentence && parents == Parents::needed)
			say(one.group, *sentence);
	}
	return 0;
}

Result<int> set(const Context &context)
{
	auto plan = make_plan(context);
	if (!plan)
		return tl::unexpected(plan.error());
	return carry_out_plan(context, *plan, Parents::needed);
}

Result<int> rm(const Context &context)
{
	const auto &options = context.options;
	auto target = find_target(context);
	if (!target)
		return tl::unexpected(target.error());
	const auto &group = target->path();
	for (const auto &other : target->tree.groups)
		if (other.parent == target->group)
			return fail(Status::failed, group, "has children: " + other.path);
	std::string pids;
	for (auto pid : processes_in(context.roots, group))
		pids += fmt::format("{}{}", pids.empty() ? "" : " ", pid);
	if (!pids.empty())
		return fail(Status::failed, group, "has processes: " + pids);

	Changes changes(context.roots, context.groups, context.tasks, options.dry_run);
	if (auto done = changes.remove(group); !done)
		return tl::unexpected(done.error());
	if (options.dry_run)
		return print_steps(changes.steps(), options.json);
	if (options.json) {
		auto out = answer();
		out["removed"] = group;
		print(out);
	} else {
		print(group + ": removed");
	}
	return 0;
}

} // namespace dlgroup::tool
