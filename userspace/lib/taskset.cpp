// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/taskset.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <dlgroup/fs.h>

#include "json.h"
#include "toml.h"

namespace dlgroup {

namespace {

constexpr unsigned kLowestPriority = 1, kHighestPriority = 99;
constexpr unsigned kSchemaVersion = 1;
constexpr std::string_view kNanoseconds = "_ns";

// What a task consists of; the first three in the order of a plain line.
struct Field {
	std::string_view name;
	nanoseconds SporadicTask::*value;
	bool required;
	bool may_be_zero;
};
constexpr std::array<Field, 5> kFields{{
	{"runtime", &SporadicTask::runtime, true, false},
	{"deadline", &SporadicTask::deadline, true, false},
	{"period", &SporadicTask::period, true, false},
	{"jitter", &SporadicTask::jitter, false, true},
	{"blocking", &SporadicTask::blocking, false, true},
}};
constexpr std::size_t kPlainFields = 3;

Result<nanoseconds> read_time(const Source &source, std::size_t offset, std::string_view word,
			      const Field &field)
{
	constexpr std::size_t kShown = 40;
	auto time = parse_duration(word);
	if (!time)
		return source.refuse(offset, fmt::format("'{}': {}; expected the {}, a time such as 5ms",
							 word.substr(0, kShown),
							 time.error().reason, field.name));
	if (time->count() == 0 && !field.may_be_zero)
		return source.refuse(offset, fmt::format("the {} is 0; expected a longer time",
							 field.name));
	return *time;
}

Result<TaskSet> parse_lines(const Source &source)
{
	TaskSet set;
	auto text = source.text();
	for (std::size_t start = 0; start < text.size();) {
		auto end = std::min(text.find('\n', start), text.size());
		auto line = text.substr(0, std::min(text.find('#', start), end));
		auto word = [&](std::size_t from) {
			return std::min(line.find_first_not_of(" \t", from), line.size());
		};
		SporadicTask task;
		auto at = word(start);
		start = end + 1;
		if (at == line.size())
			continue;
		for (std::size_t i = 0; i < kPlainFields; i++) {
			const auto &field = kFields[i];
			auto stop = std::min(line.find_first_of(" \t", at), line.size());
			if (at == stop)
				return source.refuse(at, fmt::format("the line ends; expected the {}, "
								     "as in: runtime deadline period",
								     field.name));
			auto time = read_time(source, at, line.substr(at, stop - at), field);
			if (!time)
				return tl::unexpected(time.error());
			task.*field.value = *time;
			at = word(stop);
		}
		if (at != line.size())
			return source.refuse(at, "more than runtime, deadline and period; "
						 "expected the end of the line");
		task.rank = static_cast<unsigned>(set.size());
		set.push_back(std::move(task));
	}
	return set;
}

// What JSON and TOML have in common.
enum class Place { nowhere, root, tasks, task, end };

const Field *find_field(std::string_view name)
{
	if (name.ends_with(kNanoseconds))
		name.remove_suffix(kNanoseconds.size());
	auto found = std::find_if(kFields.begin(), kFields.end(),
				  [&](const Field &field) { return field.name == name; });
	return found == kFields.end() ? nullptr : &*found;
}

std::string unknown_key(Place place, std::string_view name)
{
	std::string names;
	for (const auto &field : kFields)
		names += std::string(field.name) + ", ";
	return fmt::format("unknown key '{}'; expected {}", name,
			   place == Place::root ? "\"tasks\", comment or schema_version"
						: names + "name or priority");
}

std::string second_time(std::string_view name)
{
	return fmt::format("'{}' for the second time; expected it once", name);
}

std::string lacking(const Field &field)
{
	return fmt::format("the task ends; expected its \"{}\"", field.name);
}

// What belongs there.
std::string expected(Place place, std::string_view key)
{
	switch (place) {
	case Place::nowhere:
		return "an object with \"tasks\"";
	case Place::root:
		return key == "comment"		 ? "a string"
		       : key == "schema_version" ? fmt::format("{}", kSchemaVersion)
						 : "an array of tasks";
	case Place::tasks:
		return "a task: {\"runtime\": \"1ms\", \"deadline\": \"5ms\", \"period\": \"5ms\"}";
	default:
		break;
	}
	if (key == "priority")
		return fmt::format("an integer from {} to {}", kLowestPriority, kHighestPriority);
	if (key.ends_with(kNanoseconds))
		return "a whole number of nanoseconds";
	return key == "name" ? "a string" : "a time such as \"5ms\"";
}

// Makes ranks of SCHED_FIFO priorities: a higher one goes first; without any,
// the first given does.
Result<TaskSet> ranked(const Source &source, TaskSet set, std::size_t with_priority)
{
	if (with_priority && with_priority != set.size())
		return source.refuse(0, "some tasks have a \"priority\" and some have not; "
					"expected all or none");
	std::map<unsigned, unsigned, std::greater<>> ranks;
	for (const auto &task : set)
		ranks[task.rank] = 0;
	unsigned next = 0;
	for (auto &[priority, rank] : ranks)
		rank = next++;
	for (std::size_t i = 0; i < set.size(); i++)
		set[i].rank = with_priority ? ranks[set[i].rank] : static_cast<unsigned>(i);
	return set;
}

// Takes the one form there is as it is read, so that a refusal knows its place.
class JsonReader : public nlohmann::json_sax<nlohmann::json> {
public:
	explicit JsonReader(const Source &source) : source_(source) {}

