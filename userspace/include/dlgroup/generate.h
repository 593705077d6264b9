// SPDX-License-Identifier: GPL-2.0-only
// Random task sets for experiments. A seed gives the same set on every machine:
// integers only, and no distribution of the standard library.
#pragma once

#include <cstdint>
#include <string_view>

#include <dlgroup/taskset.h>

namespace dlgroup {

// Shares of a CPU in parts per billion.
inline constexpr std::int64_t kWholeCpu_ppb = 1000000000;

// How the total is shared out.
struct Shares {
	// One of the families of RT-Xen (Xi et al., EMSOFT 2014; names of SchedCAT):
	// a task's share is anything in the light range or in the heavy one, `light`
	// times out of `light` + `heavy`. Tasks are added up to the total, the last
	// one gets what is left. No families: `tasks` tasks, any set of shares from
	// `least` to `most` with that total as likely as any other. That is what
	// UUniFast-discard (Bini & Buttazzo 2005; Davis & Burns 2009) draws with 0
	// and 1, and RandFixedSum (Stafford 2006; Emberson et al. 2010) with limits.
	bool family = false;
	unsigned light = 0, heavy = 0;
	std::int64_t least_ppb = 0, most_ppb = kWholeCpu_ppb; // of the light range
	std::int64_t heavy_least_ppb = 0, heavy_most_ppb = 0;
};
// "uni-light", "bimo-heavy" ... or the limits MIN:MAX, as in 0.1:0.5.
Result<Shares> parse_shares(std::string_view text);

// Any of shortest, shortest + step, ... that is not above longest. All are > 0.
struct Periods {
	nanoseconds shortest{10000000}, longest{100000000}, step{1000000};
};
// "uni-short", "uni-moderate", "uni-long" (of RT-Xen) or MIN:MAX[:STEP], where
// STEP is 1us unless given.
Result<Periods> parse_periods(std::string_view text);

// "0.85": the share of a CPU in parts per billion; of several if it is above 1.
Result<std::int64_t> parse_share(std::string_view text);

struct Recipe {
	std::uint64_t seed = 1;
	std::int64_t total_ppb = 0; // the utilisation of all tasks together
	std::size_t tasks = 0;	    // how many; not for a family
	Shares shares;
	Periods periods;
	bool constrained = false; // deadlines anywhere from runtime to period, else the period
};
// The shortest deadline first. A runtime is its share of the period rounded down
// to 1 ns, but not to 0. Refused as bad input, with the option to blame as the
// object: shares that cannot have that total, or so seldom that none are found.
Result<TaskSet> generate(const Recipe &recipe);

} // namespace dlgroup
