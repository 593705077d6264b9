// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/qmp.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <dlgroup/fs.h>
#include <dlgroup/units.h>

namespace dlgroup {

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;

// A machine with 4096 vCPUs answers with about 2 MB.
constexpr std::size_t kLongestLine = 16 << 20;

class Qmp {
public:
	Qmp(const std::filesystem::path &socket, std::chrono::milliseconds patience)
	    : name_(socket.string()), end_(Clock::now() + patience), patience_(patience)
	{
	}
	Qmp(const Qmp &) = delete;
	Qmp &operator=(const Qmp &) = delete;
	~Qmp()
	{
		if (fd_ >= 0)
			close(fd_);
	}

	// Connected, greeted, and ready for commands.
	Result<void> open();
	// What a command returns.
	Result<Json> ask(const std::string &command);
	Result<pid_t> listener() const;
	tl::unexpected<Error> error(const std::string &reason) const
	{
		return fail(Status::failed, name_, reason);
	}

private:
	// Until the socket is ready for it, or patience is at its end.
	Result<void> wait_for(short what);
	Result<std::string> read_line();
	Result<Json> read_object();

	std::string name_;
	Clock::time_point end_;
	std::chrono::milliseconds patience_;
	int fd_ = -1;
	std::string pending_;
};

Result<void> Qmp::open()
{
	sockaddr_un address{};
	address.sun_family = AF_UNIX;
	if (name_.size() >= sizeof(address.sun_path))
		return error("is too long for the name of a socket");
	std::memcpy(address.sun_path, name_.data(), name_.size());
	fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd_ < 0)
		return system_error(name_, errno);
	if (connect(fd_, reinterpret_cast<sockaddr *>(&address), sizeof(address))) {
		if (errno == ECONNREFUSED)
			return error("nobody listens on this socket: its guest has ended");
		if (errno == EAGAIN)
			return error("has another client, and more waiting");
		return system_error(name_, errno);
	}
	auto greeting = read_object();
	if (!greeting)
		return tl::unexpected(greeting.error());
	if (!greeting->contains("QMP"))
		return error("is no QMP socket: no greeting");
	// Only then does it take commands.
	auto ready = ask("qmp_capabilities");
	return ready ? Result<void>() : tl::unexpected(ready.error());
}

Result<pid_t> Qmp::listener() const
{
	ucred peer{};
	socklen_t size = sizeof(peer);
	if (getsockopt(fd_, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return system_error(name_, errno);
	// 0: a process that our pid namespace does not show.
	if (peer.pid <= 0)
		return error("its process is not visible from here");
	return peer.pid;
}

Result<void> Qmp::wait_for(short what)
{
	while (true) {
		auto left = std::chrono::ceil<std::chrono::milliseconds>(end_ - Clock::now());
		pollfd ready{fd_, what, 0};
		int got = left.count() > 0 ? poll(&ready, 1, static_cast<int>(left.count())) : 0;
		if (got > 0)
			return {};
		if (got < 0 && errno != EINTR)
			return system_error(name_, errno);
		if (got == 0)
			return error(fmt::format("no answer within {} ms: another client has it, or "
						 "the guest is stuck", patience_.count()));
	}
}

Result<std::string> Qmp::read_line()
{
	while (true) {
		if (auto end = pending_.find('\n'); end != pending_.npos) {
			auto line = pending_.substr(0, end);
			pending_.erase(0, end + 1);
			return line;
		}
		if (pending_.size() > kLongestLine)
			return error("is no QMP socket: its lines do not end");
		if (auto ready = wait_for(POLLIN); !ready)
			return tl::unexpected(ready.error());
		char buffer[65536];
		auto got = recv(fd_, buffer, sizeof(buffer), 0);
		if (got == 0)
			return error("has been closed before the answer");
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return system_error(name_, errno);
		if (got > 0)
			pending_.append(buffer, static_cast<std::size_t>(got));
	}
}

Result<Json> Qmp::read_object()
{
	auto line = read_line();
	if (!line)
		return tl::unexpected(line.error());
	auto json = Json::parse(*line, nullptr, false);
	if (!json.is_object())
		return error("is no QMP socket: what it says is no JSON object");
	return json;
}

Result<Json> Qmp::ask(const std::string &command)
{
	auto text = Json{{"execute", command}}.dump() + "\n";
	for (std::size_t sent = 0; sent < text.size();) {
		if (auto ready = wait_for(POLLOUT); !ready)
			return tl::unexpected(ready.error());
		auto put = send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
		if (put < 0 && errno != EAGAIN && errno != EINTR)
			return system_error(name_, errno);
		if (put > 0)
			sent += static_cast<std::size_t>(put);
	}
	// Events may come at any time.
	while (true) {
		auto answer = read_object();
		if (!answer)
			return answer;
		if (answer->contains("return"))
			return (*answer)["return"];
		if (!answer->contains("error"))
			continue;
		const auto &told = (*answer)["error"];
		auto why = told.is_object() ? told.value("desc", Json()) : Json();
		return error(fmt::format("{}: {}", command, why.is_string() ? printable(why) : "refused"));
	}
}

} // namespace

Result<QmpThreads> ask_qmp(const std::filesystem::path &socket, std::chrono::milliseconds patience)
{
	Qmp qmp(socket, patience);
	if (auto done = qmp.open(); !done)
		return tl::unexpected(done.error());
	auto listener = qmp.listener();
	if (!listener)
		return tl::unexpected(listener.error());
	auto vcpus = qmp.ask("query-cpus-fast");
	if (!vcpus)
		return tl::unexpected(vcpus.error());
	auto iothreads = qmp.ask("query-iothreads");
	if (!iothreads)
		return tl::unexpected(iothreads.error());
	QmpThreads threads;
	threads.listener = *listener;
	try {
		for (const auto &one : *vcpus)
			threads.vcpus[one.at("thread-id")] = one.at("cpu-index");
		for (const auto &one : *iothreads)
			threads.iothreads[one.at("thread-id")] = printable(one.at("id"));
	} catch (const Json::exception &) {
		return qmp.error("its answer is not what QEMU's would be");
	}
	return threads;
}

} // namespace dlgroup
