// SPDX-License-Identifier: GPL-2.0-only
// Who may ask for how much: the classes of /etc/dlgroup/policy.toml, and what
// the containers of each hold.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include <dlgroup/oci.h>

namespace dlgroup {

struct Class {
	std::string name;
	// At most, and for the periods from and to.
	microseconds max_runtime{0};
	microseconds shortest{0}, longest{0};
	unsigned count = 0;         // containers at a time
	unsigned total_percent = 0; // of one CPU, over all their CPUs
	std::optional<CpuSet> cpus; // none: all
	int max_priority = 49;      // RLIMIT_RTPRIO; threaded interrupts have 50
	bool annotations = false;   // they may come from the image
	bool sys_nice = false;      // CAP_SYS_NICE leads out of a reservation
	std::optional<Ask> reservation; // of a container that asks for none itself
};

struct Classes {
	std::string runtime; // the real one; empty: not said
	// On a kernel without reservations: started without, not refused (kernel = "prefer").
	bool prefers_kernel = false;
	std::map<std::string, Class> by_name;

	const Class *find(const std::string &name) const;
};

// Only what `owner` alone can have written counts. A file that is not there has
// no classes.
Result<Classes> read_classes(const std::filesystem::path &path, uid_t owner);
Result<Classes> parse_classes(const std::string &text, const std::string &name);

// What a container asks for itself, else what its class has for it.
std::optional<Ask> wanted_by(const OciContainer &container, const Class *of);
tl::unexpected<Error> refuse(const Class &of, const Ask &ask, const std::string &reason);
// What a container of the class gets, with its CPUs if they are limited; a
// refusal says what it may have. Nothing if it asks for nothing.
Result<std::optional<Ask>> judge(const Class &of, const OciContainer &container);

// Enters a container of the class in the books, if count and total allow it.
// The entry counts while the process runs, then while the cgroup has a number.
Result<void> enter(const Roots &roots, const std::filesystem::path &state, const Class &of,
		   const std::string &cgroup, const Ask &ask, pid_t pid);

} // namespace dlgroup
