// SPDX-License-Identifier: GPL-2.0-only
// vm watch: a service that keeps attached guests as their profiles say.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>

#include <fmt/format.h>
#include <poll.h>
#include <sys/inotify.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "vm.h"

#include <dlgroup/process_events.h>

namespace dlgroup::tool {

namespace {

using Clock = std::chrono::steady_clock;

// A thread is made, then it gets its name: both have happened by the first look. One whose
// maker was kept off the CPU in between has its name by the second.
constexpr auto kFirst = std::chrono::milliseconds(50), kSecond = std::chrono::milliseconds(1000);

struct Attached {
	std::optional<Clock::time_point> first, second;
	std::string said; // the last failure, which is not told again and again
};

class Watch {
public:
	Watch(const Context &context, ProcessEvents events, int records)
	    : context_(context), events_(std::move(events)), records_(records)
	{
	}
	// Whose records are there; each that is new is looked at at once.
	void look_up();
	Result<void> take_events();
	void take_records();
	// The guests whose time has come.
	void look_after();
	int milliseconds_to_next() const; // -1: none is awaited
	std::size_t guests() const { return guests_.size(); }

private:
	void look_after(pid_t pid, Attached &guest);

	const Context &context_;
	ProcessEvents events_;
	int records_; // inotify
	std::map<pid_t, Attached> guests_;
};

std::vector<pid_t> recorded(const Context &context)
{
	std::vector<pid_t> found;
	auto records = GuestRecords::peek(context.roots);
	if (!records || !*records)
		return found;
	for (const auto &name : (*records)->names())
		if (name.find_first_not_of("0123456789") == name.npos && name.size() < 10)
			found.push_back(std::stoi(name));
	return found;
}

// One guest, with the records held; none: a dry run.
Result<void> bring_up_to_date(const Context &context, Changes &changes, const GuestRecords *records, pid_t pid)
{
	auto record = records ? records->read(pid) : peek_record(context.roots, pid);
	if (!record)
		return tl::unexpected(record.error());
	if (!*record)
		return {}; // detached meanwhile
	if (is_running(context.roots, pid, (*record)->started))
		return arrange_new_threads(context, changes, records, **record);
	auto done = put_guest_back(context, changes, records, **record);
	if (done && records)
		print(fmt::format("{}: has ended, detached from {}", name_guest(pid, (*record)->name),
				  (*record)->group));
	return done;
}

void Watch::look_up()
{
	std::map<pid_t, Attached> now;
	for (auto pid : recorded(context_)) {
		auto known = guests_.find(pid);
		now[pid] = known != guests_.end() ? known->second : Attached{};
		// A record that is written anew can be that of another guest.
		now[pid].first = Clock::now();
	}
	guests_ = std::move(now);
}

Result<void> Watch::take_events()
{
	auto batch = events_.read();
	if (!batch)
		return tl::unexpected(batch.error());
	auto now = Clock::now();
	auto look_at = [&](Attached &guest) {
		if (!guest.first)
			guest.first = now + kFirst;
		guest.second = now + kSecond;
	};
	for (const auto &event : batch->events)
		if (auto guest = guests_.find(event.tgid); guest != guests_.end())
			look_at(guest->second);
	if (batch->lost)
		for (auto &[pid, guest] : guests_)
			look_at(guest);
	return {};
}

void Watch::take_records()
{
	char buffer[4096];
	while (read(records_, buffer, sizeof(buffer)) > 0)
		;
	look_up();
}

void Watch::look_after(pid_t pid, Attached &guest)
{
	auto records = GuestRecords::open(context_.roots);
	auto done = records ? Result<void>() : tl::unexpected(records.error());
	if (done) {
		Changes changes(context_.roots, context_.groups, context_.tasks, false);
		done = bring_up_to_date(context_, changes, &*records, pid);
	}
	auto failure = done ? std::string() : done.error().object + ": " + done.error().reason;
	if (!done && failure != guest.said)
		say(done.error().object, done.error().reason);
	guest.said = std::move(failure);
}

void Watch::look_after()
{
	auto now = Clock::now();
	for (auto &[pid, guest] : guests_) {
		bool due = false;
		for (auto *when : {&guest.first, &guest.second})
			if (*when && **when <= now) {
				due = true;
				when->reset();
			}
		if (due)
			look_after(pid, guest);
	}
}

int Watch::milliseconds_to_next() const
{
	std::optional<Clock::time_point> next;
	for (const auto &[pid, guest] : guests_)
		for (const auto &when : {guest.first, guest.second})
			if (when && (!next || *when < *next))
				next = when;
	if (!next)
		return -1;
	auto left = std::chrono::ceil<std::chrono::milliseconds>(*next - Clock::now());
	return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

// What it would do now, to all guests.
Result<int> dry_run(const Context &context)
{
	Changes changes(context.roots, context.groups, context.tasks, true);
	for (auto pid : recorded(context))
		if (auto done = bring_up_to_date(context, changes, nullptr, pid); !done)
			return tl::unexpected(done.error());
	return print_steps(changes.steps(), context.options.json);
}

} // namespace

Result<int> vm_watch(const Context &context)
{
	if (context.options.dry_run)
		return dry_run(context);
	if (auto good = check_running(context); !good)
		return tl::unexpected(good.error());
	// The directory is there afterwards.
	if (auto records = GuestRecords::open(context.roots); !records)
		return tl::unexpected(records.error());
	Fd end(told_to_end());
	Fd changed(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
	auto path = context.roots.run / "dlgroup" / GuestRecord::kKind;
	if (end < 0 || changed < 0 ||
	    inotify_add_watch(changed, path.c_str(), IN_MOVED_TO | IN_DELETE | IN_ONLYDIR) < 0)
		return tl::unexpected(system_error(path.string(), errno).value());
	// Before the first look, or what happens meanwhile would be missed.
	auto events = ProcessEvents::open();
	if (!events)
		return tl::unexpected(events.error());
	Watch watch(context, *events, changed);
	watch.look_up();
	watch.look_after();
	sd_notify(0, "READY=1");
	std::optional<std::size_t> told;
	while (true) {
		if (told != watch.guests())
			sd_notify(0, fmt::format("STATUS={} guests attached", watch.guests()).c_str());
		told = watch.guests();
		pollfd sources[] = {{end, POLLIN, 0}, {events->fd(), POLLIN, 0}, {changed, POLLIN, 0}};
		if (poll(sources, std::size(sources), watch.milliseconds_to_next()) < 0 && errno != EINTR)
			return tl::unexpected(system_error("poll", errno).value());
		if (sources[0].revents)
			return 0; // the guests stay as they are
		if (sources[1].revents)
			if (auto done = watch.take_events(); !done)
				return tl::unexpected(done.error());
		if (sources[2].revents)
			watch.take_records();
		watch.look_after();
	}
}

} // namespace dlgroup::tool
