// SPDX-License-Identifier: GPL-2.0-only
// The configuration of engines with our runtimes, and the same without: to the byte.
#include <gtest/gtest.h>
#include <unistd.h>

#include <dlgroup/engine.h>

#include "made_tree.h"

namespace dlgroup::test {
namespace {

const Runtimes kOne{{"dlgroup-control", "/usr/sbin/dlgroup-control"}};
const Runtimes kTwo{{"dlgroup-control", "/usr/sbin/dlgroup-control"}, {"dlgroup-log", "/usr/sbin/dlgroup-log"}};

using Edit = Result<ConfigText> (*)(const ConfigText &, const std::string &, const Runtimes &);

std::string text_of(const Result<ConfigText> &text)
{
	if (!text)
		return "refused: " + text.error().object + ": " + text.error().reason;
	return text->value_or("no file");
}

// Put in twice and changed in between is put in once; taken out nothing is left.
void comes_and_goes(Edit edit, const ConfigText &text)
{
	auto shown = text.value_or("no file");
	auto one = edit(text, "f", kOne);
	ASSERT_TRUE(one) << shown << text_of(one);
	EXPECT_NE(text_of(one).find("/usr/sbin/dlgroup-control"), std::string::npos) << shown;
	EXPECT_EQ(text_of(edit(*one, "f", kOne)), text_of(one)) << shown;
	auto two = edit(*one, "f", kTwo);
	ASSERT_TRUE(two) << shown << text_of(two);
	EXPECT_NE(text_of(two).find("/usr/sbin/dlgroup-log"), std::string::npos) << shown;
	EXPECT_EQ(text_of(edit(*two, "f", kTwo)), text_of(two)) << shown;
	EXPECT_EQ(text_of(edit(*two, "f", {})), shown);
	EXPECT_EQ(text_of(edit(*two, "f", kOne)).find("dlgroup-log"), std::string::npos) << shown;
	EXPECT_EQ(text_of(edit(text, "f", {})), shown);
}

TEST(Docker, ConfigComesAndGoes)
{
	for (const ConfigText &text : std::initializer_list<ConfigText>{
		     std::nullopt, "{}", "{ }\n", "{\n\t\"debug\": true,\n\t\"log-opts\": { \"max-size\": \"10m\" }\n}",
		     R"({"runtimes":{}})", R"({"a": [1, 2.50, {"runtimes": {}}], "runtimes": { } , "b": 1e3})",
		     R"({"runtimes": {"kata": {"path": "/usr/bin/kata", "runtimeArgs": ["--x"]}}, "b": "\u00e4\"}"})",
		     R"({"z": 1, "runtimes": { "dlgroup": {"path": "/x/y"}, "dlgroup-z": {"path": "/x/y"} }})"})
		comes_and_goes(docker_config, text);
}

TEST(Docker, ConfigIsReadable)
{
	EXPECT_EQ(text_of(docker_config(std::nullopt, "f", kTwo)), R"({
    "runtimes": {
        "dlgroup-control": { "path": "/usr/sbin/dlgroup-control" },
        "dlgroup-log": { "path": "/usr/sbin/dlgroup-log" }
    }
}
)");
	EXPECT_EQ(text_of(docker_config("{\n    \"debug\": true\n}\n", "f", kOne)), R"({
    "runtimes": {
        "dlgroup-control": { "path": "/usr/sbin/dlgroup-control" }
    },
    "debug": true
}
)");
	// Those of classes that are gone go wherever they stand, and a path that was another.
	EXPECT_EQ(text_of(docker_config(R"({"runtimes": {"k": {}, "dlgroup-old": {"path": "/usr/sbin/dlgroup-old"}, "l": {},
"dlgroup-control": {"path": "/opt/dlgroup-control"}}})", "f", kOne)), R"({"runtimes": {
        "dlgroup-control": { "path": "/usr/sbin/dlgroup-control" },"k": {}, "l": {}}})");
}

