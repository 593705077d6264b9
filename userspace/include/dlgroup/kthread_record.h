// SPDX-License-Identifier: GPL-2.0-only
// What the attached threads of an interrupt or of a network interface were before.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <dlgroup/record.h>

namespace dlgroup {

// What is written besides, of an interface: /sys/class/net/NAME/threaded.
struct InterfaceState {
	std::string name;
	unsigned index = 0; // another of this name has another
	bool threaded = false;
};

struct KernelThreadRecord {
	std::string group; // that they were attached to
	std::optional<InterfaceState> interface;
	std::vector<ThreadState> threads;

	std::string to_text() const;
	static Result<KernelThreadRecord> parse(const std::string &text, const std::string &path);
};
using KernelThreadRecords = Records<KernelThreadRecord>;

} // namespace dlgroup
