// SPDX-License-Identifier: GPL-2.0-only
#include "runtime.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <sstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <dlgroup/admission.h>
#include <dlgroup/cgroup.h>
#include <dlgroup/facts.h>
#include <dlgroup/fs.h>

namespace dlgroup::runtime {

namespace {

constexpr const char *kName = "dlgroup-runtime";
constexpr std::string_view kPrefix = "dlgroup-";
constexpr const char *kHook = "dlgroup-hook";
// The class of who calls the program by its own name.
constexpr const char *kUnnamed = "runtime";
// Where Debian has them, the first that is there.
constexpr std::array kRuntimes{"/usr/sbin/runc", "/usr/bin/runc", "/usr/bin/crun"};

// Options of runc and crun that have a value.
constexpr std::array kGlobal{"log", "log-format", "root", "criu", "rootless", "cgroup-manager"};
constexpr std::array kCreate{"b", "bundle", "f", "config", "console-socket", "pid-file", "preserve-fds"};

struct Option {
	std::string name;
	std::string value;
};

// Options from a place on, to the first word that is none; its place is the result.
template <class Names>
std::size_t read_options(const std::vector<std::string> &words, std::size_t at, const Names &with_value,
			 std::vector<Option> &options)
{
	for (; at < words.size() && words[at].starts_with("-") && words[at] != "-" && words[at] != "--"; at++) {
		bool two_dashes = words[at].starts_with("--");
		auto word = words[at].substr(two_dashes ? 2 : 1);
		auto equals = word.find('=');
		Option option{word.substr(0, equals), equals == word.npos ? "" : word.substr(equals + 1)};
		// -bVALUE; but runc takes -bundle for --bundle.
		auto known = [&](const std::string &name) {
			return std::find(with_value.begin(), with_value.end(), name) != with_value.end();
		};
		if (equals == word.npos && known(option.name) && at + 1 < words.size())
			option.value = words[++at];
		else if (!two_dashes && !known(option.name) && word.size() > 1 && known(word.substr(0, 1)))
			option = {word.substr(0, 1), word.substr(1)};
		options.push_back(option);
	}
	return at;
}

// A refusal that is certain is told before anything is made.
Result<void> ask_before(const Roots &roots, const Tree &tree, const std::string &cgroup, const Ask &ask)
{
	// Who may not read it hears of it from the kernel.
	auto headroom = read_headroom(roots).value_or(std::vector<Headroom>{});
	if (auto refusal = foresee(tree, cgroup, apply_request({}, ask.request), ask.cpus, headroom))
		return fail(Status::refused, cgroup, to_text(*refusal));
	return {};
}

std::string asked(const Ask &ask)
{
	return format_rt_max(apply_request({}, ask.request));
}

// The kernel cannot do it. What the bundle asks for in files that are not there would
// keep it from starting.
Result<void> start_without(const Setup &setup, const Classes &classes, const Class &of, const Ask &ask,
			   const Dir &bundle, const std::string &config, const std::string &path,
			   Decision &decision)
{
	const char *lacks = "the kernel has no cpu.rt.max (CONFIG_DL_GROUP_SCHED)";
	if (!classes.prefers_kernel)
		return refuse(of, ask, fmt::format("{}, and {} does not say kernel = \"prefer\"", lacks,
						   setup.policy.string()));
	auto text = plain_oci_config(config, path);
	if (!text)
		return tl::unexpected(text.error());
	auto done = bundle.replace("config.json", *text);
	if (done) {
		decision.outcome = "without";
		decision.sentence = fmt::format("class {}: started without {} by {}: {}", of.name, asked(ask),
						ask.source, lacks);
	}
	return done;
}

// The bundle gets what its container may have; untouched if that is nothing.
Result<void> prepare(const Setup &setup, const Classes &classes, const std::string &name, const Call &call,
		     Decision &decision)
{
	if (call.other_config)
		return bad_input("--config", "only the config.json of a bundle is looked at");
	auto bundle = Dir::open_strictly(call.bundle);
	if (!bundle)
		return tl::unexpected(bundle.error());
	auto file = bundle->read_regular("config.json", kLargestConfig);
	if (!file)
		return tl::unexpected(file.error());
	auto path = (bundle->path() / "config.json").string();
	auto container = read_oci_config(file->text, path);
	if (!container)
		return tl::unexpected(container.error());

	const auto *of = classes.find(name);
	if (!of && name != kUnnamed)
		return bad_input("class " + name, "not in " + setup.policy.string());
	auto wanted = wanted_by(*container, of);
	if (!wanted) {
		decision.outcome.clear();
		return {};
	}
	decision.asked = asked(*wanted);
	decision.by = wanted->source;
	if (!of)
		return fail(Status::refused, path,
			    fmt::format("asks for a reservation by {}; {} has no class '{}', and without one nothing "
					"is granted", container->ask->source, setup.policy.string(), kUnnamed));
	auto judged = judge(*of, *container);
	if (!judged)
		return tl::unexpected(judged.error());
	const auto &ask = **judged;

	auto roots = setup.roots;
	if (roots.cgroup.empty()) {
		auto mount = find_cgroup_mount(roots);
		if (!mount)
			return tl::unexpected(mount.error());
		roots.cgroup = *mount;
	}
	auto tree = read_tree(roots);
	if (!tree)
		return tl::unexpected(tree.error());
	if (has_support(roots, *tree) == Known::no)
		return start_without(setup, classes, *of, ask, *bundle, file->text, path, decision);
	auto cgroup = oci_cgroup(container->cgroups_path);
	if (!cgroup)
		return tl::unexpected(cgroup.error());
	decision.cgroup = *cgroup;
	std::error_code failed;
	auto self = std::filesystem::canonical(setup.self, failed);
	if (failed)
		return system_error(setup.self.string(), failed.value());
	OciGrant grant{ask.request, ask.cpus, of->max_priority,
		       {self, kHook, *cgroup, file_text(ask.request), policy_word(ask.policy)}};
	if (!call.log.empty())
		grant.hook.insert(grant.hook.end(), {call.log, call.log_format});
	auto text = grant_oci_config(file->text, path, grant);
	if (!text)
		return tl::unexpected(text.error());
	auto done = ask_before(roots, *tree, *cgroup, ask);
	if (done)
		done = enter(roots, setup.state, *of, *cgroup, ask, getpid());
	if (done)
		done = bundle->replace("config.json", *text);
	if (!done)
		return done;
	decision.given = fmt::format("{}{}{}", asked(ask), ask.cpus ? " on " + name_cpus(*ask.cpus) : "",
				     ask.policy ? ", " + name_policy(*ask.policy) : "");
	decision.outcome = "granted";
	decision.sentence = fmt::format("class {}: granted {} by {}", of->name, decision.given, ask.source);
	return {};
}

std::string text_of(const Error &error)
{
	return error.object + ": " + error.reason;
}

Result<std::string> real_runtime(const Setup &setup, const Classes &classes)
{
	auto path = classes.runtime;
	std::error_code ignored;
	for (const auto *known : kRuntimes)
		if (path.empty() && std::filesystem::exists(known, ignored))
			path = known;
	if (path.empty())
		return fail(Status::failed, setup.policy.string(), "names no runtime, and there is neither runc nor crun");
	if (std::filesystem::equivalent(path, setup.self, ignored))
		return bad_input(setup.policy.string(), "runtime: is dlgroup-runtime itself");
	return path;
}

} // namespace

Call parse_call(const std::vector<std::string> &arguments)
{
	Call call;
	std::vector<Option> options;
	auto at = read_options(arguments, 1, kGlobal, options);
	for (const auto &option : options)
		if (option.name == "log")
			call.log = option.value;
		else if (option.name == "log-format")
			call.log_format = option.value;
	if (at == arguments.size())
		return call;
	call.command = arguments[at];
	options.clear();
	at = read_options(arguments, at + 1, kCreate, options);
	if (at < arguments.size())
		call.id = arguments[at];
	for (const auto &option : options)
		if (option.name == "b" || option.name == "bundle")
			call.bundle = option.value;
		else if (option.name == "f" || option.name == "config")
			call.other_config = true;
	return call;
}

void report(const char *level, const std::string &text, const std::string &log, const std::string &format)
{
	std::fprintf(stderr, "%s: %s\n", kName, text.c_str());
	// crun also logs to file:PATH, and to what is no file.
	auto path = log.starts_with("file:") ? log.substr(5) : log;
	if (path.empty() || path.starts_with("journald:") || path.starts_with("syslog:"))
		return;
	char now[32];
	auto seconds = std::time(nullptr);
	std::tm utc{};
	std::strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
	nlohmann::ordered_json entry = {{"level", level}, {"msg", std::string(kName) + ": " + text}, {"time", now}};
	auto dump = [](const nlohmann::ordered_json &json) {
		return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
	};
	auto line = (format == "json" ? dump(entry)
				      : fmt::format("time=\"{}\" level={} msg={}", now, level, dump(entry["msg"]))) + "\n";
	int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
	if (fd >= 0) {
		// What cannot be logged has been said on stderr.
		[[maybe_unused]] auto put = write(fd, line.data(), line.size());
		close(fd);
	}
}

int main(const Setup &setup, const std::vector<std::string> &arguments)
{
	auto name = arguments.empty() ? "" : std::filesystem::path(arguments[0]).filename().string();
	if (name == kHook) {
		KernelTaskControl tasks;
		auto roots = setup.roots;
		Result<void> done;
		if (auto mount = roots.cgroup.empty() ? find_cgroup_mount(roots) : roots.cgroup)
			roots.cgroup = *mount;
		else
			done = tl::unexpected(mount.error());
		std::ostringstream state;
		state << std::cin.rdbuf();
		if (done)
			done = hook(roots, tasks, arguments, state.str());
		if (done)
			return 0;
		bool logs = arguments.size() > 5;
		Decision decision;
		decision.container = container_of_state(state.str());
		decision.cgroup = arguments.size() > 1 ? arguments[1] : "";
		decision.sentence = text_of(done.error());
		report("error", decision.sentence, logs ? arguments[4] : "", logs ? arguments[5] : "");
		record(setup.journal, decision);
		return 1;
	}

	auto call = parse_call(arguments);
	bool starts = call.command == "create" || call.command == "run";
	Decision decision;
	decision.container = call.id;
	decision.of = name.substr(std::min(name.size(), kPrefix.size()));
	auto give_up = [&](const Error &error) {
		decision.outcome = "refused";
		decision.given.clear(); // the real runtime could not be started
		decision.sentence = text_of(error);
		report("error", decision.sentence, call.log, call.log_format);
		if (starts)
			record(setup.journal, decision);
		return 1;
	};
	if (!name.starts_with(kPrefix))
		return give_up({Status::bad_input, name, "is called neither dlgroup-runtime nor dlgroup-CLASS", 0, nullptr});
	auto classes = read_classes(setup.policy, setup.owner);
	if (!classes)
		return give_up(classes.error());
	auto real = real_runtime(setup, *classes);
	if (!real)
		return give_up(real.error());
	if (starts) {
		if (auto done = prepare(setup, *classes, decision.of, call, decision); !done)
			return give_up(done.error());
		if (decision.outcome == "without")
			report("warning", decision.sentence, call.log, call.log_format);
		if (!decision.outcome.empty())
			record(setup.journal, decision);
	}
	std::vector<char *> argv{real->data()};
	for (std::size_t i = 1; i < arguments.size(); i++)
		argv.push_back(const_cast<char *>(arguments[i].c_str()));
	argv.push_back(nullptr);
	execv(argv[0], argv.data());
	return give_up(system_error(*real, errno).value());
}

} // namespace dlgroup::runtime
