// SPDX-License-Identifier: GPL-2.0-only
// vm: virtual machines as groups with a reservation.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fmt/format.h>
#include <sched.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "put_back.h"
#include "vm.h"

#include <dlgroup/diagnosis.h>
#include <dlgroup/facts.h>
#include <dlgroup/guest.h>
#include <dlgroup/guest_profile.h>
#include <dlgroup/guest_record.h>

namespace dlgroup::tool {

int told_to_end()
{
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, nullptr);
	return signalfd(-1, &signals, SFD_CLOEXEC);
}

std::string name_guest(pid_t pid, const std::string &name)
{
	return name.empty() ? fmt::format("pid {}", pid) : fmt::format("pid {} ({})", pid, name);
}

Result<void> check_running(const Context &context)
{
	if (!context.roots.running && !context.options.dry_run)
		return bad_input("--root", "guests of another tree can only be looked at");
	return {};
}

namespace {

constexpr int kRounds = 20;

struct Asked {
	Request request;
	GuestProfile profile;
	std::optional<CpuSet> cpus;
};

Result<Asked> asked(const Options &options)
{
	Asked all;
	auto request = requested(options);
	if (!request)
		return tl::unexpected(request.error());
	all.request = *request;
	if (all.request.is_max || all.request.runtime.count() == 0)
		return bad_input("reservation", "a guest needs runtime/period such as 5ms/20ms");
	all.profile = default_profile();
	if (!options.profile.empty()) {
		auto text = read_input(options.profile);
		auto profile = text ? parse_profile(*text, options.profile)
				    : tl::unexpected(text.error());
		if (!profile)
			return tl::unexpected(profile.error());
		all.profile = *profile;
	}
	if (!options.cpus.empty()) {
		auto cpus = parse_cpus(options.cpus);
		if (!cpus)
			return tl::unexpected(cpus.error());
		all.cpus = *cpus;
	}
	return all;
}

std::string cgroup_type(const Context &context, const std::string &group)
{
	return trimmed(read_file(directory_of(context.roots, group) / "cgroup.type").value_or("domain"));
}

// The nearest cgroup that can hold processes: threads are only spread below it.
std::string domain_of(const Context &context, std::string group)
{
	while (group != "/" && cgroup_type(context, group) == "threaded")
		group = parent_of(group);
	return group;
}

bool is_alone(const Context &context, const Tree &tree, const std::string &group, pid_t pid)
{
	auto top = tree.find(group);
	for (std::size_t i = 0; top && i < tree.groups.size(); i++) {
		if (!tree.is_inside(i, *top))
			continue;
		for (auto tid : threads_in(context.roots, tree.groups[i].path))
			if (auto task = read_task(context.roots, tid);
			    task && !task->kernel_thread && task->tgid != pid)
				return false;
	}
	return top.has_value();
}

// Where the reservation of a guest is.
struct Home {
	std::string group;
	bool made = false;  // for the guest alone, and removed after it
	std::string origin; // where it would be without us, if it was started there
};

// A new group beside the guest's present one keeps it below all limits but that
// one's.
std::string new_group(const std::string &domain, pid_t pid)
{
	auto above = parent_of(domain);
	return fmt::format("{}/dlgroup.vm.{}", above == "/" ? "" : above, pid);
}

// Whoever manages a guest's cgroup relies on finding it there: libvirt has spread
// the threads below it, systemd takes an empty scope for an ended one. So the
// reservation goes to that cgroup itself, unless others are in it, too.
Home home_of(const Context &context, const Tree &tree, const Guest &guest, const GuestName &named)
{
	if (!named.group.empty())
		return {named.group, false, {}};
	const auto &cgroup = guest.main().cgroup;
	auto domain = domain_of(context, cgroup);
	bool managed = domain != cgroup || cgroup_type(context, domain) == "domain threaded";
	if (domain != "/" && (managed || is_alone(context, tree, domain, guest.pid)))
		return {domain, false, {}};
	return {new_group(domain, guest.pid), true, {}};
}

tl::unexpected<Error> ended(const Guest &guest)
{
	return fail(Status::failed, name_guest(guest.pid, guest.name), "ended meanwhile");
}

Result<void> note_thread(const Context &context, const Task &task, const std::string &origin,
			 GuestRecord &record)
{
	auto policy = context.tasks.get(task.tid);
	if (!policy && policy.error().sys_errno == ESRCH)
		return {};
	if (!policy)
		return tl::unexpected(policy.error());
	auto cgroup = origin.empty() || task.kernel_thread ? task.cgroup : origin;
	record.threads.push_back({task.tid, task.started, task.kernel_thread, cgroup, *policy, task.allowed});
	return {};
}

Result<GuestRecord> record_of(const Context &context, const Guest &guest, const GuestName &named,
			      const Home &home, const Asked &what)
{
	GuestRecord record;
	record.pid = guest.pid;
	record.started = guest.started;
	record.name = guest.name;
	record.qmp = named.qmp;
	record.group = home.group;
	record.made = home.made;
	if (!home.made) {
		auto dir = Dir::open(directory_of(context.roots, home.group));
		if (!dir)
			return tl::unexpected(dir.error());
		struct stat status;
		if (stat(dir->path().c_str(), &status))
			return tl::unexpected(system_error(home.group, errno).value());
		record.inode = status.st_ino;
		// It has no such file yet if the controller is still to be enabled for it.
		record.rt_max = trimmed(dir->read("cpu.rt.max").value_or("max"));
		if (what.cpus)
			record.cpus = former_cpus(*dir);
	}
	record.profile = what.profile;
	for (const auto &thread : guest.threads)
		if (auto done = note_thread(context, thread.task, home.origin, record); !done)
			return tl::unexpected(done.error());
	return record;
}

Error explain_cpus(const GuestThread &thread, const CpuSet &wanted, const Error &error)
{
	if (error.sys_errno != EINVAL && error.sys_errno != 0)
		return error;
	return Error{Status::bad_input, name_class(thread.is),
		     fmt::format("{} asked for, and {} may use {}", name_cpus(wanted),
				 name_task(thread.task), name_cpus(thread.task.allowed)), 0, nullptr};
}

// One thread to what the profile says; true if there was something to do.
Result<bool> arrange(const Context &context, Changes &changes, const std::string &group,
		     const GuestThread &thread, const ClassRule &rule)
{
	const auto &task = thread.task;
	bool changed = false;
	// A process of its own; the others have come with QEMU.
	if (task.kernel_thread && rule.policy && task.cgroup != group) {
		auto done = changes.attach(group, task.tid);
		if (is_gone(done))
			return false;
		if (!done)
			return tl::unexpected(explain_task(context, group, done.error()));
		changed = true;
	}
	if (task.is_deadline())
		return changed;
	if (rule.cpus && task.allowed != *rule.cpus) {
		auto done = changes.set_cpus(task.tid, *rule.cpus);
		auto now = read_task(context.roots, task.tid);
		if (!now)
			return false;
		if (!done || (!changes.dry_run() && now->allowed != *rule.cpus))
			return tl::unexpected(explain_cpus({*now, thread.is, {}}, *rule.cpus,
							   done ? Error{} : done.error()));
		changed = true;
	}
	if (rule.policy) {
		auto wanted = *rule.policy;
		auto is = changes.dry_run() ? task.policy
					    : context.tasks.get(task.tid).value_or(task.policy);
		wanted.policy |= is.policy & SCHED_RESET_ON_FORK;
		if (is == wanted)
			return changed;
		if (auto done = changes.set_policy(task.tid, wanted); !done)
			return tl::unexpected(explain_task(context, group, done.error()));
		changed = true;
	}
	return changed;
}

// Until a round finds nothing to do: a thread that was made meanwhile has come in
// one not yet arranged.
Result<bool> arrange_all(const Context &context, Changes &changes, const Guest &guest,
			 const GuestName &named, const std::string &group, const GuestProfile &profile)
{
	for (int round = 0; round < kRounds; round++) {
		auto now = read_guest(context.roots, guest.pid, named.threads);
		if (!now || now->started != guest.started)
			return ended(guest);
		bool changed = false;
		for (const auto &thread : now->threads) {
			auto rule = profile.find(thread.is);
			if (rule == profile.end())
				continue;
			auto done = arrange(context, changes, group, thread, rule->second);
			if (!done)
				return tl::unexpected(done.error());
			changed = changed || *done;
		}
		if (!changed || changes.dry_run())
			return changed || round > 0;
	}
	return fail(Status::failed, name_guest(guest.pid, guest.name),
		    "its threads multiply faster than their policy can be set");
}

Result<void> move_in(const Context &context, Changes &changes, const Guest &guest,
		     const GuestName &named, const Home &home, const GuestProfile &profile)
{
	if (home.made && guest.main().cgroup != home.group) {
		auto done = changes.attach(home.group, guest.pid);
		if (is_gone(done))
			return ended(guest);
		if (!done) {
			auto error = done.error();
			error.object = name_guest(guest.pid, guest.name);
			return tl::unexpected(explain_task(context, home.group, error));
		}
	}
	return arrange_all(context, changes, guest, named, home.group, profile).map([](bool) {});
}

class PutBack {
public:
	PutBack(const Context &context, Changes &changes, const GuestRecord &record)
	    : context_(context), changes_(changes), record_(record)
	{
		for (const auto &one : record.threads)
			if (one.tid == record.pid)
				main_ = &one;
	}

