// SPDX-License-Identifier: GPL-2.0-only
// dlgroup-runtime: stands before crun or runc, and as a hook behind them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <dlgroup/classes.h>

namespace dlgroup::runtime {

// Where things are; a test has its own.
struct Setup {
	std::filesystem::path policy = "/etc/dlgroup/policy.toml";
	uid_t owner = 0;
	std::filesystem::path state = "/run/dlgroup";
	std::filesystem::path self = "/proc/self/exe";
	std::filesystem::path journal = "/run/systemd/journal/socket";
	Roots roots; // without a cgroup mount: the one found
};

// The words of a call: which is the command, what its options say.
struct Call {
	std::string command; // empty: none
	std::string bundle = ".";
	std::string id; // of the container
	bool other_config = false; // crun's --config
	std::string log;
	std::string log_format;
};
Call parse_call(const std::vector<std::string> &arguments);

// On stderr, and in the log that the engine reads.
void report(const char *level, const std::string &text, const std::string &log, const std::string &format);

// What a container asked for, as far as that is known, and what came of it.
struct Decision {
	std::string container; // its id
	std::string of;        // the class
	std::string cgroup;
	std::string asked, by; // "6ms/20ms", and where that stands
	std::string given;
	std::string outcome = "refused"; // "granted", "without"; empty: it asked for nothing
	std::string sentence;
};
// In the journal, if there is one.
void record(const std::filesystem::path &journal, const Decision &decision);

// The name in arguments[0] says what for: dlgroup-CLASS or dlgroup-hook. Comes
// back with an exit status, unless the real runtime takes the process over.
int main(const Setup &setup, const std::vector<std::string> &arguments);

// dlgroup-hook CGROUP CPU_RT_MAX POLICY [LOG FORMAT]: an OCI hook at
// createRuntime. Sees that the container has what it was granted, and gives its
// first process the policy.
Result<void> hook(const Roots &roots, TaskControl &tasks, const std::vector<std::string> &arguments,
		  const std::string &state);
std::string container_of_state(const std::string &state);

} // namespace dlgroup::runtime