	Result<TaskSet> read()
	{
		auto text = source_.text();
		bool good = nlohmann::json::sax_parse(Reading(text.data(), read_),
						      Reading(text.data() + text.size(), read_),
						      this);
		if (error_)
			return tl::unexpected(*error_);
		if (!good)
			return source_.refuse(read_, "not JSON");
		return ranked(source_, std::move(set_), with_priority_);
	}

	bool null() override { return unexpected(); }
	bool boolean(bool) override { return unexpected(); }
	bool binary(binary_t &) override { return unexpected(); }
	bool number_float(number_float_t, const string_t &) override
	{
		number_ = true;
		return unexpected();
	}
	bool number_integer(number_integer_t) override
	{
		number_ = true;
		return unexpected();
	}
	bool number_unsigned(number_unsigned_t value) override
	{
		number_ = true;
		if (place_ == Place::task && key_.ends_with(kNanoseconds)) {
			if (!take(fmt::format("{}ns", value)))
				return false;
		} else if (place_ == Place::task && key_ == "priority" && value >= kLowestPriority &&
			   value <= kHighestPriority) {
			task_.rank = static_cast<unsigned>(value); // made a rank in the end
			with_priority_++;
		} else if (place_ != Place::root || key_ != "schema_version" || value != kSchemaVersion) {
			return unexpected();
		}
		number_ = false;
		return true;
	}
	bool string(string_t &value) override
	{
		if (place_ == Place::root && key_ == "comment")
			return true;
		if (place_ != Place::task || key_ == "priority" || key_.ends_with(kNanoseconds))
			return unexpected();
		if (key_ == "name") {
			task_.name = value;
			return true;
		}
		return take(value);
	}
	bool start_object(std::size_t) override
	{
		switch (place_) {
		case Place::nowhere:
			place_ = Place::root;
			return true;
		case Place::tasks:
			place_ = Place::task;
			task_ = SporadicTask{};
			seen_.clear();
			return true;
		default:
			return unexpected();
		}
	}
	bool key(string_t &name) override
	{
		bool at_root = place_ == Place::root;
		bool known = at_root ? name == "tasks" || name == "comment" || name == "schema_version"
				     : name == "name" || name == "priority" || find_field(name);
		if (!known)
			return refuse(token(), unknown_key(at_root ? Place::root : Place::task, name));
		// A time in ns is the same one.
		const auto *field = at_root ? nullptr : find_field(name);
		if (!(at_root ? seen_at_root_ : seen_).insert(field ? std::string(field->name) : name).second)
			return refuse(token(), second_time(name));
		key_ = name;
		return true;
	}
	bool end_object() override
	{
		if (place_ == Place::root) {
			if (!seen_at_root_.count("tasks"))
				return refuse(token(), "no tasks; expected \"tasks\"");
			place_ = Place::end;
			return true;
		}
		for (const auto &field : kFields)
			if (field.required && !seen_.count(std::string(field.name)))
				return refuse(token(), lacking(field));
		set_.push_back(std::move(task_));
		place_ = Place::tasks;
		return true;
	}
	bool start_array(std::size_t) override
	{
		if (place_ != Place::root || key_ != "tasks")
			return unexpected();
		place_ = Place::tasks;
		return true;
	}
	bool end_array() override
	{
		place_ = Place::root;
		return true;
	}
	bool parse_error(std::size_t, const std::string &, const nlohmann::json::exception &error) override
	{
		return refuse(read_ ? read_ - 1 : 0, what_is_wrong(error));
	}

private:
	// Stores a time where the key says.
	bool take(std::string_view text)
	{
		const auto &field = *find_field(key_);
		auto time = read_time(source_, token(), text, field);
		if (!time)
			return refuse(time.error());
		task_.*field.value = *time;
		return true;
	}