	void threads();
	void group();
	// Last: the group's own CPUs limit what can be asked for.
	void cpus();
	// What could not be put back, one sentence each.
	std::vector<std::string> failures() { return std::move(failures_); }

private:
	void note(const Result<void> &done)
	{
		if (!done && !is_gone(done))
			failures_.push_back(done.error().object + ": " + done.error().reason);
	}
	// What a task was, or, if it came later, would be had nobody touched the guest.
	std::optional<ThreadState> former(const Task &task) const;
	std::vector<Task> present() const;
	bool policies();
	void move();

	const Context &context_;
	Changes &changes_;
	const GuestRecord &record_;
	const ThreadState *main_ = nullptr;
	std::vector<std::string> failures_;
};

std::optional<ThreadState> PutBack::former(const Task &task) const
{
	if (const auto *known = find_state(record_.threads, task))
		return *known;
	if (!main_)
		return std::nullopt;
	// The policy may be put back by now, and the CPUs not.
	bool policy = task.policy == main_->policy, cpus = false;
	for (const auto &[of, rule] : record_.profile) {
		policy = policy || task.policy == rule.policy;
		cpus = cpus || task.allowed == rule.cpus;
	}
	if (!policy)
		return std::nullopt;
	auto state = *main_;
	if (!cpus)
		state.cpus = task.allowed;
	return state;
}

// Nothing is touched that only has the number of what was recorded.
std::vector<Task> PutBack::present() const
{
	std::vector<Task> tasks;
	auto add = [&](pid_t tid) {
		if (auto task = read_task(context_.roots, tid))
			tasks.push_back(std::move(*task));
	};
	if (start_of(context_.roots, record_.pid) == record_.started)
		for (auto tid : threads_of(context_.roots, record_.pid))
			add(tid);
	for (const auto &one : record_.threads)
		if (one.kernel_thread && start_of(context_.roots, one.tid) == one.started)
			add(one.tid);
	return tasks;
}

bool PutBack::policies()
{
	bool changed = false;
	for (const auto &task : present()) {
		auto state = former(task);
		if (!state)
			continue;
		auto done = put_policy_back(context_, changes_, task, state->policy);
		note(done.map([](bool) {}));
		changed = changed || done.value_or(false);
	}
	return changed;
}

void PutBack::move()
{
	for (const auto &task : present()) {
		if (const auto *state = find_state(record_.threads, task); state && task.kernel_thread &&
							    task.cgroup != state->cgroup)
			note(move_back(changes_, state->cgroup, task.tid));
		if (!record_.made || !main_ || task.tid != record_.pid || task.cgroup == main_->cgroup)
			continue;
		note(move_back(changes_, main_->cgroup, task.tid));
		for (const auto &one : record_.threads)
			if (!one.kernel_thread && one.cgroup != main_->cgroup && !changes_.dry_run() &&
			    start_of(context_.roots, one.tid) == one.started)
				note(context_.groups.attach_thread(one.cgroup, one.tid));
	}
}

void PutBack::cpus()
{
	for (const auto &task : present())
		if (auto state = former(task))
			note(put_cpus_back(changes_, task, state->cpus));
}

void PutBack::threads()
{
	for (int round = 0; round < kRounds && policies() && !changes_.dry_run(); round++)
		failures_.clear();
	move();
}

void PutBack::group()
{
	auto path = directory_of(context_.roots, record_.group);
	struct stat status;
	if (stat(path.c_str(), &status))
		return; // gone with its guest
	if (record_.made) {
		auto done = changes_.remove(record_.group);
		if (!done && done.error().sys_errno == EBUSY)
			done = fail(Status::failed, record_.group, "others than the guest are in it");
		note(done);
	} else if (status.st_ino == record_.inode) {
		note(changes_.write(record_.group, "cpu.rt.max", record_.rt_max, record_.rt_max));
		if (record_.cpus)
			note(changes_.write(record_.group, "cpuset.cpus", *record_.cpus, *record_.cpus));
	}
}

// The guest is as it was, or the record stays for another attempt.
tl::unexpected<Error> give_up(const Context &context, const GuestRecords &records,
			      const GuestRecord &record, Changes &group, const Error &error)
{
	Changes changes(context.roots, context.groups, context.tasks, false);
	PutBack back(context, changes, record);
	back.threads();
	auto failures = group.undo();
	back.cpus();
	changes.keep();
	for (auto &failure : back.failures())
		failures.push_back(std::move(failure));
	for (const auto &failure : failures)
		say("undo", failure);
	if (failures.empty())
		if (auto done = records.remove(record.pid); !done)
			say(done.error().object, done.error().reason);
	if (!failures.empty())
		say("undo", fmt::format("dlgroup vm detach {} tries again", record.pid));
	return tl::unexpected(error);
}

Json thread_json(const Context &context, const GuestThread &thread)
{
	Json out = {{"class", name_class(thread.is)}, {"name", thread.label}};
	out.update(to_json(context, thread.task));
	return out;
}

Json guest_json(const Context &context, const Tree &tree, const Guest &guest,
		const std::optional<GuestRecord> &record)
{
	auto out = answer();
	out["pid"] = guest.pid;
	out["name"] = guest.name;
	out["attached"] = record.has_value();
	out.update(describe(context, tree, ruling_group(context, tree, guest, record)));
	out["threads"] = Json::array();
	for (const auto &thread : guest.threads)
		out["threads"].push_back(thread_json(context, thread));
	return out;
}

// What attach and run share. The group is made unless it is there. What the guest is has
// been read with the records held, or another could have changed it; none: a dry run.
Result<void> attach_guest(const Context &context, const Tree &tree, const GuestName &named,
			  const Guest &guest, const Home &home, const Asked &what,
			  const GuestRecords *records, std::vector<std::string> &steps)
{
	bool dry_run = !records;
	Changes group(context.roots, context.groups, context.tasks, dry_run);
	Changes threads(context.roots, context.groups, context.tasks, dry_run);
	auto prepare = [&] {
		return set_up(context, group, tree, home.group, what.request, what.cpus);
	};
	if (dry_run) {
		auto done = prepare();
		if (done)
			done = move_in(context, threads, guest, named, home, what.profile);
		steps = group.steps();
		steps.insert(steps.end(), threads.steps().begin(), threads.steps().end());
		return done;
	}
	auto known = records->read(guest.pid);
	if (!known)
		return tl::unexpected(known.error());
	if (*known && (*known)->started == guest.started)
		return fail(Status::failed, name_guest(guest.pid, guest.name),
			    fmt::format("is attached already: dlgroup set {} RES changes its reservation, "
					"dlgroup vm detach {} puts it back", (*known)->group, guest.pid));
	auto record = record_of(context, guest, named, home, what);
	if (!record)
		return tl::unexpected(record.error());
	if (auto written = records->write(record->pid, *record); !written)
		return written;
	auto done = prepare();
	if (done)
		done = move_in(context, threads, guest, named, home, what.profile);
	// What is put back is what the record says, also for threads that came meanwhile.
	threads.keep();
	if (!done)
		return give_up(context, *records, *record, group, done.error());
	group.keep();
	return {};
}

// A dry run makes no directory, and waits for nobody.
Result<std::optional<GuestRecords>> open_records(const Context &context)
{
	if (context.options.dry_run)
		return std::nullopt;
	auto records = GuestRecords::open(context.roots);
	if (!records)
		return tl::unexpected(records.error());
	return *records;
}

std::size_t served(const Guest &guest)
{
	return static_cast<std::size_t>(
		std::count_if(guest.threads.begin(), guest.threads.end(), [](const GuestThread &thread) {
			return thread.task.is_fifo_or_rr();
		}));
}

Result<int> report_attached(const Context &context, const Guest &before, const GuestName &named)
{
	auto guest = read_guest(context.roots, before.pid, named.threads);
	auto tree = read_tree(context.roots);
	if (!guest || !tree)
		return ended(before);
	auto record = look_up_record(context.roots, guest->pid, guest->started);
	if (context.options.json) {
		print(guest_json(context, *tree, *guest, record));
		return 0;
	}
	auto group = ruling_group(context, *tree, *guest, record);
	print(fmt::format("{}: {} of {} threads served by {}: {}", name_guest(guest->pid, guest->name),
			  served(*guest), guest->threads.size(), tree->groups[group].path,
			  summary(*tree, group)));
	return 0;
}

} // namespace

