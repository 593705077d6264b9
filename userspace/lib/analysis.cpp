// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/analysis.h>

#include <algorithm>
#include <compare>
#include <limits>
#include <numeric>

#include <fmt/format.h>

namespace dlgroup {

namespace {

using u64 = std::uint64_t;

constexpr u128 kHuge = ~static_cast<u128>(0);
// No instant beyond is looked at: whatever needs it is unknown.
constexpr u64 kHorizon = std::numeric_limits<std::int64_t>::max();
// How much is done for one answer, counted in looks at a task: less than a second.
constexpr u64 kMostSteps = u64{1} << 26;
constexpr u64 kStepsForWitness = u64{1} << 20;

u128 add(u128 a, u128 b)
{
	u128 sum;
	return __builtin_add_overflow(a, b, &sum) ? kHuge : sum;
}

u128 multiply(u128 a, u128 b)
{
	u128 product;
	return __builtin_mul_overflow(a, b, &product) ? kHuge : product;
}

// Dividing 128 bits is slow and hardly ever needed.
u128 divide(u128 a, u64 b)
{
	return a >> 64 ? a / b : static_cast<u64>(a) / b;
}

u128 divide_up(u128 a, u64 b)
{
	return divide(a, b) + (a % b ? 1 : 0);
}

// How many of 0, step, 2 step ... are at most `last`.
u128 multiples_to(i128 last, u64 step)
{
	return last < 0 ? 0 : divide(static_cast<u128>(last), step) + 1;
}

u64 count(nanoseconds time)
{
	return static_cast<u64>(time.count());
}

// Time without supply at the worst moment to wait for it.
u128 blackout(const Supply &supply)
{
	return static_cast<u128>(count(supply.latency)) + count(supply.period) +
	       count(supply.deadline) - 2 * static_cast<u128>(count(supply.runtime));
}

// A sum of fractions, exactly, for when no approximation can tell.
class ExactSum {
public:
	void add(u64 numerator, u64 denominator)
	{
		auto whole = Number(over_);
		scale(whole, numerator);
		scale(sum_, denominator);
		scale(over_, denominator);
		plus(sum_, whole);
	}
	std::strong_ordering compare(u64 numerator, u64 denominator) const
	{
		auto left = sum_, right = over_;
		scale(left, denominator);
		scale(right, numerator);
		for (auto *number : {&left, &right})
			while (!number->empty() && !number->back())
				number->pop_back();
		if (left.size() != right.size())
			return left.size() <=> right.size();
		return std::lexicographical_compare_three_way(left.rbegin(), left.rend(),
							      right.rbegin(), right.rend());
	}

private:
	using Number = std::vector<u64>; // lowest first

	static void scale(Number &number, u64 factor)
	{
		u64 carry = 0;
		for (auto &digit : number) {
			auto product = static_cast<u128>(digit) * factor + carry;
			digit = static_cast<u64>(product);
			carry = static_cast<u64>(product >> 64);
		}
		if (carry)
			number.push_back(carry);
	}
	static void plus(Number &number, const Number &other)
	{
		number.resize(std::max(number.size(), other.size()) + 1);
		u64 carry = 0;
		for (std::size_t i = 0; i < number.size(); i++) {
			auto sum = static_cast<u128>(number[i]) + (i < other.size() ? other[i] : 0) + carry;
			number[i] = static_cast<u64>(sum);
			carry = static_cast<u64>(sum >> 64);
		}
		if (!number.back())
			number.pop_back();
	}

	Number sum_{0};
	Number over_{1};
};

// Utilisation C/T between two fractions of 2^62.
constexpr unsigned kRateBits = 62;

struct Item {
	u64 runtime, deadline, period, jitter, blocking;
	unsigned rank;
	u128 rate_floor, rate_ceil;
	u64 slack; // deadline - jitter: from the latest release to the deadline
};

struct Rate {
	u128 floor = 0, ceil = 0;

	void add(const Item &item)
	{
		floor = dlgroup::add(floor, item.rate_floor);
		ceil = dlgroup::add(ceil, item.rate_ceil);
	}
};

// The worst answer of all tasks.
template <class Decide>
Answer for_all(std::size_t tasks, Decide decide)
{
	auto answer = Answer::yes;
	for (std::size_t i = 0; i < tasks && answer != Answer::no; i++) {
		auto one = decide(i);
		if (one != Answer::yes)
			answer = one;
	}
	return answer;
}

// One task set in one reservation. Instants count from the start of a busy
// period: the CPU has nothing to do for the tasks considered, the worst supply
// begins and as much is released as can be.
class Case {
public:
	Case(const TaskSet &set, const Supply &supply, Scheduler scheduler)
	    : supply_(supply), edf_(scheduler == Scheduler::edf)
	{
		for (const auto &task : set) {
			Item item{count(task.runtime), count(task.deadline), count(task.period),
				  count(task.jitter),  count(task.blocking), task.rank, 0, 0, 0};
			auto scaled = static_cast<u128>(item.runtime) << kRateBits;
			item.rate_floor = divide(scaled, item.period);
			item.rate_ceil = divide_up(scaled, item.period);
			item.slack = item.deadline > item.jitter ? item.deadline - item.jitter : 0;
			all_.add(item);
			items_.push_back(item);
		}
	}

