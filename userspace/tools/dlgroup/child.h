// SPDX-License-Identifier: GPL-2.0-only
// A command that is started in a cgroup made for it, up to the removal.
#pragma once

#include <array>
#include <csignal>

#include "common.h"

namespace dlgroup::tool {

// As env(1) and chrt(1) have it.
inline constexpr int kCannotRun = 126, kNotFound = 127, kSignalBase = 128;
inline constexpr std::array kForwarded{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
// SIGCHLD and those that are handed on.
sigset_t handled_signals();

// Started, but held back until the group and the policy are right.
class HeldChild {
public:
	static Result<HeldChild> start(const std::vector<std::string> &command,
				       const sigset_t &mask);
	pid_t pid() const { return pid_; }
	// errno of the exec, 0 if it went well.
	int release();
	// Ends a child that is not to run.
	void abandon();

private:
	pid_t pid_ = -1;
	int go_ = -1;     // closed without a byte: do not run
	int failed_ = -1; // carries errno; closed by a successful exec
};

// One signal, or none for so long: handed on to the child. Its status if it has ended.
std::optional<int> wait_once(pid_t child, const sigset_t &signals, const timespec *longest);
int wait_for(pid_t child, const sigset_t &signals);

// Ends whatever the command left behind, and removes the group.
Result<void> clean_up(const Context &context, const std::string &group);

} // namespace dlgroup::tool
