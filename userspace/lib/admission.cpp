// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/admission.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include <fmt/format.h>

#include <dlgroup/wide.h>

namespace dlgroup {

namespace {

// Mainline's fraction of 2^20: rounding down twice is rounding down once.
std::int64_t share20(Bandwidth value)
{
	return static_cast<std::int64_t>(value >> (kBandwidthBits - 20));
}

// What groups are promised counts rounded up (dl_group_task_ratio()).
std::int64_t share20_up(Bandwidth value)
{
	return share20(value + (Bandwidth(1) << (kBandwidthBits - 20)) - 1);
}

RtMax with_runtime(const RtMax &like, microseconds runtime)
{
	RtMax value = like;
	value.runtime = runtime;
	return value;
}

class Explainer {
public:
	explicit Explainer(const Situation &now)
	    : now_(now), tree_(now.tree), group_(tree_.groups[now.group]),
	      asked_(bandwidth(now.asked)), ancestor_(tree_.numbered_ancestor(now.group)),
	      granted_(tree_.granted())
	{
		// Where the asked number would count.
		has_ = std::exchange(granted_[now.group], {});
		if (now.asked.runtime.count())
			granted_[now.group] = ancestor_ ? intersect(group_.cpus, granted_[*ancestor_])
							: group_.cpus;
		answer_.group = group_.path;
		answer_.asked = now.asked;
		answer_.asked_share = asked_;
	}

	std::optional<Refusal> explain()
	{
		switch (now_.sys_errno) {
		case EPERM:
			return rights();
		case EINVAL:
			return limits();
		case EBUSY:
			return keeps_tasks();
		case ENOSPC:
			if (does_not_fit())
				return answer_;
		}
		return std::nullopt;
	}

	// The kernel's answer, in the order of its tests.
	int predict(const Asker &asker)
	{
		const auto &asked = now_.asked;
		auto within = [&](microseconds least, microseconds most) {
			return asked.period >= least && asked.period <= most;
		};
		if (asker.period_given && !within(kMinPeriod, kMaxPeriod) &&
		    !(asker.capable && within(asker.shortest, asker.longest)))
			return EINVAL;
		auto least = asker.capable ? kLeastOwnRuntime : nanoseconds(kMinRuntime);
		if (asked.runtime > asked.period || (asked.runtime.count() && asked.runtime < least))
			return EINVAL;
		auto has = group_.rt_max.has_number() ? bandwidth(group_.rt_max) : 0;
		if (!ancestor_ && asked_ > has && !asker.capable)
			return EPERM;
		if (does_not_fit())
			return ENOSPC;
		return loses_inside().empty() && loses_above().empty() ? 0 : EBUSY;
	}

private:
	const CpuSet &own_cpus() const { return granted_[now_.group]; }

	bool does_not_fit()
	{
		return nowhere() || below_too_large() || above_too_small() || no_room_on_cpu() ||
		       no_room_in_domain();
	}

	// The ancestor itself has none of the group's CPUs.
	bool nowhere()
	{
		if (!now_.asked.runtime.count() || !own_cpus().empty())
			return false;
		answer_.rule = Rule::hierarchy;
		answer_.because = ancestor_ ? fmt::format("{} has no reservation on any CPU of the group",
							  tree_.groups[*ancestor_].path)
					    : "the group has no CPU";
		return true;
	}

	std::optional<Refusal> rights()
	{
		answer_.rule = Rule::rights;
		answer_.because = "a number taken or raised from the root pool needs "
				  "CAP_SYS_NICE";
		answer_.fits = group_.rt_max; // what it has, and anything below
		return answer_;
	}

	std::optional<Refusal> limits()
	{
		const auto &asked = now_.asked;
		if (asked.runtime.count() == 0 ||
		    (asked.runtime >= kMinRuntime && asked.period >= kMinPeriod &&
		     asked.period <= kMaxPeriod))
			return std::nullopt;
		answer_.rule = Rule::limits;
		answer_.because = fmt::format(
			"asked {}, runtime at least {}, period {} to {} (only CAP_SYS_NICE "
			"goes beyond, to 1024ns and sched_deadline_period_{{min,max}}_us)",
			format_rt_max(asked), format_duration(kMinRuntime),
			format_duration(kMinPeriod), format_duration(kMaxPeriod));
		if (asked.period >= kMinPeriod && asked.period <= kMaxPeriod)
			answer_.fits = with_runtime(asked, kMinRuntime);
		return answer_;
	}

