// SPDX-License-Identifier: GPL-2.0-only
// What the analysis has to agree with, made another way: no formula, but slots
// of time, one after another, and every choice that an adversary has.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <vector>

namespace dlgroup::test {

struct Reservation {
	int runtime, period, deadline;
};
struct Thread {
	int runtime, deadline, period, jitter = 0, rank = 0;
};

// The least supply of a window of `time` slots, wherever it begins: in each
// period it meets, all slots outside it are served first.
inline int worst_supply(const Reservation &r, int time)
{
	int worst = time;
	for (int start = 0; start < r.period; start++) {
		int got = 0;
		for (int begin = 0; begin < start + time; begin += r.period) {
			int overlap = std::min(begin + r.deadline, start + time) - std::max(begin, start);
			got += std::max(0, r.runtime - (r.deadline - std::max(0, overlap)));
		}
		worst = std::min(worst, got);
	}
	return worst;
}

// Slots served if waiting begins when a budget was used up as early as can be
// and each later one comes as late as can be.
inline std::vector<bool> late_slots(const Reservation &r, int count)
{
	std::vector<bool> served(static_cast<std::size_t>(count), false);
	for (int begin = r.period - r.runtime; begin < count; begin += r.period)
		for (int i = r.deadline - r.runtime; i < r.deadline; i++)
			if (begin + i < count)
				served[static_cast<std::size_t>(begin + i)] = true;
	return served;
}

struct Job {
	std::size_t thread;
	int arrival, left;
};

// Runs given jobs in given slots; the response of each, or nothing if it did not
// end. `before` says which of two goes first.
inline std::vector<std::optional<int>>
run_jobs(std::vector<Job> jobs, const std::vector<bool> &slots,
	 const std::function<bool(const Job &, const Job &)> &before)
{
	std::vector<std::optional<int>> responses(jobs.size());
	std::vector<std::size_t> order(jobs.size());
	for (std::size_t i = 0; i < order.size(); i++)
		order[i] = i;
	std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
		return before(jobs[a], jobs[b]);
	});
	for (int now = 0; now < static_cast<int>(slots.size()); now++) {
		if (!slots[static_cast<std::size_t>(now)])
			continue;
		auto next = std::find_if(order.begin(), order.end(), [&](auto i) {
			return jobs[i].arrival <= now;
		});
		if (next == order.end() || --jobs[*next].left)
			continue;
		responses[*next] = now + 1 - jobs[*next].arrival;
		order.erase(next);
	}
	return responses;
}

// Every supply, every release pattern and every choice between equals: all
// states that can be reached, slot by slot.
class Adversary {
public:
	struct Found {
		bool missed = false;
		bool gave_up = false;
		std::vector<int> responses;
	};

	Adversary(const Reservation &reservation, const std::vector<Thread> &threads, bool edf)
	    : reservation_(reservation), threads_(threads), edf_(edf)
	{
		for (std::size_t i = 0; i < threads.size(); i++)
			for (std::size_t j = 0; j < i; j++)
				ties_ = ties_ || threads[i].rank == threads[j].rank;
		ties_ = ties_ && !edf;
		found_.responses.assign(threads.size(), 0);
	}

	Found play(std::size_t most_states)
	{
		State first;
		first.left = reservation_.runtime;
		for (const auto &thread : threads_)
			first.since.push_back(thread.period);
		visit(first);
		while (!open_.empty() && !found_.missed) {
			if (seen_.size() > most_states) {
				found_.gave_up = true;
				break;
			}
			auto state = open_.back();
			open_.pop_back();
			arrive(state, 0);
		}
		return found_;
	}

private:
	struct Pending {
		int thread, age, left, waiting; // waiting: since its release, -1 before
		auto operator<=>(const Pending &) const = default;
	};
	struct State {
		int phase = 0, left = 0;
		std::vector<int> since; // the last arrival
		std::vector<Pending> jobs;
		auto operator<=>(const State &) const = default;
	};

	void visit(const State &state)
	{
		if (seen_.insert(state).second)
			open_.push_back(state);
	}

	void arrive(const State &state, std::size_t i)
	{
		if (i == threads_.size())
			return release(state, 0);
		arrive(state, i + 1);
		if (state.since[i] < threads_[i].period)
			return;
		auto next = state;
		next.since[i] = 0;
		next.jobs.push_back({static_cast<int>(i), 0, threads_[i].runtime, -1});
		arrive(next, i + 1);
	}

	// One after another: a job is not released before an earlier one of its thread.
	void release(const State &state, std::size_t i)
	{
		if (i == state.jobs.size())
			return supply(state);
		const auto &job = state.jobs[i];
		if (job.waiting >= 0)
			return release(state, i + 1);
		if (job.age < threads_[static_cast<std::size_t>(job.thread)].jitter)
			release(state, i + 1);
		auto next = state;
		next.jobs[i].waiting = 0;
		release(next, i + 1);
	}

