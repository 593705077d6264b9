// SPDX-License-Identifier: GPL-2.0-only
// Virtual machines of QEMU: which process it is, and what its threads are for.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <dlgroup/qmp.h>
#include <dlgroup/system.h>

namespace dlgroup {

enum class ThreadClass {
	vcpu,     // runs the guest
	main,     // QEMU's main loop, libvirt's emulator
	iothread, // does a device's I/O
	worker,   // what an I/O call would block, done for whoever asked
	vhost,    // the kernel's part of a network or disk device
	recovery, // kvm-nx-lpage-recovery, housekeeping of KVM
	other,    // the rest of the process
	kernel,   // kernel threads that work for the guest: kvm-pit
};
inline constexpr ThreadClass kThreadClasses[] = {
	ThreadClass::vcpu,  ThreadClass::main,	   ThreadClass::iothread, ThreadClass::worker,
	ThreadClass::vhost, ThreadClass::recovery, ThreadClass::other,	  ThreadClass::kernel,
};
std::string name_class(ThreadClass of);

struct GuestThread {
	Task task;
	ThreadClass is = ThreadClass::other;
	std::string label; // which of its class: "0", "io1"
};

struct Guest {
	pid_t pid = 0;
	std::uint64_t started = 0;
	std::string name;
	std::vector<GuestThread> threads; // by class, then by id
	// Without their ids or names nobody knows which they are.
	bool knows_vcpus() const;
	const Task &main() const;
};

bool is_qemu(const Roots &roots, pid_t pid);
std::vector<pid_t> qemu_processes(const Roots &roots);

// What a user calls a guest.
struct GuestName {
	pid_t pid = 0;
	std::string qmp;   // its socket, if that is how it was named
	std::string group; // its cgroup, if that is how it was named
	std::optional<QmpThreads> threads; // as the socket told
};
// A process id, pid:N, qmp:PATH or the path of a QMP socket, the path of a cgroup
// with one guest in it, or the name of a domain of libvirt's.
Result<GuestName> find_guest(const Roots &roots, const std::string &text);

// Threads by what the QMP socket told, the others by their names.
Result<Guest> read_guest(const Roots &roots, pid_t pid, const std::optional<QmpThreads> &qmp);

} // namespace dlgroup
