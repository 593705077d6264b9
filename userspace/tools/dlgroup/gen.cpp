// SPDX-License-Identifier: GPL-2.0-only
// gen: random task sets, which check, design and simulate take.
#include <fmt/format.h>

#include "common.h"

#include <dlgroup/generate.h>

namespace dlgroup::tool {

namespace {

// The value of an option, or an error that names it.
template <class T>
Result<T> value_of(const char *option, Result<T> value)
{
	return value.map_error([&](Error error) {
		error.reason = error.object + ": " + error.reason;
		error.object = option;
		return error;
	});
}

Result<Recipe> recipe_of(const Options &options)
{
	Recipe recipe;
	recipe.seed = options.seed;
	recipe.tasks = options.task_count;
	recipe.constrained = options.deadlines == "constrained";
	auto total = value_of("--utilisation", parse_share(options.utilisation));
	if (!total)
		return tl::unexpected(total.error());
	recipe.total_ppb = *total;
	if (!options.shares.empty()) {
		auto shares = value_of("--shares", parse_shares(options.shares));
		if (!shares)
			return tl::unexpected(shares.error());
		recipe.shares = *shares;
	}
	if (!options.periods.empty()) {
		auto periods = value_of("--periods", parse_periods(options.periods));
		if (!periods)
			return tl::unexpected(periods.error());
		recipe.periods = *periods;
	}
	return recipe;
}

// The command line that makes the same again.
std::string again(const Options &options)
{
	auto text = fmt::format("dlgroup gen --seed {} --utilisation {}", options.seed, options.utilisation);
	if (options.task_count)
		text += fmt::format(" --tasks {}", options.task_count);
	for (const auto &[option, value] : {std::pair("--shares", options.shares),
					    std::pair("--periods", options.periods),
					    std::pair("--deadlines", options.deadlines)})
		if (!value.empty())
			text += fmt::format(" {} {}", option, value);
	return text;
}

} // namespace

Result<int> gen(const Options &options)
{
	auto recipe = recipe_of(options);
	if (!recipe)
		return tl::unexpected(recipe.error());
	auto set = generate(*recipe);
	if (!set)
		return tl::unexpected(set.error());
	if (options.json) {
		auto out = answer();
		out["comment"] = again(options);
		out["tasks"] = Json::array();
		for (const auto &task : *set)
			out["tasks"].push_back(to_json(task));
		print(out);
		return 0;
	}
	print("# " + again(options));
	for (const auto &task : *set)
		print(fmt::format("{} {} {}", format_duration(task.runtime),
				  format_duration(task.deadline), format_duration(task.period)));
	return 0;
}

} // namespace dlgroup::tool