	void reserve(nanoseconds runtime) { supply_.runtime = runtime; }
	std::size_t size() const { return items_.size(); }
	const std::optional<Witness> &witness() const { return witness_; }
	std::optional<u64> bound() const { return bound_; }
	u64 looked_at() const { return looked_at_; }

	Bandwidth utilisation() const
	{
		auto share = all_.ceil >> (kRateBits - kBandwidthBits);
		return static_cast<Bandwidth>(std::min<u128>(share, ~Bandwidth{0}));
	}

	// U against Q/P.
	std::strong_ordering load() const { return load(count(supply_.runtime)); }
	// U against as much in each P, from several CPUs.
	std::strong_ordering load(u64 runtime) const
	{
		return compare(all_, [](const Item &) { return true; }, runtime, count(supply_.period));
	}

	// For all t: dbf(t) + B(t) <= sbf(t), at the deadlines up to a bound only,
	// and of them only where it can fail (QPA).
	Answer edf_demand()
	{
		witness_.reset();
		steps_ = looked_at_ = 0;
		bound_.reset();
		if (items_.empty())
			return Answer::yes;
		if (alone_too_long())
			return Answer::no;
		auto order = load();
		if (order > 0) {
			overload();
			return Answer::no;
		}
		bound_ = edf_bound(order);
		if (!bound_)
			return Answer::unknown;
		// A miss is nearly always an early one: in stages, lest the way down
		// from a far bound is long.
		u64 from = 0, until = 0;
		for (const auto &item : items_)
			until = std::max(until, item.slack);
		while (from < *bound_) {
			until = until > *bound_ / kStage ? *bound_ : until * kStage;
			if (auto answer = edf_stage(from, until); answer != Answer::yes)
				return answer;
			from = until;
		}
		return Answer::yes;
	}

	// The deadlines in (from, until].
	Answer edf_stage(u64 from, u64 until)
	{
		while (true) {
			auto [work, at, task] = edf_work(until);
			if (!work || at <= from)
				return Answer::yes;
			looked_at_++;
			if (steps_ > kMostSteps)
				return Answer::unknown;
			auto done = supply_inverse(supply_, work);
			if (done > at) {
				witness_ = {task, at, work, supply_bound(supply_, at)};
				return Answer::no;
			}
			// From `done` to `at` there is no more work and no less supply.
			until = static_cast<u64>(done) - 1;
		}
	}

	u128 demand(std::size_t i, i128 arrival, u64 until)
	{
		return edf_ ? edf_work(until).work : work(i, arrival, until);
	}

	struct Response {
		Answer meets = Answer::unknown;
		std::optional<u64> worst;
	};
	// The longest response of a task's jobs in a busy period. With `stop` the
	// first miss ends it.
	Response respond(std::size_t i, bool stop)
	{
		const auto &me = items_[i];
		auto end = busy_end(i);
		bool endless = end == kEndless;
		Response answer;
		auto allowance = kMostSteps;
		if (endless) {
			// The work piles up: sooner or later there is a miss. It is looked
			// for only to be shown.
			answer.meets = Answer::no;
			if (stop || edf_ || witness_)
				return answer;
			allowance = std::min(allowance, steps_ + kStepsForWitness);
		}
		i128 arrival = -static_cast<i128>(me.jitter);
		u128 done = 0;
		u64 worst = 0;
		bool missed = false;
		while (endless || !end || arrival < *end) {
			auto due = std::max<i128>(arrival + me.deadline, 0);
			bool to_miss = stop || endless;
			done = job_done(i, arrival, done, to_miss ? static_cast<u128>(due) : kHorizon);
			if (steps_ > allowance || due > kHorizon)
				return answer;
			if (done > static_cast<u128>(due) && !missed) {
				missed = true;
				answer.meets = Answer::no;
				auto at = static_cast<u64>(due);
				if (!witness_)
					witness_ = {i, at, work(i, arrival, at),
						    supply_bound(supply_, at)};
				if (to_miss)
					return answer;
			}
			if (done > kHorizon)
				return answer;
			// Else the busy period was over before.
			auto ends = static_cast<i128>(done);
			if (ends > std::max<i128>(arrival, 0))
				worst = std::max(worst, static_cast<u64>(ends - arrival));
			arrival = next_arrival(i, arrival);
		}
		answer.worst = worst;
		if (!missed)
			answer.meets = Answer::yes;
		return answer;
	}
	// Each task has the whole allowance.
	Answer meets(std::size_t i)
	{
		steps_ = 0;
		return respond(i, true).meets;
	}

	// All of them out of one allowance.
	std::vector<Response> responses()
	{
		steps_ = 0;
		std::vector<Response> answers;
		for (std::size_t i = 0; i < size(); i++)
			answers.push_back(respond(i, false));
		return answers;
	}

	// The exact test, were there no blocking.
	Answer without_blocking() const
	{
		Case other(*this);
		for (auto &item : other.items_)
			item.blocking = 0;
		return other.decide();
	}

	// The exact test.
	Answer decide()
	{
		if (edf_)
			return edf_demand();
		return for_all(size(), [&](std::size_t i) { return meets(i); });
	}

