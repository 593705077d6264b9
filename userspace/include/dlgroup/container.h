// SPDX-License-Identifier: GPL-2.0-only
// Containers and units of systemd, and their cgroups.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <dlgroup/system.h>

namespace dlgroup {

// The process of a running OCI container, as crun(1) knows it.
Result<pid_t> container_pid(const std::string &name);
// The cgroup of an active unit, as systemctl(1) knows it.
Result<std::string> unit_cgroup(const std::string &name);

// Who has made a cgroup, or one above it, for a while, and makes it anew when it is
// wanted again: "docker", "systemd" and so on; empty if nobody known has.
std::string maker_of(const std::string &group);

struct ContainerName {
	std::string engine;
	std::string name; // the beginning of its id, if the engine has no name for it on disk
};
// The container of docker, podman or LXC that a cgroup is of, as what these engines
// keep below `root` says; no daemon is asked.
std::optional<ContainerName> container_of(const std::filesystem::path &root, const std::string &group);

} // namespace dlgroup
