// SPDX-License-Identifier: GPL-2.0-only
// dlgroup: guaranteed CPU time for cgroups. The command line, and nothing else.
#include <algorithm>
#include <cstring>

#include <CLI/CLI.hpp>

#include "common.h"

#include <dlgroup/engine.h>

namespace dlgroup::tool {

namespace {

constexpr int kLowestPriority = 1, kHighestPriority = 99;

class CommandLine {
public:
	CommandLine();
	// Exit status if there is nothing more to do.
	std::optional<int> parse(std::vector<std::string> arguments);
	Result<int> carry_out();

private:
	using Verb = Result<int> (*)(const Context &);
	using OfflineVerb = Result<int> (*)(const Options &);

	template <class Function>
	CLI::App *verb(const char *name, const char *help, Function function,
		       CLI::App *above = nullptr)
	{
		auto *sub = (above ? above : &app_)->add_subcommand(name, help);
		sub->fallthrough(); // --json and the like may stand anywhere
		sub->callback([this, function] {
			if constexpr (std::is_convertible_v<Function, Verb>)
				function_ = function;
			else
				offline_ = function;
		});
		return sub;
	}
	void add_target(CLI::App *sub, bool required = true)
	{
		sub->add_option("TARGET", options_.target,
				"/path below the cgroup2 mount, pid:N, container:NAME or "
				"unit:NAME")
			->required(required);
	}
	void add_times(CLI::App *sub)
	{
		sub->add_option("RES", options_.res, "runtime/period such as 5ms/20ms, max or 0");
		sub->add_option("--runtime", options_.runtime, "runtime, in place of RES");
		sub->add_option("--period", options_.period, "period, with --runtime");
		sub->add_option("--deadline", options_.deadline, "deadline, with --period");
	}
	void add_reservation(CLI::App *sub)
	{
		add_times(sub);
		sub->add_option("--cpus", options_.cpus, "CPUs of the group (cpuset.cpus)");
	}
	CLI::Option *add_fifo(CLI::App *sub)
	{
		return sub
			->add_option("--fifo", options_.fifo, "make its threads SCHED_FIFO at this priority")
			->check(CLI::Range(kLowestPriority, kHighestPriority))
			->type_name("PRIORITY");
	}
	void add_policy(CLI::App *sub)
	{
		auto *fifo = add_fifo(sub);
		auto *rr = sub->add_option("--rr", options_.rr,
					   "make its threads SCHED_RR at this priority");
		rr->check(CLI::Range(kLowestPriority, kHighestPriority))->type_name("PRIORITY");
		fifo->excludes(rr);
	}
	void add_model(CLI::App *sub)
	{
		sub->add_option("--sched", options_.scheduler,
				"how the group's tasks are scheduled: edf, or fp by priority")
			->required()
			->check(CLI::IsMember({"edf", "fp"}));
		sub->add_option("--prio", options_.priorities,
				"priorities by deadline (dm) or period (rm), not as in FILE")
			->check(CLI::IsMember({"dm", "rm"}));
		sub->add_option("--period", options_.period,
				"period of the reservation; design takes MIN:MAX[:STEP] too")
			->required();
		sub->add_option("--latency", options_.latency,
				"by how much the reservation can be served late");
		sub->add_option("FILE", options_.file,
				"lines: runtime deadline period; or TOML or JSON; - is standard "
				"input")
			->required();
	}
	void add_question(CLI::App *sub)
	{
		add_model(sub);
		sub->add_option("--cpus", options_.cpu_count,
				"number of CPUs of the group; on several each task is pinned to one")
			->check(CLI::Range(1, 65536));
		sub->add_flag("--explain", options_.explain, "tell the reasoning");
	}
	void add_guest(CLI::App *sub)
	{
		sub->add_option("VM", options_.target,
				"process id, qmp:PATH of the QMP socket, /path of the cgroup, or "
				"name of the domain")
			->required();
	}
	void add_profile(CLI::App *sub)
	{
		sub->add_option("--profile", options_.profile,
				"policies and CPUs of the classes of threads, as TOML")
			->type_name("FILE");
	}
	void add_margin(CLI::App *sub)
	{
		sub->add_option("--margin", options_.margin, "how much more to reserve than was used (default: 20)")
			->check(CLI::Range(0, 1000))
			->type_name("PERCENT");
	}
	void add_vm_verbs();
	void add_irq_verbs();
	void add_net_verbs();
	void add_container_verbs();
	void add_dry_run(CLI::App *sub)
	{
		sub->add_flag("--dry-run", options_.dry_run,
			      "print each write, change nothing");
	}