Result<void> check_vcpus(const Guest &guest, const char *advice)
{
	if (guest.knows_vcpus())
		return {};
	return bad_input(name_guest(guest.pid, guest.name),
			 fmt::format("none of its threads is known to be a vCPU: {}", advice));
}

Result<Guest> look_at(const Context &context, GuestName &named)
{
	auto started = start_of(context.roots, named.pid);
	auto record = started ? look_up_record(context.roots, named.pid, *started) : std::nullopt;
	if (!named.threads && record && !record->qmp.empty())
		if (auto told = ask_qmp(record->qmp); told && told->listener == named.pid)
			named.threads = *told;
	return read_guest(context.roots, named.pid, named.threads);
}

std::size_t ruling_group(const Context &context, const Tree &tree, const Guest &guest,
			 const std::optional<GuestRecord> &record)
{
	auto group = record ? record->group : domain_of(context, guest.main().cgroup);
	auto at = tree.find(group).value_or(0);
	return tree.source_of(at).value_or(at);
}

Result<void> arrange_new_threads(const Context &context, Changes &changes, const GuestRecords *records,
				 const GuestRecord &record)
{
	GuestName named{record.pid, {}, {}, {}};
	auto guest = look_at(context, named);
	if (!guest)
		return tl::unexpected(guest.error());
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	// Who has moved it has decided so.
	auto at = tree->find(guest->main().cgroup), home = tree->find(record.group);
	if (!at || !home || !tree->is_inside(*at, *home))
		return fail(Status::failed, name_guest(record.pid, record.name),
			    "is not in " + record.group + " any more");
	// What is moved is put back by the record.
	auto with = record;
	for (const auto &thread : guest->threads)
		if (thread.task.kernel_thread && !find_state(record.threads, thread.task))
			if (auto done = note_thread(context, thread.task, {}, with); !done)
				return tl::unexpected(done.error());
	if (records && with.threads.size() != record.threads.size())
		if (auto done = records->write(record.pid, with); !done)
			return tl::unexpected(done.error());
	auto done = arrange_all(context, changes, *guest, named, record.group, record.profile);
	changes.keep();
	if (records && done && *done)
		report_attached(context, *guest, named);
	return done.map([](bool) {});
}

