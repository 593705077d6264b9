// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/net.h>

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <unistd.h>

#include <dlgroup/fs.h>

namespace dlgroup {

namespace {

// Names of threads were once cut to this, and may be again.
constexpr std::size_t kCutName = 15;

bool is_number(std::string_view text)
{
	return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

std::vector<std::string> names_in(const std::filesystem::path &path)
{
	std::vector<std::string> names;
	std::error_code error;
	for (std::filesystem::directory_iterator it(path, error), end; !error && it != end; it.increment(error))
		names.push_back(it->path().filename().string());
	std::sort(names.begin(), names.end());
	return names;
}

// "net:[4026531840]"
std::string namespace_of(const std::filesystem::path &process)
{
	std::error_code failed;
	auto link = std::filesystem::read_symlink(process / "ns/net", failed).string();
	auto open = link.find('['), close = link.find(']');
	return open == link.npos || close == link.npos ? "" : link.substr(open + 1, close - open - 1);
}

std::vector<std::string> interfaces_of(const std::filesystem::path &process)
{
	std::vector<std::string> names;
	for (const auto &line : lines(read_file(process / "net/dev").value_or(""))) {
		auto colon = line.find(':');
		auto first = line.find_first_not_of(' ');
		// The two lines of its heading have none.
		if (colon != line.npos && first < colon)
			names.push_back(line.substr(first, colon - first));
	}
	return names;
}

std::size_t count_of(const std::vector<std::string> &names, std::string_view prefix)
{
	return static_cast<std::size_t>(std::count_if(names.begin(), names.end(), [&](const std::string &name) {
		return name.starts_with(prefix);
	}));
}

std::vector<unsigned> irqs_of(std::filesystem::path device)
{
	std::vector<unsigned> irqs;
	auto add = [&](const std::string &text) {
		unsigned number = 0;
		auto end = text.data() + text.size();
		if (std::from_chars(text.data(), end, number).ptr == end && number)
			irqs.push_back(number);
	};
	std::error_code failed;
	device = std::filesystem::canonical(device, failed);
	if (failed)
		return irqs;
	// They are those of the device that a virtio one is on.
	if (device.filename().string().starts_with("virtio"))
		device = device.parent_path();
	for (const auto &name : names_in(device / "msi_irqs"))
		add(name);
	if (irqs.empty())
		add(trimmed(read_file(device / "irq").value_or("")));
	std::sort(irqs.begin(), irqs.end());
	return irqs;
}

Interface read_interface(const std::filesystem::path &path)
{
	Interface one;
	one.name = path.filename().string();
	auto number = trimmed(read_file(path / "ifindex").value_or(""));
	std::from_chars(number.data(), number.data() + number.size(), one.index);
	std::error_code failed;
	auto driver = std::filesystem::read_symlink(path / "device/driver", failed);
	if (!failed)
		one.driver = driver.filename().string();
	auto queues = names_in(path / "queues");
	one.rx_queues = count_of(queues, "rx-");
	one.tx_queues = count_of(queues, "tx-");
	one.irqs = irqs_of(path / "device");
	if (auto threaded = read_file(path / "threaded"))
		one.threaded = trimmed(*threaded) != "0";
	for (const auto &name : names_in(path))
		if (name.starts_with("upper_"))
			one.above.push_back(name.substr(6));
	return one;
}

enum class Match { no, certain, cut };

Match match(const std::string &interface, const std::string &thread)
{
	auto prefix = "napi/" + interface + "-";
	if (thread.starts_with(prefix) && is_number(std::string_view(thread).substr(prefix.size())))
		return Match::certain;
	return thread.size() == kCutName && prefix.starts_with(thread) ? Match::cut : Match::no;
}

// Whose the threads are is told by nothing but the name that it had when they were made.
void explain_ambiguity(Interface &one, const std::vector<Interface> &all,
		       const std::vector<NetNamespace> &namespaces)
{
	auto say = [&](std::string why) {
		if (one.ambiguous.empty())
			one.ambiguous = std::move(why);
	};
	for (std::size_t i = 1; i < namespaces.size(); i++)
		for (const auto &name : namespaces[i].interfaces)
			if (name == one.name)
				say(fmt::format("another network namespace, that of {}, has one of this name",
						name_task(namespaces[i].processes[0])));
	for (const auto &task : one.threads)
		for (const auto &other : all)
			if (other.name != one.name && match(one.name, task.name) == Match::cut &&
			    match(other.name, task.name) != Match::no)
				say(fmt::format("{} may be of {}, too", name_task(task), other.name));
	for (const auto &other : all)
		if (other.name != one.name && other.threaded.value_or(false) && other.threads.empty())
			say(fmt::format("{} is threaded, and no thread has its name: it was renamed, and may "
					"have been {} before", other.name, one.name));
}

} // namespace

std::vector<NetNamespace> net_namespaces(const Roots &roots)
{
	std::vector<NetNamespace> all{{namespace_of(roots.proc / "self"), {}, interfaces_of(roots.proc / "self")}};
	for (const auto &name : directories_in(roots.proc)) {
		if (!is_number(name))
			continue;
		auto pid = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
		auto id = namespace_of(roots.proc / name);
		auto task = read_task(roots, pid);
		// Who only asks is no user.
		if (id.empty() || !task || task->kernel_thread || pid == getpid())
			continue;
		auto it = std::find_if(all.begin(), all.end(), [&](const NetNamespace &one) { return one.id == id; });
		if (it == all.end())
			it = all.insert(all.end(), {id, {}, interfaces_of(roots.proc / name)});
		it->processes.push_back(std::move(*task));
	}
	return all;
}

std::vector<Interface> interfaces(const Roots &roots, const std::vector<NetNamespace> &namespaces)
{
	std::vector<Interface> all;
	auto base = roots.sys / "class/net";
	auto threads = kernel_threads(roots);
	for (const auto &name : names_in(base)) {
		if (!read_file(base / name / "ifindex"))
			continue; // bonding_masters
		all.push_back(read_interface(base / name));
		for (const auto &task : threads)
			if (match(name, task.name) != Match::no)
				all.back().threads.push_back(task);
	}
	for (auto &one : all)
		explain_ambiguity(one, all, namespaces);
	return all;
}

Result<Interface> find_interface(const std::vector<Interface> &all, const std::vector<NetNamespace> &namespaces,
				 const std::string &name)
{
	auto object = name.empty() ? "''" : printable(name);
	auto has = [&](const NetNamespace &one) {
		return std::find(one.interfaces.begin(), one.interfaces.end(), name) != one.interfaces.end();
	};
	auto it = std::find_if(all.begin(), all.end(), [&](const Interface &one) { return one.name == name; });
	if (it != all.end() && has(namespaces[0]))
		return *it;
	// nsenter(1) leaves /sys as it was.
	if (it != all.end() || has(namespaces[0]))
		return bad_input(object, "/sys shows another network namespace than this process is in");
	for (std::size_t i = 1; i < namespaces.size(); i++)
		if (has(namespaces[i]))
			return bad_input(object, fmt::format("no such interface here; the network namespace of {} has one",
							     name_task(namespaces[i].processes[0])));
	return bad_input(object, "no such interface");
}

std::filesystem::path threaded_file(const Roots &roots, const std::string &name)
{
	return roots.sys / "class/net" / name / "threaded";
}

Users users_of(const Interface &interface, const std::vector<NetNamespace> &namespaces)
{
	return {true, fmt::format("{} is in the network namespace of", interface.name), namespaces[0].processes};
}

} // namespace dlgroup