	// Rule 3. Either the group's own servers or its ancestor's would be left
	// without runtime on all CPUs that some FIFO/RR task can use.
	std::optional<Refusal> keeps_tasks()
	{
		answer_.rule = Rule::keeps_tasks;
		auto carved = tree_.carved_from(now_.group);
		if (auto inside = loses_inside(); !inside.empty()) {
			answer_.because = fmt::format(
				"{} would leave no runtime to the FIFO/RR tasks in it: {}",
				format_rt_max(now_.asked), name_tasks(inside));
			nanoseconds taken{0};
			for (auto cpu : own_cpus())
				taken = std::max<nanoseconds>(
					taken, now_.asked.runtime -
						       own_runtime(now_.asked, numbers(carved, cpu)));
			auto least = std::chrono::ceil<microseconds>(taken + kLeastOwnRuntime);
			offer(std::max(least, kMinRuntime));
			return answer_;
		}
		if (!ancestor_)
			return std::nullopt;
		const auto &above = tree_.groups[*ancestor_];
		auto others = siblings();
		auto losing = loses_above();
		if (losing.empty())
			return std::nullopt;
		answer_.because = fmt::format(
			"{} would leave no runtime of {} to its FIFO/RR tasks: {}",
			format_rt_max(now_.asked), above.path, name_tasks(losing));
		nanoseconds left = above.rt_max.runtime;
		for (auto cpu : own_cpus())
			left = std::min(left, own_runtime(above.rt_max, numbers(others, cpu)));
		left -= kLeastOwnRuntime;
		if (left.count() > 0) {
			// ceil(Q * P_above / P) <= left
			auto most = static_cast<u128>(left.count()) *
				    static_cast<u128>(now_.asked.period.count()) /
				    static_cast<u128>(above.rt_max.period.count());
			offer(microseconds(static_cast<std::int64_t>(most / 1000)));
		}
		return answer_;
	}

	std::vector<Task> loses_inside() const
	{
		return stranded(now_.tasks_inside, now_.group, now_.asked,
				group_.rt_max.has_number() ? group_.cpus_served : group_.cpus,
				tree_.carved_from(now_.group));
	}
	std::vector<Task> loses_above() const
	{
		if (!ancestor_)
			return {};
		const auto &above = tree_.groups[*ancestor_];
		auto all = siblings();
		all.push_back(now_.group);
		// Those inside the group will be its own.
		auto left = now_.tasks_of_ancestor;
		std::erase_if(left, [&](const Task &task) {
			return std::any_of(now_.tasks_inside.begin(), now_.tasks_inside.end(),
					   [&](const Task &inside) { return inside.tid == task.tid; });
		});
		return stranded(left, *ancestor_, above.rt_max, above.cpus_served, all);
	}

	// Tasks that can use some CPU where there was runtime before, and none where
	// there will be.
	std::vector<Task> stranded(const std::vector<Task> &tasks, std::size_t group, const RtMax &value,
				   const CpuSet &before, const std::vector<std::size_t> &carved) const
	{
		CpuSet keep;
		for (auto cpu : granted_[group])
			if (own_runtime(value, numbers(carved, cpu)) >= kLeastOwnRuntime)
				keep.insert(cpu);
		std::vector<Task> found;
		for (const auto &task : tasks)
			if (!intersect(task.allowed, before).empty() && intersect(task.allowed, keep).empty())
				found.push_back(task);
		return found;
	}

	// Rule 2, down: the group would be smaller than what was carved from it.
	bool below_too_large()
	{
		auto need = needed_below();
		if (!need || asked_ >= need->second)
			return false;
		answer_.rule = Rule::hierarchy;
		answer_.cpus = {need->first};
		for (auto i : tree_.carved_from(now_.group))
			hold(tree_.groups[i], need->first);
		answer_.because = fmt::format("asked {}, its descendants hold {}",
					      percent(asked_), percent(need->second));
		auto least = smallest_runtime(need->second, now_.asked.deadline);
		offer(std::max(least, kMinRuntime));
		return true;
	}

	// Rule 2, up: more than the ancestor has left.
	bool above_too_small()
	{
		if (!ancestor_)
			return false;
		const auto &above = tree_.groups[*ancestor_];
		auto has = bandwidth(above.rt_max);
		std::optional<Bandwidth> least;
		unsigned where = 0;
		for (auto cpu : own_cpus()) {
			auto room = room_below(has, cpu);
			if (!least || room < *least) {
				least = room;
				where = cpu;
			}
		}
		if (!least || asked_ <= *least)
			return false;
		answer_.rule = Rule::hierarchy;
		answer_.cpus = {where};
		answer_.free = *least;
		answer_.of = has;
		answer_.of_whom = above.path;
		for (auto i : siblings())
			hold(tree_.groups[i], where);
		offer(largest_runtime(*least, now_.asked.deadline));
		return true;
	}