	// Lehoczky's points: some t up to the deadline with rbf(t) <= sbf(t). Only
	// the first job is looked at: no answer where others count.
	Answer points(std::size_t i)
	{
		const auto &me = items_[i];
		for (std::size_t j = 0; j < size(); j++)
			if (j != i && items_[j].rank == me.rank)
				return Answer::unknown;
		if (me.deadline > me.period)
			return Answer::unknown;
		auto fits = [&](u64 at) {
			return work(i, -static_cast<i128>(me.jitter), at) <= supply_bound(supply_, at);
		};
		if (me.deadline <= me.jitter)
			return Answer::no;
		if (fits(me.slack))
			return Answer::yes;
		for (const auto &other : items_) {
			if (other.rank >= me.rank)
				continue;
			for (u128 at = other.period; at < static_cast<u128>(me.slack) + other.jitter;
			     at += other.period) {
				if (steps_ > kMostSteps)
					return Answer::unknown;
				if (at > other.jitter && fits(static_cast<u64>(at - other.jitter)))
					return Answer::yes;
			}
		}
		return Answer::no;
	}

	// Shin & Lee: U <= k a / (k + 2 (1 - a)) with a = Q/P under EDF. Under rate
	// monotonic priorities a n (x^(1/n) - 1) >= a ln x >= 2 a (x - 1) / (x + 1)
	// with x = (2 k + 2 (1 - a)) / (k + 2 (1 - a)): the last is a fraction.
	Answer utilisation_bound() const
	{
		auto q = count(supply_.runtime), p = count(supply_.period);
		if (!q || supply_.deadline != supply_.period || count(supply_.latency) || items_.empty())
			return Answer::unknown;
		u64 shortest = kHorizon;
		for (const auto &item : items_) {
			if (item.jitter || item.blocking || item.deadline < item.period)
				return Answer::unknown;
			shortest = std::min(shortest, item.period);
			for (const auto &other : items_)
				if (!edf_ && &item != &other &&
				    (item.rank == other.rank ||
				     (item.rank < other.rank && item.period > other.period)))
					return Answer::unknown;
		}
		// The largest k with (k + 1) P - Q [- k Q / (k + 2)] < the shortest period.
		auto holds = [&](u128 k) {
			auto left = multiply(k + 1, p) - q;
			if (edf_)
				left -= k * q / (k + 2); // rounded down: the smaller k, the safer
			return left < shortest;
		};
		u128 low = 0, high = shortest / p + 2;
		while (low + 1 < high) {
			auto middle = (low + high) / 2;
			(holds(middle) ? low : high) = middle;
		}
		auto k = low;
		auto top = edf_ ? multiply(k, q) : multiply(2 * k, q);
		auto bottom = edf_ ? multiply(k, p) + 2 * static_cast<u128>(p - q)
				   : multiply(3 * k, p) + 4 * static_cast<u128>(p - q);
		if (!k || top >> 64 || bottom >> 64)
			return Answer::unknown;
		auto order = compare(all_, [](const Item &) { return true; }, static_cast<u64>(top),
				     static_cast<u64>(bottom));
		return order <= 0 ? Answer::yes : Answer::unknown;
	}

	// A lone thread that wakes after the deadline of its server gets a new one
	// and a full budget: each job ends within the server's deadline.
	std::optional<u64> cbs_wakeup() const
	{
		if (size() != 1)
			return std::nullopt;
		const auto &me = items_[0];
		auto period = count(supply_.period);
		if (me.blocking || me.runtime > count(supply_.runtime) ||
		    static_cast<u128>(me.jitter) + period > me.period)
			return std::nullopt;
		auto response = static_cast<u128>(me.jitter) + count(supply_.deadline) +
				count(supply_.latency);
		if (response > me.deadline)
			return std::nullopt;
		return static_cast<u64>(response);
	}

private:
	static constexpr i128 kEndless = -1 - (static_cast<i128>(kHorizon) << 2);

	template <class Considered>
	std::strong_ordering compare(const Rate &rate, Considered considered, u64 top,
				     u64 bottom) const
	{
		auto scaled = static_cast<u128>(top) << kRateBits;
		auto least = divide(scaled, bottom);
		if (rate.ceil < least || (rate.ceil == least && rate.floor < rate.ceil))
			return std::strong_ordering::less;
		if (rate.floor > divide_up(scaled, bottom))
			return std::strong_ordering::greater;
		ExactSum sum;
		for (const auto &item : items_)
			if (considered(item))
				sum.add(item.runtime, item.period);
		return sum.compare(top, bottom);
	}

	// A job that cannot even end when it runs alone, on a CPU of its own.
	bool alone_too_long()
	{
		for (std::size_t i = 0; i < size(); i++) {
			const auto &me = items_[i];
			if (me.runtime <= me.slack)
				continue;
			witness_ = {i, me.slack, me.runtime, supply_bound(supply_, me.slack)};
			return true;
		}
		return false;
	}

