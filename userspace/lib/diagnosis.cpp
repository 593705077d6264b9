// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/diagnosis.h>

#include <algorithm>

#include <fmt/format.h>

#include <dlgroup/admission.h>

namespace dlgroup {

namespace {

// The kernel's own settings, which leave 90 % of each CPU to reservations.
constexpr std::int64_t kRtRuntimePercent = 95;
constexpr std::int64_t kFairRuntime_ns = 50000000;
constexpr std::int64_t kFairPeriod_ns = 1000000000;
// An idle state that takes longer to leave than the smallest runtime lasts
// eats the whole of it.
constexpr std::int64_t kDeepIdle_us = 100;
constexpr int kMaxRtPriority = 99;

std::string echo(const std::string &value, const std::filesystem::path &path)
{
	return fmt::format("echo {} > {}", value, path.string());
}

std::string join(const std::vector<std::string> &commands)
{
	std::string all;
	for (const auto &command : commands)
		all += (all.empty() ? "" : " && ") + command;
	return all;
}

class Diagnosis {
public:
	Diagnosis(const Facts &facts, const std::optional<std::string> &target)
	    : facts_(facts), tree_(facts.tree), roots_(facts.roots)
	{
		if (target)
			target_ = tree_.find(*target);
		for (std::size_t i = 0; i < tree_.groups.size(); i++)
			if (tree_.groups[i].rt_max.has_number() &&
			    (!target_ || tree_.is_inside(i, *target_) ||
			     tree_.source_of(*target_) == i))
				reservations_.push_back(i);
		for (auto i : reservations_)
			if (tree_.groups[i].rt_max.runtime.count())
				cpus_.insert(tree_.groups[i].cpus.begin(),
					     tree_.groups[i].cpus.end());
		if (cpus_.empty())
			cpus_ = target_ ? tree_.groups[*target_].cpus : facts_.online;
	}

	std::vector<Finding> run(bool irq)
	{
		no_support();
		cgroup_v1();
		cpu_controller();
		rt_runtime();
		fair_server();
		irq_time();
		cpu_frequency();
		idle_states();
		sched_ext();
		dl_tasks();
		rt_outside();
		rcu_boost();
		if (irq)
			irq_threads();
		for (auto i : reservations_) {
			served(i);
			fifo_in_zero(i);
			core_cookie(i);
			cpus_missing(i);
			no_room(i);
			counters(i);
		}
		return std::move(findings_);
	}

private:
	void add(const char *id, Severity severity, std::string object, std::string what,
		 std::string why, std::string remedy, bool is_command = true)
	{
		findings_.push_back({id, severity, std::move(object), std::move(what),
				     std::move(why), std::move(remedy), is_command});
	}

	std::string dlgroup(const std::string &arguments) const
	{
		return "dlgroup " + (roots_.options.empty() ? "" : roots_.options + " ") +
		       arguments;
	}

	void no_support()
	{
		if (facts_.support == Known::no)
			add("no-support", Severity::error, "kernel", "has no cpu.rt.max",
			    "no cgroup can have a reservation",
			    "boot a kernel built with CONFIG_DL_GROUP_SCHED=y", false);
	}

	void cgroup_v1()
	{
		for (const auto &mount : facts_.v1_mounts) {
			bool cpu = mount.controllers == "cpu" ||
				   mount.controllers.starts_with("cpu,");
			add("cgroup-v1", cpu ? Severity::error : Severity::warning,
			    mount.directory,
			    fmt::format("cgroup v1 holds the controller {}", mount.controllers),
			    cpu ? "reservations need the cpu controller on cgroup2"
				: "a reservation's CPUs cannot be limited on cgroup2",
			    "umount " + mount.directory);
		}
	}

