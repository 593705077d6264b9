// SPDX-License-Identifier: GPL-2.0-only
#include "vm_usage.h"

#include <cerrno>

#include <fmt/format.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <time.h>

#include <dlgroup/facts.h>

namespace dlgroup::tool {

namespace {

timespec to_timespec(nanoseconds time)
{
	auto seconds = std::chrono::floor<std::chrono::seconds>(time);
	return {seconds.count(), (time - seconds).count()};
}

nanoseconds from_timespec(const timespec &time)
{
	return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

nanoseconds now()
{
	timespec time{};
	clock_gettime(CLOCK_MONOTONIC, &time);
	return from_timespec(time);
}

std::optional<RunTime> run_time(const Roots &roots, pid_t tgid, pid_t tid)
{
	// By the process: a number that another one has by now is not looked at.
	auto text = read_file(roots.proc / std::to_string(tgid) / "task" / std::to_string(tid) / "schedstat");
	return text ? parse_schedstat(*text) : std::nullopt;
}

} // namespace

Result<void> KernelTimer::start(nanoseconds period)
{
	period_ = period;
	// A whole number of periods since boot: where they are of whole ticks, a thread that
	// runs on has always been charged up to the same instant.
	first_ = (now() / period + 1) * period;
	end_.emplace(told_to_end());
	timer_.emplace(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	itimerspec when{to_timespec(period), to_timespec(first_)};
	if (*end_ < 0 || *timer_ < 0 || timerfd_settime(*timer_, TFD_TIMER_ABSTIME, &when, nullptr))
		return tl::unexpected(system_error("timerfd", errno).value());
	return {};
}

Result<std::optional<std::uint64_t>> KernelTimer::wait()
{
	while (true) {
		pollfd sources[] = {{*end_, POLLIN, 0}, {*timer_, POLLIN, 0}};
		if (poll(sources, std::size(sources), -1) < 0 && errno != EINTR)
			return tl::unexpected(system_error("poll", errno).value());
		if (sources[0].revents)
			return std::nullopt;
		std::uint64_t expired = 0;
		if (::read(*timer_, &expired, sizeof(expired)) == sizeof(expired)) {
			begun_ += expired;
			return begun_ - 1;
		}
	}
}

nanoseconds KernelTimer::passed(std::uint64_t period)
{
	return now() - first_ - period_ * static_cast<std::int64_t>(period);
}

nanoseconds KernelTimer::tick()
{
	// These clocks are those of the tick.
	timespec tick{};
	clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
	return from_timespec(tick);
}

bool MeasuredGuest::is_served(const GuestThread &thread) const
{
	if (reservation_.has_number())
		return thread.task.is_fifo_or_rr();
	// As vm attach would have it.
	static const auto usual = default_profile();
	return usual.count(thread.is);
}

void MeasuredGuest::look_at_threads()
{
	auto guest = read_guest(context_->roots, guest_.pid, named_.threads);
	if (!guest || guest->started != guest_.started)
		return; // it is about to be told that it has ended
	guest_ = std::move(*guest);
	for (const auto &thread : guest_.threads)
		known_[thread.task.tid] = thread;
}

Result<MeasuredGuest> MeasuredGuest::find(const Context &context)
{
	auto named = find_guest(context.roots, context.options.target);
	if (!named)
		return tl::unexpected(named.error());
	MeasuredGuest found(context);
	found.named_ = *named;
	auto guest = look_at(context, found.named_);
	if (!guest)
		return tl::unexpected(guest.error());
	// Its parent has not waited for it: it is there, and its threads are not.
	if (!is_running(context.roots, guest->pid, guest->started))
		return fail(Status::failed, name_guest(guest->pid, guest->name), "has ended");
	if (auto good = check_vcpus(*guest, kNameThreads); !good)
		return tl::unexpected(good.error());
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	found.guest_ = *guest;
	found.record_ = look_up_record(context.roots, guest->pid, guest->started);
	const auto &group = tree->groups[ruling_group(context, *tree, *guest, found.record_)];
	found.group_ = group.path;
	found.reservation_ = group.rt_max;
	if (!run_time(context.roots, guest->pid, guest->pid))
		return fail(Status::unsupported, found.name(),
			    "the kernel does not tell what threads use (CONFIG_SCHED_INFO)");
	found.look_at_threads();
	for (const auto &thread : guest->threads)
		if (found.is_served(thread))
			for (auto cpu : intersect(thread.task.allowed, group.cpus))
				found.cpus_.insert(cpu);
	return found;
}

Result<UsageReading> MeasuredGuest::read(std::uint64_t period, PeriodTimer &timer)
{
	const auto &roots = context_->roots;
	if (!is_running(roots, guest_.pid, guest_.started))
		return fail(Status::failed, name(), "ended meanwhile");
	UsageReading reading;
	reading.period = period;
	// First: see parse_schedstat().
	if (reservation_.has_number()) {
		auto stat = parse_stat(read_file(directory_of(roots, group_) / "cpu.rt.stat").value_or("")).all;
		reading.group = {microseconds(static_cast<std::int64_t>(stat["irq_usec"])), stat["nr_throttled"]};
	}
	for (auto tid : threads_of(roots, guest_.pid))
		if (auto time = run_time(roots, guest_.pid, tid))
			reading.threads[tid].time = *time;
	for (const auto &[tid, thread] : known_)
		if (thread.task.kernel_thread)
			if (auto time = run_time(roots, tid, tid))
				reading.threads[tid].time = *time;
	reading.cpus = parse_stolen(read_file(roots.proc / "stat").value_or(""), sysconf(_SC_CLK_TCK));
	reading.late = timer.passed(period);

	bool unknown = false;
	for (const auto &[tid, thread] : reading.threads)
		unknown = unknown || !known_.count(tid);
	// A thread is made, then it gets its name: by the second look it has it.
	if (unknown || look_again_)
		look_at_threads();
	look_again_ = unknown;
	for (auto &[tid, thread] : reading.threads) {
		auto it = known_.find(tid);
		if (it == known_.end())
			continue; // ended before anybody could see what it was
		thread.row = row_of(it->second);
		thread.served = is_served(it->second);
		thread.allowed = it->second.task.allowed;
	}
	return reading;
}

Result<Usage> measure(MeasuredGuest &guest, PeriodTimer &timer, nanoseconds period, std::uint64_t periods)
{
	Usage usage(period, guest.cpus());
	if (auto started = timer.start(period); !started)
		return tl::unexpected(started.error());
	while (usage.elapsed() < periods) {
		auto begun = timer.wait();
		if (!begun)
			return tl::unexpected(begun.error());
		if (!*begun)
			break;
		auto reading = guest.read(**begun, timer);
		if (!reading) {
			auto error = reading.error();
			error.reason += fmt::format(", after {} of {} periods", usage.elapsed(), periods);
			return tl::unexpected(std::move(error));
		}
		usage.add(std::move(*reading));
	}
	if (usage.exact())
		return usage;
	if (!usage.late())
		return fail(Status::failed, guest.name(), "told to end before a period was over");
	return fail(Status::failed, guest.name(),
		    fmt::format("every period has a late reading at one of its ends, the latest {} after the period "
				"began: take a longer one than {}, or measure on a machine with less load",
				format_duration(std::chrono::ceil<microseconds>(usage.latest())),
				format_duration(period)));
}

} // namespace dlgroup::tool
