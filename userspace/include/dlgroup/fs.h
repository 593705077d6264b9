// SPDX-License-Identifier: GPL-2.0-only
// Control files. A directory is opened once and its files are reached through
// it, so that a cgroup removed and made anew in between is never mistaken for
// the one looked at.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include <dlgroup/result.h>

namespace dlgroup {

// An error of a system call: the object, and what errno says.
tl::unexpected<Error> system_error(std::string object, int error);

Result<std::string> read_file(const std::filesystem::path &path);
// One write(2) of the whole text; never creates the file.
Result<void> write_file(const std::filesystem::path &path, std::string_view text);
// A file that a user named; "-" is standard input.
Result<std::string> read_input(const std::string &path);
// A file that a user named, made or overwritten.
Result<void> save_file(const std::string &path, std::string_view text);
// Names of the directories in a directory, sorted; empty if it cannot be read.
std::vector<std::string> directories_in(const std::filesystem::path &path);

// A file that is not the kernel's, and who could have written it.
struct RegularFile {
	std::string text;
	uid_t owner = 0;
	mode_t mode = 0;
};

Result<void> check_written_by(const RegularFile &file, const std::string &object, uid_t owner);

class Dir {
public:
	// For state of ours: made if need be, and nobody else can have written it.
	static Result<Dir> make_own(const std::filesystem::path &path, mode_t mode = 0755);
	static Result<Dir> open(const std::filesystem::path &path);
	// No part of the path is a symbolic link or leads out of where it begins.
	static Result<Dir> open_strictly(const std::filesystem::path &path);

	const std::filesystem::path &path() const { return path_; }
	bool has(const std::string &name) const;
	Result<std::string> read(const std::string &name) const;
	Result<void> write(const std::string &name, std::string_view text) const;
	// Nothing but a regular file of at most `limit` bytes.
	Result<RegularFile> read_regular(const std::string &name, std::size_t limit) const;
	// All of it or none, by rename(2), whenever the machine stops; owner and mode stay as
	// they are.
	Result<void> replace(const std::string &name, std::string_view text) const;
	Result<void> remove(const std::string &name) const; // a file; no error if there is none
	Result<void> lock() const; // until the last copy is gone; others wait
	// Nobody but this user can have written it or can write it.
	Result<void> check_written_by(uid_t owner) const;

private:
	std::filesystem::path path_;
	std::shared_ptr<const int> fd_; // closed with the last copy
};

// Without trailing newlines and blanks.
std::string trimmed(std::string text);
std::vector<std::string> words(const std::string &text);
std::vector<std::string> lines(const std::string &text);
bool contains_word(const std::string &text, std::string_view word);

} // namespace dlgroup