	std::size_t token() const { return token_before(source_.text(), read_, number_); }

	bool unexpected()
	{
		return refuse(token(), "expected " + expected(place_, key_));
	}
	bool refuse(Error error)
	{
		error_ = std::move(error);
		return false;
	}
	bool refuse(std::size_t offset, std::string reason)
	{
		return refuse(source_.refuse(offset, std::move(reason)).value());
	}

	const Source &source_;
	std::size_t read_ = 0;
	bool number_ = false; // the value that is refused is one
	std::optional<Error> error_;
	Place place_ = Place::nowhere;
	std::string key_;
	SporadicTask task_;
	std::set<std::string> seen_, seen_at_root_;
	std::size_t with_priority_ = 0;
	TaskSet set_;
};

// The same keys. The parser itself refuses what is there twice.
class TomlReader {
public:
	explicit TomlReader(const Source &source) : source_(source) {}

	Result<TaskSet> read()
	{
		auto parsed = toml::parse(source_.text());
		if (!parsed)
			return refuse(parsed.error().source(), std::string(parsed.error().description()));
		const auto &root = parsed.table();
		for (const auto &[key, node] : root) {
			if (key != "tasks" && key != "comment" && key != "schema_version")
				return refuse(key.source(), unknown_key(Place::root, key.str()));
			bool good = key == "tasks"	? node.is_array()
				    : key == "comment" ? node.is_string()
						       : node.value_exact<std::int64_t>() == kSchemaVersion;
			if (!good)
				return refuse(node.source(), "expected " + expected(Place::root, key.str()));
		}
		const auto *tasks = root["tasks"].as_array();
		if (!tasks)
			return source_.refuse(source_.text().size(), "no tasks; expected [[tasks]]");
		for (const auto &node : *tasks) {
			if (!node.is_table())
				return refuse(node.source(), "expected " + expected(Place::tasks, ""));
			if (auto done = add(*node.as_table()); !done)
				return tl::unexpected(done.error());
		}
		return ranked(source_, std::move(set_), with_priority_);
	}

private:
	Result<void> add(const toml::table &table)
	{
		SporadicTask task;
		std::set<std::string_view> seen;
		for (const auto &[key, node] : table) {
			auto name = key.str();
			const auto *field = find_field(name);
			std::optional<std::string> time;
			if (field && name.ends_with(kNanoseconds)) {
				if (const auto *number = node.as_integer())
					time = fmt::format("{}ns", **number);
			} else if (field) {
				time = node.value_exact<std::string>();
			}
			if (time) {
				auto value = read_time(source_, place(node.source().begin), *time, *field);
				if (!value)
					return tl::unexpected(value.error());
				task.*field->value = *value;
			}
			auto priority = name == "priority" ? node.value_exact<std::int64_t>() : std::nullopt;
			bool is_priority = priority && *priority >= kLowestPriority && *priority <= kHighestPriority;
			if (is_priority) {
				task.rank = static_cast<unsigned>(*priority); // made a rank in the end
				with_priority_++;
			}
			if (name == "name" && node.is_string())
				task.name = **node.as_string();
			if (!field && name != "name" && name != "priority")
				return refuse(key.source(), unknown_key(Place::task, name));
			if (!time && !is_priority && !(name == "name" && node.is_string()))
				return refuse(node.source(), "expected " + expected(Place::task, name));
			if (field && !seen.insert(field->name).second)
				return refuse(key.source(), second_time(name));
		}
		for (const auto &field : kFields)
			if (field.required && !seen.count(field.name))
				return refuse(table.source(), lacking(field));
		set_.push_back(std::move(task));
		return {};
	}

