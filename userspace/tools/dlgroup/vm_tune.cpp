// SPDX-License-Identifier: GPL-2.0-only
// vm tune: the runtime of an attached guest follows what it uses.
#include <utility>

#include <fmt/format.h>

#include "vm_usage.h"

#include <dlgroup/diagnosis.h>

namespace dlgroup::tool {

namespace {

// Fewer periods have no percentiles to speak of.
constexpr std::uint64_t kFewest = 10;

struct Asked {
	TuneLimits limits;
	nanoseconds period{0};
	std::uint64_t window = 0;		// periods
	std::optional<std::uint64_t> periods; // in all; none: until told to end
};

Result<TuneLimits> limits_of(const Options &options, const RtMax &reservation)
{
	auto colon = options.runtime.find(':');
	if (colon == options.runtime.npos)
		return bad_input("--runtime", "least and most, such as 2ms:10ms");
	auto least = parse_duration(options.runtime.substr(0, colon)).and_then(whole_microseconds);
	auto most = parse_duration(options.runtime.substr(colon + 1)).and_then(whole_microseconds);
	for (const auto *one : {&least, &most})
		if (!*one)
			return tl::unexpected(one->error());
	if (*least > *most || least->count() == 0)
		return bad_input("--runtime", fmt::format("{} is no range from the least to the most", options.runtime));
	if (*most > reservation.deadline)
		return bad_input("--runtime", fmt::format("the most is longer than the reservation's {}",
							  format_duration(reservation.deadline)));
	return TuneLimits{*least, *most, options.margin};
}

Result<Asked> asked(const Options &options, const RtMax &reservation)
{
	Asked what;
	auto limits = limits_of(options, reservation);
	if (!limits)
		return tl::unexpected(limits.error());
	what.limits = *limits;
	what.period = reservation.period;
	auto window = parse_duration(options.window);
	if (!window)
		return tl::unexpected(window.error());
	what.window = static_cast<std::uint64_t>(*window / what.period);
	if (what.window < kFewest)
		return bad_input("--window", fmt::format("{} has fewer than {} periods of {}", format_duration(*window),
							 kFewest, format_duration(what.period)));
	if (options.duration.empty())
		return what;
	auto duration = parse_duration(options.duration);
	if (!duration)
		return tl::unexpected(duration.error());
	what.periods = static_cast<std::uint64_t>(*duration / what.period);
	if (*what.periods < what.window)
		return bad_input("--duration", fmt::format("{} is shorter than a window of {}", format_duration(*duration),
							   format_duration(*window)));
	return what;
}

class Tuner {
public:
	Tuner(const Context &context, MeasuredGuest &guest, const Asked &what)
	    : context_(context), guest_(guest), what_(what), first_(guest.reservation()), now_(first_)
	{
	}
	Result<void> run(PeriodTimer &timer);
	// What there was in the beginning.
	Result<void> restore();
	Json changes() const { return changes_; }
	const RtMax &now() const { return now_; }

private:
	Result<void> look_at(const Usage &usage);
	Result<void> change(microseconds runtime, const std::string &why);
	// With the records held, so that nobody detaches it meanwhile.
	Result<void> write(Changes &changes, microseconds runtime);

