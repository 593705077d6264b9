// SPDX-License-Identifier: GPL-2.0-only
#include <cerrno>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <dlgroup/cgroup.h>
#include <dlgroup/fs.h>

#include "runtime.h"

namespace dlgroup::runtime {

namespace {

constexpr std::size_t kLargestState = 1 << 20;

// A member of the state; null if it is not there, or is no state.
nlohmann::json member(const std::string &state, const char *name)
{
	auto json = state.size() > kLargestState ? nlohmann::json() : nlohmann::json::parse(state, nullptr, false);
	return json.is_object() ? json.value(name, nlohmann::json()) : nlohmann::json();
}

// A process that cannot become another one behind our back.
class Held {
public:
	explicit Held(pid_t pid) : fd_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {}
	Held(const Held &) = delete;
	Held &operator=(const Held &) = delete;
	~Held()
	{
		if (fd_ >= 0)
			close(fd_);
	}
	bool is_there() const
	{
		pollfd ended{fd_, POLLIN, 0};
		return fd_ >= 0 && poll(&ended, 1, 0) == 0;
	}

private:
	int fd_;
};

} // namespace

std::string container_of_state(const std::string &state)
{
	auto id = member(state, "id");
	return id.is_string() ? id.get<std::string>() : "";
}

Result<void> hook(const Roots &roots, TaskControl &tasks, const std::vector<std::string> &arguments,
		  const std::string &state)
{
	if (arguments.size() != 4 && arguments.size() != 6)
		return bad_input("dlgroup-hook", "is for the config.json of a container: CGROUP CPU_RT_MAX POLICY");
	auto group = check_group_path(arguments[1]);
	auto wanted = parse_file_text(arguments[2]);
	auto policy = parse_policy_word(arguments[3]);
	if (!group || !wanted || !policy)
		return tl::unexpected(!group ? group.error() : !wanted ? wanted.error() : policy.error());
	auto number = member(state, "pid");
	if (!number.is_number_unsigned() || number > 4194304U || number == 0U)
		return bad_input("state", "on standard input has no pid of a container");
	auto pid = number.get<pid_t>();

	Held process(pid);
	auto task = read_task(roots, pid);
	if (!task)
		return tl::unexpected(task.error());
	// crun with systemd puts it one below.
	if (task->cgroup != *group && task->cgroup != *group + "/container")
		return fail(Status::failed, name_task(*task), fmt::format("is in {}, not in {}", task->cgroup, *group));
	auto text = read_file(directory_of(roots, task->cgroup) / "cpu.rt.max");
	if (!text && text.error().sys_errno == ENOENT)
		return fail(Status::unsupported, task->cgroup,
			    "has no cpu.rt.max: the kernel lacks CONFIG_DL_GROUP_SCHED, or the cpu controller is not enabled");
	auto has = text ? parse_rt_max(*text) : tl::unexpected(text.error());
	if (!has)
		return tl::unexpected(has.error());
	if (*has != apply_request({}, *wanted))
		return fail(Status::failed, task->cgroup, fmt::format("cpu.rt.max is {}, granted were {}", trimmed(*text),
								      arguments[2]));
	if (*policy)
		for (auto tid : threads_of(roots, pid))
			if (auto done = tasks.set(tid, **policy); !done)
				return done;
	if (!process.is_there())
		return fail(Status::failed, name_task(*task), "ended while the container was made");
	return {};
}

} // namespace dlgroup::runtime