	CLI::App app_{"Guaranteed CPU time for cgroups", "dlgroup"};
	Options options_;
	Verb function_ = nullptr;
	OfflineVerb offline_ = nullptr;
};

CommandLine::CommandLine()
{
	app_.require_subcommand(1);
	app_.set_version_flag("--version", "dlgroup " DLGROUP_VERSION);
	app_.set_help_flag("-h,--help", "print this and exit");
	app_.add_option("--cgroup-root", options_.cgroup_root,
			"the cgroup2 mount (default: the one found)")
		->type_name("DIR");
	app_.add_option("--root", options_.root,
			"look at the proc and sys below DIR, not at the running kernel's")
		->type_name("DIR");
	app_.add_flag("--json", options_.json, "one JSON object on standard output");

	auto *set_verb = verb("set", "give a cgroup a reservation, making it if need be", set);
	add_target(set_verb, false); // a plan can name it
	add_reservation(set_verb);
	auto *plan = set_verb->add_option("--plan", options_.plan,
					  "make all the reservations of a JSON file, such as "
					  "design --json prints; - is standard input");
	plan->type_name("FILE");
	for (const char *other : {"RES", "--runtime", "--period", "--deadline"})
		plan->excludes(set_verb->get_option(other));
	add_policy(set_verb);
	add_dry_run(set_verb);

	add_target(verb("show", "tell all about one cgroup", show));

	auto *list_verb = verb("list", "list the reservations", list);
	list_verb->add_flag("--headroom", options_.headroom, "and what is free on each CPU");

	auto *save_verb = verb("save", "write all reservations to a file", save);
	save_verb->add_option("FILE", options_.file, "what apply takes; - is standard output")->required();

	auto *apply_verb = verb("apply", "make the reservations of a file, all or none", apply);
	apply_verb->add_option("FILE", options_.file, "what save wrote; - is standard input")->required();
	add_dry_run(apply_verb);

	auto *rm_verb = verb("rm", "remove an empty cgroup", rm);
	add_target(rm_verb);
	add_dry_run(rm_verb);

	auto *run_verb = verb("run", "run a command in a cgroup of its own: "
				     "run RES [options] -- CMD", run);
	add_reservation(run_verb);
	add_policy(run_verb);
	run_verb->add_option("--name", options_.name,
			     "name of the cgroup: N is /dlgroup.N, /path is taken as it is");
	add_dry_run(run_verb);

	auto *attach_verb = verb("attach", "move processes into a cgroup", attach);
	add_target(attach_verb);
	attach_verb->add_option("PID", options_.pids, "processes, with all their threads")
		->required()
		->check(CLI::PositiveNumber);
	add_policy(attach_verb);
	add_dry_run(attach_verb);

	auto *detach_verb = verb("detach", "move processes out of their reservation", detach);
	detach_verb->add_option("PID", options_.pids, "processes, with all their threads")
		->required()
		->check(CLI::PositiveNumber);
	add_dry_run(detach_verb);

	add_vm_verbs();
	add_irq_verbs();
	add_net_verbs();
	add_container_verbs();

	verb("features", "tell what the running kernel can do", features);

	auto *doctor_verb = verb("doctor", "find what would spoil a guarantee, and how to mend it", doctor);
	add_target(doctor_verb, false);
	doctor_verb->add_flag("--irq", options_.irq, "and what keeps interrupts from being attached");

	auto *check_verb = verb("check", "tell whether tasks meet their deadlines in a reservation",
				check);
	check_verb->add_option("--runtime", options_.runtime, "runtime of the reservation")
		->required();
	add_question(check_verb);
	check_verb->add_flag("--sensitivity", options_.sensitivity,
			     "tell by how much all runtimes may grow");
	check_verb->add_option("--plot", options_.plot, "draw supply and demand, as SVG")
		->type_name("FILE");

	auto *design_verb = verb("design",
				 "find the smallest runtime in which tasks meet their deadlines",
				 design);
	add_question(design_verb);
	design_verb->add_option("--overhead", options_.overhead,
				"what each period costs beside the tasks");

	auto *fit_verb = verb("fit", "find the CPUs of this machine on which a reservation fits", fit);
	add_times(fit_verb);
	auto *fit_cpus = fit_verb->add_option("--cpus", options_.cpu_count, "on how many CPUs (default: 1)")
				 ->check(CLI::Range(1, 65536));
	fit_verb->add_option("--for", options_.target, "the cgroup that is to have it (default: a new one)")
		->type_name("TARGET");
	auto *fit_plan = fit_verb->add_option("--plan", options_.plan,
					      "take it from a JSON file, such as design --json prints; - is "
					      "standard input");
	fit_plan->type_name("FILE")->excludes(fit_cpus);
	for (const char *other : {"RES", "--runtime", "--period", "--deadline"})
		fit_plan->excludes(fit_verb->get_option(other));

	auto *simulate_verb = verb("simulate", "run a task set in a reservation, event by event",
				   simulate);
	simulate_verb->add_option("--runtime", options_.runtime, "runtime of the reservation")
		->required();
	add_model(simulate_verb);
	simulate_verb->add_option("--duration", options_.duration,
				  "for how long (default: ten of the longest periods)");
	simulate_verb->add_option("--supply", options_.service,
				  "when the reservation is served: worst (the default), early or "
				  "random:SEED");
	simulate_verb->add_option("--releases", options_.releases,
				  "when jobs come: synchronous (the default) or sporadic:SEED");
	simulate_verb->add_option("--gantt", options_.gantt, "draw it, as SVG")->type_name("FILE");
	simulate_verb->add_option("--plot", options_.plot, "draw the responses, as SVG")->type_name("FILE");

	auto *gen_verb = verb("gen", "make a random task set", gen);
	gen_verb->add_option("--utilisation", options_.utilisation,
			     "of all tasks together, such as 0.85")
		->required();
	gen_verb->add_option("--tasks", options_.task_count, "how many");
	gen_verb->add_option("--shares", options_.shares,
			     "limits of each one's utilisation, MIN:MAX, or a family such as "
			     "bimo-medium");
	gen_verb->add_option("--periods", options_.periods,
			     "MIN:MAX[:STEP], or uni-short, uni-moderate or uni-long");
	gen_verb->add_option("--deadlines", options_.deadlines,
			     "implicit (the period) or constrained (not after it)")
		->check(CLI::IsMember({"implicit", "constrained"}));
	gen_verb->add_option("--seed", options_.seed, "which of all sets it is (default: 1)");
}

void CommandLine::add_vm_verbs()
{
	auto *vm = app_.add_subcommand("vm", "give virtual machines of QEMU reservations");
	vm->require_subcommand(1);
	vm->fallthrough();

	auto *attach_verb = verb("attach", "give a running guest a reservation, and its threads their policies",
				 vm_attach, vm);
	add_guest(attach_verb);
	add_reservation(attach_verb);
	add_profile(attach_verb);
	add_dry_run(attach_verb);

	auto *detach_verb = verb("detach", "put an attached guest back as it was", vm_detach, vm);
	add_guest(detach_verb);
	add_dry_run(detach_verb);

	add_guest(verb("show", "tell a guest's threads, reservation and usage", vm_show, vm));
	verb("list", "list the guests of this machine", vm_list, vm);

	auto *run_verb = verb("run", "start QEMU in a reservation: vm run RES [options] -- QEMU ...", vm_run,
			      vm);
	add_reservation(run_verb);
	add_profile(run_verb);
	add_dry_run(run_verb);

	auto *profile_verb = verb("profile", "tell what a guest uses in a period, and what to reserve for that",
				  vm_profile, vm);
	add_guest(profile_verb);
	profile_verb->add_option("--period", options_.period,
				 "of what the guest does (default: the reservation's, or 20ms)");
	profile_verb->add_option("--duration", options_.duration, "for how long to measure (default: 10s)");
	add_margin(profile_verb);

	auto *tune_verb = verb("tune", "let the runtime of an attached guest follow what it uses", vm_tune, vm);
	add_guest(tune_verb);
	tune_verb->add_option("--runtime", options_.runtime, "from the least to the most, such as 2ms:10ms")
		->required()
		->type_name("MIN:MAX");
	tune_verb->add_option("--window", options_.window, "how long to measure before each change (default: 1s)")
		->type_name("TIME");
	tune_verb->add_option("--duration", options_.duration, "for how long (default: until told to end)");
	add_margin(tune_verb);
	tune_verb->add_flag("--restore", options_.restore, "put the runtime back in the end");
	add_dry_run(tune_verb);

	add_dry_run(verb("watch", "keep attached guests as their profiles say, until told to end", vm_watch,
			 vm));
}

void CommandLine::add_irq_verbs()
{
	auto *irq = app_.add_subcommand("irq", "give the threads of interrupts reservations");
	irq->require_subcommand(1);
	irq->fallthrough();

	auto *list_verb = verb("list", "list the interrupts, how often they come, and their threads", irq_list,
			       irq);
	list_verb->add_option("--interval", options_.interval, "count for so long (default: 1s)")
		->type_name("TIME");

	auto *attach_verb = verb("attach", "move the threads of interrupts into a cgroup", irq_attach, irq);
	add_target(attach_verb);
	attach_verb->add_option("IRQ", options_.names, "numbers of interrupts")->required();
	add_fifo(attach_verb);
	attach_verb->add_flag("--shared", options_.shared, "also if others use them");
	add_dry_run(attach_verb);

	auto *detach_verb = verb("detach", "put the threads of interrupts back as they were", irq_detach, irq);
	detach_verb->add_option("IRQ", options_.names, "numbers of interrupts")->required();
	add_dry_run(detach_verb);
}

void CommandLine::add_net_verbs()
{
	auto *net = app_.add_subcommand("net", "give the NAPI threads of network interfaces reservations");
	net->require_subcommand(1);
	net->fallthrough();

	verb("list", "list the network interfaces and their threads", net_list, net);

	auto *attach_verb = verb("attach", "turn on threads of interfaces, and move them into a cgroup", net_attach,
				 net);
	add_target(attach_verb);
	attach_verb->add_option("INTERFACE", options_.names, "names of interfaces")->required();
	add_fifo(attach_verb);
	attach_verb->add_flag("--shared", options_.shared, "also if others use them");
	add_dry_run(attach_verb);

	auto *detach_verb = verb("detach", "put interfaces and their threads back as they were", net_detach, net);
	detach_verb->add_option("INTERFACE", options_.names, "names of interfaces")->required();
	add_dry_run(detach_verb);
}

void CommandLine::add_container_verbs()
{
	auto *container = app_.add_subcommand("container", "let container engines know of the classes of the policy");
	container->require_subcommand(1);
	container->fallthrough();
	auto add = [&](const char *name, const char *help, Verb function) {
		auto *sub = verb(name, help, function, container);
		sub->add_option("ENGINE", options_.target, "docker, podman, containerd or lxc")
			->required()
			->check(CLI::IsMember(std::vector<std::string>(kEngines.begin(), kEngines.end())));
		add_dry_run(sub);
	};
	add("setup", "give an engine a runtime for each class", container_setup);
	add("unset", "take away what setup gave it", container_unset);
}

std::optional<int> CommandLine::parse(std::vector<std::string> arguments)
{
	// What follows "--" belongs to the command that is run.
	auto dashes = std::find(arguments.begin(), arguments.end(), "--");
	bool has_command = dashes != arguments.end();
	if (has_command)
		options_.command.assign(dashes + 1, arguments.end());
	arguments.erase(dashes, arguments.end());
	bool json = std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
	std::reverse(arguments.begin(), arguments.end()); // as CLI11 wants them
	try {
		app_.parse(arguments);
	} catch (const CLI::ParseError &error) {
		if (error.get_exit_code() == 0)
			return app_.exit(error); // --help, --version
		return report({Status::bad_input, "usage",
			       std::string(error.what()) + " (dlgroup --help)", 0, nullptr}, json);
	}
	if (has_command && function_ != run && function_ != vm_run)
		return report({Status::bad_input, "usage", "only run and vm run take a command after --",
			       0, nullptr}, options_.json);
	return std::nullopt;
}

Result<int> CommandLine::carry_out()
{
	if (offline_)
		return offline_(options_);
	auto roots = find_roots(options_);
	if (!roots)
		return tl::unexpected(roots.error());
	KernelGroupControl groups(*roots);
	KernelTaskControl tasks;
	return function_(Context{options_, *roots, groups, tasks});
}

int main(const std::vector<std::string> &arguments)
{
	CommandLine line;
	if (auto status = line.parse(arguments))
		return *status;
	auto done = line.carry_out();
	bool json = std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
	return done ? *done : report(done.error(), json);
}

} // namespace

} // namespace dlgroup::tool

int main(int argc, char **argv)
{
	return dlgroup::tool::main({argv + 1, argv + argc});
}