TEST(Docker, ConfigIsRefusedWithItsPlace)
{
	for (auto [text, why] : {
		     std::pair("", "f:1:1: not JSON"), std::pair("{\n \"a\": tru }", "f:2:10: not JSON"),
		     std::pair("[]", "f:1:1: expected an object"),
		     std::pair("{\"runtimes\":\n []}", "f:2:2: expected an object with a runtime"),
		     std::pair("{\"a\": 1,\n \"a\": 2}", "f:2:2: the same key for the second time"),
		     std::pair(R"({"runtimes": {"dlgroup-control": {"path": "/usr/sbin/dlgroup-control", "runtimeArgs": []}}})",
			       "f:1:15: \"dlgroup-control\" is there already; expected {\"path\""),
		     std::pair(R"({"runtimes": {"dlgroup-control": 5}})", "f:1:15: \"dlgroup-control\" is there already")}) {
		auto refused = docker_config(text, "f", kOne);
		EXPECT_TRUE(text_of(refused).starts_with(std::string("refused: ") + why)) << text << text_of(refused);
	}
	// What is somebody else's is no reason to refuse to go.
	EXPECT_TRUE(docker_config(R"({"runtimes": {"dlgroup-control": 5}})", "f", {}));
}

TEST(Containerd, ConfigComesAndGoes)
{
	for (const ConfigText &text : std::initializer_list<ConfigText>{
		     std::nullopt, "version = 2", "# mine\nversion = 2\n\n[plugins]\n\n",
		     "version = 3\nroot = \"/x\" # why\n",
		     "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.kata]\n  runtime_type = \"k\""})
		comes_and_goes(containerd_config, text);
}

TEST(Containerd, ConfigIsReadable)
{
	EXPECT_EQ(text_of(containerd_config(R"(version = 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = true # as kubelet
)", "f", kOne)), R"(version = 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = true # as kubelet

# dlgroup container setup containerd: begin. Unset removes it.
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.dlgroup-control]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.dlgroup-control.options]
  BinaryName = "/usr/sbin/dlgroup-control"
  SystemdCgroup = true
# dlgroup container setup containerd: end
)");
	// containerd's own stays, though its file did not name it.
	EXPECT_TRUE(text_of(containerd_config("version = 3\n", "f", kOne)).starts_with(R"(version = 3

# dlgroup container setup containerd: begin. Unset removes it.
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.dlgroup-control]
)"));
}

TEST(Containerd, ConfigIsRefused)
{
	for (auto [text, why] : {
		     std::pair("version = ", "f: line 1: "), std::pair("", "f: version is 1; expected version = 2 or 3"),
		     std::pair("version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.dlgroup-control]\n",
			       "f: cannot be added to: line "),
		     std::pair("version = 2\nplugins = {}\n", "f: cannot be added to: line "),
		     std::pair("version = 2\n\n# dlgroup container setup containerd: begin. Unset removes it.\n[a]\n",
			       "f:3:1: has no end; expected '# dlgroup container setup containerd: end' below")}) {
		auto refused = containerd_config(text, "f", kOne);
		EXPECT_TRUE(text_of(refused).starts_with(std::string("refused: ") + why)) << text << text_of(refused);
	}
}

class EngineTest : public ::testing::Test {
protected:
	EngineTest()
	{
		made_.write("usr/sbin/dlgroup-runtime", "");
		classes_ = *parse_classes(R"(
[class.control]
max_runtime = "5ms"
periods = ["5ms", "100ms"]
count = 1
total_percent = 100
cpus = "0-1"
reservation = "5ms/20ms fifo:10"
[class.log]
max_runtime = "5ms"
periods = ["5ms", "100ms"]
count = 1
total_percent = 100
)", "p");
	}
	std::string change(const Result<EngineChange> &change)
	{
		if (!change)
			return change.error().object + ": " + change.error().reason;
		std::string told;
		for (const auto &file : change->files)
			told += file.path.lexically_relative(made_.base()).string() + " ";
		if (auto done = carry_out(*change); !done)
			return told + done.error().object + ": " + done.error().reason;
		return told + change->then;
	}
	std::string setup(const std::string &engine) { return change(engine_setup(made_.base(), engine, classes_)); }
	std::string unset(const std::string &engine) { return change(engine_unset(made_.base(), engine)); }

