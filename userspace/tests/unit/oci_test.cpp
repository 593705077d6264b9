// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck.h>
#include <sched.h>

#include <dlgroup/oci.h>

namespace dlgroup {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char *kPlain = R"({
	"zebra": {"kept": [1, 2.5, null, true]},
	"ociVersion": "1.0.2",
	"process": {"args": ["sleep"], "env": ["dlgroup.reservation=5ms/20ms", "A=\u00e4"],
		    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 18446744073709551615, "soft": 1024}],
		    "apparmorProfile": "x"},
	"linux": {"resources": {"memory": {"limit": -1}, "unknown": {}}, "cgroupsPath": "/c",
		  "alpha": 1}
})";

std::string why(const std::string &text)
{
	auto container = read_oci_config(text, "f");
	return container ? "" : container.error().object + ": " + container.error().reason;
}

std::string why_not(const std::string &ask)
{
	auto parsed = parse_ask(ask, "a");
	return parsed ? "" : parsed.error().reason;
}

// The plain config with one value put at a path.
std::string with(const std::string &path, const Json &value)
{
	auto json = Json::parse(kPlain);
	json[Json::json_pointer(path)] = value;
	return json.dump();
}

OciGrant grant()
{
	OciGrant one;
	one.request = *parse_request("5ms/20ms");
	one.rtprio = 49;
	return one;
}

TEST(Ask, HasAReservationCpusAndAPolicy)
{
	auto ask = parse_ask("5ms/20ms@2-3 fifo:10", "a");
	ASSERT_TRUE(ask) << ask.error().reason;
	EXPECT_EQ(file_text(ask->request), "5000 20000");
	EXPECT_EQ(ask->cpus, (CpuSet{2, 3}));
	EXPECT_EQ(ask->policy, (Policy{SCHED_FIFO, 10}));
	ask = parse_ask(" 1.5ms/5ms\n", "a");
	ASSERT_TRUE(ask);
	EXPECT_FALSE(ask->cpus || ask->policy);
	ask = parse_ask("5ms/20ms rr:99", "a");
	ASSERT_TRUE(ask);
	EXPECT_EQ(ask->policy, (Policy{SCHED_RR, 99}));
	EXPECT_FALSE(parse_ask("5ms/20ms keep", "a")->policy);
	for (const auto *word : {"fifo:1", "rr:99", "keep"})
		EXPECT_EQ(policy_word(*parse_policy_word(word)), word);
}

TEST(Ask, BadOnesAreRefusedInOneLine)
{
	EXPECT_EQ(why_not(""), "'': not a request: RES[@CPUS] [fifo:N | rr:N | keep] such as "
			       "'5ms/20ms@2-3 fifo:10'");
	EXPECT_EQ(why_not("5ms/20ms fifo:10 x").substr(0, 38), "'5ms/20ms fifo:10 x': not a request: R");
	EXPECT_EQ(why_not("max"), "'max': asks for nothing");
	EXPECT_EQ(why_not("0/20ms"), "'0/20ms': asks for nothing");
	EXPECT_EQ(why_not("5/20ms"), "'5': has no unit (ns, us, ms or s)");
	EXPECT_EQ(why_not("5ms/20ms@"), "no CPUs after @");
	EXPECT_EQ(why_not("5ms/20ms@3-2"), "'3-2': not a list of CPUs such as 0-3,5");
	for (const auto *word : {"fifo", "fifo:", "fifo:0", "fifo:100", "fifo:1x", "rr:-1", "other",
				 "fifo:99999999999999999999"})
		EXPECT_NE(why_not(std::string("5ms/20ms ") + word).find("not a policy: "), std::string::npos);
	EXPECT_EQ(why_not("5ms/20ms \x1b[1m").find('\x1b'), std::string::npos);
}

TEST(Ask, AnyTextIsTakenOrRefused)
{
	rc::check([](const std::string &text) {
		auto ask = parse_ask(text, "a");
		RC_ASSERT(!ask || (ask->request.runtime.count() > 0 && ask->request.period));
	});
}

TEST(Config, ThatDoesNotAskAsksForNothing)
{
	auto container = read_oci_config(kPlain, "f");
	ASSERT_TRUE(container) << container.error().reason;
	EXPECT_FALSE(container->ask);
	EXPECT_FALSE(container->cpus);
	EXPECT_EQ(container->cgroups_path, "/c");
	EXPECT_FALSE(container->sys_nice);
	for (const auto *value : {"max", "max 100000", "0", "0 100000"})
		EXPECT_FALSE(read_oci_config(with("/linux/resources/unified", {{"cpu.rt.max", value}}), "f")
				     ->ask) << value;
	EXPECT_FALSE(read_oci_config(with("/linux/resources/cpu", {{"realtimeRuntime", 0}, {"realtimePeriod", 5}}),
				     "f")->ask);
	EXPECT_FALSE(read_oci_config("{}", "f")->ask);
	EXPECT_FALSE(read_oci_config(R"({"linux": null, "annotations": null, "process": null})", "f")->ask);
}

