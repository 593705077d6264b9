// SPDX-License-Identifier: GPL-2.0-only
// Reading the tables of a TOML file.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <fmt/format.h>
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <dlgroup/fs.h>
#include <dlgroup/units.h>

namespace dlgroup {

// A table of the file; every key that is read is taken off the list, so that
// what is left is unknown.
class Table {
public:
	Table(const toml::table &table, std::string name) : table_(table), name_(std::move(name))
	{
		for (const auto &[key, node] : table)
			left_.emplace(key.str(), node.source().begin.line);
	}

	tl::unexpected<Error> bad(const std::string &key, const std::string &reason) const
	{
		return bad_input(name_, key + ": " + reason);
	}
	const toml::node *take(const std::string &key)
	{
		left_.erase(key);
		return table_.get(key);
	}
	Result<void> text(const std::string &key, std::string &into)
	{
		const auto *node = take(key);
		if (!node)
			return {};
		if (!node->is_string())
			return bad(key, "is not a text");
		into = **node->as_string();
		return {};
	}
	Result<void> number(const std::string &key, bool required, std::int64_t most, auto &into)
	{
		const auto *node = take(key);
		if (!node)
			return required ? Result<void>(bad(key, "is missing")) : Result<void>();
		auto value = node->is_integer() ? **node->as_integer() : -1;
		if (value < 0 || value > most)
			return bad(key, fmt::format("is not a number from 0 to {}", most));
		into = static_cast<std::remove_reference_t<decltype(into)>>(value);
		return {};
	}
	Result<void> flag(const std::string &key, bool &into)
	{
		const auto *node = take(key);
		if (!node)
			return {};
		if (!node->is_boolean())
			return bad(key, "is neither true nor false");
		into = **node->as_boolean();
		return {};
	}
	// A time, as a text or at a place of an array.
	Result<void> time(const std::string &key, const toml::node *node, microseconds &into)
	{
		if (!node)
			return bad(key, "is missing");
		if (!node->is_string())
			return bad(key, "is not a time such as \"5ms\"");
		auto time = parse_duration(**node->as_string());
		auto us = time ? whole_microseconds(*time) : tl::unexpected(time.error());
		if (!us)
			return bad(key, us.error().object + ": " + us.error().reason);
		into = *us;
		return {};
	}
	Result<void> nothing_left() const
	{
		for (const auto &[key, line] : left_)
			return bad_input(name_, fmt::format("line {}: unknown key '{}'", line, printable(key)));
		return {};
	}

private:
	const toml::table &table_;
	std::string name_;
	std::map<std::string, std::uint32_t> left_;
};

// The whole file; an error names the line.
inline Result<toml::table> parse_toml(const std::string &text, const std::string &name)
{
	auto parsed = toml::parse(text);
	if (!parsed)
		return bad_input(name, fmt::format("line {}: {}", parsed.error().source().begin.line,
						   printable(std::string(parsed.error().description()))));
	return std::move(parsed).table();
}

} // namespace dlgroup