Result<void> put_guest_back(const Context &context, Changes &changes, const GuestRecords *records,
			    const GuestRecord &record)
{
	PutBack back(context, changes, record);
	back.threads();
	back.group();
	back.cpus();
	changes.keep();
	if (!records)
		return {};
	auto failures = back.failures();
	for (const auto &failure : failures)
		say("not put back", failure);
	if (!failures.empty())
		return fail(Status::failed, name_guest(record.pid, record.name),
			    "is not as it was; once that is mended, detach it again");
	return records->remove(record.pid);
}

Result<int> vm_attach(const Context &context)
{
	const auto &options = context.options;
	if (auto good = check_running(context); !good)
		return tl::unexpected(good.error());
	auto what = asked(options);
	if (!what)
		return tl::unexpected(what.error());
	auto named = find_guest(context.roots, options.target);
	if (!named)
		return tl::unexpected(named.error());
	auto records = open_records(context);
	if (!records)
		return tl::unexpected(records.error());
	auto guest = read_guest(context.roots, named->pid, named->threads);
	if (!guest)
		return tl::unexpected(guest.error());
	if (auto good = check_vcpus(*guest, kNameThreads); !good)
		return tl::unexpected(good.error());
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	auto home = home_of(context, *tree, *guest, *named);
	std::vector<std::string> steps;
	auto done = attach_guest(context, *tree, *named, *guest, home, *what,
				 *records ? &**records : nullptr, steps);
	if (!done)
		return tl::unexpected(done.error());
	if (options.dry_run)
		return print_steps(steps, options.json);
	return report_attached(context, *guest, *named);
}