	// Rule 1 on one CPU: the one with the least room is named.
	bool no_room_on_cpu()
	{
		if (ancestor_)
			return false;
		std::optional<Bandwidth> least;
		const Headroom *where = nullptr;
		for (const auto &one : now_.headroom) {
			if (!own_cpus().count(one.cpu))
				continue;
			auto room = room_on(one);
			if (!least || room < *least) {
				least = room;
				where = &one;
			}
		}
		if (!least || asked_ <= *least)
			return false;
		answer_.rule = Rule::fits_cpu;
		answer_.cpus = {where->cpu};
		answer_.free = *least;
		answer_.of = where->cap;
		if (where->fair)
			answer_.holders.push_back({"fair server", where->fair});
		Bandwidth known = own_share(where->cpu);
		for (auto i : tree_.from_root_pool())
			if (!tree_.is_inside(i, now_.group))
				known += hold(tree_.groups[i], where->cpu);
		if (where->groups > known)
			answer_.holders.push_back({"other groups", where->groups - known});
		// On a CPU that is a root domain of its own they count here, else in
		// the domain's sum.
		if (where->tasks && is_alone(*where))
			answer_.holders.push_back({"SCHED_DEADLINE tasks", where->tasks});
		offer(largest_runtime(*least, now_.asked.deadline));
		return true;
	}

	// For the group on a CPU, and whatever it has there already.
	Bandwidth room_on(const Headroom &one) const
	{
		auto taken = one.fair + one.groups - own_share(one.cpu);
		auto room = one.cap > taken ? one.cap - taken : 0;
		if (one.tasks && is_alone(one)) {
			auto domain = domain_of({one.cpu}, one.tasks);
			auto left = static_cast<Bandwidth>(std::max<std::int64_t>(domain.room, 0));
			room = std::min(room, left << (kBandwidthBits - 20));
		}
		return room;
	}

	// Rule 1 over a root domain, where SCHED_DEADLINE tasks roam: mainline's
	// test, in its fractions of 2^20.
	struct Domain {
		CpuSet span;
		std::int64_t own_cpus = 0; // of the group's, in it
		std::int64_t room = 0;     // for all of them together
	};

	Domain domain_of(const CpuSet &span, Bandwidth tasks) const
	{
		Domain domain{span, 0, -share20(tasks)};
		for (const auto &one : now_.headroom) {
			if (!span.count(one.cpu))
				continue;
			domain.own_cpus += own_cpus().count(one.cpu) ? 1 : 0;
			domain.room += share20(one.cap) - share20(one.fair);
			Bandwidth known = own_share(one.cpu);
			for (auto i : tree_.from_root_pool())
				if (granted_[i].count(one.cpu) && !tree_.is_inside(i, now_.group)) {
					auto share = bandwidth(tree_.groups[i].rt_max);
					known += share;
					domain.room -= share20_up(share);
				}
			if (one.groups > known) // of those that are not seen, at the least
				domain.room -= share20_up(one.groups - known);
		}
		return domain;
	}

	// Where the kernel does not say which CPUs are a root domain, those are that
	// show the same sum of tasks.
	std::vector<CpuSet> spans() const
	{
		if (knows_root_domains(tree_, now_.headroom))
			return tree_.root_domains;
		std::map<Bandwidth, CpuSet> by_tasks;
		for (const auto &one : now_.headroom)
			by_tasks[one.tasks].insert(one.cpu);
		std::vector<CpuSet> found;
		for (const auto &[tasks, span] : by_tasks)
			found.push_back(span);
		return found;
	}
	bool is_alone(const Headroom &one) const
	{
		for (const auto &span : spans())
			if (span.count(one.cpu))
				return span.size() == 1;
		return false;
	}

	// Those of the group's CPUs that have such tasks and several CPUs.
	std::vector<Domain> domains() const
	{
		std::vector<Domain> found;
		for (const auto &span : spans()) {
			Bandwidth tasks = 0;
			for (const auto &one : now_.headroom)
				if (span.count(one.cpu))
					tasks = one.tasks;
			auto domain = domain_of(span, tasks);
			if (tasks && domain.own_cpus && span.size() > 1)
				found.push_back(std::move(domain));
		}
		return found;
	}