	// The parser counts columns in characters, of which UTF-8 makes several bytes.
	std::size_t place(toml::source_position position) const
	{
		auto text = source_.text();
		std::size_t at = 0;
		for (auto line = position.line; line > 1 && at < text.size(); line--)
			at = std::min(text.find('\n', at), text.size() - 1) + 1;
		for (auto column = position.column; column > 1 && at < text.size(); column--)
			while (++at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80)
				;
		return at;
	}
	tl::unexpected<Error> refuse(const toml::source_region &where, std::string reason) const
	{
		return source_.refuse(place(where.begin), std::move(reason));
	}

	const Source &source_;
	TaskSet set_;
	std::size_t with_priority_ = 0;
};

// No time begins with a letter or a bracket, and every TOML does.
bool is_toml(std::string_view text)
{
	auto at = text.find_first_not_of(" \t\r\n");
	while (at != text.npos && text[at] == '#')
		at = text.find_first_not_of(" \t\r\n", std::min(text.find('\n', at), text.size()));
	return at != text.npos &&
	       (std::isalpha(static_cast<unsigned char>(text[at])) || std::strchr("[\"'_", text[at]));
}

} // namespace

Result<TaskSet> parse_task_set(std::string_view text, const std::string &name)
{
	Source source(text, name);
	auto first = text.find_first_not_of(" \t\r\n");
	auto set = first != text.npos && text[first] == '{' ? JsonReader(source).read()
		   : is_toml(text)			    ? TomlReader(source).read()
							    : parse_lines(source);
	if (!set)
		return set;
	if (set->empty())
		return source.refuse(text.size(), "no tasks; expected a line: runtime deadline period");
	for (std::size_t i = 0; i < set->size(); i++)
		if ((*set)[i].name.empty())
			(*set)[i].name = fmt::format("{}", i + 1);
	return set;
}

Result<TaskSet> read_task_set(const std::string &path)
{
	auto text = read_input(path);
	if (!text)
		return tl::unexpected(text.error());
	return parse_task_set(*text, path == "-" ? "standard input" : path);
}

void order_priorities(TaskSet &set, PriorityOrder order)
{
	if (order == PriorityOrder::as_given)
		return;
	auto key = order == PriorityOrder::deadline_monotonic ? &SporadicTask::deadline
							      : &SporadicTask::period;
	std::vector<std::size_t> sorted(set.size());
	std::iota(sorted.begin(), sorted.end(), 0);
	std::stable_sort(sorted.begin(), sorted.end(), [&](auto a, auto b) {
		return set[a].*key < set[b].*key;
	});
	for (unsigned i = 0; i < sorted.size(); i++)
		set[sorted[i]].rank = i;
}

} // namespace dlgroup
