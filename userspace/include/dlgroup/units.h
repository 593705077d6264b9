// SPDX-License-Identifier: GPL-2.0-only
// Times, reservations, CPU lists and bandwidths. All arithmetic is in integers.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include <dlgroup/result.h>

namespace dlgroup {

using std::chrono::microseconds;
using std::chrono::nanoseconds;

// Whatever the text holds, a message with it is one printable line.
std::string printable(std::string text);

// "5ms", "1.5ms", "100us", "1s": a decimal number with a unit, exact to 1 ns.
Result<nanoseconds> parse_duration(std::string_view text);
std::string format_duration(nanoseconds time);
// Exactly, in the unit of the control files.
Result<microseconds> whole_microseconds(nanoseconds time);

// What cpu.rt.max says. A group whose runtime is not `max` has a "number".
struct RtMax {
	bool is_max = true;
	microseconds runtime{0};
	microseconds period{100000};
	microseconds deadline{100000}; // equals the period unless it was given

	bool operator==(const RtMax &) const = default;
	bool has_number() const { return !is_max; }
};

// What a user asks for: values left out keep what the group has.
struct Request {
	bool is_max = true;
	microseconds runtime{0};
	std::optional<microseconds> period;
	std::optional<microseconds> deadline;
};

// RES = Q/P[/D] | max | 0
Result<Request> parse_request(std::string_view text);
// The long form --runtime --period --deadline.
Result<Request> make_request(const std::string &runtime, const std::string &period,
			     const std::string &deadline);
RtMax apply_request(const RtMax &old, const Request &request);
// The text written to cpu.rt.max.
std::string file_text(const Request &request);
// The same text read back; a runtime that is not 0 needs its period.
Result<Request> parse_file_text(std::string_view text);
// The content of cpu.rt.max.
Result<RtMax> parse_rt_max(std::string_view text);
// "5ms/20ms", "max", "0".
std::string format_rt_max(const RtMax &value);

using CpuSet = std::set<unsigned>;
Result<CpuSet> parse_cpus(std::string_view text); // "0-3,5"
std::string format_cpus(const CpuSet &cpus);
// "CPU 1", "CPUs 0-3"
std::string name_cpus(const CpuSet &cpus);
CpuSet intersect(const CpuSet &a, const CpuSet &b);

// A share of one CPU as an integer fraction of 2^48, as the kernel stores it.
using Bandwidth = std::uint64_t;
inline constexpr unsigned kBandwidthBits = 48;

// floor(Q * 2^48 / P), the kernel's function.
Bandwidth bandwidth(microseconds runtime, microseconds period);
Bandwidth bandwidth(nanoseconds runtime, nanoseconds period);
Bandwidth bandwidth(const RtMax &value); // 0 without a number
// Parts per billion, rounded to nearest; for machine-readable output.
std::uint64_t parts_per_billion(Bandwidth value);
// "60.0 %" with the given number of decimals, rounded to nearest.
std::string percent(Bandwidth value, unsigned decimals = 1);
// "25 % of 2 CPUs = 0.50 CPU"
std::string total(Bandwidth each, std::size_t cpus);

} // namespace dlgroup