	void cpu_controller()
	{
		std::vector<std::string> lacking, commands;
		auto end = target_ ? tree_.groups[*target_].parent : std::optional<std::size_t>(0);
		std::vector<std::size_t> chain;
		for (auto at = end; at; at = tree_.groups[*at].parent)
			chain.push_back(*at);
		if (!contains_word(tree_.groups[0].controllers, "cpu"))
			return; // cgroup-v1 or no-support say why
		for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
			const auto &group = tree_.groups[*it];
			if (contains_word(group.subtree_control, "cpu"))
				continue;
			lacking.push_back(group.path);
			commands.push_back(echo("+cpu", directory_of(roots_, group.path) /
								"cgroup.subtree_control"));
		}
		if (!lacking.empty())
			add("cpu-controller", Severity::warning, lacking.front(),
			    "the cpu controller is not enabled for its children",
			    "they have no cpu.rt.max (dlgroup set and run enable it)",
			    join(commands));
	}

	void rt_runtime()
	{
		if (!facts_.rt_runtime_us || !facts_.rt_period_us)
			return;
		auto runtime = *facts_.rt_runtime_us, period = *facts_.rt_period_us;
		auto good = period * kRtRuntimePercent / 100;
		auto remedy = echo(fmt::format("{}", good),
				   roots_.proc / "sys/kernel/sched_rt_runtime_us");
		if (runtime < 0)
			add("rt-runtime", Severity::warning, "sched_rt_runtime_us", "is -1",
			    "reservations may take all of a CPU but the fair server's part, "
			    "and nothing holds back FIFO/RR tasks outside them",
			    remedy);
		else if (runtime * 100 < period * kRtRuntimePercent)
			add("rt-runtime", Severity::warning, "sched_rt_runtime_us",
			    fmt::format("is {} of {}", runtime, period),
			    fmt::format("reservations, SCHED_DEADLINE tasks and the fair server "
					"together get {} of a CPU instead of {} %",
					percent(bandwidth(microseconds(runtime),
							  microseconds(period))),
					kRtRuntimePercent),
			    remedy);
	}

	void fair_server()
	{
		CpuSet changed, off;
		std::vector<std::string> commands;
		for (const auto &server : facts_.fair_servers) {
			if (!cpus_.count(server.cpu) ||
			    (server.runtime_ns == kFairRuntime_ns &&
			     server.period_ns == kFairPeriod_ns))
				continue;
			changed.insert(server.cpu);
			if (server.runtime_ns == 0)
				off.insert(server.cpu);
			auto base = roots_.debug() /
				    fmt::format("sched/fair_server/cpu{}", server.cpu);
			auto runtime = echo(fmt::format("{}", kFairRuntime_ns), base / "runtime");
			auto period = echo(fmt::format("{}", kFairPeriod_ns), base / "period");
			// At no moment may the runtime be longer than the period.
			bool period_first = server.runtime_ns <= kFairPeriod_ns;
			bool other_period = server.period_ns != kFairPeriod_ns;
			if (other_period && period_first)
				commands.push_back(period);
			if (server.runtime_ns != kFairRuntime_ns)
				commands.push_back(runtime);
			if (other_period && !period_first)
				commands.push_back(period);
		}
		if (changed.empty())
			return;
		add("fair-server", Severity::warning, name_cpus(changed),
		    off.empty() ? "the fair server is not 50ms/1s"
				: fmt::format("the fair server is off on {}", name_cpus(off)),
		    off.empty() ? "what it takes is not free for reservations, or ordinary tasks "
				  "get less than they should"
				: "ordinary tasks starve while reservations and FIFO/RR tasks run",
		    join(commands));
	}

	void irq_time()
	{
		const char *why = "interrupts are charged to the reservation they hit, and "
				  "irq_usec stays 0";
		if (facts_.irq_accounting == IrqAccounting::off_by_build)
			add("irq-time", Severity::warning, "kernel",
			    "interrupt time is not accounted", why,
			    "boot a kernel built with CONFIG_IRQ_TIME_ACCOUNTING=y", false);
		if (facts_.irq_accounting == IrqAccounting::off_by_parameter)
			add("irq-time", Severity::warning, "kernel",
			    "interrupt time is not accounted", why,
			    "boot without the parameter tsc=noirqtime", false);
	}

