// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/guest_profile.h>

#include <sched.h>

#include <dlgroup/oci.h>

#include "toml.h"

namespace dlgroup {

GuestProfile default_profile()
{
	// A vCPU can run for ever, and wait in a loop for the very I/O that another
	// thread does for it: whoever serves the vCPUs stands above them. The main
	// loop takes QEMU's big lock, which has no priority inheritance, so it must
	// not wait behind others either; but what it does can take long, and I/O
	// should not wait for that. New threads inherit from it what keeps them
	// served: hot-plugged vCPUs, vhost threads after a reset.
	constexpr int kVcpu = 10, kMain = 15, kIo = 20;
	GuestProfile profile;
	profile[ThreadClass::vcpu].policy = Policy{SCHED_FIFO, kVcpu};
	profile[ThreadClass::main].policy = Policy{SCHED_FIFO, kMain};
	for (auto io : {ThreadClass::iothread, ThreadClass::worker, ThreadClass::vhost, ThreadClass::kernel})
		profile[io].policy = Policy{SCHED_FIFO, kIo};
	return profile;
}

Result<GuestProfile> parse_profile(const std::string &text, const std::string &name)
{
	auto parsed = parse_toml(text, name);
	if (!parsed)
		return tl::unexpected(parsed.error());
	Table file(*parsed, name);
	GuestProfile profile;
	for (auto of : kThreadClasses) {
		auto key = name_class(of);
		const auto *node = file.take(key);
		if (!node)
			continue;
		if (!node->is_table())
			return file.bad(key, "is not a table: write [" + key + "]");
		Table table(*node->as_table(), name + ": " + key);
		std::string policy, cpus;
		auto done = table.text("policy", policy);
		if (done)
			done = table.text("cpus", cpus);
		if (done)
			done = table.nothing_left();
		if (!done)
			return tl::unexpected(done.error());
		auto &rule = profile[of];
		if (policy.empty())
			return table.bad("policy", "is missing");
		auto word = parse_policy_word(policy);
		if (!word)
			return table.bad("policy", word.error().object + ": " + word.error().reason);
		rule.policy = *word;
		if (!node->as_table()->contains("cpus"))
			continue;
		auto set = parse_cpus(cpus);
		if (!set || set->empty())
			return table.bad("cpus", "is not a list of CPUs such as \"0-3,5\"");
		rule.cpus = *set;
	}
	if (auto done = file.nothing_left(); !done)
		return tl::unexpected(done.error());
	return profile;
}

} // namespace dlgroup
