// SPDX-License-Identifier: GPL-2.0-only
// What an attached guest was before.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <dlgroup/guest_profile.h>
#include <dlgroup/record.h>

namespace dlgroup {

struct GuestRecord {
	static constexpr const char *kKind = "vm"; // named by their process ids

	pid_t pid = 0;
	std::uint64_t started = 0;
	std::string name;
	std::string qmp;
	std::string group; // which has the reservation
	bool made = false; // for this guest, which was moved there
	// Of a group that was there: which it is, and what it said.
	std::uint64_t inode = 0;
	std::string rt_max;
	std::optional<std::string> cpus; // cpuset.cpus, if it is written
	GuestProfile profile; // what threads were given, and those that come later are
	std::vector<ThreadState> threads;

	std::string to_text() const;
	static Result<GuestRecord> parse(const std::string &text, const std::string &path);
};
using GuestRecords = Records<GuestRecord>;

// Without a lock, for who only looks.
Result<std::optional<GuestRecord>> peek_record(const Roots &roots, pid_t pid);
// Nothing if it cannot be read, there is none, or it is of another process.
std::optional<GuestRecord> look_up_record(const Roots &roots, pid_t pid, std::uint64_t started);

} // namespace dlgroup
