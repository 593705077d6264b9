// SPDX-License-Identifier: GPL-2.0-only
#include "common.h"

#include <cerrno>
#include <charconv>
#include <cstdio>

#include <fmt/format.h>
#include <sched.h>

#include <dlgroup/container.h>
#include <dlgroup/diagnosis.h>

namespace dlgroup::tool {

namespace {

Json share(Bandwidth value)
{
	return {{"ppb", parts_per_billion(value)}};
}

// An answer that did not reach its reader is a failure.
void put(const std::string &text)
{
	if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) < 0) {
		say("standard output", "cannot be written");
		std::exit(static_cast<int>(Status::failed));
	}
}

Json refusal_json(const Refusal &refusal)
{
	Json out = {{"rule", static_cast<int>(refusal.rule)}};
	out["cpu"] = refusal.cpus.empty() ? Json() : Json(*refusal.cpus.begin());
	if (refusal.cpus.size() > 1)
		out["cpus"] = format_cpus(refusal.cpus);
	out["asked"] = to_json(refusal.asked);
	if (refusal.asked_share)
		out["asked"]["ppb"] = parts_per_billion(*refusal.asked_share);
	out["free"] = refusal.free ? share(*refusal.free) : Json();
	out["of"] = refusal.of ? share(*refusal.of) : Json();
	out["holders"] = Json::array();
	for (const auto &holder : refusal.holders)
		out["holders"].push_back({{"name", holder.name},
					  {"ppb", parts_per_billion(holder.share)}});
	out["fits"] = refusal.fits ? to_json(*refusal.fits) : Json();
	return out;
}

std::string name_status(Status status)
{
	switch (status) {
	case Status::bad_input:
		return "bad input";
	case Status::refused:
		return "refused";
	case Status::unsupported:
		return "unsupported";
	default:
		return "failed";
	}
}

} // namespace

Result<Roots> find_roots(const Options &options)
{
	Roots roots;
	if (!options.root.empty()) {
		std::filesystem::path base(options.root);
		roots.proc = base / "proc";
		roots.sys = base / "sys";
		roots.cgroup = base / "sys/fs/cgroup";
		roots.run = base / "run";
		roots.options = "--root " + options.root;
		roots.running = false;
	}
	if (!options.cgroup_root.empty()) {
		roots.cgroup = options.cgroup_root;
		roots.options += (roots.options.empty() ? "" : " ") +
				 ("--cgroup-root " + options.cgroup_root);
	} else if (roots.running) {
		auto mount = find_cgroup_mount(roots);
		if (!mount)
			return tl::unexpected(mount.error());
		roots.cgroup = *mount;
	}
	std::error_code ignored;
	if (!std::filesystem::is_directory(roots.cgroup, ignored))
		return bad_input(roots.cgroup.string(), "not a directory");
	roots.cgroup = std::filesystem::absolute(roots.cgroup, ignored).lexically_normal();
	if (!roots.cgroup.has_filename())
		roots.cgroup = roots.cgroup.parent_path();
	return roots;
}

std::filesystem::path disk_root(const Context &context)
{
	const auto &root = context.options.root;
	return root.empty() ? std::filesystem::path("/") : std::filesystem::absolute(root);
}

void say(const std::string &object, const std::string &reason)
{
	std::fprintf(stderr, "dlgroup: %s: %s\n", object.c_str(), reason.c_str());
}

void print(const std::string &line)
{
	put(line + "\n");
}