	struct EdfWork {
		u128 work = 0;
		u64 at = 0; // the last deadline
		std::size_t task = 0;
	};
	// Blocking included. It steps where a task's first deadline is, so that it
	// is constant between deadlines as the rest.
	EdfWork edf_work(u64 until)
	{
		EdfWork found;
		u64 blocked = 0;
		steps_ += size();
		for (std::size_t i = 0; i < size(); i++) {
			const auto &item = items_[i];
			if (item.slack > until)
				continue;
			auto times = (until - item.slack) / item.period;
			found.work = add(found.work, multiply(static_cast<u128>(times) + 1, item.runtime));
			blocked = std::max(blocked, item.blocking);
			auto at = item.slack + times * item.period;
			if (at >= found.at) {
				found.at = at;
				found.task = i;
			}
		}
		found.work = add(found.work, blocked);
		return found;
	}

	// No bound: every t would have to be looked at. At rate U > Q/P one fails;
	// one is enough for a witness.
	void overload()
	{
		u64 until = 0;
		for (const auto &item : items_)
			until = std::max(until, item.slack);
		while (true) {
			auto [work, at, task] = edf_work(until);
			auto supply = supply_bound(supply_, at);
			if (work > supply) {
				witness_ = {task, at, work, supply};
				return;
			}
			if (until > kHorizon / 2)
				return;
			until *= 2;
		}
	}

	// Beyond it the inequality holds by itself, or repeats what was before, or
	// the first busy period is over.
	std::optional<u64> edf_bound(std::strong_ordering order)
	{
		std::optional<u64> least;
		auto take = [&](std::optional<u128> bound) {
			if (bound && *bound <= kHorizon && (!least || *bound < *least))
				least = static_cast<u64>(*bound);
		};
		if (order < 0)
			take(linear_bound());
		if (order == 0)
			if (auto cycle = hyperperiod(0)) {
				u128 start = blackout(supply_);
				for (const auto &item : items_)
					start = std::max<u128>(start, item.slack);
				take(add(start, *cycle));
			}
		take(busy_period(0, kFewRounds));
		if (!least && order <= 0)
			take(busy_period(0, kMostSteps));
		return least;
	}

	// dbf(t) + B <= U t + sum U_i (T_i + J_i - D_i) + B for t past each
	// D_i - J_i - T_i, and sbf(t) >= (t - blackout) Q/P.
	std::optional<u128> linear_bound() const
	{
		auto own = divide(static_cast<u128>(count(supply_.runtime)) << kRateBits,
				  count(supply_.period));
		if (own <= all_.ceil)
			return std::nullopt;
		u128 from = 0, plus = 0, minus = 0, blocked = 0;
		for (const auto &item : items_) {
			auto early = static_cast<u128>(item.period) + item.jitter;
			if (early >= item.deadline) {
				auto part = multiply(early - item.deadline, item.runtime);
				if (part == kHuge)
					return std::nullopt;
				plus = add(plus, divide_up(part, item.period));
			} else {
				auto part = (item.deadline - early) * item.runtime;
				minus = add(minus, divide(part, item.period));
				from = std::max(from, item.deadline - early);
			}
			blocked = std::max<u128>(blocked, item.blocking);
		}
		auto wait = multiply(blackout(supply_), count(supply_.runtime));
		if (wait == kHuge)
			return std::nullopt;
		plus = add(add(plus, blocked), divide_up(wait, count(supply_.period)));
		if (plus <= minus)
			return from;
		auto top = multiply(plus - minus, static_cast<u128>(1) << kRateBits);
		if (top == kHuge)
			return std::nullopt;
		return std::max(from, top / (own - all_.ceil) + 1);
	}

	// Who counts for a task: all under EDF; with priorities those that are not
	// lower.
	bool counts(const Item &other, const Item &me) const
	{
		return edf_ || other.rank <= me.rank;
	}

	// After it releases and supply repeat together. A supply of everything has
	// no period.
	std::optional<u64> hyperperiod(std::size_t i) const
	{
		u64 cycle = supply_.runtime == supply_.period ? 1 : count(supply_.period);
		for (const auto &item : items_) {
			if (!counts(item, items_[i]))
				continue;
			auto next = static_cast<u128>(cycle / std::gcd(cycle, item.period)) * item.period;
			if (next > kHorizon)
				return std::nullopt;
			cycle = static_cast<u64>(next);
		}
		return cycle;
	}

	static constexpr u64 kFewRounds = 100;
	static constexpr u64 kStage = 4;
	// How long there can be work for task i and those that count for it.
	std::optional<u128> busy_period(std::size_t i, u64 rounds)
	{
		const auto &me = items_[i];
		u128 length = 1;
		for (u64 round = 0; round < rounds && steps_ <= kMostSteps; round++) {
			u128 work = 0;
			u64 blocked = 0;
			steps_ += size();
			for (const auto &item : items_) {
				if (!counts(item, me))
					continue;
				work = add(work, multiply(releases(item, static_cast<u64>(length)),
							  item.runtime));
				blocked = std::max(blocked, item.blocking);
			}
			auto next = supply_inverse(supply_, add(work, blocked));
			if (next > kHorizon)
				return std::nullopt;
			if (next <= length)
				return length;
			length = next;
		}
		return std::nullopt;
	}

