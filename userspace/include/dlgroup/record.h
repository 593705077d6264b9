// SPDX-License-Identifier: GPL-2.0-only
// What was before, one file for each thing that was attached, in /run/dlgroup/KIND:
// written before anything is touched, so that a later process can put it back, too.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <dlgroup/fs.h>
#include <dlgroup/system.h>

namespace dlgroup {

struct ThreadState {
	pid_t tid = 0;
	std::uint64_t started = 0;
	bool kernel_thread = false;
	std::string cgroup;
	Policy policy;
	CpuSet cpus;
};
// What this very task was; null if it is not among them.
const ThreadState *find_state(const std::vector<ThreadState> &threads, const Task &task);

// Whoever holds it open has it alone.
class RecordDir {
public:
	static Result<RecordDir> open(const Roots &roots, const std::string &kind);
	// Without a lock, for who only looks; nothing if there are no records.
	static Result<std::optional<RecordDir>> peek(const Roots &roots, const std::string &kind);

	std::string path_of(const std::string &name) const { return (dir_.path() / name).string(); }
	std::vector<std::string> names() const; // of what there is a record of, sorted
	Result<std::optional<std::string>> read(const std::string &name) const;
	Result<void> write(const std::string &name, const std::string &text) const
	{
		return dir_.replace(name, text);
	}
	Result<void> remove(const std::string &name) const { return dir_.remove(name); }

private:
	explicit RecordDir(Dir dir) : dir_(std::move(dir)) {}
	Dir dir_;
};

// A Record has to_text() and parse(text, path), and kKind unless it has several.
template <class Record> class Records {
public:
	static Result<Records> open(const Roots &roots, const std::string &kind = Record::kKind)
	{
		return RecordDir::open(roots, kind).map([](RecordDir dir) { return Records(std::move(dir)); });
	}
	static Result<std::optional<Records>> peek(const Roots &roots,
						   const std::string &kind = Record::kKind)
	{
		auto dir = RecordDir::peek(roots, kind);
		if (!dir)
			return tl::unexpected(dir.error());
		return *dir ? std::optional(Records(**dir)) : std::nullopt;
	}

	// One of them, for who only looks.
	template <class Name>
	static Result<std::optional<Record>> peek_at(const Roots &roots, const Name &name,
						     const std::string &kind = Record::kKind)
	{
		auto records = peek(roots, kind);
		if (!records)
			return tl::unexpected(records.error());
		return *records ? (*records)->read(name) : std::nullopt;
	}

	std::vector<std::string> names() const { return dir_.names(); }
	template <class Name> Result<std::optional<Record>> read(const Name &name) const
	{
		auto text = dir_.read(file_of(name));
		if (!text)
			return tl::unexpected(text.error());
		if (!*text)
			return std::nullopt;
		auto record = Record::parse(**text, dir_.path_of(file_of(name)));
		if (!record)
			return tl::unexpected(record.error());
		return *record;
	}
	template <class Name> Result<void> write(const Name &name, const Record &record) const
	{
		return dir_.write(file_of(name), record.to_text());
	}
	template <class Name> Result<void> remove(const Name &name) const
	{
		return dir_.remove(file_of(name));
	}

private:
	explicit Records(RecordDir dir) : dir_(std::move(dir)) {}
	template <class Name> static std::string file_of(const Name &name)
	{
		return fmt::format("{}.json", name);
	}
	RecordDir dir_;
};

} // namespace dlgroup
