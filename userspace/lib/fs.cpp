// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/fs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <system_error>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dlgroup {

namespace {

Result<std::string> read_at(int dir, const std::filesystem::path &name,
			    const std::string &object)
{
	int fd = openat(dir, name.c_str(), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return system_error(object, errno);
	std::string text;
	char buffer[4096];
	ssize_t got;
	while ((got = ::read(fd, buffer, sizeof(buffer))) > 0)
		text.append(buffer, static_cast<std::size_t>(got));
	int error = got < 0 ? errno : 0;
	close(fd);
	if (error)
		return system_error(object, error);
	return text;
}

Result<void> write_at(int dir, const std::filesystem::path &name, std::string_view text,
		      const std::string &object)
{
	int fd = openat(dir, name.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return system_error(object, errno);
	// An empty text still has to reach the kernel: cpuset.cpus is emptied so.
	std::string line = std::string(text) + "\n";
	ssize_t put = ::write(fd, line.data(), line.size());
	int error = put < 0 ? errno : 0;
	close(fd);
	if (error)
		return system_error(object, error);
	if (static_cast<std::size_t>(put) != line.size())
		return fail(Status::failed, object, "the write was cut short");
	return {};
}

std::shared_ptr<const int> owned(int fd)
{
	return {new int(fd), [](const int *held) {
			close(*held);
			delete held;
		}};
}

int open_beneath(int dir, const std::string &path, int flags)
{
	struct open_how how {};
	how.flags = static_cast<unsigned>(flags | O_CLOEXEC);
	how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
	return static_cast<int>(syscall(SYS_openat2, dir, path.c_str(), &how, sizeof(how)));
}

tl::unexpected<Error> open_error(const std::string &object, int error)
{
	if (error == ELOOP)
		return fail(Status::failed, object, "has a symbolic link in its path");
	if (error == EXDEV)
		return fail(Status::failed, object, "leads out of where it begins");
	return system_error(object, error);
}

Result<void> check_owner(const std::string &object, uid_t is, mode_t mode, uid_t owner)
{
	if (is != owner)
		return fail(Status::failed, object,
			    owner ? "is another user's" : "is not owned by root");
	if (mode & (S_IWGRP | S_IWOTH))
		return fail(Status::failed, object, "others than its owner can write it");
	return {};
}

} // namespace

tl::unexpected<Error> system_error(std::string object, int error)
{
	return tl::unexpected<Error>(Error{Status::failed, std::move(object),
					   std::generic_category().message(error), error,
					   nullptr});
}

Result<std::string> read_file(const std::filesystem::path &path)
{
	return read_at(AT_FDCWD, path, path.string());
}

Result<std::string> read_input(const std::string &path)
{
	std::ostringstream text;
	if (path == "-") {
		text << std::cin.rdbuf();
		return text.str();
	}
	errno = 0;
	std::ifstream in(path);
	if (in)
		text << in.rdbuf();
	// An empty file sets failbit too, a directory badbit.
	if (!in.is_open() || in.bad() || errno == EISDIR)
		return bad_input(path, std::string("cannot be read: ") +
					       std::strerror(errno ? errno : EIO));
	return text.str();
}

Result<void> save_file(const std::string &path, std::string_view text)
{
	errno = 0;
	std::ofstream out(path);
	out << text << std::flush;
	if (!out)
		return bad_input(path, std::string("cannot be written: ") +
					       std::strerror(errno ? errno : EIO));
	return {};
}

Result<void> write_file(const std::filesystem::path &path, std::string_view text)
{
	return write_at(AT_FDCWD, path, text, path.string());
}

std::vector<std::string> directories_in(const std::filesystem::path &path)
{
	std::vector<std::string> names;
	std::error_code error;
	for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
	     it.increment(error)) {
		std::error_code ignored;
		if (it->is_directory(ignored) && !it->is_symlink(ignored))
			names.push_back(it->path().filename().string());
	}
	std::sort(names.begin(), names.end());
	return names;
}

Result<Dir> Dir::open(const std::filesystem::path &path)
{
	int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return system_error(path.string(), errno);
	Dir dir;
	dir.path_ = path;
	dir.fd_ = owned(fd);
	return dir;
}

Result<Dir> Dir::open_strictly(const std::filesystem::path &path)
{
	auto base = Dir::open(path.is_absolute() ? "/" : ".");
	if (!base)
		return base;
	auto inside = path.is_absolute() ? path.relative_path() : path;
	int fd = open_beneath(*base->fd_, inside.empty() ? "." : inside.string(),
			      O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return open_error(path.string(), errno);
	Dir dir;
	dir.path_ = path;
	dir.fd_ = owned(fd);
	return dir;
}

Result<Dir> Dir::make_own(const std::filesystem::path &path, mode_t mode)
{
	// The umask of who calls us may be 0.
	if (mkdir(path.c_str(), mode) && errno != EEXIST)
		return system_error(path.string(), errno);
	auto dir = Dir::open(path);
	if (!dir)
		return dir;
	if (auto good = dir->check_written_by(geteuid()); !good)
		return tl::unexpected(good.error());
	return dir;
}

bool Dir::has(const std::string &name) const
{
	return faccessat(*fd_, name.c_str(), F_OK, 0) == 0;
}

Result<std::string> Dir::read(const std::string &name) const
{
	return read_at(*fd_, name, (path_ / name).string());
}

Result<void> Dir::write(const std::string &name, std::string_view text) const
{
	return write_at(*fd_, name, text, (path_ / name).string());
}

Result<RegularFile> Dir::read_regular(const std::string &name, std::size_t limit) const
{
	auto object = (path_ / name).string();
	// Without O_NONBLOCK a pipe in its place would be waited for.
	int opened = open_beneath(*fd_, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (opened < 0)
		return open_error(object, errno);
	auto fd = owned(opened);
	struct stat status;
	if (fstat(*fd, &status))
		return system_error(object, errno);
	if (!S_ISREG(status.st_mode))
		return fail(Status::failed, object, "not a regular file");
	RegularFile file{{}, status.st_uid, status.st_mode};
	char buffer[65536];
	ssize_t got;
	while ((got = ::read(*fd, buffer, sizeof(buffer))) > 0) {
		file.text.append(buffer, static_cast<std::size_t>(got));
		if (file.text.size() > limit)
			return fail(Status::failed, object,
				    "larger than " + std::to_string(limit) + " bytes");
	}
	if (got < 0)
		return system_error(object, errno);
	return file;
}

Result<void> Dir::replace(const std::string &name, std::string_view text) const
{
	auto object = (path_ / name).string();
	struct stat old;
	bool existed = fstatat(*fd_, name.c_str(), &old, AT_SYMLINK_NOFOLLOW) == 0;
	if (!existed && errno != ENOENT)
		return system_error(object, errno);
	// One that is there was left by a process that was killed.
	auto part = "." + name + "." + std::to_string(getpid());
	unlinkat(*fd_, part.c_str(), 0);
	int opened = openat(*fd_, part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (opened < 0)
		return system_error(object, errno);
	auto fd = owned(opened);
	int error = 0;
	while (!error && !text.empty()) {
		auto put = ::write(*fd, text.data(), text.size());
		if (put < 0)
			error = errno;
		else
			text.remove_prefix(static_cast<std::size_t>(put));
	}
	if (!error && existed &&
	    (fchown(*fd, old.st_uid, old.st_gid) || fchmod(*fd, old.st_mode & 07777)))
		error = errno;
	// A name must not come to the disk before what it stands for.
	if (!error && fsync(*fd))
		error = errno;
	if (!error && renameat(*fd_, part.c_str(), *fd_, name.c_str()))
		error = errno;
	if (!error)
		return {};
	unlinkat(*fd_, part.c_str(), 0);
	return system_error(object, error);
}

Result<void> Dir::remove(const std::string &name) const
{
	if (unlinkat(*fd_, name.c_str(), 0) && errno != ENOENT)
		return system_error((path_ / name).string(), errno);
	return {};
}

Result<void> Dir::lock() const
{
	while (flock(*fd_, LOCK_EX))
		if (errno != EINTR)
			return system_error(path_.string(), errno);
	return {};
}

Result<void> Dir::check_written_by(uid_t owner) const
{
	struct stat status;
	if (fstat(*fd_, &status))
		return system_error(path_.string(), errno);
	return check_owner(path_.string(), status.st_uid, status.st_mode, owner);
}

Result<void> check_written_by(const RegularFile &file, const std::string &object, uid_t owner)
{
	return check_owner(object, file.owner, file.mode, owner);
}

std::string trimmed(std::string text)
{
	text.erase(text.find_last_not_of(" \t\n") + 1);
	return text;
}

std::vector<std::string> words(const std::string &text)
{
	std::istringstream in(text);
	std::vector<std::string> found;
	for (std::string word; in >> word;)
		found.push_back(word);
	return found;
}

std::vector<std::string> lines(const std::string &text)
{
	std::istringstream in(text);
	std::vector<std::string> found;
	for (std::string line; std::getline(in, line);)
		found.push_back(line);
	return found;
}

bool contains_word(const std::string &text, std::string_view word)
{
	auto all = words(text);
	return std::find(all.begin(), all.end(), word) != all.end();
}

} // namespace dlgroup
