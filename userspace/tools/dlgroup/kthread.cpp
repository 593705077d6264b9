// SPDX-License-Identifier: GPL-2.0-only
#include "kthread.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "put_back.h"

#include <dlgroup/facts.h>

namespace dlgroup::tool {

Result<Served> find_served(const Context &context)
{
	auto target = find_target(context);
	if (!target)
		return tl::unexpected(target.error());
	auto source = target->tree.source_of(target->group);
	if (!source)
		return bad_input(target->path(), fmt::format("has no reservation: dlgroup set {} RES gives it one",
							     target->path()));
	return Served{std::move(*target), *source};
}

Result<void> check_movable(const Context &context, const std::string &object,
			   const std::vector<Task> &threads)
{
	for (const auto &task : threads)
		if (task.bound)
			return bad_input(object, fmt::format("{} belongs to {} and must not be moved",
							     name_task(task), name_cpus(task.allowed)));
	// It works with soft interrupts disabled: with PREEMPT_RT that is a lock, which all
	// others on the CPU wait for while the owner has no budget.
	if (is_preempt_rt(context.roots) == Known::yes && lends_to_waiters(context.roots) != Known::yes)
		return fail(Status::unsupported, object,
			    "with PREEMPT_RT its thread can be throttled while it holds the CPU's lock of soft "
			    "interrupts, and this kernel is not known to let it run then for those who wait "
			    "(dlgroup features: lends)");
	return {};
}

Result<void> check_shared(const Context &context, const Served &served, const std::string &object,
			  const std::string &reason)
{
	if (reason.empty() || context.options.shared)
		return {};
	return fail(Status::refused, object,
		    fmt::format("refused: {}; with --shared {} pays for them, too", reason, served.path()));
}

std::string users_outside(const Served &served, const Users &users)
{
	std::vector<Task> outside;
	for (const auto &task : users.tasks) {
		auto at = served.tree.find(task.cgroup);
		if (!at || !served.tree.is_inside(*at, served.group))
			outside.push_back(task);
	}
	if (outside.empty())
		return {};
	return fmt::format("{} {}, outside of {}", users.how, name_tasks(outside), served.path());
}

std::optional<std::string> attached_to(const Context &context, const std::string &kind, const std::string &name,
				       const std::vector<Task> &threads)
{
	auto record = KernelThreadRecords::peek_at(context.roots, name, kind);
	for (const auto &task : threads)
		if (record && *record && find_state((*record)->threads, task))
			return (*record)->group;
	return std::nullopt;
}

Result<KernelThreads> KernelThreads::open(const Context &context, const std::string &kind)
{
	if (!context.roots.running && !context.options.dry_run)
		return bad_input("--root", "threads of another tree can only be looked at");
	KernelThreads all(context, kind);
	if (context.options.dry_run)
		return all;
	auto records = KernelThreadRecords::open(context.roots, kind);
	if (!records)
		return tl::unexpected(records.error());
	all.records_ = *records;
	return all;
}

Result<std::optional<KernelThreadRecord>> KernelThreads::recorded(const std::string &name) const
{
	return records_ ? records_->read(name) : KernelThreadRecords::peek_at(context_.roots, name, kind_);
}

Result<void> KernelThreads::check_not_attached(const Attached &what, const std::vector<Task> &threads) const
{
	auto record = recorded(what.record);
	if (!record)
		return tl::unexpected(record.error());
	// One of threads that are gone is of no use any more.
	for (const auto &task : threads)
		if (*record && find_state((*record)->threads, task))
			return fail(Status::failed, what.object,
				    fmt::format("is attached already to {}: dlgroup {} detach {} puts it back",
						(*record)->group, kind_, what.name));
	return {};
}

Result<void> KernelThreads::record(const std::string &name, const std::string &group,
				   const std::vector<Task> &threads,
				   const std::optional<InterfaceState> &interface)
{
	if (!records_)
		return {};
	KernelThreadRecord record{group, interface, {}};
	// Whose threads are gone was turned on by us.
	if (auto former = records_->read(name); interface && former && *former && (*former)->interface &&
						(*former)->interface->index == interface->index)
		record.interface = (*former)->interface;
	for (const auto &task : threads)
		record.threads.push_back({task.tid, task.started, task.kernel_thread, task.cgroup,
					  context_.tasks.get(task.tid).value_or(task.policy), task.allowed});
	if (auto done = records_->write(name, record); !done)
		return done;
	std::erase_if(recorded_, [&](const auto &known) { return known.first == name; });
	recorded_.emplace_back(name, std::move(record));
	return {};
}

Result<void> KernelThreads::write(const std::filesystem::path &file, const std::string &text)
{
	if (records_)
		return write_file(file, text);
	tell(fmt::format("echo '{}' > {}", text, file.string()));
	return {};
}

namespace {

// A thread of the kernel cannot be moved before it has begun (EINVAL), and writing to
// `threaded` does not wait for that.
Result<void> attach(Changes &changes, const std::string &group, pid_t tid, bool born)
{
	constexpr auto kPatience = std::chrono::seconds(1);
	auto end = std::chrono::steady_clock::now() + kPatience;
	while (true) {
		auto done = changes.attach(group, tid);
		if (done || done.error().sys_errno != EINVAL || !born || std::chrono::steady_clock::now() > end)
			return done;
		std::this_thread::sleep_for(std::chrono::milliseconds(1));
	}
}

Error explain_move(const Context &context, const std::string &group, const std::string &object,
		   const Task &task, const Error &error)
{
	auto explained = explain_attach(context, group, object, error);
	if (error.sys_errno != EINVAL || explained.status == Status::refused)
		return explained;
	explained.status = Status::refused;
	explained.reason = fmt::format("refused by the kernel: {} may use {}, and where {} is served dlgroup show "
				       "tells", name_task(task), name_cpus(task.allowed), group);
	return explained;
}

} // namespace

Result<void> KernelThreads::move(const std::string &group, const std::string &object,
				 const std::vector<Task> &threads, const std::optional<Policy> &policy,
				 const std::set<pid_t> &born)
{
	Changes changes(context_.roots, context_.groups, context_.tasks, !records_);
	Result<void> done;
	for (const auto &task : threads) {
		done = attach(changes, group, task.tid, born.count(task.tid));
		if (is_gone(done))
			done = fail(Status::failed, object, name_task(task) + " has ended");
		else if (!done)
			done = tl::unexpected(explain_move(context_, group, object, task, done.error()));
		if (done && policy && task.policy != *policy)
			done = changes.set_policy(task.tid, *policy).map_error([&](const Error &error) {
				return explain_task(context_, group, error);
			});
		if (!done)
			break;
	}
	changes.keep(); // the records say how to put it back
	steps_.insert(steps_.end(), changes.steps().begin(), changes.steps().end());
	return done;
}

std::vector<std::string> KernelThreads::put_back(const KernelThreadRecord &record)
{
	Changes changes(context_.roots, context_.groups, context_.tasks, !records_);
	auto failures = tool::put_back(context_, changes, record.threads);
	changes.keep();
	steps_.insert(steps_.end(), changes.steps().begin(), changes.steps().end());
	if (const auto &is = record.interface) {
		auto file = threaded_file(context_.roots, is->name);
		auto index = read_file(file.parent_path() / "ifindex"), threaded = read_file(file);
		auto wanted = is->threaded ? "1" : "0";
		if (index && threaded && trimmed(*index) == std::to_string(is->index) && trimmed(*threaded) != wanted)
			if (auto done = write(file, wanted); !done)
				failures.push_back(done.error().object + ": " + done.error().reason);
	}
	return failures;
}

tl::unexpected<Error> KernelThreads::undo(const Error &error)
{
	for (const auto &[name, record] : recorded_) {
		auto failures = put_back(record);
		for (const auto &failure : failures)
			say("undo", failure);
		if (!failures.empty())
			say("undo", fmt::format("dlgroup {} detach {} tries again", kind_,
						record.interface ? record.interface->name : name));
		else if (auto done = records_->remove(name); !done)
			say(done.error().object, done.error().reason);
	}
	recorded_.clear();
	return tl::unexpected(error);
}

Result<int> KernelThreads::detach(const std::vector<Attached> &all)
{
	// An attach that was killed has recorded some of them only.
	std::vector<std::pair<const Attached *, KernelThreadRecord>> known;
	const Attached *unknown = nullptr;
	for (const auto &one : all) {
		auto record = recorded(one.record);
		if (!record)
			return tl::unexpected(record.error());
		if (*record)
			known.emplace_back(&one, **record);
		else if (!unknown)
			unknown = &one;
	}
	auto names = Json::array();
	for (const auto &[one, record] : known) {
		auto failures = put_back(record);
		for (const auto &failure : failures)
			say("not put back", failure);
		if (!failures.empty())
			return fail(Status::failed, one->object,
				    "is not as it was; once that is mended, detach it again");
		if (auto done = records_ ? records_->remove(one->record) : Result<void>(); !done)
			return tl::unexpected(done.error());
		names.push_back(one->named);
	}
	if (unknown)
		return fail(Status::failed, unknown->object, "is not attached");
	if (!records_)
		return print_steps(steps_, context_.options.json);
	if (context_.options.json) {
		auto out = answer();
		out["detached"] = names;
		print(out);
		return 0;
	}
	for (const auto &[one, record] : known)
		print(fmt::format("{}: detached from {}", one->object, record.group));
	return 0;
}

} // namespace dlgroup::tool
