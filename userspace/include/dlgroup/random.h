// SPDX-License-Identifier: GPL-2.0-only
// Random integers that are the same on every machine. The standard fixes the
// numbers of the engine, but not those of its distributions.
#pragma once

#include <cstdint>
#include <limits>
#include <random>

namespace dlgroup {

class Random {
public:
	explicit Random(std::uint64_t seed) : engine_(seed) {}

	// Any of the integers from 0 to `last`, each as likely as the others.
	std::uint64_t upto(std::uint64_t last)
	{
		constexpr auto kLast = std::numeric_limits<std::uint64_t>::max();
		if (last == kLast)
			return engine_();
		// What is over after the last whole round would favour small numbers.
		auto over = (kLast % (last + 1) + 1) % (last + 1);
		auto number = engine_();
		while (number > kLast - over)
			number = engine_();
		return number % (last + 1);
	}
	// The same from `first` to `last`, where 0 <= first <= last.
	std::int64_t between(std::int64_t first, std::int64_t last)
	{
		return first + static_cast<std::int64_t>(
				       upto(static_cast<std::uint64_t>(last - first)));
	}

private:
	std::mt19937_64 engine_;
};

} // namespace dlgroup
