// SPDX-License-Identifier: GPL-2.0-only
// fit: on which CPUs of this machine a reservation fits.
#include <algorithm>

#include <fmt/format.h>

#include "common.h"

#include <dlgroup/facts.h>
#include <dlgroup/placement.h>

namespace dlgroup::tool {

namespace {

Result<Planned> wanted(const Options &options)
{
	Planned one;
	if (options.plan.empty()) {
		auto request = requested(options);
		if (!request)
			return tl::unexpected(request.error());
		one.request = *request;
		one.designed_for = options.cpu_count;
	} else {
		auto plan = read_plan(options.plan);
		if (!plan)
			return tl::unexpected(plan.error());
		auto name = name_input(options.plan);
		if (plan->size() != 1)
			return bad_input(name, fmt::format("has {} reservations; expected one", plan->size()));
		one = plan->front();
		if (one.cpus)
			return bad_input(name, "says itself on which CPUs");
		if (!one.group.empty() && !options.target.empty())
			return bad_input(name, "names its group itself, and --for is given");
	}
	if (one.group.empty())
		one.group = options.target;
	if (one.request.is_max || one.request.runtime.count() == 0)
		return bad_input("reservation", "max and 0 take nothing: they fit everywhere");
	return one;
}

// The group meant, or one at the top that is not there.
Result<std::string> group_of(const Context &context, const Tree &tree, const std::string &target)
{
	if (!target.empty())
		return resolve(context, target);
	std::string name = "/new";
	while (tree.find(name))
		name += "+";
	return name;
}

Json place_json(const Place &one, const RtMax &asked)
{
	Json out = {{"cpu", one.cpu}, {"fits", one.fits}, {"free_ppb", parts_per_billion(one.free)}};
	out["left_ppb"] = one.fits ? Json(parts_per_billion(one.free - bandwidth(asked))) : Json();
	out["largest"] = one.largest ? to_json(*one.largest) : Json();
	return out;
}

} // namespace

Result<int> fit(const Context &context)
{
	const auto &options = context.options;
	auto one = wanted(options);
	if (!one)
		return tl::unexpected(one.error());
	auto tree = read_tree(context.roots);
	if (!tree)
		return tl::unexpected(tree.error());
	if (has_support(context.roots, *tree) == Known::no)
		return fail(Status::unsupported, "kernel", "has no cpu.rt.max (CONFIG_DL_GROUP_SCHED)");
	auto group = group_of(context, *tree, one->group);
	if (!group)
		return tl::unexpected(group.error());
	auto headroom = read_headroom(context.roots);
	if (!headroom)
		return tl::unexpected(headroom.error());
	auto asked = apply_request({}, one->request);
	auto count = one->designed_for.value_or(1);
	auto found = place(*tree, *group, asked, count, *headroom);
	auto name = one->group.empty() ? format_rt_max(asked) : *group;
	if (found.places.size() < count)
		return bad_input(name, fmt::format("can use {} of the {} CPUs asked for",
						   found.places.size(), count));
	if (found.cpus.empty()) {
		if (!found.refusal)
			return fail(Status::failed, name, "fits nowhere, and no rule tells why");
		Error error{Status::refused, name, to_text(*found.refusal), 0, nullptr};
		error.refusal = std::make_shared<const Refusal>(*found.refusal);
		return tl::unexpected(std::move(error));
	}

	std::vector<std::string> notes;
	if (!knows_root_domains(*tree, *headroom) &&
	    std::any_of(headroom->begin(), headroom->end(), [&](const Headroom &cpu) {
		    return cpu.tasks && found.cpus.count(cpu.cpu);
	    }))
		notes.push_back("SCHED_DEADLINE tasks run there, and the kernel alone knows the CPUs that "
				"they share: it may refuse");
	if (options.json) {
		auto out = answer();
		if (!one->group.empty())
			out["group"] = *group;
		out["cpu_rt_max"] = file_text(one->request);
		out["cpus"] = to_json(found.cpus);
		if (one->policy)
			out["policy"] = name_policy(*one->policy);
		out["each_ppb"] = parts_per_billion(bandwidth(asked));
		out["each_cpu"] = Json::array();
		for (const auto &place : found.places)
			out["each_cpu"].push_back(place_json(place, asked));
		out["notes"] = notes;
		print(out);
		return 0;
	}
	print(fmt::format("{} fits on {} ({})", format_rt_max(asked), name_cpus(found.cpus),
			  total(bandwidth(asked), found.cpus.size())));
	print(fmt::format("{:<5} {:>8} {:>8}  {}", "CPU", "FREE", "LEFT", "LARGEST"));
	for (const auto &place : found.places)
		print(fmt::format("{:<5} {:>8} {:>8}  {}", place.cpu, percent(place.free),
				  place.fits ? percent(place.free - bandwidth(asked)) : "-",
				  place.largest ? format_rt_max(*place.largest) : "-"));
	for (const auto &note : notes)
		say(name, note);
	return 0;
}

} // namespace dlgroup::tool