	void irq_threads()
	{
		if (facts_.irq_threads == Known::no)
			add("irq-threads", Severity::note, "kernel",
			    "gives threads only to the interrupts whose drivers ask for one",
			    "the others cannot be attached (dlgroup irq), and take their time from whomever "
			    "they hit",
			    "boot with the parameter threadirqs", false);
	}

	void cpu_frequency()
	{
		CpuSet slow;
		std::vector<std::string> commands;
		std::string name;
		for (const auto &governor : facts_.governors) {
			if (!cpus_.count(governor.cpu) || governor.name == "performance")
				continue;
			slow.insert(governor.cpu);
			name = governor.name;
			commands.push_back(
				echo("performance",
				     roots_.sys / fmt::format("devices/system/cpu/cpu{}/cpufreq/"
							      "scaling_governor",
							      governor.cpu)));
		}
		if (!slow.empty())
			add("cpu-frequency", Severity::warning, name_cpus(slow),
			    fmt::format("the frequency governor is {}", name),
			    "a budget is wall time: at a lower frequency less work is done in it",
			    join(commands));
	}

	void idle_states()
	{
		CpuSet deep;
		std::vector<std::string> commands;
		std::int64_t worst = 0;
		for (const auto &state : facts_.idle_states) {
			if (!cpus_.count(state.cpu) || state.disabled ||
			    state.latency_us <= kDeepIdle_us)
				continue;
			deep.insert(state.cpu);
			worst = std::max(worst, state.latency_us);
			commands.push_back(echo("1", state.directory + "/disable"));
		}
		if (!deep.empty())
			add("idle-states", Severity::warning, name_cpus(deep),
			    fmt::format("idle states take up to {} us to leave", worst),
			    "the first job after an idle time starts that much later",
			    join(commands));
	}

	void sched_ext()
	{
		if (facts_.sched_ext_state.empty() || facts_.sched_ext_state == "disabled")
			return;
		add("sched-ext", Severity::note, "sched_ext",
		    "a BPF scheduler is " + facts_.sched_ext_state,
		    "ordinary tasks are then not protected by the fair server: reservations and "
		    "FIFO/RR tasks may starve them",
		    echo("S", roots_.proc / "sysrq-trigger"));
	}

	// SCHED_DEADLINE tasks move over all CPUs of their root domain.
	std::vector<Task> roaming(const CpuSet &cpus) const
	{
		std::vector<Task> found;
		for (const auto &task : facts_.tasks) {
			// The frequency governor's own threads count nowhere.
			if (!task.is_deadline() ||
			    (task.kernel_thread && task.name.starts_with("sugov:")))
				continue;
			auto where = intersect(task.allowed, facts_.online);
			if (where.size() > 1 && !intersect(where, cpus).empty())
				found.push_back(task);
		}
		return found;
	}

	// CPUs of its own for the reservation: a partition is a root domain.
	std::string partition(std::size_t group) const
	{
		auto top = group;
		while (tree_.groups[top].parent && tree_.groups[*tree_.groups[top].parent].parent)
			top = *tree_.groups[top].parent;
		auto cpus = tree_.groups[group].cpus;
		if (cpus.size() >= facts_.online.size() && cpus.size() > 1)
			cpus.erase(cpus.begin()); // one has to stay with the others
		auto directory = directory_of(roots_, tree_.groups[top].path);
		std::vector<std::string> commands;
		if (!contains_word(tree_.groups[0].subtree_control, "cpuset"))
			commands.push_back(
				echo("+cpuset", roots_.cgroup / "cgroup.subtree_control"));
		commands.push_back(echo(format_cpus(cpus), directory / "cpuset.cpus"));
		commands.push_back(echo("root", directory / "cpuset.cpus.partition"));
		return join(commands);
	}

