// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/guest.h>

#include <algorithm>
#include <charconv>
#include <tuple>

#include <fmt/format.h>
#include <sys/stat.h>

#include <dlgroup/cgroup.h>
#include <dlgroup/fs.h>

namespace dlgroup {

namespace {

std::optional<pid_t> to_pid(std::string_view text)
{
	pid_t pid{};
	auto end = text.data() + text.size();
	auto got = std::from_chars(text.data(), end, pid);
	if (got.ec != std::errc{} || got.ptr != end || pid <= 0)
		return std::nullopt;
	return pid;
}

// "CPU 3/KVM" is 3. With one thread for all of them TCG has "ALL CPUs/TCG".
std::optional<std::string> vcpu_of_name(const std::string &name)
{
	auto slash = name.rfind('/');
	if (slash == name.npos)
		return std::nullopt;
	if (name.starts_with("ALL CPUs"))
		return "all";
	if (!name.starts_with("CPU "))
		return std::nullopt;
	auto number = name.substr(4, slash - 4);
	bool digits = !number.empty() && number.find_first_not_of("0123456789") == number.npos;
	return digits ? std::optional(number) : std::nullopt;
}

void classify(GuestThread &thread, pid_t leader, const std::optional<QmpThreads> &qmp)
{
	const auto &name = thread.task.name;
	auto is = [&](ThreadClass of, std::string label = {}) {
		thread.is = of;
		thread.label = std::move(label);
	};
	if (qmp) {
		if (auto it = qmp->vcpus.find(thread.task.inner_tid); it != qmp->vcpus.end())
			return is(ThreadClass::vcpu, std::to_string(it->second));
		if (auto it = qmp->iothreads.find(thread.task.inner_tid); it != qmp->iothreads.end())
			return is(ThreadClass::iothread, it->second);
	}
	if (thread.task.tid == leader)
		return is(ThreadClass::main);
	// QEMU names its threads with debug-threads=on only, the kernel always.
	if (auto number = vcpu_of_name(name))
		return is(ThreadClass::vcpu, *number);
	// IO mon_iothread serves the monitor, and no device.
	if (name.starts_with("IO ") && name != "IO mon_iothread")
		return is(ThreadClass::iothread, name.substr(3));
	if (name == "worker" || name.starts_with("iou-"))
		return is(ThreadClass::worker, name == "worker" ? "" : name);
	if (name.starts_with("vhost-"))
		return is(ThreadClass::vhost);
	if (name.starts_with("kvm-nx-lpage-re"))
		return is(ThreadClass::recovery);
	is(ThreadClass::other, name);
}

// The words of a command line.
std::vector<std::string> command_line(const Roots &roots, pid_t pid)
{
	auto text = read_file(roots.proc / std::to_string(pid) / "cmdline").value_or("");
	std::vector<std::string> found;
	for (std::size_t at = 0; at < text.size();) {
		auto end = std::min(text.find('\0', at), text.size());
		found.push_back(text.substr(at, end - at));
		at = end + 1;
	}
	return found;
}

// -name NAME, or -name guest=NAME,debug-threads=on
std::string name_of(const Roots &roots, pid_t pid)
{
	std::string name;
	auto all = command_line(roots, pid);
	for (std::size_t i = 0; i + 1 < all.size(); i++) {
		if (all[i] != "-name" && all[i] != "--name")
			continue;
		auto value = all[i + 1];
		if (auto guest = value.find("guest="); guest != value.npos)
			value = value.substr(guest + 6);
		value = value.substr(0, value.find(','));
		if (value.find('=') == value.npos)
			name = printable(value);
	}
	return name;
}

// kvm-pit/N, where N is QEMU's process id in QEMU's own pid namespace: if that is
// not ours, or two have the number, nobody can say whose it is.
void add_kernel_threads(const Roots &roots, Guest &guest)
{
	auto wanted = fmt::format("kvm-pit/{}", guest.pid);
	if (guest.main().inner_tid != guest.pid)
		return;
	std::vector<Task> found;
	for (auto &task : kernel_threads(roots))
		if (task.name == wanted)
			found.push_back(std::move(task));
	if (found.size() == 1)
		guest.threads.push_back({found[0], ThreadClass::kernel, found[0].name});
}

Result<GuestName> by_socket(const Roots &roots, const std::string &path)
{
	auto told = ask_qmp(path);
	if (!told)
		return tl::unexpected(told.error());
	// libvirt opens the socket itself and hands it to QEMU.
	auto known = [&](pid_t inner) {
		for (auto tid : threads_of(roots, told->listener))
			if (auto task = read_task(roots, tid); task && task->inner_tid == inner)
				return true;
		return false;
	};
	if (told->vcpus.empty() || !known(told->vcpus.begin()->first))
		return fail(Status::failed, path,
			    fmt::format("was opened by process {}, which is not the guest: name the "
					"guest by its process id", told->listener));
	return GuestName{told->listener, path, {}, *told};
}

Result<GuestName> by_group(const Roots &roots, const std::string &path)
{
	auto group = check_group_path(path);
	if (!group)
		return tl::unexpected(group.error());
	auto tree = read_tree(roots);
	if (!tree)
		return tl::unexpected(tree.error());
	auto top = tree->find(*group);
	if (!top)
		return bad_input(path, "neither a socket nor a cgroup");
	std::vector<pid_t> found;
	for (auto pid : qemu_processes(roots)) {
		auto task = read_task(roots, pid);
		auto at = task ? tree->find(task->cgroup) : std::nullopt;
		if (at && tree->is_inside(*at, *top))
			found.push_back(pid);
	}
	if (found.empty())
		return bad_input(*group, "no guest runs in this cgroup");
	if (found.size() > 1)
		return bad_input(*group, fmt::format("{} guests run in this cgroup: name one by its "
						     "process id", found.size()));
	return GuestName{found[0], {}, *group, {}};
}

} // namespace

std::string name_class(ThreadClass of)
{
	switch (of) {
	case ThreadClass::vcpu:
		return "vcpu";
	case ThreadClass::main:
		return "main";
	case ThreadClass::iothread:
		return "iothread";
	case ThreadClass::worker:
		return "worker";
	case ThreadClass::vhost:
		return "vhost";
	case ThreadClass::recovery:
		return "recovery";
	case ThreadClass::kernel:
		return "kernel";
	case ThreadClass::other:
		break;
	}
	return "other";
}

bool Guest::knows_vcpus() const
{
	return std::any_of(threads.begin(), threads.end(), [](const GuestThread &thread) {
		return thread.is == ThreadClass::vcpu;
	});
}

const Task &Guest::main() const
{
	return std::find_if(threads.begin(), threads.end(), [&](const GuestThread &thread) {
		       return thread.task.tid == pid;
	       })->task;
}

bool is_qemu(const Roots &roots, pid_t pid)
{
	// The name of the process can be chosen (-name process=), that of the program
	// only be read by who may trace it.
	std::error_code failed;
	auto program = std::filesystem::read_symlink(roots.proc / std::to_string(pid) / "exe", failed);
	auto name = program.filename().string();
	if (failed) {
		auto task = read_task(roots, pid);
		name = task && !task->kernel_thread ? task->name : "";
	}
	return name.starts_with("qemu-system-") || name.starts_with("qemu-kvm");
}

std::vector<pid_t> qemu_processes(const Roots &roots)
{
	std::vector<pid_t> found;
	for (const auto &name : directories_in(roots.proc))
		if (auto pid = to_pid(name); pid && is_qemu(roots, *pid))
			found.push_back(*pid);
	std::sort(found.begin(), found.end());
	return found;
}

Result<GuestName> find_guest(const Roots &roots, const std::string &text)
{
	if (text.starts_with("qmp:"))
		return by_socket(roots, text.substr(4));
	struct stat status;
	if (text.find('/') != text.npos && stat(text.c_str(), &status) == 0 && S_ISSOCK(status.st_mode))
		return by_socket(roots, text);
	if (text.starts_with("/"))
		return by_group(roots, text);
	auto pid = to_pid(text.starts_with("pid:") ? std::string_view(text).substr(4) : text);
	if (!pid && !text.empty() && text.find_first_of("/:") == text.npos)
		if (auto file = read_file(roots.run / "libvirt/qemu" / (text + ".pid")))
			pid = to_pid(trimmed(*file));
	if (!pid)
		return bad_input(text.empty() ? "''" : printable(text),
				 "not a guest: a process id, qmp:PATH of its QMP socket, the /path of its "
				 "cgroup, or the name of a running domain of libvirt");
	return GuestName{*pid, {}, {}, {}};
}

Result<Guest> read_guest(const Roots &roots, pid_t pid, const std::optional<QmpThreads> &qmp)
{
	auto object = fmt::format("pid {}", pid);
	auto leader = read_task(roots, pid);
	if (!leader)
		return bad_input(object, "no such process");
	if (leader->tgid != pid)
		return bad_input(object, fmt::format("is a thread of process {}", leader->tgid));
	// Who answers as QEMU does is one, whatever its program is called.
	if (!qmp && !is_qemu(roots, pid))
		return bad_input(name_task(*leader), "is no virtual machine: only those of QEMU are known");
	Guest guest;
	guest.pid = pid;
	guest.started = leader->started;
	guest.name = name_of(roots, pid);
	for (auto tid : threads_of(roots, pid)) {
		auto task = tid == pid ? leader : read_task(roots, tid);
		if (!task || task->tgid != pid)
			continue; // ended meanwhile
		GuestThread thread;
		thread.task = std::move(*task);
		classify(thread, pid, qmp);
		guest.threads.push_back(std::move(thread));
	}
	if (std::none_of(guest.threads.begin(), guest.threads.end(),
			 [&](const GuestThread &thread) { return thread.task.tid == pid; }))
		return fail(Status::failed, object, "has ended");
	add_kernel_threads(roots, guest);
	std::stable_sort(guest.threads.begin(), guest.threads.end(),
			 [](const GuestThread &a, const GuestThread &b) {
				 return std::tuple(a.is, a.label.size(), a.label, a.task.tid) <
					std::tuple(b.is, b.label.size(), b.label, b.task.tid);
			 });
	return guest;
}

} // namespace dlgroup
