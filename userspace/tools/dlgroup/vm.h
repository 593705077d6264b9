// SPDX-License-Identifier: GPL-2.0-only
// What the verbs of vm share.
#pragma once

#include <unistd.h>

#include "common.h"

#include <dlgroup/guest.h>
#include <dlgroup/guest_record.h>

namespace dlgroup::tool {

class Fd {
public:
	explicit Fd(int fd = -1) : fd_(fd) {}
	Fd(const Fd &) = delete;
	Fd &operator=(const Fd &) = delete;
	~Fd() { close(fd_); }
	operator int() const { return fd_; }

private:
	int fd_;
};
// Readable as soon as this process is told to end, by SIGTERM or SIGINT, which do no more
// from now on.
int told_to_end();

std::string name_guest(pid_t pid, const std::string &name);
Result<void> check_running(const Context &context); // only the running kernel's are changed
// Without ids or names of its threads nobody knows what they are for.
Result<void> check_vcpus(const Guest &guest, const char *advice);
inline constexpr const char *kNameThreads = "name it by its QMP socket (qmp:PATH), or start it with "
					    "-name NAME,debug-threads=on";
// A guest named by its process is asked by the socket that it was attached by.
Result<Guest> look_at(const Context &context, GuestName &named);
// The group whose number rules the guest; the guest's own if there is none.
std::size_t ruling_group(const Context &context, const Tree &tree, const Guest &guest,
			 const std::optional<GuestRecord> &record);

// Both get the records, held, or in a dry run none.
// The threads that have come to an attached guest get what its profile gives them; if there
// was something to do, it says how many are served now.
Result<void> arrange_new_threads(const Context &context, Changes &changes, const GuestRecords *records,
				 const GuestRecord &record);
// As it was, or the record stays for another attempt.
Result<void> put_guest_back(const Context &context, Changes &changes, const GuestRecords *records,
			    const GuestRecord &record);

} // namespace dlgroup::tool