TEST(Config, AsksInThreeWays)
{
	auto container = read_oci_config(with("/annotations", {{"dlgroup.reservation", "5ms/20ms@1 fifo:10"}}), "f");
	ASSERT_TRUE(container && container->ask);
	EXPECT_TRUE(container->ask->from_annotation);
	EXPECT_EQ(file_text(container->ask->request), "5000 20000");

	container = read_oci_config(with("/linux/resources/unified", {{"cpu.rt.max", "5000 20000"}}), "f");
	ASSERT_TRUE(container && container->ask);
	EXPECT_FALSE(container->ask->from_annotation);
	EXPECT_EQ(file_text(container->ask->request), "5000 20000");

	container = read_oci_config(with("/linux/resources/cpu", {{"realtimeRuntime", 950000}, {"cpus", "0-1"}}), "f");
	ASSERT_TRUE(container && container->ask);
	EXPECT_EQ(file_text(container->ask->request), "950000 1000000");
	EXPECT_EQ(container->cpus, (CpuSet{0, 1}));
}

TEST(Config, MustNotAskTwice)
{
	auto json = Json::parse(with("/annotations", {{"dlgroup.reservation", "5ms/20ms"}}));
	json["linux"]["resources"]["unified"]["cpu.rt.max"] = "5000 20000";
	EXPECT_EQ(why(json.dump()), "f: asks for a reservation twice: by the annotation dlgroup.reservation and by "
				    "unified cpu.rt.max");
}

TEST(Config, BadOnesAreRefused)
{
	std::string plain = kPlain;
	EXPECT_EQ(why("").substr(0, 12), "f: not JSON:");
	for (std::size_t cut = 1; cut < plain.size(); cut += 7)
		EXPECT_NE(why(plain.substr(0, cut)), "");
	EXPECT_EQ(why("[]"), "f: not a JSON object");
	EXPECT_EQ(why("{\"a\": \"\xff\"}").substr(0, 12), "f: not JSON:");
	EXPECT_EQ(why(R"({"a": )" + std::string(1000000, '[') + std::string(1000000, ']') + "}"),
		  "f: nested deeper than 100");
	EXPECT_EQ(why(std::string(kLargestConfig + 1, ' ')), "f: larger than 16777216 bytes");
	EXPECT_EQ(why(with("/linux", 5)), "f: linux.resources.unified: is inside something that is not an object");
	EXPECT_EQ(why(with("/annotations", {{"dlgroup.reservation", 5}})),
		  "f: annotations.dlgroup.reservation: is not a text");
	EXPECT_EQ(why(with("/annotations", {{"dlgroup.reservation", "5ms"}})),
		  "the annotation dlgroup.reservation: '5ms': not a reservation: runtime/period such as 5ms/20ms, "
		  "max or 0");
	EXPECT_EQ(why(with("/linux/resources/unified", {{"cpu.rt.unpriv", "1"}})),
		  "f: linux.resources.unified: cpu.rt.unpriv: only cpu.rt.max can be asked for");
	EXPECT_EQ(why(with("/linux/resources/unified", {{"cpu.rt.max", "20000 5000"}})),
		  "f: linux.resources.unified: '20000 5000': the runtime 20ms is longer than the period 5ms");
	for (const Json &value : {Json(-1), Json("5"), Json(1.5), Json(18446744073709551615U)})
		EXPECT_EQ(why(with("/linux/resources/cpu", {{"realtimeRuntime", value}})),
			  "f: linux.resources.cpu.realtimeRuntime: is not a number of microseconds");
	EXPECT_EQ(why(with("/linux/resources/cpu", {{"cpus", "x"}})),
		  "f: linux.resources.cpu.cpus: 'x': not a list of CPUs such as 0-3,5");
}

TEST(Config, TellsACapabilityThatLeadsOut)
{
	auto caps = with("/process/capabilities", {{"bounding", {"CAP_KILL", "CAP_SYS_NICE"}}});
	EXPECT_TRUE(read_oci_config(caps, "f")->sys_nice);
	auto json = Json::parse(caps);
	json["linux"]["namespaces"] = {{{"type", "pid"}}, {{"type", "user"}}};
	EXPECT_FALSE(read_oci_config(json.dump(), "f")->sys_nice);
	// That of a path may be the host's.
	json["linux"]["namespaces"][1]["path"] = "/proc/1/ns/user";
	EXPECT_TRUE(read_oci_config(json.dump(), "f")->sys_nice);
}

