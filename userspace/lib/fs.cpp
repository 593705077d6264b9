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
	dir.fd_ = std::shared_ptr<const int>(new int(fd), [](const int *owned) {
		close(*owned);
		delete owned;
	});
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