	void dl_tasks()
	{
		for (auto i : reservations_) {
			const auto &group = tree_.groups[i];
			if (group.rt_max.runtime.count() == 0 || tree_.numbered_ancestor(i))
				continue;
			auto tasks = roaming(group.cpus);
			if (tasks.empty())
				continue;
			std::vector<std::string> demote;
			auto top = "/" + group.path.substr(1, group.path.find('/', 1) - 1);
			for (const auto &task : tasks)
				if (task.cgroup == top || task.cgroup.starts_with(top + "/"))
					demote.push_back(
						fmt::format("chrt -f -p 50 {}", task.tid));
			add("dl-tasks", Severity::warning, group.path,
			    fmt::format("SCHED_DEADLINE tasks move over its CPUs: {}",
					name_tasks(tasks)),
			    "they meet its servers on any CPU, beyond what is tested per CPU: "
			    "supply is exact only in a root domain without them",
			    demote.empty() ? partition(i) : join(demote));
		}
	}

	void rt_outside()
	{
		if (reservations_.empty())
			return;
		auto outside = tasks_outside();
		std::vector<std::string> commands;
		for (const auto &task : outside)
			commands.push_back(fmt::format("chrt -o -p 0 {}", task.tid));
		if (!outside.empty())
			add("rt-outside", Severity::note, name_cpus(cpus_),
			    fmt::format("FIFO/RR tasks in no reservation: {}", name_tasks(outside)),
			    "whatever their priority, they wait while a reservation is served; "
			    "give them one (dlgroup set, dlgroup attach) or make them ordinary",
			    join(commands));
	}

	// FIFO/RR tasks of users on these CPUs that no reservation holds.
	std::vector<Task> tasks_outside() const
	{
		std::vector<Task> found;
		for (const auto &task : facts_.tasks) {
			auto at = tree_.find(task.cgroup);
			if (task.is_fifo_or_rr() && !task.kernel_thread &&
			    !(at && tree_.source_of(*at)) &&
			    !intersect(task.allowed, cpus_).empty())
				found.push_back(task);
		}
		return found;
	}

	// A task can be preempted in an RCU read-side section and wait there for its
	// group's next budget, or behind a task of its group that uses each one up.
	void rcu_boost()
	{
		const char *why = "a task of a reservation that is preempted in a read-side "
				  "section keeps memory from being freed and CPUs from going "
				  "offline for as long as it waits";
		std::vector<Task> boosters;
		bool preemptible = false;
		for (const auto &task : facts_.tasks) {
			preemptible |= task.kernel_thread && task.name == "rcu_preempt";
			if (task.kernel_thread && task.name.starts_with("rcub/"))
				boosters.push_back(task);
		}
		if (preemptible && boosters.empty())
			add("rcu-boost", Severity::warning, "kernel", "does not boost RCU readers",
			    why, "boot a kernel built with CONFIG_RCU_BOOST=y", false);
		if (reservations_.empty())
			return;
		int highest = 0;
		for (const auto &task : tasks_outside())
			highest = std::max(highest, task.policy.priority);
		std::vector<Task> low;
		std::vector<std::string> commands;
		for (const auto &task : boosters) {
			auto enough = std::min(highest + 1, kMaxRtPriority);
			if (task.policy.priority >= enough)
				continue;
			low.push_back(task);
			commands.push_back(fmt::format("chrt -f -p {} {}", enough, task.tid));
		}
		if (!low.empty())
			add("rcu-boost", Severity::warning, name_tasks(low),
			    fmt::format("boosts RCU readers to less than priority {}, which is in "
					"use outside reservations",
					highest),
			    why, join(commands));
	}

	std::vector<Task> tasks_sharing(std::size_t group) const
	{
		std::vector<Task> found;
		for (auto i : tree_.sharing(group))
			for (const auto &task : facts_.tasks)
				if (task.cgroup == tree_.groups[i].path)
					found.push_back(task);
		return found;
	}