TEST(Grant, AddsWhatIsGrantedAndNothingElse)
{
	auto one = grant();
	one.cpus = CpuSet{2, 3};
	one.hook = {"/usr/sbin/dlgroup-runtime", "dlgroup-hook", "/c"};
	auto text = grant_oci_config(kPlain, "f", one);
	ASSERT_TRUE(text) << text.error().reason;
	auto expected = Json::parse(kPlain);
	expected["linux"]["resources"]["unified"]["cpu.rt.max"] = "5000 20000";
	expected["linux"]["resources"]["cpu"]["cpus"] = "2-3";
	expected["process"]["rlimits"].push_back({{"type", "RLIMIT_RTPRIO"}, {"hard", 49}, {"soft", 49}});
	expected["hooks"]["createRuntime"] = {
		{{"path", "/usr/sbin/dlgroup-runtime"}, {"args", {"dlgroup-hook", "/c"}}}};
	// The order of the keys counts, too; so do numbers above 2^63.
	EXPECT_EQ(*text, expected.dump());
}

TEST(Grant, TakesRealtimeOut)
{
	auto text = grant_oci_config(with("/linux/resources/cpu", {{"shares", 5}, {"realtimeRuntime", 1000},
								   {"realtimePeriod", 5000}}), "f", grant());
	ASSERT_TRUE(text);
	auto resources = Json::parse(*text)["linux"]["resources"];
	EXPECT_EQ(resources["cpu"], (Json{{"shares", 5}}));
	EXPECT_EQ(resources["unified"], (Json{{"cpu.rt.max", "5000 20000"}}));
}

TEST(Grant, LeavesAGivenLimitAndOtherHooks)
{
	auto json = Json::parse(with("/hooks", {{"createRuntime", {{{"path", "/first"}}}}}));
	json["process"]["rlimits"].push_back({{"type", "RLIMIT_RTPRIO"}, {"hard", 5}, {"soft", 5}});
	auto one = grant();
	one.hook = {"/h", "x"};
	auto text = grant_oci_config(json.dump(), "f", one);
	ASSERT_TRUE(text);
	auto got = Json::parse(*text);
	EXPECT_EQ(got["process"], json["process"]);
	ASSERT_EQ(got["hooks"]["createRuntime"].size(), 2U);
	EXPECT_EQ(got["hooks"]["createRuntime"][0]["path"], "/first");
}

TEST(Grant, NeedsThePlacesItWritesTo)
{
	for (const auto *path : {"/linux/resources", "/linux/resources/unified", "/linux/resources/cpu", "/hooks",
				 "/process", "/process/rlimits"})
		EXPECT_FALSE(grant_oci_config(with(path, "text"), "f", grant())) << path;
	EXPECT_FALSE(grant_oci_config("{}", "f", grant()));
	EXPECT_TRUE(grant_oci_config(R"({"process": {"rlimits": null}, "linux": null, "hooks": null})", "f", grant()));
}

TEST(Grant, IsNotForOtherCpusThanJudged)
{
	auto text = grant_oci_config(with("/linux/resources/unified", {{"cpuset.cpus", "0-7"}}), "f", grant());
	ASSERT_FALSE(text);
	EXPECT_EQ(text.error().reason, "linux.resources.unified: cpuset.cpus: beside a reservation CPUs are said in "
				       "linux.resources.cpu.cpus");
}

TEST(Cgroup, OfACgroupsPath)
{
	auto path = [](const std::string &text) {
		auto group = oci_cgroup(text);
		return group ? *group : "!" + group.error().reason.substr(0, 11);
	};
	EXPECT_EQ(path("/a/b"), "/a/b");
	EXPECT_EQ(path("system.slice:docker:0ab"), "/system.slice/docker-0ab.scope");
	EXPECT_EQ(path("a-b-c.slice:p:n"), "/a.slice/a-b.slice/a-b-c.slice/p-n.scope");
	EXPECT_EQ(path(":p:n"), "/system.slice/p-n.scope");
	EXPECT_EQ(path("-.slice:p:n"), "/p-n.scope");
	for (const auto *text : {"", "relative", "a:b", "a.service:p:n", "../x.slice:p:n", "a.slice:p/q:n", "a.slice:p:"})
		EXPECT_EQ(path(text)[0], '!') << text;
	for (const auto *text : {"a--b.slice:p:n", "-a.slice:p:n", "a-.slice:p:n", "/", "/a/../b", "/a\nb"})
		EXPECT_EQ(path(text)[0], '!') << text;
}

} // namespace
} // namespace dlgroup