	bool no_room_in_domain()
	{
		if (ancestor_)
			return false;
		for (const auto &domain : domains()) {
			if (share20_up(asked_) * domain.own_cpus <= domain.room)
				continue;
			answer_.rule = Rule::fits_cpu;
			answer_.cpus = domain.span;
			answer_.because = fmt::format(
				"asked {} on {} of {} CPUs, which with what SCHED_DEADLINE tasks "
				"and servers hold in this root domain passes its cap",
				percent(asked_), domain.own_cpus, domain.span.size());
			offer(now_.asked.deadline);
			return true;
		}
		return false;
	}

	// What the group and those inside it hold of the root pool already.
	std::vector<std::size_t> own_from_pool() const
	{
		std::vector<std::size_t> own;
		for (auto i : tree_.from_root_pool())
			if (tree_.is_inside(i, now_.group))
				own.push_back(i);
		return own;
	}

	Bandwidth own_share(unsigned cpu) const
	{
		Bandwidth sum = 0;
		for (auto i : own_from_pool()) {
			// The group's own set says where the asked number would count.
			const auto &cpus = i == now_.group ? has_ : granted_[i];
			if (cpus.count(cpu))
				sum += bandwidth(tree_.groups[i].rt_max);
		}
		return sum;
	}

	// Carved from the same ancestor; what is inside the group will be its own.
	std::vector<std::size_t> siblings() const
	{
		std::vector<std::size_t> others;
		for (auto i : tree_.carved_from(*ancestor_))
			if (!tree_.is_inside(i, now_.group))
				others.push_back(i);
		return others;
	}

	Bandwidth room_below(Bandwidth has, unsigned cpu) const
	{
		Bandwidth held = 0;
		for (auto i : siblings())
			if (granted_[i].count(cpu))
				held += bandwidth(tree_.groups[i].rt_max);
		return has > held ? has - held : 0;
	}

	// The CPU on which most is carved from the group, and how much.
	std::optional<std::pair<unsigned, Bandwidth>> needed_below() const
	{
		// A partition below has CPUs that the group has not.
		std::map<unsigned, Bandwidth> held;
		for (auto i : tree_.carved_from(now_.group))
			for (auto cpu : granted_[i])
				held[cpu] += bandwidth(tree_.groups[i].rt_max);
		std::optional<std::pair<unsigned, Bandwidth>> most;
		for (const auto &one : held)
			if (!most || one.second > most->second)
				most = one;
		return most;
	}

	// The reservations of these groups on a CPU; the group's is the asked one.
	std::vector<RtMax> numbers(const std::vector<std::size_t> &which, unsigned cpu) const
	{
		std::vector<RtMax> values;
		for (auto i : which)
			if (granted_[i].count(cpu))
				values.push_back(i == now_.group ? now_.asked
								 : tree_.groups[i].rt_max);
		return values;
	}

	Bandwidth hold(const Group &holder, unsigned cpu)
	{
		auto at = static_cast<std::size_t>(&holder - tree_.groups.data());
		auto share = granted_[at].count(cpu) ? bandwidth(holder.rt_max) : 0;
		if (share)
			answer_.holders.push_back({holder.path, share});
		return share;
	}

	// Offers a runtime with the asked period, or less where the root domain has
	// no more, if no other rule is in its way.
	void offer(microseconds runtime)
	{
		for (const auto &domain : domains()) {
			if (ancestor_)
				break;
			if (domain.room < 0)
				return;
			auto most = static_cast<Bandwidth>(domain.room / domain.own_cpus)
				    << (kBandwidthBits - 20);
			runtime = std::min(runtime, largest_runtime(most, now_.asked.deadline));
		}
		auto value = with_runtime(now_.asked, runtime);
		auto share = bandwidth(value);
		bool good = runtime >= kMinRuntime && runtime <= value.deadline;
		if (auto need = needed_below())
			good = good && share >= need->second;
		if (ancestor_)
			for (auto cpu : own_cpus())
				good = good && share <= room_below(
					bandwidth(tree_.groups[*ancestor_].rt_max), cpu);
		else
			for (const auto &one : now_.headroom)
				if (own_cpus().count(one.cpu))
					good = good && share <= room_on(one);
		if (good)
			answer_.fits = value;
	}

