// SPDX-License-Identifier: GPL-2.0-only
// An entry of systemd's journal in its native protocol, a datagram with a field on
// each line. Not by sd_journal_send(3), which waits where the journal is slow.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <dlgroup/units.h>

#include "runtime.h"

namespace dlgroup::runtime {

void record(const std::filesystem::path &journal, const Decision &decision)
{
	// As syslog.h has them: info, warning and error.
	const char *priority = decision.outcome == "granted" ? "6" : decision.outcome == "without" ? "4" : "3";
	std::string entry;
	for (const auto &[key, value] : std::initializer_list<std::pair<const char *, std::string>>{
		     {"MESSAGE", "container " + decision.container + ": " + decision.sentence},
		     {"PRIORITY", priority},
		     {"SYSLOG_IDENTIFIER", "dlgroup-runtime"},
		     {"DLGROUP_DECISION", decision.outcome},
		     {"DLGROUP_CONTAINER", decision.container},
		     {"DLGROUP_CLASS", decision.of},
		     {"DLGROUP_CGROUP", decision.cgroup},
		     {"DLGROUP_ASKED", decision.asked},
		     {"DLGROUP_BY", decision.by},
		     {"DLGROUP_GIVEN", decision.given}})
		if (!value.empty())
			entry += std::string(key) + "=" + printable(value) + "\n";
	sockaddr_un address{};
	address.sun_family = AF_UNIX;
	auto path = journal.string();
	if (path.size() >= sizeof(address.sun_path))
		return;
	path.copy(address.sun_path, path.size());
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	// One that is not there, or does not take it at once, is no container's trouble.
	[[maybe_unused]] auto sent = sendto(fd, entry.data(), entry.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
					    reinterpret_cast<const sockaddr *>(&address), sizeof(address));
	close(fd);
}

} // namespace dlgroup::runtime
