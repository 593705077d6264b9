// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/record.h>

#include <algorithm>
#include <cerrno>

#include <unistd.h>

#include "record_json.h"

namespace dlgroup {

namespace {

// 10000 threads take about 1 MB.
constexpr std::size_t kLargest = 64 << 20;

std::filesystem::path directory_of_records(const Roots &roots, const std::string &kind)
{
	return roots.run / "dlgroup" / kind;
}

} // namespace

const ThreadState *find_state(const std::vector<ThreadState> &threads, const Task &task)
{
	for (const auto &one : threads)
		if (one.tid == task.tid && one.started == task.started)
			return &one;
	return nullptr;
}

Json threads_to_json(const std::vector<ThreadState> &threads)
{
	auto json = Json::array();
	for (const auto &one : threads)
		json.push_back({{"tid", one.tid}, {"started", one.started}, {"kernel_thread", one.kernel_thread},
				{"cgroup", one.cgroup}, {"policy", one.policy.policy},
				{"priority", one.policy.priority}, {"cpus", format_cpus(one.cpus)}});
	return json;
}

std::vector<ThreadState> threads_from_json(const Json &json)
{
	std::vector<ThreadState> threads;
	for (const auto &one : json)
		threads.push_back({one.at("tid"), one.at("started"), one.at("kernel_thread"), one.at("cgroup"),
				   {one.at("policy"), one.at("priority")}, cpus_from_json(one.at("cpus"))});
	return threads;
}

CpuSet cpus_from_json(const Json &json)
{
	auto cpus = parse_cpus(json.get<std::string>());
	if (!cpus)
		throw Damaged();
	return *cpus;
}

std::string record_text(const Json &json)
{
	// Names of cgroups may be no UTF-8; who was in such a one is put back above it.
	return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<RecordDir> RecordDir::open(const Roots &roots, const std::string &kind)
{
	auto path = directory_of_records(roots, kind);
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
	return RecordDir(*dir);
}

Result<std::optional<RecordDir>> RecordDir::peek(const Roots &roots, const std::string &kind)
{
	auto dir = Dir::open(directory_of_records(roots, kind));
	if (!dir && dir.error().sys_errno == ENOENT)
		return std::nullopt;
	if (!dir)
		return tl::unexpected(dir.error());
	return RecordDir(*dir);
}

std::vector<std::string> RecordDir::names() const
{
	std::vector<std::string> found;
	std::error_code error;
	for (std::filesystem::directory_iterator it(dir_.path(), error), end; !error && it != end;
	     it.increment(error))
		if (it->path().extension() == ".json")
			found.push_back(it->path().stem().string());
	std::sort(found.begin(), found.end());
	return found;
}

Result<std::optional<std::string>> RecordDir::read(const std::string &name) const
{
	auto file = dir_.read_regular(name, kLargest);
	if (!file && file.error().sys_errno == ENOENT)
		return std::nullopt;
	if (!file)
		return tl::unexpected(file.error());
	return file->text;
}

} // namespace dlgroup