	// Jobs of later arrival need not be looked at. None if that is not known.
	std::optional<i128> busy_end(std::size_t i)
	{
		const auto &me = items_[i];
		Rate rate;
		for (const auto &item : items_)
			if (counts(item, me))
				rate.add(item);
		auto order = compare(rate, [&](const Item &item) { return counts(item, me); },
				     count(supply_.runtime), count(supply_.period));
		if (order > 0)
			return kEndless;
		if (auto length = busy_period(i, order < 0 ? kMostSteps : kFewRounds))
			return static_cast<i128>(*length);
		// Every arrival one cycle later ends at most one cycle later, once all
		// the deadlines that matter have passed zero.
		auto cycle = hyperperiod(i);
		if (!cycle)
			return std::nullopt;
		i128 start = -static_cast<i128>(me.jitter);
		if (edf_)
			for (const auto &item : items_)
				start = std::max(start, static_cast<i128>(item.deadline) -
								static_cast<i128>(me.deadline));
		return start + *cycle;
	}

	static u128 releases(const Item &item, u64 before)
	{
		auto span = static_cast<u128>(before) + item.jitter;
		return span ? divide(span - 1, item.period) + 1 : 0;
	}

	// The work that has to be done before a job of task i, which arrives then,
	// ends at `before`.
	u128 work(std::size_t i, i128 arrival, u64 before)
	{
		const auto &me = items_[i];
		steps_ += size();
		auto released = arrival + me.jitter; // as late as can be
		u128 sum = multiply(multiples_to(released, me.period), me.runtime);
		u64 blocked = me.blocking;
		for (std::size_t j = 0; j < size(); j++) {
			const auto &other = items_[j];
			if (j == i)
				continue;
			u128 jobs;
			if (edf_) {
				auto last = arrival + me.deadline + other.jitter - other.deadline;
				if (last < 0)
					continue;
				blocked = std::max(blocked, other.blocking);
				jobs = std::min(releases(other, before),
						multiples_to(last, other.period));
			} else if (other.rank < me.rank) {
				jobs = releases(other, before);
			} else if (other.rank == me.rank) {
				// First come, first served.
				jobs = multiples_to(released + other.jitter, other.period);
			} else {
				continue;
			}
			sum = add(sum, multiply(jobs, other.runtime));
		}
		return add(sum, blocked);
	}

	// When such a job ends: the least fixpoint, not before `from`, which is the
	// end of an earlier one. Past `limit` some instant before that.
	u128 job_done(std::size_t i, i128 arrival, u128 from, u128 limit)
	{
		while (from <= limit && from <= kHorizon && steps_ <= kMostSteps) {
			auto done = supply_inverse(supply_, work(i, arrival, static_cast<u64>(from)));
			if (done <= from)
				break;
			from = done;
		}
		return from;
	}

	// The next arrival of task i that has more before it than the last one.
	i128 next_arrival(std::size_t i, i128 last) const
	{
		const auto &me = items_[i];
		i128 next = last;
		auto from = [&](i128 first, u64 period) {
			auto at = first > last
					  ? first
					  : first + static_cast<i128>(multiples_to(last - first, period)) * period;
			if (next == last || at < next)
				next = at;
		};
		from(-static_cast<i128>(me.jitter), me.period);
		for (std::size_t j = 0; j < size(); j++) {
			const auto &other = items_[j];
			if (j == i)
				continue;
			if (edf_)
				from(static_cast<i128>(other.deadline) - other.jitter - me.deadline,
				     other.period);
			else if (other.rank == me.rank)
				from(-static_cast<i128>(me.jitter) - other.jitter, other.period);
		}
		return next;
	}

	std::vector<Item> items_;
	Rate all_;
	Supply supply_;
	bool edf_;
	u64 steps_ = 0;
	u64 looked_at_ = 0;
	std::optional<u64> bound_;
	std::optional<Witness> witness_;
};

TaskSet without_blocking(TaskSet set)
{
	for (auto &task : set)
		task.blocking = nanoseconds(0);
	return set;
}

bool has_blocking(const TaskSet &set)
{
	return std::any_of(set.begin(), set.end(),
			   [](const SporadicTask &task) { return task.blocking.count() != 0; });
}

// Blocking may never happen: a no that rests on it is none.
template <Answer (*decide)(Case &), Scheduler scheduler>
Answer test(const TaskSet &set, const Supply &supply)
{
	Case all(set, supply, scheduler);
	auto answer = decide(all);
	if (answer == Answer::no && has_blocking(set) &&
	    test<decide, scheduler>(without_blocking(set), supply) != Answer::no)
		return Answer::unknown;
	return answer;
}

Answer by_utilisation(Case &all)
{
	return all.utilisation_bound();
}
Answer by_demand(Case &all)
{
	return all.edf_demand();
}
Answer by_points(Case &all)
{
	return for_all(all.size(), [&](std::size_t i) { return all.points(i); });
}
Answer by_response(Case &all)
{
	return for_all(all.size(), [&](std::size_t i) { return all.meets(i); });
}
Answer by_cbs_wakeup(Case &all)
{
	return all.cbs_wakeup() ? Answer::yes : Answer::unknown;
}

constexpr auto kEdf = Scheduler::edf;
constexpr auto kFp = Scheduler::fp;

std::optional<nanoseconds> to_time(std::optional<u64> value)
{
	if (!value || *value > kHorizon)
		return std::nullopt;
	return nanoseconds(static_cast<std::int64_t>(*value));
}

Verdict to_verdict(Answer answer)
{
	return answer == Answer::yes  ? Verdict::schedulable
	       : answer == Answer::no ? Verdict::unschedulable
				      : Verdict::not_proved;
}

std::string at_least(const Supply &supply)
{
	return fmt::format("{} in {}{}", format_duration(supply.runtime),
			   format_duration(supply.period),
			   supply.deadline == supply.period
				   ? ""
				   : " by " + format_duration(supply.deadline));
}

class Analyst {
public:
	Analyst(const TaskSet &set, const Supply &supply, Scheduler scheduler)
	    : set_(set), supply_(supply), all_(set, supply, scheduler)
	{
		result_.responses.resize(set.size());
		tell("sbf: {}, at worst nothing for {}{}", at_least(supply),
		     blackout(supply) > kHorizon
			     ? "ever"
			     : format_duration(nanoseconds(static_cast<std::int64_t>(blackout(supply)))),
		     supply.deadline == supply.period ? " (Shin & Lee 2003)"
						      : " (Easwaran, Anand & Lee 2007)");
		auto order = all_.load();
		tell("rate: the tasks' utilisation {} {} the reservation's bandwidth {}",
		     percent(all_.utilisation()), order < 0 ? "<" : order > 0 ? ">" : "=",
		     percent(bandwidth(supply.runtime, supply.period)));
	}

