// SPDX-License-Identifier: GPL-2.0-only
// Where in a text something is wrong, and where the values of JSON are.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstring>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <dlgroup/units.h>

namespace dlgroup {

class Source {
public:
	Source(std::string_view text, const std::string &name) : text_(text), name_(name) {}

	std::string_view text() const { return text_; }
	const std::string &name() const { return name_; }
	// Lines and columns, in bytes, are found from the offset when they are needed.
	tl::unexpected<Error> refuse(std::size_t offset, std::string reason) const
	{
		auto before = text_.substr(0, offset);
		auto line = std::count(before.begin(), before.end(), '\n') + 1;
		auto start = before.rfind('\n');
		auto column = start == before.npos ? offset + 1 : offset - start;
		return bad_input(fmt::format("{}:{}:{}", name_, line, column), printable(std::move(reason)));
	}

private:
	std::string_view text_;
	std::string name_;
};

// Counts what the parser has read: it tells no position of its own but for
// errors of syntax.
class Reading {
public:
	using iterator_category = std::input_iterator_tag;
	using value_type = char;
	using difference_type = std::ptrdiff_t;
	using pointer = const char *;
	using reference = const char &;

	Reading(const char *at, std::size_t &count) : at_(at), count_(&count) {}
	reference operator*() const { return *at_; }
	Reading &operator++()
	{
		++at_;
		++*count_;
		return *this;
	}
	bool operator==(const Reading &other) const { return at_ == other.at_; }
	bool operator!=(const Reading &other) const { return at_ != other.at_; }

private:
	const char *at_;
	std::size_t *count_;
};

// Where the value just read begins. All of it has been read and, if it is a
// number, one byte behind it.
inline std::size_t token_before(std::string_view text, std::size_t read, bool is_number)
{
	auto is_word = [](char letter) {
		return std::isalnum(static_cast<unsigned char>(letter)) || std::strchr("+-.", letter);
	};
	auto at = read;
	if (is_number && at && !is_word(text[at - 1]))
		at--;
	if (!at)
		return 0;
	if (text[at - 1] == '"') {
		for (at--; at; at--) {
			auto quote = text.rfind('"', at - 1);
			std::size_t escapes = 0;
			while (escapes < quote && text[quote - 1 - escapes] == '\\')
				escapes++;
			at = quote + 1;
			if (escapes % 2 == 0)
				return quote;
		}
		return 0;
	}
	if (!is_word(text[at - 1]))
		return at - 1;
	while (at && is_word(text[at - 1]))
		at--;
	return at;
}

// "[...] parse error at line 1, column 2: what it is"
inline std::string what_is_wrong(const nlohmann::json::exception &error)
{
	std::string text = error.what();
	auto colon = text.find(": ");
	return colon == text.npos ? text : text.substr(colon + 2);
}

// JSON, and where its values and keys begin; a value is named by its pointer.
class PlacedJson {
public:
	static Result<PlacedJson> parse(const Source &source)
	{
		PlacedJson placed(source);
		std::size_t read = 0;
		auto see = [&](int, Json::parse_event_t event, Json &value) {
			bool is_number = event == Json::parse_event_t::value && value.is_number();
			auto place = token_before(source.text(), read, is_number);
			placed.see(event, value, place, read);
			return true;
		};
		try {
			auto text = source.text();
			placed.json_ = Json::parse(Reading(text.data(), read),
						   Reading(text.data() + text.size(), read), see);
		} catch (const Json::exception &error) {
			return source.refuse(read ? read - 1 : 0, "not JSON: " + what_is_wrong(error));
		}
		if (placed.twice_)
			return source.refuse(*placed.twice_, "the same key for the second time; expected it once");
		return placed;
	}

	const std::string &name() const { return source_.name(); }
	const nlohmann::json &json() const { return json_; }
	std::size_t key_of(const std::string &pointer) const { return find(keys_, pointer); }
	std::size_t begin_of(const std::string &pointer) const { return find(values_, pointer); }
	std::size_t end_of(const std::string &pointer) const { return find(ends_, pointer); }
	tl::unexpected<Error> refuse(const std::string &pointer, std::string reason) const
	{
		return source_.refuse(begin_of(pointer), std::move(reason));
	}
	tl::unexpected<Error> refuse_key(const std::string &pointer, std::string reason) const
	{
		return source_.refuse(key_of(pointer), std::move(reason));
	}

private:
	using Json = nlohmann::json;
	using Places = std::map<std::string, std::size_t>;
	// Nobody asks further down, and nesting without end is no input of ours.
	static constexpr std::size_t kDeepest = 4;
	// What encloses a value: its key, or how many of the array came before it.
	struct Level {
		bool is_array = false;
		std::string key;
		std::size_t index = 0;
	};

	explicit PlacedJson(const Source &source) : source_(source) {}

	void see(Json::parse_event_t event, const Json &value, std::size_t place, std::size_t end)
	{
		using Event = Json::parse_event_t;
		if (event == Event::object_end || event == Event::array_end)
			above_.pop_back();
		else if (event == Event::key)
			above_.back().key = value.get<std::string>();
		if (above_.size() <= kDeepest && event == Event::key && !keys_.emplace(pointer(), place).second &&
		    !twice_)
			twice_ = place;
		bool starts = event == Event::object_start || event == Event::array_start;
		if (above_.size() <= kDeepest && (starts || event == Event::value))
			values_.emplace(pointer(), place);
		if (above_.size() <= kDeepest && !starts && event != Event::key)
			ends_.emplace(pointer(), end);
		if (starts)
			above_.push_back({event == Event::array_start, "", 0});
		else if (event != Event::key && !above_.empty())
			above_.back().index++;
	}
	std::string pointer() const
	{
		Json::json_pointer pointer;
		for (const auto &level : above_)
			pointer = level.is_array ? pointer / level.index : pointer / level.key;
		return pointer.to_string();
	}
	static std::size_t find(const Places &places, const std::string &pointer)
	{
		auto found = places.find(pointer);
		return found == places.end() ? 0 : found->second;
	}

	Source source_;
	Json json_;
	std::vector<Level> above_;
	Places values_, keys_, ends_; // the end of a number, which only the next byte ends, is not exact
	std::optional<std::size_t> twice_;
};

} // namespace dlgroup