Result<int> vm_show(const Context &context)
{
	auto named = find_guest(context.roots, context.options.target);
	if (!named)
		return tl::unexpected(named.error());
	auto guest = look_at(context, *named);
	if (!guest)
		return tl::unexpected(guest.error());
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	auto record = look_up_record(context.roots, guest->pid, guest->started);
	if (context.options.json) {
		print(guest_json(context, *tree, *guest, record));
		return 0;
	}
	auto at = ruling_group(context, *tree, *guest, record);
	const auto &group = tree->groups[at];
	auto row = [](const char *name, const std::string &value) {
		print(fmt::format("  {:<12} {}", name, value));
	};
	print(name_guest(guest->pid, guest->name) + (record ? ", attached" : ", not attached"));
	row("cgroup", group.path);
	row("reservation", summary(*tree, at));
	auto stat = parse_stat(read_file(directory_of(context.roots, group.path) / "cpu.rt.stat")
				       .value_or("")).all;
	if (group.rt_max.has_number() && !stat.empty())
		row("used", fmt::format("{} in {} periods, throttled {} times",
					format_duration(microseconds(static_cast<std::int64_t>(
						stat["usage_usec"]))),
					stat["nr_periods"], stat["nr_throttled"]));
	auto line = "  {:<9} {:<16} {:>8}  {:<9} {:<8} {:>13}  {}";
	print(fmt::format(fmt::runtime(line), "CLASS", "NAME", "TID", "POLICY", "CPUS", "CPU TIME",
			  "CGROUP"));
	for (const auto &thread : guest->threads)
		print(fmt::format(fmt::runtime(line), name_class(thread.is),
				  thread.label.empty() ? "-" : thread.label, thread.task.tid,
				  name_policy(thread.task.policy), format_cpus(thread.task.allowed),
				  format_duration(std::chrono::floor<microseconds>(
					  cpu_time(context.roots, thread.task.tid))),
				  thread.task.cgroup));
	return 0;
}

