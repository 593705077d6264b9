// SPDX-License-Identifier: GPL-2.0-only
// container setup and unset: what the engines know of the classes.
#include <fmt/format.h>
#include <unistd.h>

#include "common.h"

#include <dlgroup/engine.h>

namespace dlgroup::tool {

namespace {

Result<int> change_engine(const Context &context, const Result<EngineChange> &change)
{
	const auto &options = context.options;
	if (!change)
		return tl::unexpected(change.error());
	auto out = answer();
	out["engine"] = options.target;
	out["links"] = Json::array();
	out["files"] = Json::array();
	std::vector<std::string> told;
	for (const auto &link : change->links) {
		auto path = (change->runtime.parent_path() / link).string();
		out["links"].push_back(path);
		told.push_back(options.dry_run ? "ln -s dlgroup-runtime " + path : path + ": made, a link to dlgroup-runtime");
	}
	for (const auto &file : change->files) {
		auto action = !file.before ? "written" : file.after ? "changed" : "removed";
		auto diff = unified_diff(file);
		out["files"].push_back({{"path", file.path.string()}, {"action", action}, {"diff", diff}});
		told.push_back(options.dry_run ? trimmed(diff) : fmt::format("{}: {}", file.path.string(), action));
	}
	out["then"] = change->then;
	if (told.empty())
		told.push_back(options.target + ": nothing to change");
	else if (!change->then.empty())
		told.push_back(fmt::format("{}: {} makes it known", options.target, change->then));
	if (!options.dry_run)
		if (auto done = carry_out(*change); !done)
			return tl::unexpected(done.error());
	if (options.json)
		print(out);
	else
		for (const auto &line : told)
			print(line);
	return 0;
}

} // namespace

Result<int> container_setup(const Context &context)
{
	auto classes = read_classes(disk_root(context) / "etc/dlgroup/policy.toml", geteuid());
	if (!classes)
		return tl::unexpected(classes.error());
	return change_engine(context, engine_setup(disk_root(context), context.options.target, *classes));
}

Result<int> container_unset(const Context &context)
{
	return change_engine(context, engine_unset(disk_root(context), context.options.target));
}

} // namespace dlgroup::tool
