// SPDX-License-Identifier: GPL-2.0-only
// The config.json of an OCI bundle: what it asks for, and the same with the
// reservation in it. Text in, text out; whatever is not known here stays as it
// is and where it is.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <dlgroup/system.h>
#include <dlgroup/units.h>

namespace dlgroup {

inline constexpr const char *kAnnotation = "dlgroup.reservation";
inline constexpr std::size_t kLargestConfig = 16 << 20;

struct Ask {
	std::string source; // for messages: where it stands
	bool from_annotation = false;
	Request request; // a number, with its period
	std::optional<CpuSet> cpus;
	std::optional<Policy> policy; // of the first process; none: as it is
};

// RES[@CPUS] [fifo:N | rr:N | keep], such as "5ms/20ms@2-3 fifo:10".
Result<Ask> parse_ask(std::string_view text, const std::string &source);
// "fifo:10", "rr:10", "keep"
Result<std::optional<Policy>> parse_policy_word(std::string_view text);
std::string policy_word(const std::optional<Policy> &policy);

struct OciContainer {
	std::optional<Ask> ask;     // none: it asks for nothing
	std::optional<CpuSet> cpus; // its cpuset, if it has one
	std::string cgroups_path;   // as written
	// CAP_SYS_NICE that counts: SCHED_DEADLINE is outside every reservation.
	bool sys_nice = false;
};
// `name` is the file's, for messages. The environment is never looked at.
Result<OciContainer> read_oci_config(std::string_view text, const std::string &name);

struct OciGrant {
	Request request;
	std::optional<CpuSet> cpus;
	int rtprio = 0;                // RLIMIT_RTPRIO, unless the config has one
	std::vector<std::string> hook; // program and arguments, run once the cgroup is made
};
Result<std::string> grant_oci_config(std::string_view text, const std::string &name,
				     const OciGrant &grant);

// The same without what a kernel that has no cpu.rt.max could not be given.
Result<std::string> plain_oci_config(std::string_view text, const std::string &name);

// The cgroup that a runtime makes of cgroupsPath: /path, or SLICE:PREFIX:NAME.
Result<std::string> oci_cgroup(const std::string &cgroups_path);

} // namespace dlgroup