Result<int> vm_list(const Context &context)
{
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	auto out = answer();
	out["guests"] = Json::array();
	auto line = "{:<8} {:<20} {:>5}  {:<9} {:<16} {}";
	bool first = true;
	for (auto pid : qemu_processes(context.roots)) {
		GuestName named{pid, {}, {}, {}};
		auto guest = look_at(context, named);
		if (!guest)
			continue; // ended meanwhile
		auto record = look_up_record(context.roots, pid, guest->started);
		if (context.options.json) {
			out["guests"].push_back(guest_json(context, *tree, *guest, record));
			out["guests"].back().erase("schema_version");
			continue;
		}
		const auto &group = tree->groups[ruling_group(context, *tree, *guest, record)];
		auto vcpus = std::count_if(guest->threads.begin(), guest->threads.end(),
					   [](const GuestThread &thread) {
						   return thread.is == ThreadClass::vcpu;
					   });
		if (first)
			print(fmt::format(fmt::runtime(line), "PID", "NAME", "VCPUS", "ATTACHED",
					  "RESERVATION", "CGROUP"));
		first = false;
		print(fmt::format(fmt::runtime(line), pid, guest->name.empty() ? "-" : guest->name,
				  vcpus ? std::to_string(vcpus) : "?", record ? "yes" : "no",
				  format_rt_max(group.rt_max), group.path));
	}
	if (context.options.json)
		print(out);
	else if (first)
		print(std::string("no guests"));
	return 0;
}