	void served(std::size_t i)
	{
		auto tasks = tasks_sharing(i);
		auto sentence = nothing_served(tree_, i, tasks);
		if (!sentence)
			return;
		const auto &group = tree_.groups[i];
		// Without any task there is nobody to serve: give the bandwidth back.
		add("nothing-served", Severity::note, group.path, *sentence,
		    "the bandwidth is set aside and nobody has it",
		    tasks.empty() ? dlgroup(fmt::format("set {} max", group.path))
				  : dlgroup(fmt::format("set {} {} --fifo 1", group.path,
							format_rt_max(group.rt_max))));
	}

	void fifo_in_zero(std::size_t i)
	{
		const auto &group = tree_.groups[i];
		if (group.rt_max.runtime.count() != 0)
			return;
		std::vector<Task> tasks;
		for (const auto &task : tasks_sharing(i))
			if (task.is_fifo_or_rr())
				tasks.push_back(task);
		if (!tasks.empty())
			add("fifo-in-zero", Severity::warning, group.path,
			    fmt::format("has runtime 0, but FIFO/RR tasks in it: {}",
					name_tasks(tasks)),
			    "they run outside of every reservation and count as nr_unserved",
			    dlgroup(fmt::format("set {} max", group.path)));
	}

	void core_cookie(std::size_t i)
	{
		std::vector<Task> tasks;
		for (auto j : tree_.sharing(i))
			for (const auto &task : facts_.tasks_with_cookie)
				if (task.cgroup == tree_.groups[j].path)
					tasks.push_back(task);
		if (!tasks.empty())
			add("core-cookie", Severity::warning, tree_.groups[i].path,
			    fmt::format("tasks in it have a core-scheduling cookie: {}",
					name_tasks(tasks)),
			    "a sibling of the core that runs another cookie makes them wait",
			    echo("off", roots_.sys / "devices/system/cpu/smt/control"));
	}

	// The guarantee holds on the effective CPUs only.
	void cpus_missing(std::size_t i)
	{
		const auto &group = tree_.groups[i];
		CpuSet missing, offline;
		for (auto cpu : group.cpus_asked)
			if (!group.cpus.count(cpu))
				missing.insert(cpu);
		if (missing.empty() || group.rt_max.runtime.count() == 0)
			return;
		std::vector<std::string> commands;
		for (auto cpu : intersect(missing, facts_.offline)) {
			offline.insert(cpu);
			commands.push_back(echo(
				"1", roots_.sys / fmt::format("devices/system/cpu/cpu{}/online", cpu)));
		}
		if (offline != missing)
			commands.push_back(dlgroup(fmt::format(
				"set {} {} --cpus {}", group.path, format_rt_max(group.rt_max),
				format_cpus(group.cpus))));
		add("cpus-missing", Severity::warning, group.path,
		    fmt::format("cannot use {} of its cpuset", name_cpus(missing)),
		    fmt::format("the guarantee holds on {} only", name_cpus(group.cpus)),
		    join(commands));
	}

	// CPUs where it should have a server, and has none.
	CpuSet without_server(std::size_t i) const
	{
		const auto &group = tree_.groups[i];
		CpuSet found;
		for (auto cpu : group.cpus) {
			std::vector<RtMax> carved;
			for (auto j : tree_.carved_from(i))
				if (tree_.groups[j].cpus.count(cpu))
					carved.push_back(tree_.groups[j].rt_max);
			if (own_runtime(group.rt_max, carved) >= kLeastOwnRuntime &&
			    !group.cpus_served.count(cpu))
				found.insert(cpu);
		}
		return found;
	}

