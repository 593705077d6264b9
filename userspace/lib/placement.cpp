// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/placement.h>

#include <algorithm>

namespace dlgroup {

Placement place(const Tree &tree, const std::string &group, const RtMax &asked, std::size_t count,
		const std::vector<Headroom> &headroom)
{
	auto existing = group;
	while (!tree.find(existing) && existing != "/")
		existing = parent_of(existing);
	auto index = tree.find(existing);
	auto refused = [&](const RtMax &value, const CpuSet &cpus) {
		return suspect(tree, group, value, cpus, headroom);
	};
	auto all = asked; // of a CPU: what it is refused for tells the room
	all.runtime = all.deadline;
	Placement found;
	for (const auto &one : headroom) {
		if (!index || !tree.groups[*index].cpus.count(one.cpu))
			continue;
		auto limit = refused(all, {one.cpu});
		found.places.push_back({one.cpu, !refused(asked, {one.cpu}),
					limit ? limit->free.value_or(0) : bandwidth(all),
					limit ? limit->fits : all});
	}

	// What needs more room later finds it on the other CPUs.
	auto by_room = found.places;
	std::stable_sort(by_room.begin(), by_room.end(),
			 [](const Place &a, const Place &b) { return a.free < b.free; });
	for (const auto &one : by_room) {
		auto with = found.cpus;
		with.insert(one.cpu);
		if (found.cpus.size() < count && one.fits && !refused(asked, with))
			found.cpus = with;
	}
	if (found.cpus.size() == count)
		return found;
	found.cpus.clear();
	CpuSet roomiest;
	for (auto one = by_room.rbegin(); one != by_room.rend() && roomiest.size() < count; ++one)
		roomiest.insert(one->cpu);
	found.refusal = refused(asked, roomiest);
	return found;
}

} // namespace dlgroup
