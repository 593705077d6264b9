// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/system.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>

#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <dlgroup/fs.h>

#ifndef SCHED_DEADLINE
#define SCHED_DEADLINE 6
#endif

namespace dlgroup {

namespace {

constexpr unsigned long kKernelThread = 0x00200000; // PF_KTHREAD
constexpr unsigned long kBound = 0x04000000;	    // PF_NO_SETAFFINITY

std::optional<pid_t> to_pid(const std::string &text)
{
	pid_t pid{};
	auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
	if (error != std::errc{} || end != text.data() + text.size() || pid <= 0)
		return std::nullopt;
	return pid;
}

std::optional<std::int64_t> to_count(const std::string &text)
{
	std::int64_t count{};
	auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
	if (error != std::errc{} || end != text.data() + text.size() || count < 0)
		return std::nullopt;
	return count;
}

int plain(const Policy &policy)
{
	return policy.policy & ~SCHED_RESET_ON_FORK;
}

// The value after "key:" in a file of such lines.
std::string field(const std::string &text, std::string_view key)
{
	for (const auto &line : lines(text)) {
		if (line.size() > key.size() && line.starts_with(key) &&
		    line[key.size()] == ':') {
			auto value = line.substr(key.size() + 1);
			value.erase(0, value.find_first_not_of(" \t"));
			return value;
		}
	}
	return {};
}

} // namespace

std::string name_policy(const Policy &policy)
{
	switch (plain(policy)) {
	case SCHED_FIFO:
		return fmt::format("FIFO {}", policy.priority);
	case SCHED_RR:
		return fmt::format("RR {}", policy.priority);
	case SCHED_OTHER:
		return "OTHER";
	case SCHED_BATCH:
		return "BATCH";
	case SCHED_IDLE:
		return "IDLE";
	case SCHED_DEADLINE:
		return "DEADLINE";
	}
	return fmt::format("policy {}", plain(policy));
}

bool Task::is_fifo_or_rr() const
{
	return plain(policy) == SCHED_FIFO || plain(policy) == SCHED_RR;
}

bool Task::is_deadline() const
{
	return plain(policy) == SCHED_DEADLINE;
}

std::string name_task(const Task &task)
{
	return fmt::format("{} ({})", task.tid, task.name);
}

std::string name_tasks(const std::vector<Task> &tasks)
{
	constexpr std::size_t kNamed = 5;
	std::string text;
	for (std::size_t i = 0; i < std::min(tasks.size(), kNamed); i++)
		text += (i ? ", " : "") + name_task(tasks[i]);
	if (tasks.size() > kNamed)
		text += fmt::format(" and {} more", tasks.size() - kNamed);
	return text;
}

Result<Task> read_task(const Roots &roots, pid_t tid)
{
	// /proc/TID exists for every thread, though only leaders are listed.
	auto dir = Dir::open(roots.proc / std::to_string(tid));
	if (!dir)
		return fail(Status::failed, fmt::format("pid {}", tid), "no such task");
	auto stat = dir->read("stat");
	auto status = dir->read("status");
	if (!stat || !status)
		return fail(Status::failed, fmt::format("pid {}", tid), "no such task");

	Task task;
	task.tid = tid;
	// The name may contain anything, brackets too: it ends at the last one.
	auto open = stat->find('('), close = stat->rfind(')');
	if (open == stat->npos || close == stat->npos)
		return fail(Status::failed, fmt::format("pid {}", tid), "unreadable stat");
	task.name = stat->substr(open + 1, close - open - 1);
	auto rest = words(stat->substr(close + 1));
	// proc(5): the third field is the first of these.
	constexpr std::size_t kFlags = 9 - 3, kStart = 22 - 3, kPriority = 40 - 3, kPolicy = 41 - 3;
	if (rest.size() <= kPolicy)
		return fail(Status::failed, fmt::format("pid {}", tid), "unreadable stat");
	auto flags = std::stoul(rest[kFlags]);
	task.kernel_thread = flags & kKernelThread;
	task.bound = flags & kBound;
	task.policy = {std::stoi(rest[kPolicy]), std::stoi(rest[kPriority])};
	task.started = std::stoull(rest[kStart]);
	task.inner_tid = tid;
	// One number for each pid namespace, its own last.
	if (auto ids = words(field(*status, "NSpid")); !ids.empty())
		task.inner_tid = to_pid(ids.back()).value_or(tid);
	task.tgid = to_pid(field(*status, "Tgid")).value_or(tid);
	if (auto cpus = parse_cpus(field(*status, "Cpus_allowed_list")))
		task.allowed = *cpus;
	if (auto groups = dir->read("cgroup"))
		for (const auto &line : lines(*groups))
			if (line.starts_with("0::"))
				task.cgroup = line.substr(3);
	return task;
}

std::vector<pid_t> threads_of(const Roots &roots, pid_t pid)
{
	std::vector<pid_t> tids;
	for (const auto &name : directories_in(roots.proc / std::to_string(pid) / "task"))
		if (auto tid = to_pid(name))
			tids.push_back(*tid);
	std::sort(tids.begin(), tids.end());
	return tids;
}

std::vector<Task> all_tasks(const Roots &roots)
{
	std::vector<Task> tasks;
	for (const auto &name : directories_in(roots.proc)) {
		auto pid = to_pid(name);
		if (!pid)
			continue;
		for (auto tid : threads_of(roots, *pid))
			if (auto task = read_task(roots, tid))
				tasks.push_back(std::move(*task));
	}
	std::sort(tasks.begin(), tasks.end(),
		  [](const Task &a, const Task &b) { return a.tid < b.tid; });
	return tasks;
}

std::vector<Task> kernel_threads(const Roots &roots)
{
	std::vector<Task> tasks;
	for (const auto &name : directories_in(roots.proc)) {
		auto pid = to_pid(name);
		auto task = pid ? read_task(roots, *pid) : tl::unexpected(Error{});
		if (task && task->kernel_thread)
			tasks.push_back(std::move(*task));
	}
	std::sort(tasks.begin(), tasks.end(),
		  [](const Task &a, const Task &b) { return a.tid < b.tid; });
	return tasks;
}

namespace {

// proc(5): what follows the name; the state is the first.
std::vector<std::string> stat_of(const Roots &roots, pid_t pid)
{
	auto stat = read_file(roots.proc / std::to_string(pid) / "stat").value_or("");
	return words(stat.substr(stat.rfind(')') + 1));
}

} // namespace

std::optional<std::uint64_t> start_of(const Roots &roots, pid_t pid)
{
	constexpr std::size_t kStart = 22 - 3;
	auto fields = stat_of(roots, pid);
	if (fields.size() <= kStart)
		return std::nullopt;
	return std::stoull(fields[kStart]);
}

bool is_running(const Roots &roots, pid_t pid, std::uint64_t started)
{
	auto fields = stat_of(roots, pid);
	if (start_of(roots, pid) != started || fields.empty())
		return false;
	// Its first thread stays until the others have ended.
	return (fields[0] != "Z" && fields[0] != "X") || threads_of(roots, pid).size() > 1;
}

std::optional<RunTime> parse_schedstat(const std::string &text)
{
	auto fields = words(text);
	auto ran = fields.empty() ? std::nullopt : to_count(fields[0]);
	auto waited = fields.size() < 2 ? std::nullopt : to_count(fields[1]);
	if (!ran || !waited)
		return std::nullopt;
	return RunTime{nanoseconds(*ran), nanoseconds(*waited)};
}

nanoseconds cpu_time(const Roots &roots, pid_t tid)
{
	auto dir = roots.proc / std::to_string(tid);
	// Exact, where the kernel has CONFIG_SCHED_INFO.
	if (auto exact = parse_schedstat(read_file(dir / "schedstat").value_or("")))
		return exact->ran;
	constexpr std::size_t kUser = 14 - 3, kSystem = 15 - 3;
	auto stat = read_file(dir / "stat").value_or("");
	auto fields = words(stat.substr(stat.rfind(')') + 1));
	std::int64_t ticks = 0;
	for (auto at : {kUser, kSystem})
		if (fields.size() > at)
			ticks += to_count(fields[at]).value_or(0);
	return std::chrono::seconds(1) * ticks / sysconf(_SC_CLK_TCK);
}

Result<Policy> KernelTaskControl::get(pid_t tid)
{
	sched_param param{};
	int policy = sched_getscheduler(tid);
	if (policy < 0 || sched_getparam(tid, &param) < 0)
		return system_error(fmt::format("pid {}", tid), errno);
	return Policy{policy, param.sched_priority};
}

Result<void> KernelTaskControl::set(pid_t tid, const Policy &policy)
{
	sched_param param{};
	param.sched_priority = policy.priority;
	if (sched_setscheduler(tid, policy.policy, &param) < 0)
		return system_error(fmt::format("pid {}: {}", tid, name_policy(policy)), errno);
	return {};
}

Result<void> KernelTaskControl::set_cpus(pid_t tid, const CpuSet &cpus)
{
	std::size_t count = cpus.empty() ? 1 : *cpus.rbegin() + 1;
	auto size = CPU_ALLOC_SIZE(count);
	std::unique_ptr<cpu_set_t, void (*)(cpu_set_t *)> mask(CPU_ALLOC(count),
								[](cpu_set_t *set) { CPU_FREE(set); });
	CPU_ZERO_S(size, mask.get());
	for (auto cpu : cpus)
		CPU_SET_S(cpu, size, mask.get());
	if (sched_setaffinity(tid, size, mask.get()) < 0)
		return system_error(fmt::format("pid {}: {}", tid, name_cpus(cpus)), errno);
	return {};
}

std::uint64_t KernelTaskControl::core_cookie(pid_t tid)
{
	std::uint64_t cookie = 0;
	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, tid, PR_SCHED_CORE_SCOPE_THREAD, &cookie))
		return 0;
	return cookie;
}