Result<int> vm_detach(const Context &context)
{
	const auto &options = context.options;
	if (auto good = check_running(context); !good)
		return tl::unexpected(good.error());
	auto named = find_guest(context.roots, options.target);
	if (!named)
		return tl::unexpected(named.error());
	auto opened = open_records(context);
	if (!opened)
		return tl::unexpected(opened.error());
	const auto &records = *opened;
	auto record = records ? records->read(named->pid) : peek_record(context.roots, named->pid);
	if (!record)
		return tl::unexpected(record.error());
	if (!*record)
		return fail(Status::failed, fmt::format("pid {}", named->pid), "is not attached");

	Changes changes(context.roots, context.groups, context.tasks, options.dry_run);
	if (auto done = put_guest_back(context, changes, records ? &*records : nullptr, **record); !done)
		return tl::unexpected(done.error());
	if (options.dry_run)
		return print_steps(changes.steps(), options.json);
	if (options.json) {
		auto out = answer();
		out["pid"] = (*record)->pid;
		out["detached"] = (*record)->group;
		print(out);
	} else {
		print(fmt::format("{}: detached from {}", name_guest((*record)->pid, (*record)->name),
				  (*record)->group));
	}
	return 0;
}

namespace {

// Until its QMP socket tells that all vCPUs are there, or it ends.
Result<GuestName> wait_until_up(pid_t child, const std::string &socket, const sigset_t &signals,
				std::optional<int> &status)
{
	while (true) {
		if (auto told = ask_qmp(socket, std::chrono::seconds(1)))
			return GuestName{child, socket, {}, *told};
		timespec moment{0, 20 * 1000 * 1000};
		status = wait_once(child, signals, &moment);
		if (status)
			return fail(Status::failed, fmt::format("pid {}", child), "ended before it was up");
	}
}

Result<void> attach_started(const Context &context, const GuestName &named, const Home &home,
			    const Asked &what)
{
	auto records = GuestRecords::open(context.roots);
	if (!records)
		return tl::unexpected(records.error());
	auto guest = read_guest(context.roots, named.pid, named.threads);
	if (!guest)
		return tl::unexpected(guest.error());
	if (auto good = check_vcpus(*guest, "the command is to become QEMU (exec), not to start it"); !good)
		return good;
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	std::vector<std::string> steps;
	if (auto done = attach_guest(context, *tree, named, *guest, home, what, &*records, steps); !done)
		return done;
	auto with = read_guest(context.roots, named.pid, named.threads);
	auto at = tree->find(home.group);
	say(name_guest(guest->pid, guest->name),
	    fmt::format("{} of {} threads served by {}: {}", with ? served(*with) : 0,
			with ? with->threads.size() : 0, home.group, at ? summary(*tree, *at) : ""));
	return {};
}

// One that has been detached and attached again meanwhile may have another group, which
// only its record can put back.
void forget_started(const Context &context, pid_t pid, const std::string &group)
{
	auto records = GuestRecords::open(context.roots);
	auto record = records ? records->read(pid) : tl::unexpected(records.error());
	auto done = record ? Result<void>() : tl::unexpected(record.error());
	if (done && *record && (*record)->group == group)
		done = records->remove(pid);
	if (!done)
		say(done.error().object, done.error().reason);
}

Result<std::vector<std::string>> run_steps(const Context &context, const Tree &tree, const Asked &what,
					   const std::string &group, const std::string &socket,
					   const std::vector<std::string> &command)
{
	Changes changes(context.roots, context.groups, context.tasks, true);
	if (auto done = set_up(context, changes, tree, group, what.request, what.cpus); !done)
		return tl::unexpected(done.error());
	auto steps = changes.steps();
	std::string line;
	for (const auto &word : command)
		line += (line.empty() ? "" : " ") + word;
	steps.push_back(fmt::format("echo $$ > {}/cgroup.procs", directory_of(context.roots, group).string()));
	steps.push_back(line);
	const auto &profile = context.options.profile;
	steps.push_back(fmt::format("dlgroup vm attach qmp:{} {}{}", socket,
				    format_rt_max(apply_request({}, what.request)),
				    profile.empty() ? "" : " --profile " + profile));
	steps.push_back("rmdir " + directory_of(context.roots, group).string());
	return steps;
}

} // namespace

