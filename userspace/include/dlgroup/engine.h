// SPDX-License-Identifier: GPL-2.0-only
// The configuration of container engines: the same with a runtime for each class
// in it, and the same without. Text in, text out; whatever is not ours stays as it
// is and where it is, to the byte.
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <dlgroup/classes.h>

namespace dlgroup {

// "dlgroup-control" and its path; none: what is to be left is an engine that knows
// nothing of us.
using Runtimes = std::map<std::string, std::string>;

// A file that is not there is nothing, and one that says nothing is not needed.
using ConfigText = std::optional<std::string>;
Result<ConfigText> docker_config(const ConfigText &text, const std::string &name, const Runtimes &runtimes);
Result<ConfigText> containerd_config(const ConfigText &text, const std::string &name,
				     const Runtimes &runtimes);

struct ConfigFile {
	std::filesystem::path path;
	ConfigText before, after;
};
struct EngineChange {
	std::vector<ConfigFile> files; // only those that change
	std::vector<std::string> links; // to make, beside the runtime, which they stand for
	std::filesystem::path runtime;
	std::string then; // what makes the engine see it; empty: nothing is needed
};
inline constexpr std::array kEngines{"docker", "podman", "containerd", "lxc"};
// `root` is where the machine's files are.
Result<EngineChange> engine_setup(const std::filesystem::path &root, const std::string &engine,
				  const Classes &classes);
Result<EngineChange> engine_unset(const std::filesystem::path &root, const std::string &engine);
// All or nothing. The links stay when an engine is unset: another may have them, and
// they grant nothing.
Result<void> carry_out(const EngineChange &change);

// What changes, as diff(1) -u tells it.
std::string unified_diff(const ConfigFile &file);

} // namespace dlgroup
