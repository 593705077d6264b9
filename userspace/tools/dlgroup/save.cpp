// SPDX-License-Identifier: GPL-2.0-only
// save and apply: reservations outlive the machine's going down.
#include <algorithm>

#include <fmt/format.h>

#include "common.h"

#include <dlgroup/container.h>
#include <dlgroup/facts.h>

namespace dlgroup::tool {

namespace {

// A group with a number, or one that limits the CPUs of one below it that stays.
bool is_wanted(const Tree &tree, std::size_t group)
{
	const auto &one = tree.groups[group];
	auto below = one.cpus_asked.empty() ? std::vector<std::size_t>{} : tree.carved_from(group);
	return one.rt_max.has_number() || std::any_of(below.begin(), below.end(), [&](std::size_t i) {
		return maker_of(tree.groups[i].path).empty();
	});
}

Planned saved(const Context &context, const Group &group)
{
	Planned one;
	one.group = group.path;
	one.request = {group.rt_max.is_max, group.rt_max.runtime, group.rt_max.period, std::nullopt};
	if (group.rt_max.deadline != group.rt_max.period)
		one.request.deadline = group.rt_max.deadline;
	if (!group.cpus_asked.empty())
		one.cpus = group.cpus_asked;
	auto directory = directory_of(context.roots, group.path);
	if (auto text = read_file(directory / "cpu.rt.cpus"))
		one.by_cpu = lines(trimmed(*text));
	for (const std::string flag : kFlags)
		if (auto text = read_file(directory / ("cpu.rt." + flag))) {
			if (!one.flags)
				one.flags.emplace();
			if (trimmed(*text) == "1")
				one.flags->insert(flag);
		}
	return one;
}

// Leaves out what comes anew, with a name of its own, and says so.
template <class Comes>
std::vector<std::string> leave_out(Plan &plan, Comes comes)
{
	std::vector<std::string> skipped;
	std::erase_if(plan, [&](const Planned &one) {
		auto maker = maker_of(one.group);
		if (maker.empty() || !comes(one))
			return false;
		say(one.group, "skipped: " + maker + " makes it when it is wanted");
		skipped.push_back(one.group);
		return true;
	});
	return skipped;
}

// All of it or none, whenever the machine stops.
Result<void> write_saved(const std::string &file, const std::string &text)
{
	std::filesystem::path path(file);
	std::error_code ignored;
	auto status = std::filesystem::symlink_status(path, ignored);
	if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
		return bad_input(file, "cannot be written: not a regular file");
	auto dir = Dir::open(path.has_parent_path() ? path.parent_path() : ".");
	auto done = dir ? dir->replace(path.filename(), text) : tl::unexpected(dir.error());
	if (!done)
		return bad_input(file, "cannot be written: " + done.error().reason);
	return {};
}

} // namespace

Result<int> save(const Context &context)
{
	const auto &file = context.options.file;
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	if (has_support(context.roots, *tree) == Known::no)
		return fail(Status::unsupported, "kernel", "has no cpu.rt.max (CONFIG_DL_GROUP_SCHED)");
	Plan plan;
	for (std::size_t i = 0; i < tree->groups.size(); i++)
		if (tree->groups[i].parent && is_wanted(*tree, i))
			plan.push_back(saved(context, tree->groups[i]));
	auto skipped = leave_out(plan, [](const Planned &) { return true; });
	auto text = plan_text(plan);
	if (!text)
		return tl::unexpected(text.error());
	if (file == "-") {
		print(trimmed(*text));
		return 0;
	}
	if (auto done = write_saved(file, *text); !done)
		return tl::unexpected(done.error());
	if (context.options.json) {
		auto out = answer();
		out["file"] = file;
		out["groups"] = Json::array();
		for (const auto &one : plan)
			out["groups"].push_back(one.group);
		out["skipped"] = skipped;
		print(out);
	} else {
		print(fmt::format("{}: {} saved", file,
				  plan.size() == 1 ? "1 cgroup" : fmt::format("{} cgroups", plan.size())));
	}
	return 0;
}

Result<int> apply(const Context &context)
{
	auto plan = read_plan(context.options.file);
	if (!plan)
		return tl::unexpected(plan.error());
	for (const auto &one : *plan)
		if (one.group.empty())
			return bad_input(name_input(context.options.file),
					 "has a reservation that names no group; expected \"group\" in each");
	if (auto done = resolve_plan(context, *plan); !done)
		return tl::unexpected(done.error());
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	leave_out(*plan, [&](const Planned &one) { return !tree->find(one.group); });
	return carry_out_plan(context, *plan, Parents::made);
}

} // namespace dlgroup::tool
