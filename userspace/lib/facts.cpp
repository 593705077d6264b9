// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/facts.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>

#include <fmt/format.h>
#include <mntent.h>
#include <unistd.h>
#include <zlib.h>

namespace dlgroup {

namespace {

template <class T>
std::optional<T> number(const std::string &text)
{
	T value{};
	auto trimmed_text = trimmed(text);
	auto end = trimmed_text.data() + trimmed_text.size();
	auto got = std::from_chars(trimmed_text.data(), end, value);
	if (got.ec != std::errc{} || got.ptr != end)
		return std::nullopt;
	return value;
}

std::optional<std::int64_t> read_number(const std::filesystem::path &path)
{
	auto text = read_file(path);
	return text ? number<std::int64_t>(*text) : std::nullopt;
}

bool is_there(const std::filesystem::path &path)
{
	std::error_code ignored;
	return std::filesystem::exists(path, ignored);
}

// The N of a directory "cpuN".
std::optional<unsigned> cpu_of(const std::string &name)
{
	return name.starts_with("cpu") ? number<unsigned>(name.substr(3)) : std::nullopt;
}

// 'y', 'n', or unknown where the kernel does not carry its configuration.
Known built_with(const Roots &roots, const std::string &option)
{
	auto path = roots.proc / "config.gz";
	if (!is_there(path))
		return Known::unknown;
	gzFile file = gzopen(path.c_str(), "re");
	if (!file)
		return Known::unknown;
	Known found = Known::no;
	char line[1024];
	while (gzgets(file, line, sizeof(line)))
		if (trimmed(line) == option + "=y")
			found = Known::yes;
	gzclose(file);
	return found;
}

Known yes_if(bool condition)
{
	return condition ? Known::yes : Known::no;
}

// Any group but the root for which the cpu controller is enabled.
const Group *a_cpu_group(const Tree &tree)
{
	for (const auto &group : tree.groups)
		if (group.has_cpu_files && group.parent)
			return &group;
	return nullptr;
}

// Asks the kernel in a scratch cgroup. A runtime of 0 reserves nothing.
Feature probe_deadline(const Roots &roots, const Tree &tree, GroupControl &groups)
{
	Feature feature{"deadline", "a deadline shorter than the period (RES Q/P/D)",
			Known::unknown, ""};
	auto refuse = [&](const std::string &why) {
		feature.how = "could not be asked: " + why;
		return feature;
	};
	if (!roots.running)
		return refuse("not the running kernel");
	if (!contains_word(tree.groups[0].subtree_control, "cpu"))
		return refuse("the cpu controller is not enabled in /");
	auto scratch = fmt::format("/dlgroup.features-{}", getpid());
	if (auto made = groups.create(scratch); !made)
		return refuse(made.error().reason);
	auto written = write_file(directory_of(roots, scratch) / "cpu.rt.max",
				  "0 100000 50000");
	if (written || written.error().sys_errno == EINVAL) {
		feature.present = yes_if(written.has_value());
		feature.how = "a third value written to cpu.rt.max of a scratch cgroup";
	} else {
		feature.how = "could not be asked: " + written.error().reason;
	}
	if (auto removed = groups.remove(scratch); !removed)
		feature.how += "; " + scratch + " could not be removed again: " +
			       removed.error().reason;
	return feature;
}

std::vector<V1Mount> v1_mounts(const Roots &roots)
{
	std::vector<V1Mount> found;
	FILE *mounts = setmntent((roots.proc / "self/mounts").c_str(), "re");
	if (!mounts)
		return found;
	while (auto *entry = getmntent(mounts)) {
		if (std::string_view(entry->mnt_type) != "cgroup")
			continue;
		std::string held;
		for (const char *controller : {"cpu", "cpuset"})
			if (hasmntopt(entry, controller))
				held += (held.empty() ? "" : ",") + std::string(controller);
		if (!held.empty())
			found.push_back({entry->mnt_dir, held});
	}
	endmntent(mounts);
	return found;
}

void read_power(const Roots &roots, Facts &facts)
{
	auto base = roots.sys / "devices/system/cpu";
	for (const auto &name : directories_in(base)) {
		auto cpu = cpu_of(name);
		if (!cpu)
			continue;
		if (auto text = read_file(base / name / "cpufreq/scaling_governor"))
			facts.governors.push_back({*cpu, trimmed(*text)});
		auto idle = base / name / "cpuidle";
		for (const auto &state : directories_in(idle)) {
			auto latency = read_number(idle / state / "latency");
			auto disable = read_number(idle / state / "disable");
			if (!latency || !disable)
				continue;
			facts.idle_states.push_back(
				{*cpu, (idle / state).string(),
				 trimmed(read_file(idle / state / "name").value_or(state)),
				 *latency, *disable != 0});
		}
	}
}

// The function that shows cpu.rt.max, and the one that looks for such waiters.
constexpr const char *kShows = " cpu_rt_max_show";
constexpr const char *kLends = " __dl_group_pi_outside";

// The kernel's list of its functions is there for everybody, if their addresses are not.
Known has_function(const Roots &roots, const char *name)
{
	std::ifstream symbols(roots.proc / "kallsyms");
	bool any = false;
	for (std::string line; std::getline(symbols, line); any = true)
		if (line.ends_with(name))
			return Known::yes;
	return any ? Known::no : Known::unknown;
}

std::map<std::string, Counters> read_counters(const Roots &roots, const Tree &tree)
{
	std::map<std::string, Counters> all;
	for (const auto &group : tree.groups)
		if (group.rt_max.has_number())
			if (auto text = read_file(directory_of(roots, group.path) / "cpu.rt.stat"))
				all[group.path] = parse_stat(*text).all;
	return all;
}

} // namespace

IrqAccounting irq_accounting(const Roots &roots)
{
	if (auto line = read_file(roots.proc / "cmdline"))
		if (contains_word(*line, "tsc=noirqtime"))
			return IrqAccounting::off_by_parameter;
	// The kernel shows interrupt pressure only if it accounts their time.
	if (is_there(roots.proc / "pressure/memory"))
		return is_there(roots.proc / "pressure/irq") ? IrqAccounting::on
							   : IrqAccounting::off_by_build;
	switch (built_with(roots, "CONFIG_IRQ_TIME_ACCOUNTING")) {
	case Known::yes:
		return IrqAccounting::on;
	case Known::no:
		return IrqAccounting::off_by_build;
	case Known::unknown:
		break;
	}
	return IrqAccounting::unknown;
}

Known has_support(const Roots &roots, const Tree &tree)
{
	for (const auto &group : tree.groups)
		if (group.has_file)
			return Known::yes;
	if (a_cpu_group(tree))
		return Known::no;
	// No group shows it yet: the controller is enabled nowhere.
	if (is_there(roots.debug() / "sched/dl_group_headroom") ||
	    is_there(roots.tracing() / "events/sched/sched_dl_group_throttle"))
		return Known::yes;
	auto built = built_with(roots, "CONFIG_DL_GROUP_SCHED");
	return built == Known::unknown ? has_function(roots, kShows) : built;
}

Known is_preempt_rt(const Roots &roots)
{
	auto version = read_file(roots.proc / "sys/kernel/version");
	return version ? yes_if(contains_word(*version, "PREEMPT_RT")) : Known::unknown;
}

Known forces_irq_threads(const Roots &roots)
{
	auto line = read_file(roots.proc / "cmdline");
	if (is_preempt_rt(roots) == Known::yes || (line && contains_word(*line, "threadirqs")))
		return Known::yes;
	return line ? Known::no : Known::unknown;
}

Known lends_to_waiters(const Roots &roots)
{
	return has_function(roots, kLends); // no file tells
}

std::vector<Feature> probe_features(const Roots &roots, const Tree &tree,
				    GroupControl &groups)
{
	std::vector<Feature> features;
	auto support = has_support(roots, tree);
	features.push_back({"reservation", "cpu.rt.max: FIFO/RR tasks of a cgroup get runtime "
					   "every period", support,
			    "files of cgroups, debugfs, tracefs, /proc/config.gz, /proc/kallsyms"});

	const auto *group = a_cpu_group(tree);
	auto file = [&](const char *name, const char *what, const std::string &path) {
		Feature feature{name, what, Known::no, path};
		if (support != Known::no && !group) {
			feature.present = Known::unknown;
			feature.how += " (no cgroup has the cpu controller enabled)";
		} else if (support != Known::no) {
			feature.present = yes_if(
				is_there(directory_of(roots, group->path) / path));
		}
		features.push_back(feature);
	};
	file("effective", "what a group's own servers get", "cpu.rt.max.effective.local");
	file("stat", "time used, throttling, overruns", "cpu.rt.stat");
	file("per-cpu", "other numbers on some CPUs", "cpu.rt.cpus");
	file("events", "notification of throttling and lost guarantees", "cpu.rt.events");
	file("reclaim", "bandwidth left idle is used by others", "cpu.rt.reclaim");
	file("unpriv", "FIFO/RR without CAP_SYS_NICE", "cpu.rt.unpriv");
	file("fair", "SCHED_OTHER tasks served too", "cpu.rt.fair");
	features.push_back(support == Known::no
				   ? Feature{"deadline", "a deadline shorter than the period "
							 "(RES Q/P/D)", Known::no, "no cpu.rt.max"}
				   : probe_deadline(roots, tree, groups));

	features.push_back({"lends", "throttled with a lock, a task runs for who waits outside",
			    support == Known::no ? support : lends_to_waiters(roots),
			    std::string("/proc/kallsyms:") + kLends});

	auto kernel_file = [&](const char *name, const char *what,
			       const std::filesystem::path &base, const char *path) {
		Feature feature{name, what, Known::unknown, (base / path).string()};
		if (is_there(base / "."))
			feature.present = yes_if(is_there(base / path));
		else
			feature.how += " (not readable)";
		features.push_back(feature);
	};
	kernel_file("headroom", "what is free on each CPU", roots.debug() / "sched",
		    "dl_group_headroom");
	for (const char *event : {"throttle", "replenish"})
		kernel_file(event == std::string("throttle") ? "trace-throttle"
							     : "trace-replenish",
			    event == std::string("throttle") ? "tracepoint at the end of a budget"
							     : "tracepoint at its renewal",
			    roots.tracing() / "events/sched",
			    event == std::string("throttle") ? "sched_dl_group_throttle"
							     : "sched_dl_group_replenish");
	return features;
}

Stat parse_stat(const std::string &text)
{
	Stat stat;
	for (const auto &line : lines(text)) {
		auto fields = words(line);
		if (fields.size() == 2 && fields[1].find('=') == std::string::npos) {
			if (auto value = number<std::uint64_t>(fields[1]))
				stat.all[fields[0]] = *value;
			continue;
		}
		auto cpu = fields.empty() ? std::nullopt : cpu_of(fields[0]);
		if (!cpu)
			continue;
		for (std::size_t i = 1; i < fields.size(); i++) {
			auto equals = fields[i].find('=');
			if (equals == std::string::npos)
				continue;
			if (auto value = number<std::uint64_t>(fields[i].substr(equals + 1)))
				stat.cpus[*cpu][fields[i].substr(0, equals)] = *value;
		}
	}
	return stat;
}

Result<Facts> gather_facts(const Roots &roots, TaskControl &control,
			   const std::function<void()> &wait)
{
	Facts facts;
	facts.roots = roots;
	auto tree = read_tree(roots);
	if (!tree)
		return tl::unexpected(tree.error());
	facts.tree = std::move(*tree);
	facts.support = has_support(roots, facts.tree);
	facts.online = online_cpus(roots).value_or(CpuSet{});
	if (auto text = read_file(roots.sys / "devices/system/cpu/offline"))
		facts.offline = parse_cpus(*text).value_or(CpuSet{});
	facts.headroom = read_headroom(roots).value_or(std::vector<Headroom>{});
	facts.tasks = all_tasks(roots);
	for (const auto &task : facts.tasks)
		if (task.is_fifo_or_rr() && control.core_cookie(task.tid))
			facts.tasks_with_cookie.push_back(task);

	facts.rt_runtime_us = read_number(roots.proc / "sys/kernel/sched_rt_runtime_us");
	facts.rt_period_us = read_number(roots.proc / "sys/kernel/sched_rt_period_us");
	auto fair = roots.debug() / "sched/fair_server";
	for (const auto &name : directories_in(fair)) {
		auto runtime = read_number(fair / name / "runtime");
		auto period = read_number(fair / name / "period");
		if (auto cpu = cpu_of(name); cpu && runtime && period)
			facts.fair_servers.push_back({*cpu, *runtime, *period});
	}
	std::sort(facts.fair_servers.begin(), facts.fair_servers.end(),
		  [](const FairServer &a, const FairServer &b) { return a.cpu < b.cpu; });
	facts.v1_mounts = v1_mounts(roots);
	read_power(roots, facts);
	if (auto state = read_file(roots.sys / "kernel/sched_ext/state"))
		facts.sched_ext_state = trimmed(*state);
	facts.irq_accounting = irq_accounting(roots);
	facts.irq_threads = forces_irq_threads(roots);

	auto before = read_counters(roots, facts.tree);
	if (!before.empty())
		wait();
	for (const auto &[group, counters] : read_counters(roots, facts.tree))
		for (const auto &[key, value] : counters)
			if (auto was = before[group][key]; value > was)
				facts.risen[group][key] = value - was;
	return facts;
}

} // namespace dlgroup