	Analysis edf()
	{
		if (all_.utilisation_bound() == Answer::yes)
			decide(Answer::yes, "edf-utilisation", "U <= k a / (k + 2 (1 - a)) "
							       "(Shin & Lee 2008)");
		else
			edf_demand();
		find_responses("response times: Spuri 1996, through the inverse of sbf");
		return finish();
	}

	Analysis fp()
	{
		auto answer = find_responses("response times: the whole busy period (Lehoczky 1990, "
					     "Tindell 1994), through the inverse of sbf");
		if (answer == Answer::unknown && all_.utilisation_bound() == Answer::yes)
			decide(Answer::yes, "fp-utilisation",
			       "U <= 2 k a / (3 k + 4 (1 - a)) (after Shin & Lee 2008)");
		else
			decide(answer, "fp-response", "each response <= its deadline");
		return finish();
	}

private:
	template <class... Arguments>
	void tell(fmt::format_string<Arguments...> form, Arguments &&...arguments)
	{
		result_.steps.push_back(fmt::format(form, std::forward<Arguments>(arguments)...));
	}

	void decide(Answer answer, const char *method, const char *equation)
	{
		result_.verdict = to_verdict(answer);
		result_.method = method;
		tell("{}: {}: {}", method, equation,
		     answer == Answer::yes  ? "holds"
		     : answer == Answer::no ? "fails"
					    : "not known");
	}

	void edf_demand()
	{
		decide(all_.edf_demand(), "edf-demand",
		       "dbf(t) <= sbf(t) for all t (Baruah et al. 1990, QPA: Zhang & Burns 2009)");
		if (auto bound = to_time(all_.bound()))
			tell("edf-demand: {} of all deadlines up to {} had to be looked at",
			     all_.looked_at(), format_duration(*bound));
		result_.witness = all_.witness();
	}

	Answer find_responses(const char *how)
	{
		auto answers = all_.responses();
		for (std::size_t i = 0; i < answers.size(); i++)
			result_.responses[i] = to_time(answers[i].worst);
		if (!result_.witness)
			result_.witness = all_.witness();
		tell("{}", how);
		return for_all(answers.size(), [&](std::size_t i) { return answers[i].meets; });
	}

	Analysis finish()
	{
		if (result_.verdict == Verdict::not_proved && all_.load() > 0)
			result_.verdict = Verdict::unschedulable;
		if (result_.verdict == Verdict::unschedulable && has_blocking(set_) &&
		    all_.without_blocking() != Answer::no) {
			result_.verdict = Verdict::not_proved;
			result_.reason = "it holds without the blocking, which need not happen";
		}
		auto wakeup = all_.cbs_wakeup();
		if (result_.verdict != Verdict::schedulable && wakeup) {
			decide(Answer::yes, "cbs-wakeup",
			       "a lone thread with C <= Q and T >= P ends each job within P "
			       "(Abeni & Buttazzo 1998)");
			result_.responses[0] = to_time(wakeup);
			result_.reason.clear();
		}
		if (result_.verdict == Verdict::schedulable)
			result_.witness.reset();
		else if (result_.reason.empty() && all_.load() > 0)
			result_.reason = "the tasks' utilisation is more than the reservation";
		else if (result_.reason.empty() && !result_.witness)
			result_.reason = "the first busy period is too long to be looked through";
		return std::move(result_);
	}

	const TaskSet &set_;
	Supply supply_;
	Case all_;
	Analysis result_;
};

// Tasks that are pinned, each to one of several CPUs: on each it is as on one CPU.
class Partition {
public:
	Partition(const TaskSet &set, const Supply &supply, Scheduler scheduler, unsigned cpus)
	    : set_(set), supply_(supply), scheduler_(scheduler), cpus_(cpus), order_(set.size())
	{
		std::iota(order_.begin(), order_.end(), std::size_t{0});
		std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
			auto window = [](const SporadicTask &task) {
				return static_cast<u128>(count(std::min(task.deadline, task.period)));
			};
			return count(set[a].runtime) * window(set[b]) > count(set[b].runtime) * window(set[a]);
		});
	}
	void reserve(nanoseconds runtime) { supply_.runtime = runtime; }

