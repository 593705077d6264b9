// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/irq.h>

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include <dlgroup/fs.h>

namespace dlgroup {

namespace {

template <class Number> std::optional<Number> to_number(std::string_view text)
{
	Number number{};
	auto end = text.data() + text.size();
	auto got = std::from_chars(text.data(), end, number);
	if (got.ec != std::errc{} || got.ptr != end)
		return std::nullopt;
	return number;
}

std::filesystem::path directory_of_irq(const Roots &roots, unsigned number)
{
	return roots.sys / "kernel/irq" / std::to_string(number);
}

CpuSet cpus_in(const std::filesystem::path &path)
{
	return parse_cpus(trimmed(read_file(path).value_or(""))).value_or(CpuSet{});
}

std::optional<IrqLine> read_irq(const Roots &roots, unsigned number, const std::vector<Task> &threads)
{
	IrqLine line;
	line.number = number;
	auto actions = trimmed(read_file(directory_of_irq(roots, number) / "actions").value_or(""));
	// A line without a handler is nobody's.
	if (actions.empty())
		return std::nullopt;
	for (std::size_t at = 0; at <= actions.size();) {
		auto end = std::min(actions.find(',', at), actions.size());
		line.actions.push_back(actions.substr(at, end - at));
		at = end + 1;
	}
	line.chip = trimmed(read_file(directory_of_irq(roots, number) / "chip_name").value_or(""));
	auto base = roots.proc / "irq" / std::to_string(number);
	line.asked = cpus_in(base / "smp_affinity_list");
	line.effective = cpus_in(base / "effective_affinity_list");
	// Short enough for the whole of it to be in any name, however it is cut.
	auto prefix = fmt::format("irq/{}-", number);
	for (const auto &task : threads)
		if (task.name.starts_with(prefix))
			line.threads.push_back(task);
	return line;
}

// Who has a device that VFIO handed to user space: /dev/vfio/GROUP is open there.
std::vector<Task> holders_of(const Roots &roots, const std::string &iommu_group)
{
	std::vector<Task> found;
	for (const auto &name : directories_in(roots.proc)) {
		auto pid = to_number<pid_t>(name);
		std::error_code failed;
		for (std::filesystem::directory_iterator it(roots.proc / name / "fd", failed), end;
		     pid && !failed && it != end; it.increment(failed)) {
			std::error_code ignored;
			if (std::filesystem::read_symlink(it->path(), ignored) != "/dev/vfio/" + iommu_group)
				continue;
			if (auto task = read_task(roots, *pid))
				found.push_back(std::move(*task));
			break;
		}
	}
	return found;
}

} // namespace

std::string action_of(const IrqLine &line, const Task &thread)
{
	auto name = thread.name.substr(fmt::format("irq/{}-", line.number).size());
	bool known = std::find(line.actions.begin(), line.actions.end(), name) != line.actions.end();
	return !known && name.starts_with("s-") ? name.substr(2) : name;
}

std::vector<IrqLine> irq_lines(const Roots &roots)
{
	std::vector<IrqLine> lines;
	auto threads = kernel_threads(roots);
	for (const auto &name : directories_in(roots.sys / "kernel/irq"))
		if (auto number = to_number<unsigned>(name))
			if (auto line = read_irq(roots, *number, threads))
				lines.push_back(std::move(*line));
	std::sort(lines.begin(), lines.end(),
		  [](const IrqLine &a, const IrqLine &b) { return a.number < b.number; });
	return lines;
}

Result<unsigned> parse_irq(const std::string &text)
{
	if (auto number = to_number<unsigned>(text))
		return *number;
	return bad_input(text.empty() ? "''" : printable(text), "not the number of an IRQ (dlgroup irq list)");
}

Result<IrqLine> find_irq(const Roots &roots, const std::vector<IrqLine> &lines, unsigned number)
{
	for (const auto &line : lines)
		if (line.number == number)
			return line;
	std::error_code ignored;
	bool there = std::filesystem::exists(directory_of_irq(roots, number), ignored);
	return bad_input(fmt::format("IRQ {}", number), there ? "has no handler" : "no such IRQ");
}

std::map<unsigned, std::uint64_t> irq_counts(const Roots &roots)
{
	std::map<unsigned, std::uint64_t> counts;
	auto text = lines(read_file(roots.proc / "interrupts").value_or(""));
	// The heading names the CPUs: as many columns are numbers, whatever follows.
	auto columns = text.empty() ? 0 : words(text[0]).size();
	for (std::size_t i = 1; i < text.size(); i++) {
		auto fields = words(text[i]);
		if (fields.empty() || !fields[0].ends_with(":"))
			continue;
		auto number = to_number<unsigned>(std::string_view(fields[0]).substr(0, fields[0].size() - 1));
		if (!number)
			continue; // of a CPU itself: NMI, LOC
		for (std::size_t at = 1; at < fields.size() && at <= columns; at++)
			counts[*number] += to_number<std::uint64_t>(fields[at]).value_or(0);
	}
	return counts;
}

Users users_of(const Roots &roots, const IrqLine &line)
{
	// vfio-msix[0](0000:01:00.0), vfio-intx(0000:01:00.0)
	const auto &action = line.actions[0];
	auto open = action.rfind('('), close = action.rfind(')');
	if (line.actions.size() > 1 || !action.starts_with("vfio-") || open == action.npos ||
	    close == action.npos || close < open)
		return {};
	auto device = action.substr(open + 1, close - open - 1);
	std::error_code failed;
	auto group = std::filesystem::read_symlink(roots.sys / "bus/pci/devices" / device / "iommu_group", failed);
	if (failed)
		return {};
	Users users{true, device + " is open in", holders_of(roots, group.filename().string())};
	users.known = !users.tasks.empty(); // or it is open by another name
	return users;
}

} // namespace dlgroup