	void supply(const State &state)
	{
		int usable = std::max(0, reservation_.deadline - state.phase);
		if (state.left < usable || !state.left)
			step(state);
		if (!state.left || !usable)
			return;
		auto next = state;
		next.left--;
		bool any = false;
		for (std::size_t i = 0; i < next.jobs.size(); i++) {
			if (!may_run(next, i))
				continue;
			any = true;
			auto run = next;
			auto &job = run.jobs[i];
			if (!--job.left) {
				auto thread = static_cast<std::size_t>(job.thread);
				found_.responses[thread] =
					std::max(found_.responses[thread], job.age + 1);
				found_.missed = found_.missed ||
						job.age + 1 > threads_[thread].deadline;
				run.jobs.erase(run.jobs.begin() + static_cast<std::ptrdiff_t>(i));
			}
			step(run);
		}
		if (!any)
			step(next);
	}

	bool may_run(const State &state, std::size_t i) const
	{
		const auto &job = state.jobs[i];
		if (job.waiting < 0)
			return false;
		const auto &mine = threads_[static_cast<std::size_t>(job.thread)];
		for (std::size_t j = 0; j < state.jobs.size(); j++) {
			const auto &other = state.jobs[j];
			if (j == i || other.waiting < 0)
				continue;
			if (other.thread == job.thread) {
				if (j < i)
					return false;
				continue;
			}
			const auto &its = threads_[static_cast<std::size_t>(other.thread)];
			if (edf_ ? its.deadline - other.age < mine.deadline - job.age
				 : its.rank < mine.rank ||
					   (its.rank == mine.rank && other.waiting > job.waiting))
				return false;
		}
		return true;
	}

	void step(State state)
	{
		if (++state.phase == reservation_.period) {
			state.phase = 0;
			state.left = reservation_.runtime;
		}
		for (std::size_t i = 0; i < threads_.size(); i++)
			state.since[i] = std::min(state.since[i] + 1, threads_[i].period);
		for (auto &job : state.jobs) {
			if (++job.age >= threads_[static_cast<std::size_t>(job.thread)].deadline)
				found_.missed = true;
			if (job.waiting >= 0 && ties_)
				job.waiting++;
		}
		visit(state);
	}

	Reservation reservation_;
	std::vector<Thread> threads_;
	bool edf_;
	bool ties_ = false;
	Found found_;
	std::set<State> seen_;
	std::vector<State> open_;
};

// A thread alone in a CBS server among others that delay it as they like, as
// long as it has by each deadline of its server what it asked for.
class WakeupRule {
public:
	WakeupRule(const Reservation &reservation, const Thread &thread)
	    : r_(reservation), thread_(thread)
	{
	}
	int longest_response(std::size_t most_states)
	{
		visit({});
		while (!open_.empty() && seen_.size() < most_states) {
			auto state = open_.back();
			open_.pop_back();
			step(state, false);
			if (state.since >= thread_.period)
				step(state, true);
		}
		return longest_;
	}

private:
	struct State {
		int budget = 0, until = 0; // the server's deadline
		int since = 1 << 20;
		int left = 0; // of the job; one at a time, others queue
		int queued = 0, age = 0;
		auto operator<=>(const State &) const = default;
	};

	void visit(State state)
	{
		state.since = std::min(state.since, thread_.period);
		if (seen_.insert(state).second)
			open_.push_back(state);
	}
	void step(State state, bool arrival)
	{
		if (arrival) {
			state.since = 0;
			if (state.left) {
				state.queued++;
			} else {
				state.left = thread_.runtime;
				state.age = 0;
				if (state.until <= 0 ||
				    state.budget * r_.period > state.until * r_.runtime) {
					state.until = r_.period;
					state.budget = r_.runtime;
				}
			}
		}
		if (state.left && state.until <= 0) {
			state.until += r_.period;
			state.budget = r_.runtime;
		}
		int owed = std::min(state.budget, state.left);
		if (!owed || owed < state.until)
			pass(state);
		if (owed) {
			state.budget--;
			state.left--;
			longest_ = std::max(longest_, state.left ? 0 : state.age + 1);
			pass(state);
		}
	}
	void pass(State state)
	{
		state.age++;
		if (!state.left && state.queued) {
			state.queued--;
			state.left = thread_.runtime;
			state.age -= thread_.period; // it came no earlier than that
		}
		state.age = state.left ? state.age : 0;
		if (state.age > 8 * r_.period)
			return; // worse than any bound
		longest_ = std::max(longest_, state.age);
		state.since++;
		state.until = std::max(state.until - 1, 0);
		if (!state.until && !state.left)
			state.budget = 0;
		visit(state);
	}

	Reservation r_;
	Thread thread_;
	int longest_ = 0;
	std::set<State> seen_;
	std::vector<State> open_;
};

} // namespace dlgroup::test