	// First fit, the densest tasks first. Empty if that is none.
	std::vector<std::vector<std::size_t>> first_fit() const
	{
		std::vector<std::vector<std::size_t>> parts;
		for (auto task : order_) {
			bool placed = false;
			for (std::size_t cpu = 0; cpu < parts.size() && !placed; cpu++) {
				auto with = parts[cpu];
				// Those of equal priority keep their order.
				with.insert(std::upper_bound(with.begin(), with.end(), task), task);
				if ((placed = fits(with)))
					parts[cpu] = std::move(with);
			}
			if (!placed && (parts.size() == cpus_ || !fits({task})))
				return {};
			if (!placed)
				parts.push_back({task});
		}
		return parts;
	}

	// Nothing helps a task that fails alone, nor one task more than all CPUs give.
	Analysis analyse() const
	{
		Analysis result;
		result.responses.resize(set_.size());
		for (std::size_t i = 0; i < set_.size(); i++) {
			auto alone = dlgroup::analyse({set_[i]}, supply_, scheduler_);
			if (alone.verdict != Verdict::unschedulable)
				continue;
			alone.reason = fmt::format("task {} fails even alone on a CPU", set_[i].name);
			alone.responses.resize(set_.size());
			std::swap(alone.responses[0], alone.responses[i]);
			if (alone.witness)
				alone.witness->task = i;
			return alone;
		}
		u64 all;
		if (!__builtin_mul_overflow(count(supply_.runtime), u64{cpus_}, &all) &&
		    Case(set_, supply_, scheduler_).load(all) > 0) {
			result.verdict = Verdict::unschedulable;
			result.method = "utilisation";
			result.reason = "the tasks' utilisation is more than all the reservations";
			return result;
		}
		auto parts = first_fit();
		if (parts.empty() && !set_.empty()) {
			result.reason = "first fit finds no CPU for each task to be pinned to, and tasks that "
					"move between CPUs are not analysed";
			return result;
		}
		result.verdict = Verdict::schedulable;
		result.method = "first-fit";
		result.reason = "with each task pinned to its CPU";
		result.cpus.resize(set_.size());
		result.steps.push_back("first-fit: tasks pinned to CPUs, by decreasing C / min(D, T), each to the "
				       "first where all that are there pass (Johnson 1974)");
		for (std::size_t cpu = 0; cpu < parts.size(); cpu++) {
			auto one = dlgroup::analyse(part(parts[cpu]), supply_, scheduler_);
			std::string names;
			for (std::size_t i = 0; i < parts[cpu].size(); i++) {
				auto task = parts[cpu][i];
				names += (i ? ", " : "") + set_[task].name;
				result.cpus[task] = cpu;
				result.responses[task] = one.responses[i];
			}
			result.steps.push_back(fmt::format("CPU {}: tasks {}", cpu, names));
			for (const auto &step : one.steps)
				result.steps.push_back(fmt::format("CPU {}: {}", cpu, step));
		}
		return result;
	}

private:
	TaskSet part(const std::vector<std::size_t> &tasks) const
	{
		TaskSet some;
		for (auto task : tasks)
			some.push_back(set_[task]);
		return some;
	}
	bool fits(const std::vector<std::size_t> &tasks) const
	{
		Case some(part(tasks), supply_, scheduler_);
		return some.utilisation_bound() == Answer::yes || some.cbs_wakeup() ||
		       some.decide() == Answer::yes;
	}

	const TaskSet &set_;
	Supply supply_;
	Scheduler scheduler_;
	unsigned cpus_;
	std::vector<std::size_t> order_;
};

// What first fit needs on each CPU. With more runtime it may place tasks otherwise
// and fail, so that another one may do; the one found is passed by itself. Such
// that with the overhead it is a whole number of microseconds.
LeastRuntime least_on_several(const TaskSet &set, const Supply &supply, Scheduler scheduler, unsigned cpus,
			      nanoseconds overhead)
{
	Partition partition(set, supply, scheduler, cpus);
	auto passes = [&](microseconds runtime) {
		partition.reserve(std::max(nanoseconds(runtime) - overhead, nanoseconds(0)));
		return set.empty() || !partition.first_fit().empty();
	};
	auto low = std::chrono::floor<microseconds>(overhead), high = std::chrono::floor<microseconds>(supply.deadline);
	if (high <= low || !passes(high))
		return {std::nullopt, false};
	while (low + microseconds(1) < high) {
		auto middle = low + (high - low) / 2;
		(passes(middle) ? high : low) = middle;
	}
	return {nanoseconds(high) - overhead, false};
}

} // namespace

u128 supply_bound(const Supply &supply, u128 time)
{
	auto wait = blackout(supply);
	if (time <= wait)
		return 0;
	auto served = time - wait;
	auto runtime = count(supply.runtime), period = count(supply.period);
	return add(multiply(divide(served, period), runtime), std::min<u128>(served % period, runtime));
}

