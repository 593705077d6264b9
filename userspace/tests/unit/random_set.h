// SPDX-License-Identifier: GPL-2.0-only
// Task sets for measurements of time.
#pragma once

#include <algorithm>
#include <random>

#include <dlgroup/taskset.h>

namespace dlgroup {

// Periods from 1 to 100 ms drawn to 1 ns: as good as without a common factor.
inline TaskSet random_set(unsigned count, unsigned seed, double utilisation)
{
	std::mt19937_64 random(seed);
	TaskSet set;
	for (unsigned i = 0; i < count; i++) {
		auto period = 1000000 + static_cast<std::int64_t>(random() % 99000000);
		auto runtime = static_cast<std::int64_t>(static_cast<double>(period) * utilisation / count *
							 (0.5 + static_cast<double>(random() % 1000) / 1000));
		SporadicTask task;
		task.runtime = nanoseconds(std::max<std::int64_t>(runtime, 1));
		task.deadline = nanoseconds(period - static_cast<std::int64_t>(random() % 4) * period / 20);
		task.period = nanoseconds(period);
		set.push_back(task);
	}
	order_priorities(set, PriorityOrder::deadline_monotonic);
	return set;
}

} // namespace dlgroup
