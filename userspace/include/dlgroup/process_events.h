// SPDX-License-Identifier: GPL-2.0-only
// The kernel's events of processes: threads that are made, get a name or end.
// The source is the process connector (Documentation/driver-api/connector.rst,
// drivers/connector/cn_proc.c), which needs CONFIG_PROC_EVENTS, CAP_NET_ADMIN and
// the first pid and user namespaces.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include <sys/types.h>

#include <dlgroup/result.h>

namespace dlgroup {

struct ProcessEvent {
	enum Kind { made, renamed, ended } kind = made;
	pid_t tid = 0;
	pid_t tgid = 0; // of its process
	bool operator==(const ProcessEvent &) const = default;
};

// What one message of the kernel's tells; others than the three are left out, and so is
// what is cut off.
std::vector<ProcessEvent> parse_process_events(std::span<const std::byte> message);

class ProcessEvents {
public:
	// Listens; Status::unsupported where the kernel sends none.
	static Result<ProcessEvents> open();

	int fd() const { return *fd_; } // for poll(2): readable while there are events

	struct Batch {
		std::vector<ProcessEvent> events;
		bool lost = false; // the socket was full: there have been more
	};
	// All that have come, without waiting.
	Result<Batch> read() const;

private:
	std::shared_ptr<const int> fd_; // closed with the last copy
};

} // namespace dlgroup
