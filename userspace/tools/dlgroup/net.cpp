// SPDX-License-Identifier: GPL-2.0-only
// net: NAPI threads of network interfaces in a reservation.
#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <sched.h>

#include "kthread.h"

namespace dlgroup::tool {

namespace {

constexpr const char *kKind = "net";
constexpr int kPriority = 50; // as the threads of interrupts have

// An interface of the same name in another namespace is another.
std::string record_name(const std::vector<NetNamespace> &namespaces, const std::string &name)
{
	return namespaces[0].id + "." + name;
}

std::set<std::string> asked_interfaces(const Options &options)
{
	return {options.names.begin(), options.names.end()};
}

Attached attached(const std::vector<NetNamespace> &namespaces, const std::string &name)
{
	return {record_name(namespaces, name), name, name, Json(name)};
}

Result<Interface> check_interface(const Context &context, const Served &served, const KernelThreads &threads,
				  const std::vector<Interface> &present,
				  const std::vector<NetNamespace> &namespaces, const std::string &name)
{
	auto one = find_interface(present, namespaces, name);
	if (!one)
		return one;
	if (!one->threaded)
		return fail(Status::unsupported, name, "the kernel has no threaded NAPI: there is no 'threaded' in sysfs");
	auto good = threads.check_not_attached(attached(namespaces, name), one->threads);
	if (good && !one->ambiguous.empty())
		good = bad_input(name, "which threads are its own cannot be told: " + one->ambiguous);
	if (good)
		good = check_movable(context, name, one->threads);
	if (good)
		good = check_shared(context, served, name, users_besides(served, *one, namespaces));
	if (!good)
		return tl::unexpected(good.error());
	return one;
}

// Turns on threads and says which there are now; they are recorded before they are moved.
Result<std::vector<Task>> make_threads(const Context &context, KernelThreads &threads,
				       const std::vector<NetNamespace> &namespaces, const std::string &record,
				       const std::string &group, const Interface &one)
{
	InterfaceState was{one.name, one.index, *one.threaded};
	auto done = threads.record(record, group, one.threads, was);
	if (done && !*one.threaded)
		done = threads.write(threaded_file(context.roots, one.name), "1");
	if (!done && done.error().sys_errno == EOPNOTSUPP)
		done = fail(Status::unsupported, one.name, "its driver does not use NAPI, so it has no thread");
	if (!done)
		return tl::unexpected(done.error());
	if (context.options.dry_run)
		return one.threads;
	auto now = find_interface(interfaces(context.roots, namespaces), namespaces, one.name);
	if (!now || now->index != one.index)
		return fail(Status::failed, one.name, "has gone meanwhile");
	if (now->threads.empty())
		return fail(Status::failed, one.name,
			    "has no thread of its name: it is down, or was renamed since they were made");
	if (!now->ambiguous.empty())
		return fail(Status::failed, one.name, "which threads are its own cannot be told: " + now->ambiguous);
	if (auto good = check_movable(context, one.name, now->threads); !good)
		return tl::unexpected(good.error());
	if (done = threads.record(record, group, now->threads, was); !done)
		return tl::unexpected(done.error());
	return now->threads;
}

Json interface_json(const Context &context, const Interface &one, const std::optional<std::string> &attached)
{
	Json out = {{"name", one.name},
		    {"index", one.index},
		    {"driver", one.driver.empty() ? Json() : Json(one.driver)},
		    {"rx_queues", one.rx_queues},
		    {"tx_queues", one.tx_queues},
		    {"irqs", one.irqs},
		    {"above", one.above},
		    {"threaded", one.threaded ? Json(*one.threaded) : Json()},
		    {"attached", attached ? Json(*attached) : Json()},
		    {"ambiguous", one.ambiguous.empty() ? Json() : Json(one.ambiguous)},
		    {"threads", Json::array()}};
	for (const auto &task : one.threads)
		out["threads"].push_back(to_json(context, task));
	return out;
}

constexpr const char *kRow = "{:<15} {:<12} {:>6}  {:<12} {:<8} {:>7}  {:<9} {}";

void print_rows(const Interface &one)
{
	auto queues = fmt::format("{}/{}", one.rx_queues, one.tx_queues);
	auto row = [&](const std::string &tid, const std::string &policy, const std::string &cgroup) {
		print(fmt::format(fmt::runtime(kRow), printable(one.name), one.driver.empty() ? "-" : one.driver, queues,
				  one.irqs.empty() ? "-" : format_cpus({one.irqs.begin(), one.irqs.end()}),
				  !one.threaded ? "-" : *one.threaded ? "yes" : "no", tid, policy, cgroup));
	};
	for (const auto &task : one.threads)
		row(std::to_string(task.tid), name_policy(task.policy), task.cgroup);
	if (one.threads.empty())
		row("-", "-", "-");
}

} // namespace

std::string users_besides(const Served &served, const Interface &one, const std::vector<NetNamespace> &namespaces)
{
	if (!one.above.empty())
		return fmt::format("{} carries {}", one.name, one.above[0]);
	return users_outside(served, users_of(one, namespaces));
}

Result<int> net_list(const Context &context)
{
	auto namespaces = net_namespaces(context.roots);
	auto all = interfaces(context.roots, namespaces);
	if (context.options.json) {
		auto out = answer();
		out["namespace"] = namespaces[0].id;
		out["interfaces"] = Json::array();
		for (const auto &one : all)
			out["interfaces"].push_back(interface_json(context, one, attached_to(context, kKind, record_name(namespaces, one.name), one.threads)));
		out["elsewhere"] = Json::array();
		for (std::size_t i = 1; i < namespaces.size(); i++)
			out["elsewhere"].push_back({{"namespace", namespaces[i].id},
						    {"pid", namespaces[i].processes[0].tid},
						    {"interfaces", namespaces[i].interfaces}});
		print(out);
		return 0;
	}
	print(fmt::format(fmt::runtime(kRow), "NAME", "DRIVER", "RX/TX", "IRQS", "THREADED", "THREAD", "POLICY",
			  "CGROUP"));
	for (const auto &one : all)
		print_rows(one);
	for (std::size_t i = 1; i < namespaces.size(); i++) {
		std::string names;
		for (const auto &name : namespaces[i].interfaces)
			names += " " + printable(name);
		print(fmt::format("network namespace {}, of {}:{}", namespaces[i].id,
				  name_task(namespaces[i].processes[0]), names));
	}
	for (const auto &one : all)
		if (!one.threads.empty() && !one.ambiguous.empty())
			say(one.name, "which threads are its own cannot be told: " + one.ambiguous);
	return 0;
}

Result<int> net_attach(const Context &context)
{
	const auto &options = context.options;
	auto served = find_served(context);
	if (!served)
		return tl::unexpected(served.error());
	auto threads = KernelThreads::open(context, kKind);
	if (!threads)
		return tl::unexpected(threads.error());
	auto namespaces = net_namespaces(context.roots);
	auto present = interfaces(context.roots, namespaces);
	std::vector<Interface> all;
	for (const auto &name : asked_interfaces(options)) {
		auto one = check_interface(context, *served, *threads, present, namespaces, name);
		if (!one)
			return tl::unexpected(one.error());
		all.push_back(std::move(*one));
	}
	auto policy = requested_policy(options).value_or(Policy{SCHED_FIFO, kPriority});
	for (auto &one : all) {
		auto before = one.threads;
		auto now = make_threads(context, *threads, namespaces, record_name(namespaces, one.name), served->path(),
					one);
		if (!now)
			return threads->undo(now.error());
		one.threads = *now;
		std::set<pid_t> born;
		for (const auto &task : one.threads)
			if (std::none_of(before.begin(), before.end(),
					 [&](const Task &old) { return old.tid == task.tid; }))
				born.insert(task.tid);
		if (auto done = threads->move(served->path(), one.name, one.threads, policy, born); !done)
			return threads->undo(done.error());
		if (options.dry_run && !*one.threaded)
			threads->tell(fmt::format("# and each napi/{}-* that there is then to {}, FIFO {}", one.name,
						  served->path(), policy.priority));
	}
	if (options.dry_run)
		return print_steps(threads->steps(), options.json);
	if (options.json) {
		auto out = answer();
		out["group"] = served->path();
		out["attached"] = asked_interfaces(options);
		print(out);
		return 0;
	}
	for (const auto &one : all)
		print(fmt::format("{}: {} served by {}: {}", one.name, name_tasks(one.threads), served->path(),
				  summary(served->tree, served->source)));
	return 0;
}

Result<int> net_detach(const Context &context)
{
	auto threads = KernelThreads::open(context, kKind);
	if (!threads)
		return tl::unexpected(threads.error());
	auto namespaces = net_namespaces(context.roots);
	std::vector<Attached> all;
	for (const auto &name : asked_interfaces(context.options))
		all.push_back(attached(namespaces, name));
	return threads->detach(all);
}

} // namespace dlgroup::tool
