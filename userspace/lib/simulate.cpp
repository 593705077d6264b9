// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/simulate.h>

#include <algorithm>
#include <limits>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include <dlgroup/random.h>

namespace dlgroup {

namespace {

using Instant = i128; // sums of a few times never overflow

constexpr Instant kNever = static_cast<Instant>(1) << 100;

// What no 64 bit number holds becomes the largest.
nanoseconds to_time(Instant value)
{
	constexpr Instant kLargest = std::numeric_limits<std::int64_t>::max();
	return nanoseconds(static_cast<std::int64_t>(std::min(value, kLargest)));
}

Instant draw(Random &random, Instant last)
{
	return static_cast<Instant>(random.upto(static_cast<std::uint64_t>(last)));
}

// A hard CBS: throttled from the end of its budget until its deadline.
class Server {
public:
	explicit Server(const Scenario &scenario)
	    : service_(scenario.service), random_(scenario.service_seed),
	      runtime_(scenario.supply.runtime.count()), period_(scenario.supply.period.count()),
	      latency_(scenario.supply.latency.count()),
	      deadline_(scenario.used_up ? period_ - runtime_ : 0)
	{
	}

	bool has_work() const { return has_work_; }
	void sleep() { has_work_ = false; }
	// The wakeup rule: budget and deadline are kept if the budget is no more
	// than the bandwidth allows until the deadline.
	void wake(Instant now)
	{
		has_work_ = true;
		if (now >= deadline_ || budget_ * period_ > (deadline_ - now) * runtime_) {
			deadline_ = now + period_;
			budget_ = runtime_;
		}
		if (budget_)
			plan(now);
	}
	// When work that is there can run: now or at a later instant.
	Instant served_from(Instant now)
	{
		if (!runtime_)
			return kNever;
		if (!budget_) {
			if (now < deadline_)
				return deadline_;
			deadline_ += period_;
			budget_ = runtime_;
			plan(now);
		}
		return start_;
	}
	bool throttled(Instant now) const { return !budget_ && now < deadline_; }
	// How long it is served without a break.
	Instant piece() const { return piece_; }
	// It was served for so long, until now. True if that was the last of a budget.
	bool charge(Instant time, Instant now)
	{
		budget_ -= time;
		piece_ -= time;
		if (budget_ && !piece_)
			plan(now);
		return !budget_;
	}

private:
	// The next piece of the budget; all of it is served by the deadline.
	void plan(Instant now)
	{
		auto slack = deadline_ + latency_ - budget_ - now;
		start_ = now;
		piece_ = budget_;
		switch (service_) {
		case Service::worst:
			start_ += slack;
			break;
		case Service::early:
			break;
		case Service::random:
			start_ += draw(random_, slack);
			if (random_.upto(1))
				piece_ = 1 + draw(random_, budget_ - 1);
		}
	}

	Service service_;
	Random random_;
	Instant runtime_, period_, latency_;
	Instant deadline_, budget_ = 0;
	Instant start_ = 0, piece_ = 0;
	bool has_work_ = false;
};

struct Job {
	std::size_t task = 0;
	std::uint64_t number = 0; // of that task
	Instant arrival = 0, ready = 0, left = 0;
	std::size_t record = 0;
};

// The jobs of one task, one after another.
class Arrivals {
public:
	Arrivals(const SporadicTask &task, std::size_t index, Instant offset, Random *random)
	    : period_(task.period.count()), jitter_(task.jitter.count()),
	      runtime_(task.runtime.count()), random_(random)
	{
		next_.task = index;
		next_.arrival = random_ ? draw(*random_, period_) : offset - jitter_;
		next_.ready = random_ ? 0 : offset;
		settle();
	}
	const Job &next() const { return next_; }
	void advance()
	{
		next_.number++;
		next_.arrival += period_;
		if (random_ && random_->upto(1))
			next_.arrival += draw(*random_, period_);
		settle();
	}

private:
	// No job is ready before an earlier one of its task.
	void settle()
	{
		auto late = random_ ? draw(*random_, jitter_) : 0;
		next_.ready = std::max(next_.ready, next_.arrival + late);
		next_.left = runtime_;
		if (random_ && random_->upto(1))
			next_.left = 1 + draw(*random_, runtime_ - 1);
	}

