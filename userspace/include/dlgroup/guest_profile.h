// SPDX-License-Identifier: GPL-2.0-only
// What each class of a guest's threads gets: in the reservation by a policy, or
// left as it is.
#pragma once

#include <map>
#include <optional>
#include <string>

#include <dlgroup/guest.h>

namespace dlgroup {

struct ClassRule {
	std::optional<Policy> policy; // none: as it is, and so not served
	std::optional<CpuSet> cpus;   // none: as they are
};
using GuestProfile = std::map<ThreadClass, ClassRule>;

GuestProfile default_profile();
// A table for each class; one that is not there is left as it is:
//	[vcpu]
//	policy = "fifo:10"
//	cpus = "2-3"
Result<GuestProfile> parse_profile(const std::string &text, const std::string &name);

} // namespace dlgroup
