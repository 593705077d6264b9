// SPDX-License-Identifier: GPL-2.0-only
// QEMU's machine protocol, for one question: which threads are which.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>

#include <sys/types.h>

#include <dlgroup/result.h>

namespace dlgroup {

struct QmpThreads {
	pid_t listener = 0; // who made the socket
	// By thread id, as QEMU sees it in its pid namespace.
	std::map<pid_t, std::int64_t> vcpus;
	std::map<pid_t, std::string> iothreads;
};

// The socket serves one client at a time; it is let go of at once.
Result<QmpThreads> ask_qmp(const std::filesystem::path &socket,
			   std::chrono::milliseconds patience = std::chrono::seconds(5));

} // namespace dlgroup
