// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/guest_record.h>

#include <cerrno>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace dlgroup {

namespace {

using Json = nlohmann::json;

// 10000 threads take about 1 MB.
constexpr std::size_t kLargest = 64 << 20;

std::string file_of(pid_t pid)
{
	return fmt::format("{}.json", pid);
}

std::filesystem::path directory_of_records(const Roots &roots)
{
	return roots.run / "dlgroup/vm";
}

std::string to_text(const GuestRecord &record)
{
	Json json = {{"pid", record.pid}, {"started", record.started}, {"name", record.name},
		     {"qmp", record.qmp}, {"group", record.group}, {"made", record.made},
		     {"inode", record.inode}, {"cpu_rt_max", record.rt_max},
		     {"cpuset_cpus", record.cpus ? Json(*record.cpus) : Json()},
		     {"given", Json::array()},
		     {"threads", Json::array()}};
	for (const auto &one : record.given)
		json["given"].push_back({{"policy", one.policy.policy}, {"priority", one.policy.priority},
					 {"cpus", one.cpus ? Json(format_cpus(*one.cpus)) : Json()}});
	for (const auto &one : record.threads)
		json["threads"].push_back({{"tid", one.tid}, {"started", one.started},
					   {"kernel_thread", one.kernel_thread}, {"cgroup", one.cgroup},
					   {"policy", one.policy.policy}, {"priority", one.policy.priority},
					   {"cpus", format_cpus(one.cpus)}});
	// Names of cgroups may be no UTF-8; who was in such a one is put back above it.
	return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<GuestRecord> parse(const std::string &text, const std::string &path)
{
	auto damaged = [&] {
		return fail(Status::failed, path, "is damaged: what the guest was before is not known");
	};
	GuestRecord record;
	try {
		auto json = Json::parse(text);
		record.pid = json.at("pid");
		record.started = json.at("started");
		record.name = json.at("name");
		record.qmp = json.at("qmp");
		record.group = json.at("group");
		record.made = json.at("made");
		record.inode = json.at("inode");
		record.rt_max = json.at("cpu_rt_max");
		if (!json.at("cpuset_cpus").is_null())
			record.cpus = json.at("cpuset_cpus");
		for (const auto &one : json.at("given")) {
			Given given{{one.at("policy"), one.at("priority")}, {}};
			if (!one.at("cpus").is_null())
				given.cpus = parse_cpus(one.at("cpus").get<std::string>()).value_or(CpuSet{});
			record.given.push_back(given);
		}
		for (const auto &one : json.at("threads")) {
			auto cpus = parse_cpus(one.at("cpus").get<std::string>());
			if (!cpus)
				return damaged();
			record.threads.push_back({one.at("tid"), one.at("started"), one.at("kernel_thread"),
						  one.at("cgroup"), {one.at("policy"), one.at("priority")},
						  *cpus});
		}
	} catch (const Json::exception &) {
		return damaged();
	}
	return record;
}

Result<std::optional<GuestRecord>> read_record(const Dir &dir, pid_t pid)
{
	auto file = dir.read_regular(file_of(pid), kLargest);
	if (!file && file.error().sys_errno == ENOENT)
		return std::nullopt;
	if (!file)
		return tl::unexpected(file.error());
	auto record = parse(file->text, (dir.path() / file_of(pid)).string());
	if (!record)
		return tl::unexpected(record.error());
	return *record;
}

} // namespace

const ThreadState *GuestRecord::find(const Task &task) const
{
	for (const auto &one : threads)
		if (one.tid == task.tid && one.started == task.started)
			return &one;
	return nullptr;
}

Result<GuestRecords> GuestRecords::open(const Roots &roots)
{
	auto path = directory_of_records(roots);
	if (access(path.parent_path().c_str(), W_OK) && errno == EACCES)
		return system_error(path.string(), EACCES);
	if (auto above = Dir::make_own(path.parent_path()); !above)
		return tl::unexpected(above.error());
	// Whoever can open it can lock it.
	auto dir = Dir::make_own(path, 0700);
	if (!dir)
		return tl::unexpected(dir.error());
	if (auto done = dir->lock(); !done)
		return tl::unexpected(done.error());
	return GuestRecords(*dir);
}

Result<std::optional<GuestRecord>> GuestRecords::read(pid_t pid) const
{
	return read_record(dir_, pid);
}

Result<void> GuestRecords::write(const GuestRecord &record) const
{
	return dir_.replace(file_of(record.pid), to_text(record));
}

Result<void> GuestRecords::remove(pid_t pid) const
{
	return dir_.remove(file_of(pid));
}

Result<std::optional<GuestRecord>> peek_record(const Roots &roots, pid_t pid)
{
	auto dir = Dir::open(directory_of_records(roots));
	if (!dir && dir.error().sys_errno == ENOENT)
		return std::nullopt;
	if (!dir)
		return tl::unexpected(dir.error());
	return read_record(*dir, pid);
}

std::optional<GuestRecord> look_up_record(const Roots &roots, pid_t pid, std::uint64_t started)
{
	auto record = peek_record(roots, pid);
	if (!record || !*record || (*record)->started != started)
		return std::nullopt;
	return *record;
}

} // namespace dlgroup