	MadeTree made_;
	Classes classes_;
};

TEST_F(EngineTest, DockerGetsARuntimeForEachClass)
{
	const char *mine = "{\"debug\":true}";
	made_.write("etc/docker/daemon.json", mine);
	EXPECT_EQ(setup("docker"), "etc/docker/daemon.json systemctl reload docker");
	EXPECT_NE(made_.read("etc/docker/daemon.json").find("\"dlgroup-log\": { \"path\": \"/usr/sbin/dlgroup-log\" }"),
		  std::string::npos);
	for (const char *link : {"dlgroup-control", "dlgroup-log"})
		EXPECT_EQ(std::filesystem::read_symlink(made_.path("usr/sbin") / link), "dlgroup-runtime");
	EXPECT_EQ(setup("docker"), "");
	EXPECT_EQ(unset("docker"), "etc/docker/daemon.json systemctl restart docker");
	EXPECT_EQ(made_.read("etc/docker/daemon.json"), mine);
	EXPECT_EQ(unset("docker"), "");
	EXPECT_TRUE(std::filesystem::is_symlink(made_.path("usr/sbin/dlgroup-log")));
}

TEST_F(EngineTest, AFileBehindALinkStaysThere)
{
	made_.write("kept/daemon.json", "{}");
	std::filesystem::create_directories(made_.path("etc/docker"));
	std::filesystem::create_symlink("../../kept/daemon.json", made_.path("etc/docker/daemon.json"));
	EXPECT_EQ(setup("docker"), "kept/daemon.json systemctl reload docker");
	EXPECT_TRUE(std::filesystem::is_symlink(made_.path("etc/docker/daemon.json")));
	EXPECT_EQ(unset("docker"), "kept/daemon.json systemctl restart docker");
	EXPECT_EQ(made_.read("kept/daemon.json"), "{}");
}

TEST_F(EngineTest, PodmanHasAFileOfOurs)
{
	const char *path = "etc/containers/containers.conf.d/dlgroup.conf";
	EXPECT_EQ(setup("podman"), std::string(path) + " ");
	EXPECT_EQ(made_.read(path), R"(# Written by dlgroup container setup, removed by unset.
[engine.runtimes]
dlgroup-control = ["/usr/sbin/dlgroup-control"]
dlgroup-log = ["/usr/sbin/dlgroup-log"]
)");
	EXPECT_EQ(std::filesystem::status(made_.path(path)).permissions(), static_cast<std::filesystem::perms>(0644));
	EXPECT_EQ(setup("podman"), "");
	EXPECT_EQ(unset("podman"), std::string(path) + " ");
	EXPECT_FALSE(std::filesystem::exists(made_.path(path)));
	made_.write(path, "[engine.runtimes]\n");
	for (const auto &answer : {setup("podman"), unset("podman")})
		EXPECT_NE(answer.find("is there, and not by dlgroup container setup"), std::string::npos) << answer;
	EXPECT_EQ(made_.read(path), "[engine.runtimes]\n");
}

TEST_F(EngineTest, LxcHasAFileForEachReservation)
{
	made_.write("usr/bin/systemd-cat", "");
	EXPECT_EQ(setup("lxc"), "etc/lxc/dlgroup-control.conf ");
	EXPECT_EQ(made_.read("etc/lxc/dlgroup-control.conf"), R"(# Written by dlgroup container setup, removed by unset.
lxc.hook.version = 1
lxc.hook.start-host = systemd-cat -t dlgroup dlgroup set pid:$LXC_PID 5ms/20ms --cpus 0-1 --fifo 10
lxc.prlimit.rtprio = 49
)");
	EXPECT_FALSE(std::filesystem::exists(made_.path("usr/sbin/dlgroup-control")));
	EXPECT_EQ(setup("lxc"), "");
	made_.write("etc/lxc/dlgroup-mine.conf", "lxc.tty.max = 1\n");
	EXPECT_EQ(unset("lxc"), "etc/lxc/dlgroup-control.conf ");
	EXPECT_EQ(unset("lxc"), "");
	EXPECT_TRUE(std::filesystem::exists(made_.path("etc/lxc/dlgroup-mine.conf")));
}

