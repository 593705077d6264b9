// SPDX-License-Identifier: GPL-2.0-only
// show and list
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "common.h"

#include <dlgroup/container.h>
#include <dlgroup/diagnosis.h>
#include <dlgroup/facts.h>

namespace dlgroup::tool {

namespace {

struct TaskCounts {
	std::size_t fifo = 0, rr = 0, deadline = 0, other = 0;
};

TaskCounts count(const std::vector<Task> &tasks)
{
	TaskCounts counts;
	for (const auto &task : tasks) {
		if (task.is_deadline())
			counts.deadline++;
		else if (!task.is_fifo_or_rr())
			counts.other++;
		else if (name_policy(task.policy).starts_with("RR"))
			counts.rr++;
		else
			counts.fifo++;
	}
	return counts;
}

std::vector<Effective> read_effective(const Context &context, const std::string &group)
{
	return parse_effective(read_file(directory_of(context.roots, group) /
					 "cpu.rt.max.effective.local").value_or(""));
}

// Counters of the kernel in microseconds become nanoseconds.
Json counters_json(const Counters &counters)
{
	Json out = Json::object();
	for (const auto &[key, value] : counters) {
		if (auto at = key.find("_usec"); at != key.npos)
			out[key.substr(0, at) + "_ns" +
			    (key.substr(at + 5) == "_max" ? "_max" : "")] = value * 1000;
		else if (auto ns = key.find("_nsec"); ns != key.npos)
			out[key.substr(0, ns) + "_ns" +
			    (key.substr(ns + 5) == "_max" ? "_max" : "")] = value;
		else
			out[key] = value;
	}
	return out;
}

std::string us(std::uint64_t value)
{
	return format_duration(microseconds(static_cast<std::int64_t>(value)));
}

Json headroom_json(const Headroom &one)
{
	return {{"cpu", one.cpu},
		{"cap_ppb", parts_per_billion(one.cap)},
		{"fair_server_ppb", parts_per_billion(one.fair)},
		{"groups_ppb", parts_per_billion(one.groups)},
		{"deadline_tasks_ppb", parts_per_billion(one.tasks)},
		{"free_ppb", parts_per_billion(one.free)}};
}

} // namespace

std::string summary(const Tree &tree, std::size_t group)
{
	const auto &one = tree.groups[group];
	auto source = tree.numbered_ancestor(group);
	if (one.rt_max.is_max)
		return source ? fmt::format("max: runs inside the reservation of {}, {}",
					    tree.groups[*source].path,
					    summary(tree, *source))
			      : "max: no reservation";
	if (one.rt_max.runtime.count() == 0)
		return fmt::format("0: FIFO/RR is forbidden in it (0 % of {} {} = 0.00 CPU)",
				   one.cpus.size(), one.cpus.size() == 1 ? "CPU" : "CPUs");
	auto text = fmt::format("{} on {} ({})", format_rt_max(one.rt_max),
				name_cpus(one.cpus),
				total(bandwidth(one.rt_max), one.cpus.size()));
	if (source)
		text += fmt::format(", carved out of {}", tree.groups[*source].path);
	return text;
}

Json describe(const Context &context, const Tree &tree, std::size_t group)
{
	const auto &one = tree.groups[group];
	auto tasks = tasks_sharing(context.roots, tree, group);
	auto counts = count(tasks);
	auto source = tree.source_of(group);
	Json out;
	out["group"] = one.path;
	if (auto container = container_of(disk_root(context), one.path))
		out["container"] = {{"engine", container->engine}, {"name", container->name}};
	out["reservation"] = to_json(one.rt_max);
	out["source"] = source ? Json(tree.groups[*source].path) : Json();
	out["cpus"] = to_json(one.cpus);
	Json sum = {{"cpus", one.cpus.size()}};
	auto ruling = source ? tree.groups[*source].rt_max : RtMax{};
	sum["each_ppb"] = parts_per_billion(bandwidth(ruling));
	sum["text"] = source ? total(bandwidth(ruling), one.cpus.size()) : "";
	out["total"] = sum;
	out["effective"] = Json::array();
	for (const auto &effective : read_effective(context, one.path)) {
		auto value = to_json(effective.value);
		value["cpus"] = effective.cpus.empty() ? to_json(one.cpus)
						       : to_json(effective.cpus);
		out["effective"].push_back(value);
	}
	out["carved"] = Json::array();
	for (auto i : tree.carved_from(group))
		out["carved"].push_back({{"group", tree.groups[i].path},
					 {"reservation", to_json(tree.groups[i].rt_max)}});
	out["tasks"] = {{"fifo", counts.fifo},
			{"rr", counts.rr},
			{"deadline", counts.deadline},
			{"other", counts.other}};
	auto stat = parse_stat(read_file(directory_of(context.roots, one.path) / "cpu.rt.stat")
				       .value_or(""));
	out["stat"] = counters_json(stat.all);
	out["stat_cpus"] = Json::array();
	for (const auto &[cpu, counters] : stat.cpus) {
		Json line = {{"cpu", cpu}};
		line.update(counters_json(counters));
		out["stat_cpus"].push_back(line);
	}
	out["notes"] = Json::array();
	if (auto sentence = nothing_served(tree, group, tasks))
		out["notes"].push_back(*sentence);
	return out;
}

Result<int> show(const Context &context)
{
	auto target = find_target(context);
	if (!target)
		return tl::unexpected(target.error());
	const auto &tree = target->tree;
	auto index = target->group;
	if (has_support(context.roots, tree) == Known::no)
		return fail(Status::unsupported, target->path(),
			    "has no cpu.rt.max: the kernel lacks CONFIG_DL_GROUP_SCHED");
	if (context.options.json) {
		auto out = answer();
		out.update(describe(context, tree, index));
		print(out);
		return 0;
	}

	const auto &group = tree.groups[index];
	auto tasks = tasks_sharing(context.roots, tree, index);
	auto counts = count(tasks);
	auto row = [](const char *name, const std::string &value) {
		print(fmt::format("  {:<12} {}", name, value));
	};
	print(group.path);
	if (auto container = container_of(disk_root(context), group.path))
		row("container", container->engine + " " + container->name);
	row("reservation", summary(tree, index));
	for (const auto &one : read_effective(context, group.path))
		row("own servers", format_rt_max(one.value) +
					   (one.cpus.empty() ? "" : " on " + name_cpus(one.cpus)));
	for (auto i : tree.carved_from(index))
		row("carved out", tree.groups[i].path + " " +
					  format_rt_max(tree.groups[i].rt_max));
	row("tasks", fmt::format("{} FIFO, {} RR, {} DEADLINE, {} other", counts.fifo,
				 counts.rr, counts.deadline, counts.other));
	auto stat = parse_stat(read_file(directory_of(context.roots, group.path) /
					 "cpu.rt.stat").value_or("")).all;
	if (!stat.empty()) {
		row("used", fmt::format("{} in {} periods", us(stat["usage_usec"]),
					stat["nr_periods"]));
		row("throttled", fmt::format("{} times, {}", stat["nr_throttled"],
					     us(stat["throttled_usec"])));
		row("overruns", fmt::format("{}, longest {}", stat["nr_overruns"],
					    us(stat["overrun_usec_max"])));
		row("trouble", fmt::format("{} deadlines missed, {} times unserved",
					   stat["nr_dl_miss"], stat["nr_unserved"]));
	}
	if (auto sentence = nothing_served(tree, index, tasks))
		row("note", *sentence);
	return 0;
}

Result<int> list(const Context &context)
{
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	if (has_support(context.roots, *tree) == Known::no)
		return fail(Status::unsupported, "kernel", "has no cpu.rt.max "
							   "(CONFIG_DL_GROUP_SCHED)");
	std::vector<std::size_t> numbered;
	for (std::size_t i = 0; i < tree->groups.size(); i++)
		if (tree->groups[i].rt_max.has_number())
			numbered.push_back(i);
	std::vector<Headroom> headroom;
	if (context.options.headroom) {
		auto read = read_headroom(context.roots);
		if (!read)
			return tl::unexpected(read.error());
		headroom = *read;
	}

	if (context.options.json) {
		auto out = answer();
		out["groups"] = Json::array();
		for (auto i : numbered)
			out["groups"].push_back(describe(context, *tree, i));
		if (context.options.headroom) {
			out["headroom"] = Json::array();
			for (const auto &one : headroom)
				out["headroom"].push_back(headroom_json(one));
		}
		print(out);
		return 0;
	}

	std::size_t width = 5;
	std::map<std::size_t, std::string> containers;
	for (auto i : numbered) {
		width = std::max(width, tree->groups[i].path.size());
		if (auto container = container_of(disk_root(context), tree->groups[i].path))
			containers[i] = container->engine + " " + container->name;
	}
	auto line = [&](const auto &...columns) {
		print(trimmed(fmt::format("{:<{}}  {:<16} {:<8} {:<28} {:<14} {}", columns...)));
	};
	if (!numbered.empty())
		line("GROUP", width, "RESERVATION", "CPUS", "TOTAL", "FIFO/RR TASKS",
		     containers.empty() ? "" : "CONTAINER");
	for (auto i : numbered) {
		const auto &group = tree->groups[i];
		auto served = only_fifo_or_rr(tasks_sharing(context.roots, *tree, i));
		line(group.path, width, format_rt_max(group.rt_max), format_cpus(group.cpus),
		     total(bandwidth(group.rt_max), group.cpus.size()), served.size(), containers.count(i) ? containers[i] : "");
	}
	if (numbered.empty())
		print(std::string("no reservations"));
	if (context.options.headroom) {
		print(fmt::format("{:<5} {:>8} {:>12} {:>8} {:>15} {:>8}", "CPU", "CAP",
				  "FAIR SERVER", "GROUPS", "DEADLINE TASKS", "FREE"));
		for (const auto &one : headroom)
			print(fmt::format("{:<5} {:>8} {:>12} {:>8} {:>15} {:>8}", one.cpu,
					  percent(one.cap), percent(one.fair),
					  percent(one.groups), percent(one.tasks),
					  percent(one.free)));
	}
	return 0;
}

} // namespace dlgroup::tool