	const Context &context_;
	MeasuredGuest &guest_;
	const Asked &what_;
	const RtMax first_;
	RtMax now_;
	std::string said_; // the last refusal or dry step, which is not told again and again
	Json changes_ = Json::array();
};

Result<void> Tuner::run(PeriodTimer &timer)
{
	if (auto started = timer.start(what_.period); !started)
		return started;
	Usage usage(what_.period, guest_.cpus());
	for (std::uint64_t done = 0; !what_.periods || done < *what_.periods;) {
		auto begun = timer.wait();
		if (!begun)
			return tl::unexpected(begun.error());
		if (!*begun)
			return {};
		auto reading = guest_.read(**begun, timer);
		if (!reading)
			return tl::unexpected(reading.error());
		usage.add(std::move(*reading));
		done = **begun;
		if (usage.elapsed() < what_.window)
			continue;
		if (auto good = look_at(usage); !good)
			return good;
		usage.restart();
	}
	return {};
}

Result<void> Tuner::look_at(const Usage &usage)
{
	if (!usage.exact())
		return {}; // nobody knows
	auto need = quantile(usage.need(), kNeeded);
	auto next = tuned(now_.runtime, need, usage.throttled(), usage.elapsed(), what_.limits);
	if (!next)
		return {};
	return change(std::chrono::duration_cast<microseconds>(*next),
		      fmt::format("needed {} (P99 of {} periods), used up in {} of {}",
				  format_duration(std::chrono::ceil<microseconds>(need)), usage.exact(),
				  usage.throttled(), usage.elapsed()));
}

Result<void> Tuner::write(Changes &changes, microseconds runtime)
{
	const auto &group = guest_.group();
	auto wanted = now_;
	wanted.runtime = runtime;
	Request request{false, runtime, wanted.period, {}};
	if (wanted.deadline != wanted.period)
		request.deadline = wanted.deadline;
	auto records = GuestRecords::open(context_.roots);
	if (!records)
		return tl::unexpected(records.error());
	auto record = records->read(guest_.guest().pid);
	if (!record)
		return tl::unexpected(record.error());
	if (!*record || (*record)->started != guest_.guest().started || (*record)->group != group)
		return fail(Status::failed, guest_.name(), "was detached meanwhile");
	auto tree = read_tree(context_.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	auto at = tree->find(group);
	if (!at || tree->groups[*at].rt_max != now_)
		return fail(Status::failed, guest_.name(),
			    fmt::format("its reservation is {} by now, and not {}: somebody else has changed it",
					at ? format_rt_max(tree->groups[*at].rt_max) : "gone", format_rt_max(now_)));
	auto done = set_up(context_, changes, *tree, group, request, {});
	if (done)
		changes.keep();
	return done;
}

Result<void> Tuner::change(microseconds runtime, const std::string &why)
{
	Changes changes(context_.roots, context_.groups, context_.tasks, context_.options.dry_run);
	auto done = write(changes, runtime);
	// What there is room for, then.
	if (!done && done.error().refusal && done.error().refusal->fits &&
	    done.error().refusal->fits->runtime > now_.runtime) {
		runtime = done.error().refusal->fits->runtime;
		done = write(changes, runtime);
	}
	if (!done && done.error().status == Status::refused) {
		if (std::exchange(said_, done.error().reason) != done.error().reason)
			say(done.error().object, done.error().reason);
		return {};
	}
	if (!done)
		return done;
	auto next = now_;
	next.runtime = runtime;
	auto line = context_.options.dry_run ? changes.steps().at(0)
					     : fmt::format("{}: {} -> {}: {}", guest_.name(), format_rt_max(now_),
							   format_rt_max(next), why);
	if (context_.options.json)
		changes_.push_back(context_.options.dry_run
					   ? Json(line)
					   : Json{{"from", to_json(now_)}, {"to", to_json(next)}, {"why", why}});
	else if (std::exchange(said_, line) != line)
		print(line);
	if (!context_.options.dry_run)
		now_ = next;
	return {};
}

Result<void> Tuner::restore()
{
	return now_ == first_ ? Result<void>() : change(first_.runtime, "as it was");
}

} // namespace

Result<int> vm_tune(const Context &context, PeriodTimer &timer)
{
	if (auto good = check_running(context); !good)
		return tl::unexpected(good.error());
	auto guest = MeasuredGuest::find(context);
	if (!guest)
		return tl::unexpected(guest.error());
	const auto &record = guest->record();
	if (!record)
		return fail(Status::failed, guest->name(), "is not attached: dlgroup vm attach gives it a reservation");
	if (guest->group() != record->group || !guest->reservation().has_number())
		return fail(Status::failed, guest->name(), record->group + " has no reservation of its own any more");
	auto what = asked(context.options, guest->reservation());
	if (!what)
		return tl::unexpected(what.error());
	Tuner tuner(context, *guest, *what);
	auto done = tuner.run(timer);
	auto back = context.options.restore ? tuner.restore() : Result<void>();
	for (const auto *one : {&done, &back})
		if (!*one)
			return tl::unexpected(one->error());
	if (context.options.json) {
		auto out = answer();
		out["pid"] = guest->guest().pid;
		out["group"] = guest->group();
		out[context.options.dry_run ? "steps" : "changes"] = tuner.changes();
		out["reservation"] = to_json(tuner.now());
		print(out);
	}
	return 0;
}

Result<int> vm_tune(const Context &context)
{
	KernelTimer timer;
	return vm_tune(context, timer);
}

} // namespace dlgroup::tool