	// Its CPUs were changed, or one came back, and there was no room.
	void no_room(std::size_t i)
	{
		auto lost = without_server(i);
		if (lost.empty())
			return;
		const auto &group = tree_.groups[i];
		std::string remedy;
		if (!group.cpus_served.empty()) {
			remedy = fmt::format("set {} {} --cpus {}", group.path,
					     format_rt_max(group.rt_max),
					     format_cpus(group.cpus_served));
		} else {
			auto room = bandwidth(microseconds(1), microseconds(1));
			for (const auto &one : facts_.headroom)
				if (lost.count(one.cpu))
					room = std::min(room, one.free);
			auto less = group.rt_max;
			less.runtime = facts_.headroom.empty() || tree_.numbered_ancestor(i)
					       ? microseconds(0)
					       : largest_runtime(room, less.deadline);
			remedy = less.runtime < kMinRuntime
					 ? fmt::format("set {} max", group.path)
					 : fmt::format("set {} {}", group.path,
						       format_rt_max(less));
		}
		add("no-room", Severity::warning, group.path,
		    fmt::format("has no server on {}", name_cpus(lost)),
		    "it came to have them, or they came back, when there was no room: nothing is "
		    "guaranteed there",
		    dlgroup(remedy));
	}

	void counters(std::size_t i)
	{
		const auto &group = tree_.groups[i];
		auto it = facts_.risen.find(group.path);
		if (it == facts_.risen.end())
			return;
		auto risen = [&](const char *key) {
			auto counter = it->second.find(key);
			return counter == it->second.end() ? 0 : counter->second;
		};
		bool explained = !without_server(i).empty() || group.rt_max.runtime.count() == 0;
		if (auto count = risen("nr_unserved"); count && !explained)
			add("unserved", Severity::warning, group.path,
			    fmt::format("tasks of it run outside its servers (nr_unserved rose by "
					"{})", count),
			    "the kernel has put FIFO/RR tasks where all of its runtime is carved out",
			    dlgroup(fmt::format("set {} max", group.path)));
		if (auto count = risen("nr_dl_miss"))
			add("dl-miss", Severity::warning, group.path,
			    fmt::format("its servers miss deadlines (nr_dl_miss rose by {})", count),
			    "SCHED_DEADLINE tasks of the same root domain take their time",
			    partition(i));
	}

	const Facts &facts_;
	const Tree &tree_;
	const Roots &roots_;
	std::optional<std::size_t> target_;
	std::vector<std::size_t> reservations_; // groups with a number, in question
	CpuSet cpus_;                           // those of the reservations, else all
	std::vector<Finding> findings_;
};

} // namespace

std::string name_severity(Severity severity)
{
	switch (severity) {
	case Severity::error:
		return "error";
	case Severity::warning:
		return "warning";
	case Severity::note:
		break;
	}
	return "note";
}

const std::vector<std::string> &finding_ids()
{
	static const std::vector<std::string> ids{
		"no-support", "cgroup-v1", "cpu-controller", "rt-runtime", "fair-server",
		"irq-time", "irq-threads", "cpu-frequency", "idle-states", "sched-ext", "dl-tasks",
		"rt-outside", "rcu-boost", "nothing-served", "fifo-in-zero", "core-cookie", "cpus-missing",
		"no-room", "unserved", "dl-miss"};
	return ids;
}

std::vector<Finding> diagnose(const Facts &facts, const std::optional<std::string> &group, bool irq)
{
	return Diagnosis(facts, group).run(irq);
}

std::optional<std::string> nothing_served(const Tree &tree, std::size_t group,
					  const std::vector<Task> &tasks_sharing)
{
	const auto &one = tree.groups[group];
	if (!one.rt_max.has_number() || one.rt_max.runtime.count() == 0 || one.serves_fair ||
	    !tree.carved_from(group).empty() ||
	    std::any_of(tasks_sharing.begin(), tasks_sharing.end(),
			[](const Task &task) { return task.is_fifo_or_rr(); }))
		return std::nullopt;
	return fmt::format("reserved {}, nothing in it is FIFO/RR and `fair` is not set",
			   format_rt_max(one.rt_max));
}

} // namespace dlgroup