Result<int> vm_run(const Context &context)
{
	const auto &options = context.options;
	if (auto good = check_running(context); !good)
		return tl::unexpected(good.error());
	auto what = asked(options);
	if (!what)
		return tl::unexpected(what.error());
	if (options.command.empty())
		return bad_input("vm run", "no command: dlgroup vm run RES [options] -- qemu-system-x86_64 ...");
	for (const auto &word : options.command)
		if (word == "-daemonize" || word == "--daemonize")
			return bad_input("vm run", "-daemonize leaves nobody to wait for: start it so and attach it");
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	auto self = read_task(context.roots, getpid());
	auto origin = self ? self->cgroup : "/";
	auto domain = domain_of(context, origin);
	auto group = new_group(domain, getpid());
	auto socket = (context.roots.run / fmt::format("dlgroup/vm/run.{}.qmp", getpid())).string();
	auto command = options.command;
	command.insert(command.end(), {"-qmp", "unix:" + socket + ",server=on,wait=off"});
	if (options.dry_run) {
		auto steps = run_steps(context, *tree, *what, group, socket, command);
		return steps ? Result<int>(print_steps(*steps, options.json)) : tl::unexpected(steps.error());
	}
	// The socket is beside the records; the lock only for who attaches and detaches.
	if (auto records = GuestRecords::open(context.roots); !records)
		return tl::unexpected(records.error());
	// From now on none ends us while the group is there.
	sigset_t signals = handled_signals(), former;
	sigprocmask(SIG_BLOCK, &signals, &former);
	Changes changes(context.roots, context.groups, context.tasks, false);
	auto done = set_up(context, changes, *tree, group, what->request, what->cpus);
	if (!done)
		return roll_back(changes, done.error());
	auto child = HeldChild::start(command, former);
	if (!child)
		return roll_back(changes, child.error());
	if (done = context.groups.attach(group, child->pid()); !done) {
		child->abandon();
		return roll_back(changes, done.error());
	}
	if (int error = child->release()) {
		roll_back(changes, Error{});
		return report({Status::failed, command[0], std::strerror(error), error, nullptr}, options.json),
		       error == ENOENT ? kNotFound : kCannotRun;
	}
	changes.keep();

	std::optional<int> status;
	auto named = wait_until_up(child->pid(), socket, signals, status);
	if (named) {
		done = attach_started(context, *named, {group, true, origin}, *what);
		// It was to run with the reservation or not at all.
		if (!done)
			kill(child->pid(), SIGKILL);
	} else {
		say(named.error().object, named.error().reason);
	}
	if (!status)
		status = wait_for(child->pid(), signals);
	forget_started(context, child->pid(), group);
	unlink(socket.c_str());
	// Who detached it has removed the group.
	if (access(directory_of(context.roots, group).c_str(), F_OK) == 0)
		if (auto clean = clean_up(context, group); !clean)
			say(group, "not removed: " + clean.error().reason);
	if (!done)
		return tl::unexpected(done.error());
	return *status;
}

} // namespace dlgroup::tool
