// SPDX-License-Identifier: GPL-2.0-only
// One of the parsers, chosen by PARSER, on any bytes: it takes them and what it
// made of them holds together, or it refuses with one printable line.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <dlgroup/classes.h>
#include <dlgroup/engine.h>
#include <dlgroup/guest_profile.h>
#include <dlgroup/oci.h>
#include <dlgroup/plan.h>
#include <dlgroup/taskset.h>

namespace dlgroup {
namespace {

void require(bool holds, const char *what)
{
	if (holds)
		return;
	std::fprintf(stderr, "does not hold: %s\n", what);
	std::abort();
}
#define REQUIRE(condition) require(condition, #condition)

bool is_printable(const std::string &text)
{
	return std::none_of(text.begin(), text.end(), [](char letter) {
		return static_cast<unsigned char>(letter) < ' ' || letter == 0x7f;
	});
}

// Whether it was taken.
template <class T>
bool taken(const Result<T> &result)
{
	if (result)
		return true;
	REQUIRE(result.error().status != Status::ok);
	REQUIRE(!result.error().object.empty() && !result.error().reason.empty());
	REQUIRE(is_printable(result.error().object) && is_printable(result.error().reason));
	return false;
}

[[maybe_unused]] void fuzz_taskset(const std::string &text)
{
	auto set = parse_task_set(text, "f");
	if (!taken(set)) {
		REQUIRE(set.error().object.starts_with("f:"));
		return;
	}
	REQUIRE(!set->empty());
	for (const auto &task : *set) {
		REQUIRE(task.runtime.count() > 0 && task.deadline.count() > 0 && task.period.count() > 0);
		REQUIRE(task.jitter.count() >= 0 && task.blocking.count() >= 0);
		REQUIRE(!task.name.empty() && task.rank < set->size());
	}
}

[[maybe_unused]] void fuzz_reservation(const std::string &text)
{
	if (auto time = parse_duration(text); taken(time)) {
		REQUIRE(time->count() >= 0);
		auto again = parse_duration(format_duration(*time));
		// Nothing is printed as 0, without the unit that is expected.
		REQUIRE(time->count() == 0 || (again && *again == *time));
	}
	if (auto request = parse_request(text); taken(request)) {
		auto value = apply_request({}, *request);
		REQUIRE(value.runtime <= value.deadline && value.deadline <= value.period);
		auto again = parse_request(format_rt_max(value));
		// 0 is the same with any period.
		REQUIRE(again && (value.runtime.count() == 0 || apply_request({}, *again) == value));
	}
	if (auto cpus = parse_cpus(text); taken(cpus)) {
		auto again = parse_cpus(format_cpus(*cpus));
		REQUIRE(again && *again == *cpus);
	}
	if (auto ask = parse_ask(text, "s"); taken(ask))
		REQUIRE(!ask->request.is_max && ask->request.period);
}

[[maybe_unused]] void fuzz_rt_max(const std::string &text)
{
	if (auto value = parse_rt_max(text); taken(value) && value->has_number()) {
		REQUIRE(value->runtime.count() >= 0 && value->period.count() > 0 && value->deadline.count() > 0);
		auto again = parse_rt_max(file_text({false, value->runtime, value->period, value->deadline}));
		REQUIRE(again && *again == *value);
	}
	if (auto request = parse_file_text(text); taken(request)) {
		auto again = parse_file_text(file_text(*request));
		REQUIRE(again && apply_request({}, *again) == apply_request({}, *request));
	}
}

[[maybe_unused]] void fuzz_plan(const std::string &text)
{
	auto plan = parse_plan(text, "f");
	if (!taken(plan)) {
		REQUIRE(plan.error().object.starts_with("f"));
		return;
	}
	auto written = plan_text(*plan);
	REQUIRE(written.has_value());
	auto again = parse_plan(*written, "f");
	REQUIRE(again.has_value() && *plan_text(*again) == *written);
}

[[maybe_unused]] void fuzz_policy(const std::string &text)
{
	if (auto classes = parse_classes(text, "f"); taken(classes))
		for (const auto &[name, one] : classes->by_name)
			REQUIRE(name == one.name && one.max_runtime.count() >= 0 && one.shortest <= one.longest);
}

[[maybe_unused]] void fuzz_profile(const std::string &text)
{
	taken(parse_profile(text, "f"));
}

[[maybe_unused]] void fuzz_oci(const std::string &text)
{
	auto container = read_oci_config(text, "f");
	if (!taken(container))
		return;
	OciGrant grant;
	grant.request = {false, microseconds(5000), microseconds(20000), std::nullopt};
	grant.cpus = CpuSet{0, 1};
	grant.rtprio = 49;
	grant.hook = {"/bin/true", "hook"};
	if (auto granted = grant_oci_config(text, "f", grant); taken(granted))
		REQUIRE(granted->find("cpu.rt.max") != granted->npos);
	if (auto cgroup = oci_cgroup(container->cgroups_path); taken(cgroup))
		REQUIRE(cgroup->starts_with("/"));
}

// What is put in comes out again, and is put in once.
void comes_and_goes(const std::string &text, Result<ConfigText> (*edit)(const ConfigText &, const std::string &,
									 const Runtimes &))
{
	auto without = edit(text, "f", {});
	auto with = edit(text, "f", {{"dlgroup-a", "/usr/sbin/dlgroup-a"}});
	if (!taken(without) || !taken(with))
		return;
	REQUIRE((*with)->find("/usr/sbin/dlgroup-a") != std::string::npos);
	auto again = edit(*with, "f", {{"dlgroup-a", "/usr/sbin/dlgroup-a"}});
	REQUIRE(again.has_value() && *again == *with);
	auto back = edit(*with, "f", {});
	REQUIRE(back.has_value() && *back == *without);
}

[[maybe_unused]] void fuzz_docker(const std::string &text)
{
	comes_and_goes(text, docker_config);
}

[[maybe_unused]] void fuzz_containerd(const std::string &text)
{
	comes_and_goes(text, containerd_config);
}

} // namespace
} // namespace dlgroup

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	dlgroup::PARSER(std::string(reinterpret_cast<const char *>(data), size));
	return 0;
}