void print(const Json &object)
{
	// Names of tasks and cgroups may be no UTF-8.
	put(object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Json answer()
{
	return {{"schema_version", kSchemaVersion}};
}

int report(const Error &error, bool json)
{
	if (json) {
		auto out = answer();
		out["error"] = name_status(error.status);
		out["object"] = error.object;
		out["reason"] = error.reason;
		if (error.refusal)
			out.update(refusal_json(*error.refusal));
		print(out);
	}
	say(error.object, error.reason);
	return static_cast<int>(error.status);
}

Result<std::string> resolve(const Context &context, const std::string &target)
{
	if (target.starts_with("/"))
		return check_group_path(target);
	pid_t pid = 0;
	if (target.starts_with("pid:")) {
		auto text = target.substr(4);
		auto end = text.data() + text.size();
		auto got = std::from_chars(text.data(), end, pid);
		if (got.ec != std::errc{} || got.ptr != end || pid <= 0)
			return bad_input(target, "not a process id");
	} else if (target.starts_with("container:")) {
		auto found = container_pid(target.substr(10));
		if (!found)
			return tl::unexpected(found.error());
		pid = *found;
	} else if (target.starts_with("unit:")) {
		auto found = unit_cgroup(target.substr(5));
		return found ? check_group_path(*found) : found;
	} else {
		return bad_input(target.empty() ? "''" : target,
				 "not a target: /path below the cgroup2 mount, pid:N, "
				 "container:NAME or unit:NAME");
	}
	auto task = read_task(context.roots, pid);
	if (!task)
		return tl::unexpected(task.error());
	if (task->cgroup == "/" || task->cgroup.empty())
		return bad_input(target, "is in the root cgroup, which has no reservation");
	return check_group_path(task->cgroup);
}

Result<std::size_t> find_group(const Tree &tree, const std::string &path)
{
	auto found = tree.find(path);
	if (!found)
		return bad_input(path, "no such cgroup");
	return *found;
}

Result<Target> find_target(const Context &context)
{
	auto path = resolve(context, context.options.target);
	if (!path)
		return tl::unexpected(path.error());
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	auto group = find_group(*tree, *path);
	if (!group)
		return tl::unexpected(group.error());
	return Target{std::move(*tree), *group};
}

Result<Request> requested(const Options &options)
{
	bool long_form = !options.runtime.empty() || !options.period.empty() ||
			 !options.deadline.empty();
	if (!options.res.empty() && long_form)
		return bad_input(options.res, "given together with --runtime, --period or "
					      "--deadline");
	if (long_form)
		return make_request(options.runtime, options.period, options.deadline);
	if (options.res.empty())
		return bad_input("reservation", "missing: runtime/period such as 5ms/20ms, "
						"max or 0");
	return parse_request(options.res);
}

std::optional<Policy> requested_policy(const Options &options)
{
	if (options.fifo)
		return Policy{SCHED_FIFO, options.fifo};
	if (options.rr)
		return Policy{SCHED_RR, options.rr};
	return std::nullopt;
}

std::vector<Task> tasks_sharing(const Roots &roots, const Tree &tree, std::size_t group)
{
	std::vector<Task> tasks;
	for (auto i : tree.sharing(group))
		for (auto tid : threads_in(roots, tree.groups[i].path))
			if (auto task = read_task(roots, tid))
				tasks.push_back(std::move(*task));
	return tasks;
}

std::vector<Task> only_fifo_or_rr(std::vector<Task> tasks)
{
	std::erase_if(tasks, [](const Task &task) { return !task.is_fifo_or_rr(); });
	return tasks;
}

Json to_json(const RtMax &value)
{
	if (value.is_max)
		return {{"max", true}, {"period_ns", nanoseconds(value.period).count()}};
	Json out = {{"runtime_ns", nanoseconds(value.runtime).count()},
		    {"period_ns", nanoseconds(value.period).count()}};
	if (value.deadline != value.period)
		out["deadline_ns"] = nanoseconds(value.deadline).count();
	return out;
}

Json to_json(const CpuSet &cpus)
{
	return format_cpus(cpus);
}

Json to_json(const SporadicTask &task)
{
	return {{"name", task.name},
		{"runtime_ns", task.runtime.count()},
		{"deadline_ns", task.deadline.count()},
		{"period_ns", task.period.count()}};
}

Json to_json(const Context &context, const Task &task)
{
	auto policy = name_policy(task.policy);
	return {{"tid", task.tid},
		{"comm", task.name},
		{"policy", policy.substr(0, policy.find(' '))},
		{"priority", task.policy.priority},
		{"cgroup", task.cgroup},
		{"cpus", to_json(task.allowed)},
		{"cpu_time_ns", cpu_time(context.roots, task.tid).count()}};
}

int print_steps(const std::vector<std::string> &steps, bool json)
{
	if (json) {
		auto out = answer();
		out["steps"] = steps;
		print(out);
	} else {
		for (const auto &step : steps)
			print(step);
	}
	return 0;
}

tl::unexpected<Error> roll_back(Changes &changes, Error error)
{
	for (const auto &failure : changes.undo())
		say("undo", failure);
	return tl::unexpected(std::move(error));
}

namespace {

Result<void> enable_controllers(const Tree &tree, Changes &changes, const std::string &group,
				bool cpuset)
{
	std::vector<std::string> wanted{"cpu"};
	if (cpuset)
		wanted.push_back("cpuset");
	for (const auto &controller : wanted)
		if (!contains_word(tree.groups[0].controllers, controller))
			return fail(Status::unsupported, controller + " controller",
				    "not on cgroup2 (dlgroup doctor says why)");
	std::vector<std::size_t> chain;
	for (auto at = tree.find(parent_of(group)); at; at = tree.groups[*at].parent)
		chain.push_back(*at);
	for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
		const auto &parent = tree.groups[*it];
		std::string on, off;
		for (const auto &controller : wanted) {
			if (contains_word(parent.subtree_control, controller))
				continue;
			on += (on.empty() ? "+" : " +") + controller;
			off += (off.empty() ? "-" : " -") + controller;
		}
		if (on.empty())
			continue;
		auto done = changes.write(parent.path, "cgroup.subtree_control", on, off);
		if (!done && done.error().sys_errno == EBUSY)
			return fail(Status::failed, parent.path,
				    "cannot enable " + on + " for its children: it has "
				    "processes of its own");
		if (!done)
			return done;
	}
	return {};
}

Error explain_refusal(const Context &context, const std::string &group,
		      const Request &request, const Error &error)
{
	auto plain = [&](Status status, std::string reason) {
		return Error{status, group, std::move(reason), error.sys_errno, nullptr};
	};
	auto tree = read_tree(context.roots);
	auto index = tree ? tree->find(group) : std::nullopt;
	if (!index)
		return error;
	const auto &now = tree->groups[*index];
	if (!now.has_file)
		return plain(Status::unsupported,
			     "has no cpu.rt.max: the kernel lacks CONFIG_DL_GROUP_SCHED");
	auto headroom = read_headroom(context.roots);
	auto ancestor = tree->numbered_ancestor(*index);
	auto known = headroom.value_or(std::vector<Headroom>{});
	Situation situation{*tree, *index, apply_request(now.rt_max, request),
			    error.sys_errno, known, {}, {}};
	situation.tasks_inside = only_fifo_or_rr(tasks_sharing(context.roots, *tree, *index));
	if (ancestor)
		situation.tasks_of_ancestor =
			only_fifo_or_rr(tasks_sharing(context.roots, *tree, *ancestor));
	if (auto refusal = explain(situation)) {
		auto text = to_text(*refusal);
		auto explained = plain(Status::refused, text);
		explained.refusal = std::make_shared<const Refusal>(std::move(*refusal));
		return explained;
	}
	if (error.sys_errno == EINVAL && situation.asked.deadline != situation.asked.period)
		return plain(Status::unsupported,
			     "this kernel takes no deadline other than the period (dlgroup "
			     "features)");
	if (error.sys_errno == ENOSPC && !headroom)
		return plain(Status::refused, "refused (rule 1): does not fit; what is free is "
					      "told to root only, by debugfs");
	if (error.sys_errno == ENOSPC || error.sys_errno == EBUSY || error.sys_errno == EINVAL)
		return plain(Status::refused, "refused by the kernel: " + error.reason);
	return error;
}

Result<void> reserve(const Context &context, Changes &changes, const std::string &group,
		     const Request &request, const std::optional<CpuSet> &cpus)
{
	std::string old_cpus, old_max = "max";
	if (!changes.dry_run()) {
		auto dir = Dir::open(directory_of(context.roots, group));
		if (!dir)
			return tl::unexpected(dir.error());
		old_cpus = former_cpus(*dir);
		auto text = dir->read("cpu.rt.max");
		if (!text && text.error().sys_errno == ENOENT)
			return fail(Status::unsupported, group,
				    "has no cpu.rt.max: the kernel lacks CONFIG_DL_GROUP_SCHED");
		if (!text)
			return tl::unexpected(text.error());
		old_max = trimmed(*text);
	}
	if (cpus) {
		auto done = changes.write(group, "cpuset.cpus", format_cpus(*cpus), old_cpus);
		if (!done && (done.error().sys_errno == ERANGE || done.error().sys_errno == EINVAL))
			return bad_input(group, fmt::format("{}: no such CPUs", name_cpus(*cpus)));
		if (!done)
			return done;
		if (!changes.dry_run()) {
			auto effective = read_file(directory_of(context.roots, group) /
						   "cpuset.cpus.effective");
			auto got = parse_cpus(effective.value_or(""));
			for (auto cpu : *cpus)
				if (got && !got->count(cpu))
					return bad_input(group, fmt::format(
						"CPU {} is not available to it (it may use "
						"{})", cpu, name_cpus(*got)));
		}
	}
	auto done = changes.write(group, "cpu.rt.max", file_text(request), old_max);
	if (!done)
		return tl::unexpected(explain_refusal(context, group, request, done.error()));
	return {};
}

} // namespace

std::string name_input(const std::string &file)
{
	return file == "-" ? "standard input" : file;
}

Result<Plan> read_plan(const std::string &file)
{
	auto text = read_input(file);
	if (!text)
		return tl::unexpected(text.error());
	return parse_plan(*text, name_input(file));
}

std::string former_cpus(const Dir &group)
{
	auto cpus = trimmed(group.read("cpuset.cpus").value_or(""));
	// The list of a group with tasks cannot become empty again: all that it had.
	if (cpus.empty() && group.read("cgroup.events").value_or("").starts_with("populated 1"))
		cpus = trimmed(group.read("cpuset.cpus.effective").value_or(""));
	return cpus;
}

Result<void> make_group(Changes &changes, const Tree &tree, const std::string &group, bool cpuset)
{
	auto done = enable_controllers(tree, changes, group, cpuset);
	if (done && !tree.find(group))
		done = changes.create(group);
	return done;
}

Result<void> set_up(const Context &context, Changes &changes, const Tree &tree,
		    const std::string &group, const Request &request,
		    const std::optional<CpuSet> &cpus)
{
	auto done = make_group(changes, tree, group, cpus.has_value());
	if (done)
		done = reserve(context, changes, group, request, cpus);
	return done;
}

Error explain_task(const Context &context, const std::string &group, Error error)
{
	if (error.sys_errno != EPERM && error.sys_errno != EINVAL)
		return error;
	auto own = read_file(directory_of(context.roots, group) / "cpu.rt.max.effective.local");
	auto fields = words(own.value_or(""));
	auto tree = read_tree(context.roots);
	auto index = tree ? tree->find(group) : std::nullopt;
	auto source = index ? tree->source_of(*index) : std::nullopt;
	if (!source)
		return error;
	if (*source != *index) {
		own = read_file(directory_of(context.roots, tree->groups[*source].path) /
				"cpu.rt.max.effective.local");
		fields = words(own.value_or(""));
	}
	if (fields.empty() || fields[0] != "0")
		return error;
	Refusal refusal;
	refusal.group = group;
	refusal.rule = Rule::keeps_tasks;
	refusal.asked = tree->groups[*source].rt_max;
	refusal.because = fmt::format("{}: the servers of {} have no runtime of their own for "
				      "FIFO/RR tasks", error.object, tree->groups[*source].path);
	error.status = Status::refused;
	error.object = group;
	error.reason = "refused (rule 3): " + refusal.because;
	error.refusal = std::make_shared<const Refusal>(refusal);
	return error;
}

Error explain_attach(const Context &context, const std::string &group, const std::string &object,
		     Error error)
{
	error.object = object;
	error = explain_task(context, group, std::move(error));
	if (error.sys_errno == EBUSY)
		error.reason = group + " passes controllers on to its children and takes no processes of "
				       "its own";
	return error;
}

void say_if_nothing_served(const Context &context, const std::string &group)
{
	auto tree = read_tree(context.roots);
	auto at = tree ? tree->find(group) : std::nullopt;
	if (!at)
		return;
	if (auto sentence = nothing_served(*tree, *at, tasks_sharing(context.roots, *tree, *at)))
		say(group, *sentence);
}

Result<void> set_policies(const Context &context, Changes &changes,
			  const std::vector<std::string> &groups, const Policy &policy)
{
	if (!context.roots.running && !changes.dry_run())
		return bad_input("--root", "tasks of another tree get no policy");
	// A thread made meanwhile by one not yet changed is caught by another round.
	constexpr int kRounds = 20;
	for (int round = 0; round < kRounds; round++) {
		bool changed = false;
		for (const auto &group : groups) {
			for (auto tid : threads_in(context.roots, group)) {
				auto task = read_task(context.roots, tid);
				if (!task || task->is_deadline())
					continue;
				auto wanted = policy;
				wanted.policy |= task->policy.policy & SCHED_RESET_ON_FORK;
				if (task->policy == wanted)
					continue;
				auto done = changes.set_policy(tid, wanted);
				if (!done)
					return tl::unexpected(
						explain_task(context, group, done.error()));
				changed = true;
			}
		}
		if (!changed || changes.dry_run())
			return {};
	}
	return fail(Status::failed, groups.empty() ? "" : groups[0],
		    "its threads multiply faster than their policy can be set");
}

} // namespace dlgroup::tool
