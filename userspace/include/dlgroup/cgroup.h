// SPDX-License-Identifier: GPL-2.0-only
// The cgroup2 tree: where it is, what it says, groups made, removed, filled.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <dlgroup/fs.h>
#include <dlgroup/system.h>

namespace dlgroup {

// Mount point of the cgroup2 tree that has the cpu controller, else of any.
Result<std::filesystem::path> find_cgroup_mount(const Roots &roots);

struct Group {
	std::string path; // "/" is the root
	std::optional<std::size_t> parent;
	bool has_file = false; // cpu.rt.max exists
	RtMax rt_max;
	bool serves_fair = false;    // cpu.rt.fair
	CpuSet cpus;                 // where it may run: the effective cpuset
	CpuSet cpus_asked;           // cpuset.cpus; empty: not limited here
	CpuSet cpus_served;          // where it has runtime of its own
	enum class Partition { none, root, isolated } partition = Partition::none; // a valid one
	std::string controllers;     // cgroup.controllers
	std::string subtree_control; // cgroup.subtree_control
	bool has_cpu_files = false;  // the cpu controller is enabled for it
};

// A picture of the tree; parents come before their children.
class Tree {
public:
	std::vector<Group> groups;
	// CPUs among which SCHED_DEADLINE tasks roam; empty if that is not known.
	std::vector<CpuSet> root_domains;

	std::optional<std::size_t> find(const std::string &path) const;
	bool is_inside(std::size_t group, std::size_t ancestor) const; // or the same
	// The group whose number rules this one: itself, an ancestor or none.
	std::optional<std::size_t> source_of(std::size_t group) const;
	std::optional<std::size_t> numbered_ancestor(std::size_t group) const;
	// The groups with a number below it that have none between.
	std::vector<std::size_t> carved_from(std::size_t group) const;
	// The groups with a number that have no numbered ancestor.
	std::vector<std::size_t> from_root_pool() const;
	// Of each group the CPUs where its number counts: it is served there, or those
	// below it that have the CPU leave it too little.
	std::vector<CpuSet> granted() const;
	// It and the descendants that have no number of their own.
	std::vector<std::size_t> sharing(std::size_t group) const;
};
Result<Tree> read_tree(const Roots &roots);

// One line of cpu.rt.max.effective.local: on these CPUs (empty: on all that
// have no line of their own) the group's own servers get this.
struct Effective {
	CpuSet cpus;
	RtMax value;
};
std::vector<Effective> parse_effective(const std::string &text);

std::filesystem::path directory_of(const Roots &roots, const std::string &group);
std::string parent_of(const std::string &group);
// "/a/b" from what a user typed; the root is refused.
Result<std::string> check_group_path(const std::string &path);
// Threads in one group, without its descendants.
std::vector<pid_t> threads_in(const Roots &roots, const std::string &group);
std::vector<pid_t> processes_in(const Roots &roots, const std::string &group);

// Making and removing groups and moving processes; tests have their own.
class GroupControl {
public:
	virtual ~GroupControl() = default;
	virtual Result<void> create(const std::string &group) = 0;
	virtual Result<void> remove(const std::string &group) = 0; // only if empty
	// All threads of the process.
	virtual Result<void> attach(const std::string &group, pid_t pid) = 0;
	virtual Result<void> attach_thread(const std::string &group, pid_t tid) = 0;
};

// By libcgroup, whose tools work on the same groups.
class KernelGroupControl : public GroupControl {
public:
	explicit KernelGroupControl(Roots roots) : roots_(std::move(roots)) {}
	Result<void> create(const std::string &group) override;
	Result<void> remove(const std::string &group) override;
	Result<void> attach(const std::string &group, pid_t pid) override;
	Result<void> attach_thread(const std::string &group, pid_t tid) override;

private:
	Roots roots_;
};

} // namespace dlgroup
