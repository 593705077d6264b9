// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/generate.h>

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include <dlgroup/random.h>
#include <dlgroup/wide.h>

namespace dlgroup {

namespace {

constexpr std::int64_t kPermille_ppb = kWholeCpu_ppb / 1000;
constexpr std::size_t kMostTasks = 10000;
// Random numbers that may be spent on one set: about a second.
constexpr std::size_t kMostDraws = std::size_t{1} << 25;

struct Family {
	std::string_view name;
	unsigned light, heavy;
	std::int64_t least, most, heavy_least, heavy_most; // per mille
};
constexpr std::array<Family, 6> kFamilies{{
	{"uni-light", 1, 0, 1, 100, 0, 0},
	{"uni-medium", 1, 0, 100, 400, 0, 0},
	{"uni-heavy", 1, 0, 500, 900, 0, 0},
	{"bimo-light", 8, 1, 1, 500, 500, 900},
	{"bimo-medium", 6, 3, 1, 500, 500, 900},
	{"bimo-heavy", 4, 5, 1, 500, 500, 900},
}};

struct Range {
	std::string_view name;
	int shortest, longest; // ms
};
constexpr std::array<Range, 3> kRanges{
	{{"uni-short", 3, 33}, {"uni-moderate", 10, 100}, {"uni-long", 50, 250}}};

template <class Named>
std::string names(const Named &all)
{
	std::string text;
	for (const auto &one : all)
		text += std::string(one.name) + ", ";
	return text;
}

using Ppb = std::vector<std::int64_t>;

// Sets of `count` integers from 0 to `most` with sum `total`, each as likely as
// any other. Two ways are tried in turn, of which the first is good at small
// totals and the second at others; a set that either lets through is uniform.
std::optional<Ppb> fixed_sum(Random &random, std::size_t count, std::int64_t most, std::int64_t total)
{
	auto whole = static_cast<std::int64_t>(count) * most;
	if (total > whole / 2) {
		auto mirrored = fixed_sum(random, count, most, whole - total);
		if (mirrored)
			for (auto &part : *mirrored)
				part = most - part;
		return mirrored;
	}
	Ppb parts(count);
	for (std::size_t drawn = 0; drawn < kMostDraws; drawn += 2 * count) {
		// UUniFast's distribution without its roots: the gaps between sorted
		// cuts. They are different ones, or a set with empty gaps would be drawn
		// too often.
		auto last = total + static_cast<std::int64_t>(count) - 1;
		parts.back() = last;
		for (std::size_t i = 0; i + 1 < count; i++)
			parts[i] = random.between(0, last - 1);
		std::sort(parts.begin(), parts.end());
		for (std::size_t i = count; i-- > 0;)
			parts[i] -= (i ? parts[i - 1] : -1) + 1;
		auto [low, high] = std::minmax_element(parts.begin(), parts.end());
		if (*low >= 0 && *high <= most)
			return parts;
		// All but one freely: that one is what is left, if it can be.
		auto left = total;
		for (std::size_t i = 0; i + 1 < count; i++)
			left -= parts[i] = random.between(0, most);
		parts.back() = left;
		if (left >= 0 && left <= most)
			return parts;
	}
	return std::nullopt;
}

Result<Ppb> share_out(Random &random, const Recipe &recipe)
{
	const auto &shares = recipe.shares;
	if (recipe.total_ppb <= 0)
		return bad_input("--utilisation", "is 0");
	if (shares.family) {
		if (recipe.tasks)
			return bad_input("--tasks", "is for shares MIN:MAX: those of a family add up to "
						    "the utilisation, however many it takes");
		Ppb parts;
		for (auto left = recipe.total_ppb; left > 0; left -= parts.back()) {
			if (parts.size() == kMostTasks)
				return bad_input("--utilisation",
						 fmt::format("takes more than {} tasks", kMostTasks));
			bool light = random.upto(shares.light + shares.heavy - 1) < shares.light;
			parts.push_back(std::min(left, light ? random.between(shares.least_ppb,
									      shares.most_ppb)
							     : random.between(shares.heavy_least_ppb,
									      shares.heavy_most_ppb)));
		}
		return parts;
	}
	if (recipe.tasks == 0 || recipe.tasks > kMostTasks)
		return bad_input("--tasks", fmt::format("expected a number from 1 to {}", kMostTasks));
	auto count = static_cast<std::int64_t>(recipe.tasks);
	auto spread = shares.most_ppb - shares.least_ppb;
	if (recipe.total_ppb < count * shares.least_ppb || recipe.total_ppb > count * shares.most_ppb)
		return bad_input("--utilisation",
				 fmt::format("no {} such shares add up to it", recipe.tasks));
	auto parts = fixed_sum(random, recipe.tasks, spread, recipe.total_ppb - count * shares.least_ppb);
	if (!parts)
		return bad_input("--shares", fmt::format("{} of them hardly ever add up to the utilisation: "
							 "none were found; fewer tasks or wider limits will do",
							 recipe.tasks));
	for (auto &part : *parts)
		part += shares.least_ppb;
	return *parts;
}

} // namespace

Result<std::int64_t> parse_share(std::string_view text)
{
	// A share of a CPU is as much of a second.
	if (text.find_first_not_of("0123456789.") == text.npos)
		if (auto time = parse_duration(std::string(text) + "s"))
			return time->count();
	return bad_input(fmt::format("'{}'", text), "not a share such as 0.85, to nine places at most");
}

Result<Shares> parse_shares(std::string_view text)
{
	Shares shares;
	for (const auto &family : kFamilies) {
		if (family.name != text)
			continue;
		shares.family = true;
		shares.light = family.light;
		shares.heavy = family.heavy;
		shares.least_ppb = family.least * kPermille_ppb;
		shares.most_ppb = family.most * kPermille_ppb;
		shares.heavy_least_ppb = family.heavy_least * kPermille_ppb;
		shares.heavy_most_ppb = family.heavy_most * kPermille_ppb;
		return shares;
	}
	auto colon = text.find(':');
	if (colon == text.npos)
		return bad_input(fmt::format("'{}'", text),
				 "expected " + names(kFamilies) + "or MIN:MAX such as 0.1:0.5");
	auto least = parse_share(text.substr(0, colon)), most = parse_share(text.substr(colon + 1));
	if (!least || !most)
		return tl::unexpected((least ? most : least).error());
	if (*least > *most || *most == 0 || *most > kWholeCpu_ppb)
		return bad_input(fmt::format("'{}'", text), "expected MIN <= MAX, 0 < MAX <= 1");
	shares.least_ppb = *least;
	shares.most_ppb = *most;
	return shares;
}

Result<Periods> parse_periods(std::string_view text)
{
	Periods periods;
	for (const auto &range : kRanges)
		if (range.name == text)
			return Periods{std::chrono::milliseconds(range.shortest),
				       std::chrono::milliseconds(range.longest),
				       std::chrono::milliseconds(1)};
	std::vector<nanoseconds> times;
	for (auto rest = text;;) {
		auto colon = rest.find(':');
		auto time = parse_duration(rest.substr(0, colon));
		if (!time)
			return bad_input(time.error().object,
					 time.error().reason + "; expected " + names(kRanges) +
						 "or MIN:MAX[:STEP] such as 5ms:50ms:1ms");
		times.push_back(*time);
		if (colon == rest.npos)
			break;
		rest.remove_prefix(colon + 1);
	}
	if (times.size() < 2 || times.size() > 3)
		return bad_input(fmt::format("'{}'", text), "expected MIN:MAX[:STEP] such as 5ms:50ms:1ms");
	periods = {times[0], times[1], times.size() == 3 ? times[2] : nanoseconds(1000)};
	if (periods.shortest.count() == 0 || periods.longest < periods.shortest || periods.step.count() == 0)
		return bad_input(fmt::format("'{}'", text), "expected 0 < MIN <= MAX and 0 < STEP");
	return periods;
}

Result<TaskSet> generate(const Recipe &recipe)
{
	Random random(recipe.seed);
	auto parts = share_out(random, recipe);
	if (!parts)
		return tl::unexpected(parts.error());
	TaskSet set;
	const auto &periods = recipe.periods;
	for (auto part : *parts) {
		SporadicTask task;
		task.period = periods.shortest +
			      periods.step * random.between(0, (periods.longest - periods.shortest) / periods.step);
		auto runtime = static_cast<u128>(part) * static_cast<u128>(task.period.count()) / kWholeCpu_ppb;
		task.runtime = nanoseconds(std::max<std::int64_t>(static_cast<std::int64_t>(runtime), 1));
		task.deadline = recipe.constrained ? nanoseconds(random.between(task.runtime.count(),
									       task.period.count()))
						   : task.period;
		set.push_back(task);
	}
	std::stable_sort(set.begin(), set.end(), [](const SporadicTask &a, const SporadicTask &b) {
		return a.deadline < b.deadline;
	});
	for (unsigned i = 0; i < set.size(); i++) {
		set[i].rank = i;
		set[i].name = fmt::format("{}", i + 1);
	}
	return set;
}

} // namespace dlgroup