	Instant period_, jitter_, runtime_;
	Random *random_;
	Job next_;
};

class Simulator {
public:
	Simulator(const TaskSet &set, const Scenario &scenario)
	    : set_(set), scenario_(scenario), end_(scenario.duration.count()), server_(scenario),
	      random_(scenario.release_seed.value_or(0)), queue_(Before{this})
	{
		result_.tasks.resize(set.size());
		for (std::size_t i = 0; i < set.size(); i++)
			arrivals_.emplace_back(set[i], i,
					       i < scenario.offsets.size() ? scenario.offsets[i].count() : 0,
					       scenario.release_seed ? &random_ : nullptr);
	}

	Simulated run()
	{
		for (Instant now = 0; now < end_;) {
			auto until = make_ready(now);
			if (queue_.empty()) {
				server_.sleep();
				now = until;
				continue;
			}
			if (!server_.has_work())
				server_.wake(now);
			auto from = server_.served_from(now);
			if (from > now) {
				auto to = std::min(from, until);
				if (scenario_.record && server_.throttled(now))
					extend(result_.throttles, {0, to_time(now), to_time(to)});
				now = to;
				continue;
			}
			now = serve(now, until);
		}
		for (const auto &job : queue_)
			result_.tasks[job.task].misses += due(job) <= end_;
		return std::move(result_);
	}

private:
	struct Before {
		const Simulator *simulator;

		bool operator()(const Job &a, const Job &b) const
		{
			return simulator->order(a) < simulator->order(b);
		}
	};

	Instant due(const Job &job) const { return job.arrival + set_[job.task].deadline.count(); }
	// Equals go in the order of the set.
	std::tuple<Instant, Instant, std::size_t, std::uint64_t> order(const Job &job) const
	{
		if (scenario_.scheduler == Scheduler::edf)
			return {due(job), 0, job.task, job.number};
		return {set_[job.task].rank, job.ready, job.task, job.number};
	}

	// Queues what is ready. The next instant at which something will be.
	Instant make_ready(Instant now)
	{
		auto until = end_;
		for (auto &source : arrivals_) {
			for (; source.next().ready <= now; source.advance()) {
				auto job = source.next();
				result_.tasks[job.task].jobs++;
				if (scenario_.record) {
					job.record = result_.jobs.size();
					result_.jobs.push_back({job.task, to_time(job.arrival),
								to_time(due(job)), std::nullopt});
				}
				queue_.insert(job);
			}
			until = std::min(until, source.next().ready);
		}
		return until;
	}

	// The first job runs until something happens. That instant.
	Instant serve(Instant now, Instant until)
	{
		auto node = queue_.extract(queue_.begin());
		auto &job = node.value();
		auto time = std::min({job.left, server_.piece(), until - now});
		if (scenario_.record)
			extend(result_.slices, {job.task, to_time(now), to_time(now + time)});
		now += time;
		result_.supplied += to_time(time);
		result_.throttled += server_.charge(time, now);
		job.left -= time;
		if (job.left) {
			queue_.insert(std::move(node));
			return now;
		}
		auto &task = result_.tasks[job.task];
		task.finished++;
		task.misses += now > due(job);
		task.response = std::max(task.response.value_or(nanoseconds(0)), to_time(now - job.arrival));
		if (scenario_.record)
			result_.jobs[job.record].end = to_time(now);
		return now;
	}

	static void extend(std::vector<Slice> &slices, const Slice &slice)
	{
		if (!slices.empty() && slices.back().task == slice.task && slices.back().to == slice.from)
			slices.back().to = slice.to;
		else
			slices.push_back(slice);
	}

	const TaskSet &set_;
	const Scenario &scenario_;
	Instant end_;
	Server server_;
	Random random_;
	std::vector<Arrivals> arrivals_;
	std::set<Job, Before> queue_;
	Simulated result_;
};

} // namespace

Result<Simulated> simulate(const TaskSet &set, const Scenario &scenario)
{
	const auto &supply = scenario.supply;
	if (supply.deadline != supply.period)
		return bad_input("--deadline", "a deadline other than the period is not simulated");
	// Those that jitter brings to the start are jobs too.
	auto count = [&](nanoseconds jitter, nanoseconds period) {
		return (Instant{scenario.duration.count()} + jitter.count()) / period.count() + 1;
	};
	auto events = count(nanoseconds(0), supply.period);
	for (const auto &task : set)
		events += count(task.jitter, task.period);
	if (events > static_cast<Instant>(kMostEvents))
		return bad_input("--duration", fmt::format("{} has more than {} jobs and periods; "
							   "expected a shorter time",
							   format_duration(scenario.duration), kMostEvents));
	return Simulator(set, scenario).run();
}

} // namespace dlgroup
