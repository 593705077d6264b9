// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/classes.h>

#include <cerrno>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <dlgroup/cgroup.h>
#include <dlgroup/fs.h>
#include <dlgroup/wide.h>

#include "toml.h"

namespace dlgroup {

namespace {

constexpr std::size_t kLargest = 1 << 20;
constexpr const char *kBooks = "containers.json";

Result<void> read_periods(Table &table, Class &one)
{
	const auto *node = table.take("periods");
	if (!node || !node->is_array() || node->as_array()->size() != 2)
		return table.bad("periods", "is not [SHORTEST, LONGEST] such as [\"5ms\", \"100ms\"]");
	auto done = table.time("periods", node->as_array()->get(0), one.shortest);
	if (done)
		done = table.time("periods", node->as_array()->get(1), one.longest);
	if (done && one.shortest > one.longest)
		return table.bad("periods", "the shortest is longer than the longest");
	return done;
}

Result<Class> read_class(const toml::table &toml, const std::string &file, const std::string &name)
{
	constexpr std::int64_t kMany = 1000000;
	constexpr std::int64_t kHighestPriority = 99;
	Table table(toml, fmt::format("{}: class {}", file, name));
	Class one;
	one.name = name;
	std::string cpus, reservation;
	auto done = table.time("max_runtime", table.take("max_runtime"), one.max_runtime);
	if (done)
		done = read_periods(table, one);
	if (done)
		done = table.number("count", true, kMany, one.count);
	if (done)
		done = table.number("total_percent", true, kMany, one.total_percent);
	if (done)
		done = table.number("max_priority", false, kHighestPriority, one.max_priority);
	if (done)
		done = table.flag("annotations", one.annotations);
	if (done)
		done = table.flag("sys_nice", one.sys_nice);
	if (done)
		done = table.text("cpus", cpus);
	if (done)
		done = table.text("reservation", reservation);
	if (done)
		done = table.nothing_left();
	if (!done)
		return tl::unexpected(done.error());
	if (toml.get("cpus")) {
		auto set = parse_cpus(cpus);
		if (!set || set->empty())
			return table.bad("cpus", "is not a list of CPUs such as \"0-3,5\"");
		one.cpus = *set;
	}
	if (toml.get("reservation")) {
		auto ask = parse_ask(reservation, "its class");
		if (!ask)
			return table.bad("reservation", ask.error().reason);
		one.reservation = *ask;
	}
	return one;
}

struct Entry {
	std::string of;
	std::string cgroup;
	Bandwidth each = 0;
	std::uint64_t cpus = 0;
	pid_t pid = 0;
	std::uint64_t started = 0; // so that another process with its number is not it
};

bool has_number(const Roots &roots, const std::string &group)
{
	auto value = parse_rt_max(read_file(directory_of(roots, group) / "cpu.rt.max").value_or(""));
	return value && value->has_number();
}

bool counts(const Roots &roots, const Entry &entry)
{
	// crun with systemd makes a cgroup of its own below the scope.
	return start_of(roots, entry.pid) == entry.started || has_number(roots, entry.cgroup) ||
	       has_number(roots, entry.cgroup + "/container");
}

Result<std::vector<Entry>> read_books(const Dir &dir)
{
	auto file = dir.read_regular(kBooks, kLargestConfig);
	if (!file && file.error().sys_errno == ENOENT)
		return {};
	if (!file)
		return tl::unexpected(file.error());
	std::vector<Entry> entries;
	try {
		for (const auto &one : nlohmann::json::parse(file->text))
			entries.push_back({one.at("class"), one.at("cgroup"), one.at("each"), one.at("cpus"),
					   one.at("pid"), one.at("started")});
	} catch (const nlohmann::json::exception &) {
		return fail(Status::failed, (dir.path() / kBooks).string(),
			    "is damaged; without it nothing is known of what runs");
	}
	return entries;
}

Result<void> write_books(const Dir &dir, const std::vector<Entry> &entries)
{
	auto json = nlohmann::json::array();
	for (const auto &one : entries)
		json.push_back({{"class", one.of}, {"cgroup", one.cgroup}, {"each", one.each},
				{"cpus", one.cpus}, {"pid", one.pid}, {"started", one.started}});
	return dir.replace(kBooks, json.dump());
}

} // namespace

tl::unexpected<Error> refuse(const Class &of, const Ask &ask, const std::string &reason)
{
	return fail(Status::refused, "class " + of.name,
		    fmt::format("refused {} by {}: {}", format_rt_max(apply_request({}, ask.request)),
				ask.source, reason));
}

const Class *Classes::find(const std::string &name) const
{
	auto it = by_name.find(name);
	return it == by_name.end() ? nullptr : &it->second;
}

Result<Classes> parse_classes(const std::string &text, const std::string &name)
{
	auto parsed = parse_toml(text, name);
	if (!parsed)
		return tl::unexpected(parsed.error());
	Table table(*parsed, name);
	Classes classes;
	if (auto done = table.text("runtime", classes.runtime); !done)
		return tl::unexpected(done.error());
	if (parsed->get("runtime") && !classes.runtime.starts_with("/"))
		return table.bad("runtime", "is not the full path of a program");
	std::string kernel = "require";
	if (auto done = table.text("kernel", kernel); !done)
		return tl::unexpected(done.error());
	if (kernel != "require" && kernel != "prefer")
		return table.bad("kernel", "is neither \"require\" nor \"prefer\"");
	classes.prefers_kernel = kernel == "prefer";
	if (const auto *node = table.take("class")) {
		if (!node->is_table())
			return table.bad("class", "is not a table: write [class.NAME]");
		for (const auto &[key, value] : *node->as_table()) {
			auto of = std::string(key.str());
			if (!value.is_table())
				return table.bad("class." + printable(of), "is not a table");
			auto one = read_class(*value.as_table(), name, printable(of));
			if (!one)
				return tl::unexpected(one.error());
			classes.by_name[of] = *one;
		}
	}
	if (auto done = table.nothing_left(); !done)
		return tl::unexpected(done.error());
	return classes;
}

Result<Classes> read_classes(const std::filesystem::path &path, uid_t owner)
{
	auto dir = Dir::open(path.parent_path());
	if (!dir && dir.error().sys_errno == ENOENT)
		return Classes{};
	if (!dir)
		return tl::unexpected(dir.error());
	if (auto good = dir->check_written_by(owner); !good)
		return tl::unexpected(good.error());
	auto file = dir->read_regular(path.filename(), kLargest);
	if (!file && file.error().sys_errno == ENOENT)
		return Classes{};
	if (!file)
		return tl::unexpected(file.error());
	if (auto good = check_written_by(*file, path.string(), owner); !good)
		return tl::unexpected(good.error());
	return parse_classes(file->text, path.string());
}

std::optional<Ask> wanted_by(const OciContainer &container, const Class *of)
{
	return container.ask || !of ? container.ask : of->reservation;
}

Result<std::optional<Ask>> judge(const Class &of, const OciContainer &container)
{
	auto ask = wanted_by(container, &of);
	if (!ask)
		return std::nullopt;
	if (ask->from_annotation && !of.annotations)
		return refuse(of, *ask, "the class does not say annotations = true");
	auto asked = apply_request({}, ask->request);
	if (asked.runtime > of.max_runtime)
		return refuse(of, *ask, fmt::format("the runtime may be {}", format_duration(of.max_runtime)));
	if (asked.period < of.shortest || asked.period > of.longest)
		return refuse(of, *ask, fmt::format("the period may be {} to {}", format_duration(of.shortest),
						    format_duration(of.longest)));
	if (ask->policy && ask->policy->priority > of.max_priority)
		return refuse(of, *ask, fmt::format("the priority may be {}", of.max_priority));
	if (container.sys_nice && !of.sys_nice)
		return refuse(of, *ask, "the container has CAP_SYS_NICE, with which it could leave its "
					"reservation, and the class does not say sys_nice = true");
	// What is asked for lies in the container's cpuset, that in the class's CPUs.
	const auto &limit = container.cpus ? container.cpus : of.cpus;
	if (ask->cpus && limit && intersect(*ask->cpus, *limit) != *ask->cpus)
		return refuse(of, *ask, fmt::format("{} asked for, {} allowed by {}", name_cpus(*ask->cpus),
						    name_cpus(*limit),
						    container.cpus ? "its cpuset" : "the class"));
	if (!ask->cpus)
		ask->cpus = limit;
	if (ask->cpus && of.cpus && intersect(*ask->cpus, *of.cpus) != *ask->cpus)
		return refuse(of, *ask, fmt::format("{} in its cpuset, {} allowed by the class",
						    name_cpus(*ask->cpus), name_cpus(*of.cpus)));
	return ask;
}

Result<void> enter(const Roots &roots, const std::filesystem::path &state, const Class &of,
		   const std::string &cgroup, const Ask &ask, pid_t pid)
{
	auto dir = Dir::make_own(state);
	if (!dir)
		return tl::unexpected(dir.error());
	if (auto done = dir->lock(); !done)
		return done;
	auto entries = read_books(*dir);
	if (!entries)
		return tl::unexpected(entries.error());
	// A container that is made anew has the same cgroup.
	std::erase_if(*entries, [&](const Entry &entry) {
		return entry.cgroup == cgroup || !counts(roots, entry);
	});
	auto cpus = ask.cpus;
	if (!cpus) {
		auto online = online_cpus(roots);
		if (!online)
			return tl::unexpected(online.error());
		cpus = *online;
	}
	auto since = start_of(roots, pid);
	if (!since)
		return fail(Status::failed, fmt::format("pid {}", pid), "no such process");
	entries->push_back({of.name, cgroup, bandwidth(apply_request({}, ask.request)), cpus->size(), pid, *since});
	unsigned count = 0;
	u128 sum = 0;
	for (const auto &entry : *entries)
		if (entry.of == of.name) {
			count++;
			sum += static_cast<u128>(entry.each) * entry.cpus;
		}
	if (count > of.count)
		return refuse(of, ask, fmt::format("it has {} containers, and no more may run at a time", of.count));
	if (sum * 100 > static_cast<u128>(of.total_percent) << kBandwidthBits) {
		auto in_percent = static_cast<std::uint64_t>((sum * 100) >> kBandwidthBits);
		return refuse(of, ask, fmt::format("all its containers together would have {} % of one CPU or more, "
						   "{} % is their total", in_percent, of.total_percent));
	}
	return write_books(*dir, *entries);
}

} // namespace dlgroup