Result<CpuSet> online_cpus(const Roots &roots)
{
	auto text = read_file(roots.sys / "devices/system/cpu/online");
	if (!text)
		return tl::unexpected(text.error());
	return parse_cpus(*text);
}

Result<std::vector<Headroom>> read_headroom(const Roots &roots)
{
	auto path = roots.debug() / "sched/dl_group_headroom";
	auto text = read_file(path);
	if (!text)
		return tl::unexpected(text.error());
	std::vector<Headroom> all;
	for (const auto &line : lines(*text)) {
		auto fields = words(line);
		if (fields.empty() || !fields[0].starts_with("cpu"))
			continue;
		Headroom one;
		auto number = [](const std::string &from, auto &into) {
			auto end = from.data() + from.size();
			auto got = std::from_chars(from.data(), end, into);
			return got.ec == std::errc{} && got.ptr == end;
		};
		std::map<std::string, Bandwidth *> known{{"cap", &one.cap},
							 {"fair", &one.fair},
							 {"groups", &one.groups},
							 {"tasks", &one.tasks},
							 {"free", &one.free}};
		bool good = number(fields[0].substr(3), one.cpu);
		for (std::size_t i = 1; good && i + 1 < fields.size(); i += 2)
			if (auto it = known.find(fields[i]); it != known.end()) {
				good = number(fields[i + 1], *it->second);
				known.erase(it);
			}
		if (!good || !known.empty())
			return fail(Status::failed, path.string(), "unreadable line: " + line);
		all.push_back(one);
	}
	return all;
}

} // namespace dlgroup
