// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/units.h>

#include <array>
#include <charconv>
#include <limits>
#include <vector>

#include <fmt/format.h>

#include <dlgroup/wide.h>

namespace dlgroup {

namespace {

struct Unit {
	std::string_view name;
	std::int64_t ns;
};
// Largest first: formatting takes the first that is not larger than the time.
constexpr std::array<Unit, 4> kUnits{
	{{"s", 1000000000}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}}};

constexpr std::string_view kDigits = "0123456789";
// cpu.rt.max takes at most what a 64 bit nanosecond count holds.
constexpr std::int64_t kLongest_ns = 1000000000LL * 1000000;

std::string quote(std::string_view text)
{
	return printable(fmt::format("'{}'", text));
}

template <class T>
std::optional<T> to_integer(std::string_view text)
{
	T value{};
	auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
	if (text.empty() || error != std::errc{} || end != text.data() + text.size())
		return std::nullopt;
	return value;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separators,
				    bool keep_empty)
{
	std::vector<std::string_view> parts;
	while (true) {
		auto at = text.find_first_of(separators);
		auto part = text.substr(0, at);
		if (keep_empty || !part.empty())
			parts.push_back(part);
		if (at == text.npos)
			return parts;
		text.remove_prefix(at + 1);
	}
}

Result<microseconds> parse_whole_us(std::string_view text)
{
	auto time = parse_duration(text);
	if (!time)
		return tl::unexpected(time.error());
	return whole_microseconds(*time).map_error([&](Error error) {
		error.object = quote(text);
		return error;
	});
}

Result<Request> check(Request request, const std::string &object)
{
	auto deadline = request.deadline ? request.deadline : request.period;
	if (request.period && request.period->count() == 0)
		return bad_input(object, "the period is 0");
	if (request.deadline && request.deadline->count() == 0)
		return bad_input(object, "the deadline is 0");
	if (request.period && request.deadline && *request.deadline > *request.period)
		return bad_input(object,
				 fmt::format("the deadline {} is longer than the period {}",
					     format_duration(*request.deadline),
					     format_duration(*request.period)));
	if (deadline && request.runtime > *deadline)
		return bad_input(object,
				 fmt::format("the runtime {} is longer than the {} {}",
					     format_duration(request.runtime),
					     request.deadline ? "deadline" : "period",
					     format_duration(*deadline)));
	return request;
}

} // namespace

std::string printable(std::string text)
{
	for (auto &letter : text)
		if (static_cast<unsigned char>(letter) < ' ' || letter == 0x7f)
			letter = '?';
	return text;
}

Result<nanoseconds> parse_duration(std::string_view text)
{
	auto number_size = text.find_first_not_of("0123456789.");
	auto number = text.substr(0, number_size);
	auto suffix = number_size == text.npos ? std::string_view{} : text.substr(number_size);
	auto point = number.find('.');
	auto whole = number.substr(0, point);
	auto fraction = point == number.npos ? std::string_view{} : number.substr(point + 1);

	if (whole.empty() || whole.find_first_not_of(kDigits) != whole.npos ||
	    fraction.find_first_not_of(kDigits) != fraction.npos ||
	    (point != number.npos && fraction.empty()))
		return bad_input(quote(text), "not a time such as 5ms, 1.5ms or 100us");
	if (suffix.empty())
		return bad_input(quote(text), "has no unit (ns, us, ms or s)");
	for (const auto &unit : kUnits) {
		if (unit.name != suffix)
			continue;
		auto value = to_integer<std::int64_t>(whole);
		if (!value || *value > kLongest_ns / unit.ns)
			return bad_input(quote(text), "too long a time");
		auto ns = *value * unit.ns;
		auto place = unit.ns;
		for (char digit : fraction) {
			if (digit != '0' && place == 1)
				return bad_input(quote(text), "finer than a nanosecond");
			if (place > 1)
				place /= 10;
			ns += (digit - '0') * place;
		}
		return nanoseconds(ns);
	}
	return bad_input(quote(text),
			 fmt::format("unknown unit {} (use ns, us, ms or s)", quote(suffix)));
}

std::string format_duration(nanoseconds time)
{
	if (time.count() == 0)
		return "0";
	std::string sign = time.count() < 0 ? "-" : "";
	auto ns = time.count() < 0 ? 0 - static_cast<std::uint64_t>(time.count())
				   : static_cast<std::uint64_t>(time.count());
	for (const auto &unit : kUnits) {
		auto size = static_cast<std::uint64_t>(unit.ns);
		if (ns < size)
			continue;
		std::string text = fmt::format("{}{}", sign, ns / size);
		if (auto rest = ns % size) {
			auto digits = fmt::format("{}", size + rest).substr(1);
			digits.erase(digits.find_last_not_of('0') + 1);
			text += "." + digits;
		}
		return text + std::string(unit.name);
	}
	return "0";
}

