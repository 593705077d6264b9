// SPDX-License-Identifier: GPL-2.0-only
// What the verbs share: where things are, how a target is named, how answers
// and refusals are written.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <dlgroup/admission.h>
#include <dlgroup/changes.h>
#include <dlgroup/plan.h>
#include <dlgroup/taskset.h>

namespace dlgroup::tool {

using Json = nlohmann::ordered_json;

inline constexpr int kSchemaVersion = 1;

struct Options {
	// For every verb.
	std::string cgroup_root;
	std::string root;
	bool json = false;
	bool dry_run = false;
	// For some.
	std::string target;
	std::string plan;
	std::string res;
	std::string runtime, period, deadline;
	std::string cpus;
	int fifo = 0;
	int rr = 0;
	std::string name;
	bool headroom = false;
	std::vector<pid_t> pids;
	std::vector<std::string> command;
	std::string profile;
	unsigned margin = 20;
	std::string window = "1s";
	bool restore = false;
	std::vector<std::string> names; // of interrupts or interfaces
	bool shared = false;
	std::string interval = "1s";
	bool irq = false;
	// For the analysis.
	std::string file;
	std::string scheduler;
	std::string priorities;
	std::string latency;
	unsigned cpu_count = 1;
	bool explain = false;
	std::string overhead;
	std::string plot;
	bool sensitivity = false;
	std::string duration, gantt;
	std::string service = "worst", releases = "synchronous";
	// For random task sets.
	std::uint64_t seed = 1;
	std::size_t task_count = 0;
	std::string utilisation, shares, periods, deadlines;
};

struct Context {
	const Options &options;
	Roots roots;
	GroupControl &groups;
	TaskControl &tasks;
};

Result<Roots> find_roots(const Options &options);
// Below it is what is no kernel's.
std::filesystem::path disk_root(const Context &context);

// A diagnostic on stderr: "dlgroup: object: reason".
void say(const std::string &object, const std::string &reason);
// An answer on stdout.
void print(const std::string &line);
void print(const Json &object);
Json answer(); // an object with the schema version

// Reports a failure and gives the exit status.
int report(const Error &error, bool json);

// TARGET to the path of a cgroup, which need not exist.
Result<std::string> resolve(const Context &context, const std::string &target);
Result<std::size_t> find_group(const Tree &tree, const std::string &path);
// TARGET, which has to be there.
struct Target {
	Tree tree;
	std::size_t group = 0;
	const std::string &path() const { return tree.groups[group].path; }
};
Result<Target> find_target(const Context &context);
Result<Request> requested(const Options &options);
std::optional<Policy> requested_policy(const Options &options);

// Threads of the group and of the descendants that share its servers.
std::vector<Task> tasks_sharing(const Roots &roots, const Tree &tree, std::size_t group);
std::vector<Task> only_fifo_or_rr(std::vector<Task> tasks);

Json to_json(const RtMax &value);
Json to_json(const CpuSet &cpus);
Json to_json(const SporadicTask &task);
Json to_json(const Context &context, const Task &task);
// One group with everything there is to know, as show tells it.
Json describe(const Context &context, const Tree &tree, std::size_t group);
// "5ms/20ms on CPUs 0-1 (25 % of 2 CPUs = 0.50 CPU)"
std::string summary(const Tree &tree, std::size_t group);

// Steps of a dry run, in either form.
int print_steps(const std::vector<std::string> &steps, bool json);
// Undoes, saying what could not be put back, and hands the error on.
tl::unexpected<Error> roll_back(Changes &changes, Error error);

// What cpuset.cpus can be put back to.
std::string former_cpus(const Dir &group);
// A group, whose parent is there, with the controllers that it needs.
Result<void> make_group(Changes &changes, const Tree &tree, const std::string &group, bool cpuset);
// A group, made unless it is there, and its reservation.
Result<void> set_up(const Context &context, Changes &changes, const Tree &tree,
		    const std::string &group, const Request &request,
		    const std::optional<CpuSet> &cpus);
Result<void> set_policies(const Context &context, Changes &changes,
			  const std::vector<std::string> &groups, const Policy &policy);
// A task was refused FIFO/RR or entry: says whose runtime it would need.
Error explain_task(const Context &context, const std::string &group, Error error);
// The same for a process that was to come into the group.
Error explain_attach(const Context &context, const std::string &group, const std::string &object,
		     Error error);
// That a reservation has no effect is said.
void say_if_nothing_served(const Context &context, const std::string &group);

using Plan = std::vector<Planned>;
std::string name_input(const std::string &file);
Result<Plan> read_plan(const std::string &file);
// Targets become paths, each named once.
Result<void> resolve_plan(const Context &context, Plan &plan);
enum class Parents { needed, made };
// All of it or nothing, and what there is then is told.
Result<int> carry_out_plan(const Context &context, const Plan &plan, Parents parents);

Result<int> set(const Context &context);
Result<int> rm(const Context &context);
Result<int> show(const Context &context);
Result<int> list(const Context &context);
Result<int> save(const Context &context);
Result<int> apply(const Context &context);
Result<int> run(const Context &context);
Result<int> attach(const Context &context);
Result<int> detach(const Context &context);
Result<int> vm_attach(const Context &context);
Result<int> vm_show(const Context &context);
Result<int> vm_detach(const Context &context);
Result<int> vm_list(const Context &context);
Result<int> vm_run(const Context &context);
Result<int> vm_watch(const Context &context);
Result<int> vm_profile(const Context &context);
Result<int> vm_tune(const Context &context);
Result<int> irq_list(const Context &context);
Result<int> irq_attach(const Context &context);
Result<int> irq_detach(const Context &context);
Result<int> net_list(const Context &context);
Result<int> net_attach(const Context &context);
Result<int> net_detach(const Context &context);
Result<int> container_setup(const Context &context);
Result<int> container_unset(const Context &context);
Result<int> features(const Context &context);
Result<int> doctor(const Context &context);
Result<int> fit(const Context &context);
// These look at no kernel and no cgroup.
Result<int> check(const Options &options);
Result<int> design(const Options &options);
Result<int> gen(const Options &options);
Result<int> simulate(const Options &options);

} // namespace dlgroup::tool