	const Situation &now_;
	const Tree &tree_;
	const Group &group_;
	Bandwidth asked_;
	std::optional<std::size_t> ancestor_;
	std::vector<CpuSet> granted_; // of each group; of this one with what is asked
	CpuSet has_;		      // of this one as it is
	Refusal answer_;
};

} // namespace

microseconds largest_runtime(Bandwidth room, microseconds period)
{
	// floor(Q * 2^48 / P) <= room: that is Q * 2^48 < (room + 1) * P.
	if (period.count() <= 0)
		return microseconds(0);
	auto limit = static_cast<u128>(period.count());
	auto most = ((static_cast<u128>(room) + 1) * limit - 1) >> kBandwidthBits;
	return microseconds(static_cast<std::int64_t>(std::min(most, limit)));
}

microseconds smallest_runtime(Bandwidth need, microseconds period)
{
	auto product = static_cast<u128>(need) * static_cast<u128>(period.count());
	constexpr u128 kOne = static_cast<u128>(1) << kBandwidthBits;
	return microseconds(static_cast<std::int64_t>((product + kOne - 1) >> kBandwidthBits));
}

nanoseconds own_runtime(const RtMax &group, const std::vector<RtMax> &carved)
{
	nanoseconds own = group.runtime;
	for (const auto &one : carved) {
		auto product = static_cast<u128>(nanoseconds(one.runtime).count()) *
			       static_cast<u128>(group.period.count());
		auto divisor = static_cast<u128>(one.period.count());
		own -= nanoseconds(static_cast<std::int64_t>((product + divisor - 1) / divisor));
	}
	return own;
}

bool knows_root_domains(const Tree &tree, const std::vector<Headroom> &headroom)
{
	return !tree.root_domains.empty() &&
	       std::all_of(tree.root_domains.begin(), tree.root_domains.end(), [&](const CpuSet &span) {
		       std::optional<Bandwidth> tasks;
		       for (const auto &one : headroom)
			       if (span.count(one.cpu) && std::exchange(tasks, one.tasks).value_or(one.tasks) != one.tasks)
				       return false;
		       return true;
	       });
}

std::optional<Refusal> explain(const Situation &situation)
{
	return Explainer(situation).explain();
}

int predict(const Situation &situation, const Asker &asker)
{
	return Explainer(situation).predict(asker);
}

std::optional<Refusal> suspect(Tree tree, const std::string &group, const RtMax &asked,
			       const std::optional<CpuSet> &cpus,
			       const std::vector<Headroom> &headroom)
{
	auto index = tree.find(group);
	if (!index) {
		auto above = parent_of(group);
		while (!tree.find(above) && above != "/")
			above = parent_of(above);
		Group made;
		made.path = group;
		made.parent = tree.find(above);
		if (!made.parent)
			return std::nullopt;
		made.cpus = tree.groups[*made.parent].cpus;
		index = tree.groups.size();
		tree.groups.push_back(std::move(made));
	}
	if (cpus)
		tree.groups[*index].cpus = intersect(tree.groups[*index].cpus, *cpus);
	return explain({tree, *index, asked, ENOSPC, headroom, {}, {}});
}

std::optional<Refusal> foresee(Tree tree, const std::string &group, const RtMax &asked,
			       const std::optional<CpuSet> &cpus,
			       const std::vector<Headroom> &headroom)
{
	bool domains_known = knows_root_domains(tree, headroom);
	auto refusal = suspect(std::move(tree), group, asked, cpus, headroom);
	bool certain = refusal && (domains_known || refusal->rule == Rule::hierarchy || refusal->free);
	return certain ? refusal : std::nullopt;
}

std::string to_text(const Refusal &refusal)
{
	std::string text = fmt::format("refused (rule {}", static_cast<int>(refusal.rule));
	if (!refusal.cpus.empty())
		text += ", " + name_cpus(refusal.cpus);
	text += "): ";

	// As many decimals as it takes to show that the one exceeds the other.
	unsigned decimals = 1;
	if (refusal.free && refusal.asked_share)
		while (decimals < 9 && *refusal.asked_share > *refusal.free &&
		       percent(*refusal.asked_share, decimals) ==
			       percent(*refusal.free, decimals))
			decimals++;
	if (!refusal.because.empty())
		text += refusal.because;
	else if (refusal.free && refusal.of && refusal.asked_share)
		text += fmt::format("asked {}, free {} of {}",
				    percent(*refusal.asked_share, decimals),
				    percent(*refusal.free, decimals), percent(*refusal.of));
	if (!refusal.of_whom.empty())
		text += " of " + refusal.of_whom;
	if (!refusal.holders.empty()) {
		text += " (";
		for (std::size_t i = 0; i < refusal.holders.size(); i++)
			text += fmt::format("{}{} {}", i ? ", " : "", refusal.holders[i].name,
					    percent(refusal.holders[i].share, decimals));
		text += ")";
	}
	text += "; fits: " + (refusal.fits ? format_rt_max(*refusal.fits) : "nothing");
	if (!refusal.fits)
		text += refusal.rule == Rule::limits
				? " with this period"
				: fmt::format(" with period {}",
					      format_duration(refusal.asked.period));
	return text;
}

} // namespace dlgroup