Result<microseconds> whole_microseconds(nanoseconds time)
{
	if (time.count() % 1000)
		return bad_input(format_duration(time), "not a whole number of microseconds, "
							"the unit of cpu.rt.max");
	return std::chrono::duration_cast<microseconds>(time);
}

Result<Request> parse_request(std::string_view text)
{
	if (text == "max")
		return Request{};
	Request request;
	request.is_max = false;
	if (text == "0")
		return request;
	auto parts = split(text, "/", true);
	if (parts.size() < 2 || parts.size() > 3)
		return bad_input(quote(text), "not a reservation: runtime/period such as "
					      "5ms/20ms, max or 0");
	if (parts[0] != "0") {
		auto runtime = parse_whole_us(parts[0]);
		if (!runtime)
			return tl::unexpected(runtime.error());
		request.runtime = *runtime;
	}
	auto period = parse_whole_us(parts[1]);
	if (!period)
		return tl::unexpected(period.error());
	request.period = *period;
	if (parts.size() == 3) {
		auto deadline = parse_whole_us(parts[2]);
		if (!deadline)
			return tl::unexpected(deadline.error());
		request.deadline = *deadline;
	}
	return check(request, quote(text));
}

Result<Request> make_request(const std::string &runtime, const std::string &period,
			     const std::string &deadline)
{
	if (runtime.empty())
		return bad_input(period.empty() ? "--deadline" : "--period",
				 "needs --runtime");
	if (!deadline.empty() && period.empty())
		return bad_input("--deadline", "needs --period");
	Request request;
	if (runtime == "max") {
		if (!period.empty())
			return bad_input("--runtime max", "takes no period");
		return request;
	}
	request.is_max = false;
	if (runtime != "0") {
		auto value = parse_whole_us(runtime);
		if (!value)
			return tl::unexpected(value.error());
		request.runtime = *value;
	}
	if (!period.empty()) {
		auto value = parse_whole_us(period);
		if (!value)
			return tl::unexpected(value.error());
		request.period = *value;
	}
	if (!deadline.empty()) {
		auto value = parse_whole_us(deadline);
		if (!value)
			return tl::unexpected(value.error());
		request.deadline = *value;
	}
	return check(request, "--runtime " + runtime);
}

RtMax apply_request(const RtMax &old, const Request &request)
{
	RtMax value = old;
	value.is_max = request.is_max;
	value.runtime = request.runtime;
	if (request.period) {
		value.period = *request.period;
		value.deadline = *request.period;
	}
	if (request.deadline)
		value.deadline = *request.deadline;
	return value;
}

std::string file_text(const Request &request)
{
	if (request.is_max)
		return "max";
	auto text = fmt::format("{}", request.runtime.count());
	if (request.period)
		text += fmt::format(" {}", request.period->count());
	// A deadline equal to the period is what every kernel means without it.
	if (request.deadline && request.deadline != request.period)
		text += fmt::format(" {}", request.deadline->count());
	return text;
}

Result<Request> parse_file_text(std::string_view text)
{
	auto bad = bad_input(quote(text), "not a line for cpu.rt.max: runtime and period in us "
					  "such as '5000 20000', max or 0");
	auto fields = split(text, " ", false);
	if (fields.empty() || fields.size() > 3)
		return bad;
	Request request;
	request.is_max = fields[0] == "max";
	if (fields.size() == 1 && !request.is_max && fields[0] != "0")
		return bad;
	std::array<microseconds, 3> times{};
	for (std::size_t i = request.is_max ? 1 : 0; i < fields.size(); i++) {
		auto us = to_integer<std::uint64_t>(fields[i]);
		if (!us || *us > kLongest_ns / 1000)
			return bad;
		times[i] = microseconds(static_cast<std::int64_t>(*us));
	}
	if (request.is_max)
		return request;
	request.runtime = times[0];
	if (fields.size() > 1)
		request.period = times[1];
	if (fields.size() > 2)
		request.deadline = times[2];
	return check(request, quote(text));
}

Result<RtMax> parse_rt_max(std::string_view text)
{
	auto fields = split(text, " \t\n", false);
	RtMax value;
	auto time = [&](std::size_t i, microseconds &into) {
		auto us = to_integer<std::uint64_t>(fields[i]);
		if (!us || *us > kLongest_ns / 1000)
			return false;
		into = microseconds(static_cast<std::int64_t>(*us));
		return true;
	};
	bool good = fields.size() >= 2 && fields.size() <= 3 && time(1, value.period) && value.period.count();
	if (good && fields[0] != "max") {
		value.is_max = false;
		good = time(0, value.runtime);
	}
	value.deadline = value.period;
	if (good && fields.size() == 3)
		good = time(2, value.deadline) && value.deadline.count();
	if (!good)
		return fail(Status::failed, quote(text), "not the content of a cpu.rt.max");
	return value;
}