u128 supply_inverse(const Supply &supply, u128 work)
{
	if (!work)
		return 0;
	auto runtime = count(supply.runtime);
	if (!runtime)
		return kHuge;
	auto budgets = divide(work - 1, runtime); // used up before the last one
	return add(add(blackout(supply), multiply(budgets, count(supply.period))),
		   work - budgets * runtime);
}

const std::vector<SchedulabilityTest> &schedulability_tests()
{
	static const std::vector<SchedulabilityTest> tests{
		{"edf-utilisation", test<by_utilisation, kEdf>},
		{"edf-demand", test<by_demand, kEdf>},
		{"edf-response", test<by_response, kEdf>},
		{"fp-utilisation", test<by_utilisation, kFp>},
		{"fp-points", test<by_points, kFp>},
		{"fp-response", test<by_response, kFp>},
		{"cbs-wakeup", test<by_cbs_wakeup, kFp>},
	};
	return tests;
}

Analysis analyse(const TaskSet &set, const Supply &supply, Scheduler scheduler, unsigned cpus)
{
	if (cpus != 1)
		return Partition(set, supply, scheduler, cpus).analyse();
	Analyst analyst(set, supply, scheduler);
	return scheduler == Scheduler::edf ? analyst.edf() : analyst.fp();
}

u128 demand_bound(const TaskSet &set, Scheduler scheduler, std::size_t task, nanoseconds arrival,
		  std::uint64_t time)
{
	return Case(set, {}, scheduler).demand(task, arrival.count(), time);
}

LeastRuntime least_runtime(const TaskSet &set, Supply supply, Scheduler scheduler)
{
	Case all(set, supply, scheduler);
	LeastRuntime least{nanoseconds(0), true};
	auto raise_for = [&](auto passes) {
		auto holds = [&](nanoseconds runtime) {
			all.reserve(runtime);
			auto answer = passes();
			least.exact = least.exact && answer != Answer::unknown;
			return answer == Answer::yes;
		};
		// More runtime is never worse. What the others need is seldom too little.
		if (!least.runtime || holds(*least.runtime))
			return;
		auto low = *least.runtime, high = supply.deadline;
		if (!holds(high)) {
			least.runtime.reset();
			return;
		}
		while (low + nanoseconds(1) < high) {
			auto middle = low + (high - low) / 2;
			(holds(middle) ? high : low) = middle;
		}
		least.runtime = high;
	};
	if (scheduler == Scheduler::edf)
		raise_for([&] { return all.edf_demand(); });
	else
		for (std::size_t i = 0; i < set.size(); i++)
			raise_for([&] { return all.meets(i); });
	if (set.size() == 1 && (!least.runtime || set[0].runtime < *least.runtime)) {
		all.reserve(set[0].runtime);
		if (set[0].runtime <= supply.deadline && all.cbs_wakeup())
			least = {set[0].runtime, true};
	}
	return least;
}

std::optional<BestPeriod> best_period(const TaskSet &set, Supply supply, Scheduler scheduler,
				      nanoseconds shortest, nanoseconds longest, nanoseconds step,
				      nanoseconds overhead, unsigned cpus)
{
	std::optional<BestPeriod> best;
	u128 best_cost = 0;
	bool exact = true;
	for (auto period = shortest;; period += step) {
		supply.period = supply.deadline = period;
		auto least = cpus == 1 ? least_runtime(set, supply, scheduler)
				       : least_on_several(set, supply, scheduler, cpus, overhead);
		exact = exact && least.exact;
		if (least.runtime && *least.runtime <= period - overhead) {
			auto cost = static_cast<u128>(
				std::chrono::ceil<microseconds>(*least.runtime + overhead).count());
			if (!best || cost * count(best->period) <= best_cost * count(period)) {
				best = {period, least};
				best_cost = cost;
			}
		}
		if (longest - period < step)
			break;
	}
	if (best)
		best->least.exact = exact;
	return best;
}

Growth largest_growth(const TaskSet &set, const Supply &supply, Scheduler scheduler)
{
	constexpr u64 kOne = 1000;
	Growth growth;
	auto passes = [&](u64 permille) {
		auto grown = set;
		for (auto &task : grown) {
			auto runtime = divide_up(static_cast<u128>(count(task.runtime)) * permille, kOne);
			task.runtime = nanoseconds(static_cast<std::int64_t>(runtime));
		}
		Case all(grown, supply, scheduler);
		if (all.utilisation_bound() == Answer::yes || all.cbs_wakeup())
			return true;
		auto answer = all.decide();
		growth.exact = growth.exact && answer != Answer::unknown;
		return answer == Answer::yes;
	};
	// At `high` some job is longer than its deadline, below it none.
	u64 high = kHorizon;
	for (const auto &task : set) {
		auto limit = divide(static_cast<u128>(count(task.deadline)) * kOne, count(task.runtime)) + 1;
		high = static_cast<u64>(std::min<u128>(high, limit));
	}
	while (growth.permille + 1 < high) {
		auto middle = growth.permille + (high - growth.permille) / 2;
		(passes(middle) ? growth.permille : high) = middle;
	}
	return growth;
}

} // namespace dlgroup
