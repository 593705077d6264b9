// SPDX-License-Identifier: GPL-2.0-only
// On which CPUs of this machine a reservation fits, and what is left there.
#pragma once

#include <dlgroup/admission.h>

namespace dlgroup {

struct Place {
	unsigned cpu = 0;
	bool fits = false;
	Bandwidth free = 0;           // for this group, what it has included
	std::optional<RtMax> largest; // with the period that was asked for
};

struct Placement {
	std::vector<Place> places; // all CPUs that the group may use
	CpuSet cpus;               // as many as asked for, those with the least room; or none
	std::optional<Refusal> refusal; // without them: of the CPUs with the most room
};

// The group is there or yet to be made. On no CPU it gets what suspect() says
// would be refused. `count` CPUs, at least 1.
Placement place(const Tree &tree, const std::string &group, const RtMax &asked, std::size_t count,
		const std::vector<Headroom> &headroom);

} // namespace dlgroup
