// SPDX-License-Identifier: GPL-2.0-only
// Network interfaces: their queues, interrupts and NAPI threads, and who uses them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <dlgroup/irq.h>

namespace dlgroup {

// A network namespace in which there are processes.
struct NetNamespace {
	std::string id; // of its inode
	std::vector<Task> processes;
	std::vector<std::string> interfaces;
};
// The one that /sys shows, which is the caller's; then the others.
std::vector<NetNamespace> net_namespaces(const Roots &roots);

struct Interface {
	std::string name;
	unsigned index = 0;
	std::string driver; // empty: no device is behind it
	std::size_t rx_queues = 0, tx_queues = 0;
	std::vector<unsigned> irqs;
	std::optional<bool> threaded;
	std::vector<std::string> above; // bridges and the like that it carries
	// Called napi/NAME-ID, when they were made. Why they may be another's; empty if not.
	std::vector<Task> threads;
	std::string ambiguous;
};
// Those of the caller's namespace, by name.
std::vector<Interface> interfaces(const Roots &roots, const std::vector<NetNamespace> &namespaces);
Result<Interface> find_interface(const std::vector<Interface> &all, const std::vector<NetNamespace> &namespaces,
				 const std::string &name);
std::filesystem::path threaded_file(const Roots &roots, const std::string &name);

// All processes of its namespace.
Users users_of(const Interface &interface, const std::vector<NetNamespace> &namespaces);

} // namespace dlgroup