std::string format_rt_max(const RtMax &value)
{
	if (value.is_max)
		return "max";
	if (value.runtime.count() == 0)
		return "0";
	auto text = format_duration(value.runtime) + "/" + format_duration(value.period);
	if (value.deadline != value.period)
		text += "/" + format_duration(value.deadline);
	return text;
}

Result<CpuSet> parse_cpus(std::string_view text)
{
	// More CPUs than any kernel is built for: keeps a typing error small.
	constexpr unsigned kMost = 65536;
	CpuSet cpus;
	while (!text.empty() && text.back() == '\n')
		text.remove_suffix(1);
	if (text.empty())
		return cpus;
	for (auto range : split(text, ",", true)) {
		auto dash = range.find('-');
		auto first = to_integer<unsigned>(range.substr(0, dash));
		auto last = dash == range.npos ? first
					       : to_integer<unsigned>(range.substr(dash + 1));
		if (!first || !last || *last < *first || *last >= kMost)
			return bad_input(quote(text), "not a list of CPUs such as 0-3,5");
		for (auto cpu = *first; cpu <= *last; cpu++)
			cpus.insert(cpu);
	}
	return cpus;
}

std::string format_cpus(const CpuSet &cpus)
{
	std::string text;
	for (auto it = cpus.begin(); it != cpus.end();) {
		auto first = *it, last = first;
		while (++it != cpus.end() && *it == last + 1)
			last = *it;
		text += text.empty() ? "" : ",";
		text += first == last ? fmt::format("{}", first)
				      : fmt::format("{}-{}", first, last);
	}
	return text;
}

std::string name_cpus(const CpuSet &cpus)
{
	return (cpus.size() == 1 ? "CPU " : "CPUs ") + format_cpus(cpus);
}

CpuSet intersect(const CpuSet &a, const CpuSet &b)
{
	CpuSet both;
	for (auto cpu : a)
		if (b.count(cpu))
			both.insert(cpu);
	return both;
}

Bandwidth bandwidth(nanoseconds runtime, nanoseconds period)
{
	if (period.count() <= 0 || runtime.count() <= 0)
		return 0;
	auto product = static_cast<u128>(runtime.count()) << kBandwidthBits;
	return static_cast<Bandwidth>(product / static_cast<u128>(period.count()));
}

Bandwidth bandwidth(microseconds runtime, microseconds period)
{
	// The kernel divides nanoseconds; the factor 1000 cancels out exactly.
	return bandwidth(nanoseconds(runtime.count()), nanoseconds(period.count()));
}

Bandwidth bandwidth(const RtMax &value)
{
	return value.is_max ? 0 : bandwidth(value.runtime, value.deadline);
}

std::uint64_t parts_per_billion(Bandwidth value)
{
	constexpr u128 kHalf = static_cast<u128>(1) << (kBandwidthBits - 1);
	return static_cast<std::uint64_t>((static_cast<u128>(value) * 1000000000 + kHalf)
					  >> kBandwidthBits);
}

std::string percent(Bandwidth value, unsigned decimals)
{
	std::uint64_t scale = 1;
	for (unsigned i = 0; i < decimals; i++)
		scale *= 10;
	constexpr u128 kHalf = static_cast<u128>(1) << (kBandwidthBits - 1);
	auto scaled = static_cast<std::uint64_t>(
		(static_cast<u128>(value) * 100 * scale + kHalf) >> kBandwidthBits);
	if (!decimals)
		return fmt::format("{} %", scaled);
	return fmt::format("{}.{:0{}} %", scaled / scale, scaled % scale, decimals);
}

std::string total(Bandwidth each, std::size_t cpus)
{
	constexpr u128 kHalf = static_cast<u128>(1) << (kBandwidthBits - 1);
	auto hundredths = static_cast<std::uint64_t>(
		(static_cast<u128>(each) * cpus * 100 + kHalf) >> kBandwidthBits);
	// One decimal or none; more for what would look like nothing.
	auto share = percent(each);
	for (unsigned decimals = 2; each && share.find_first_of("123456789") == share.npos &&
				    decimals <= 9; decimals++)
		share = percent(each, decimals);
	if (share.ends_with(".0 %"))
		share = percent(each, 0);
	return fmt::format("{} of {} {} = {}.{:02} CPU", share, cpus,
			   cpus == 1 ? "CPU" : "CPUs", hundredths / 100, hundredths % 100);
}

} // namespace dlgroup
