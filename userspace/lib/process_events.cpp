// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/process_events.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <dlgroup/fs.h>

namespace dlgroup {

namespace {

constexpr const char *kObject = "process events";
constexpr int kAnswerMs = 1000;
// Some 10,000 events, which a fork bomb makes in a moment.
constexpr int kBuffer = 4 << 20;

template <class T>
bool take(std::span<const std::byte> &from, T &to)
{
	if (from.size() < sizeof(T))
		return false;
	std::memcpy(&to, from.data(), sizeof(T));
	from = from.subspan(sizeof(T));
	return true;
}

// The event in each netlink message of a datagram.
template <class Function>
void for_each_event(std::span<const std::byte> message, Function &&function)
{
	nlmsghdr header;
	while (message.size() >= sizeof(header)) {
		std::memcpy(&header, message.data(), sizeof(header));
		if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > message.size())
			return;
		auto rest = message.subspan(sizeof(header), header.nlmsg_len - sizeof(header));
		cn_msg connector;
		proc_event event{};
		if (take(rest, connector) && connector.id.idx == CN_IDX_PROC &&
		    connector.id.val == CN_VAL_PROC && take(rest, event))
			function(event);
		message = message.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len),
								message.size()));
	}
}

Result<void> listen(int fd)
{
	const proc_cn_mcast_op what = PROC_CN_MCAST_LISTEN;
	nlmsghdr header{};
	cn_msg connector{};
	std::byte request[sizeof(header) + sizeof(connector) + sizeof(what)];
	header.nlmsg_len = sizeof(request);
	header.nlmsg_type = NLMSG_DONE;
	connector.id = {CN_IDX_PROC, CN_VAL_PROC};
	connector.len = sizeof(what);
	std::memcpy(request, &header, sizeof(header));
	std::memcpy(request + sizeof(header), &connector, sizeof(connector));
	std::memcpy(request + sizeof(header) + sizeof(connector), &what, sizeof(what));
	if (send(fd, request, sizeof(request), 0) != sizeof(request))
		return system_error(kObject, errno);
	return {};
}

} // namespace

std::vector<ProcessEvent> parse_process_events(std::span<const std::byte> message)
{
	std::vector<ProcessEvent> found;
	for_each_event(message, [&](const proc_event &event) {
		const auto &data = event.event_data;
		switch (event.what) {
		case proc_event::PROC_EVENT_FORK:
			found.push_back({ProcessEvent::made, data.fork.child_pid, data.fork.child_tgid});
			break;
		case proc_event::PROC_EVENT_COMM:
			found.push_back({ProcessEvent::renamed, data.comm.process_pid,
					 data.comm.process_tgid});
			break;
		case proc_event::PROC_EVENT_EXIT:
			found.push_back({ProcessEvent::ended, data.exit.process_pid,
					 data.exit.process_tgid});
			break;
		default:
			break;
		}
	});
	return found;
}

Result<ProcessEvents> ProcessEvents::open()
{
	auto unsupported = [](const char *why) {
		return fail(Status::unsupported, kObject, why);
	};
	int fd = socket(PF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
	if (fd < 0 && errno == EPROTONOSUPPORT)
		return unsupported("this kernel has none (CONFIG_CONNECTOR, CONFIG_PROC_EVENTS)");
	if (fd < 0)
		return system_error(kObject, errno);
	ProcessEvents all;
	all.fd_ = std::shared_ptr<const int>(new int(fd), [](const int *open) {
		close(*open);
		delete open;
	});
	// Without the right to it the socket stays as large as it is.
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kBuffer, sizeof(kBuffer));
	sockaddr_nl address{};
	address.nl_family = AF_NETLINK;
	address.nl_groups = CN_IDX_PROC;
	if (bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)))
		return system_error(kObject, errno);
	if (auto done = listen(fd); !done)
		return tl::unexpected(done.error());
	// The kernel says that it will, to whoever it will; who else is not answered.
	pollfd answer{fd, POLLIN, 0};
	if (poll(&answer, 1, kAnswerMs) <= 0)
		return unsupported("the kernel sends none: it needs CONFIG_PROC_EVENTS, and only who "
				   "is in the first pid and user namespace gets them");
	return all;
}

Result<ProcessEvents::Batch> ProcessEvents::read() const
{
	Batch batch;
	std::byte buffer[8192];
	while (true) {
		sockaddr_nl from{};
		socklen_t length = sizeof(from);
		auto got = recvfrom(*fd_, buffer, sizeof(buffer), 0, reinterpret_cast<sockaddr *>(&from),
				    &length);
		if (got < 0 && errno == ENOBUFS) {
			batch.lost = true;
			continue;
		}
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return batch;
		if (got < 0)
			return system_error(kObject, errno);
		// Anybody can send to a socket; the kernel has no port.
		if (from.nl_pid != 0)
			continue;
		auto events = parse_process_events({buffer, static_cast<std::size_t>(got)});
		batch.events.insert(batch.events.end(), events.begin(), events.end());
	}
}

} // namespace dlgroup