TEST_F(EngineTest, LxcStartsWithoutTheKernelIfThePolicyPrefersIt)
{
	classes_.prefers_kernel = true;
	EXPECT_EQ(setup("lxc"), "etc/lxc/dlgroup-control.conf ");
	auto text = made_.read("etc/lxc/dlgroup-control.conf");
	std::string key = "lxc.hook.start-host = ";
	auto at = text.find(key) + key.size();
	auto hook = text.substr(at, text.find('\n', at) - at);
	// As LXC calls it, with a command that ends so.
	auto ends = [&](int status) {
		made_.write("bin/dlgroup", fmt::format("#!/bin/sh\necho \"$@\" >{}\nexit {}\n",
						       made_.path("called").string(), status));
		std::filesystem::permissions(made_.path("bin/dlgroup"), std::filesystem::perms(0755));
		auto line = fmt::format("PATH={}:$PATH; export LXC_PID=7; exec {}", made_.path("bin").string(), hook);
		return WEXITSTATUS(std::system(line.c_str()));
	};
	EXPECT_EQ(ends(0), 0) << hook;
	EXPECT_EQ(made_.read("called"), "set pid:7 5ms/20ms --cpus 0-1 --fifo 10\n");
	EXPECT_EQ(ends(static_cast<int>(Status::unsupported)), 0) << hook;
	EXPECT_NE(ends(static_cast<int>(Status::refused)), 0) << hook;
}

TEST_F(EngineTest, WhatCannotBeWrittenIsPutBack)
{
	auto change = engine_setup(made_.base(), "docker", classes_);
	ASSERT_TRUE(change);
	change->files.push_back({made_.path("etc/docker/daemon.json/x"), std::nullopt, "y"});
	EXPECT_FALSE(carry_out(*change));
	EXPECT_FALSE(std::filesystem::exists(made_.path("etc/docker/daemon.json")));
	EXPECT_FALSE(std::filesystem::exists(std::filesystem::symlink_status(made_.path("usr/sbin/dlgroup-log"))));
}

TEST_F(EngineTest, RefusesBeforeAnythingIsDone)
{
	classes_.by_name["a b"] = classes_.by_name["log"];
	EXPECT_EQ(setup("docker"), "class a b: cannot name a runtime: letters, digits, - and _ can");
	classes_.by_name.clear();
	EXPECT_EQ(setup("docker"), "/etc/dlgroup/policy.toml: has no class: nothing would be granted");
	std::filesystem::remove(made_.path("usr/sbin/dlgroup-runtime"));
	classes_.by_name["log"] = {};
	EXPECT_NE(setup("docker").find("dlgroup-runtime: is neither"), std::string::npos);
	EXPECT_FALSE(std::filesystem::exists(made_.path("etc/docker")));
}

TEST(UnifiedDiff, TellsWhatChanges)
{
	EXPECT_EQ(unified_diff({"/f", "a\nb\nc\nd\ne\nf\n", "a\nb\nc\nd\nX\nY\nf\n"}),
		  "--- /f\n+++ /f\n@@ -2,5 +2,6 @@\n b\n c\n d\n-e\n+X\n+Y\n f\n");
	EXPECT_EQ(unified_diff({"/f", std::nullopt, "a\n"}), "--- /dev/null\n+++ /f\n@@ -0,0 +1,1 @@\n+a\n");
	EXPECT_EQ(unified_diff({"/f", "a\n", std::nullopt}), "--- /f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n");
}

} // namespace
} // namespace dlgroup::test
