// SPDX-License-Identifier: GPL-2.0-only
// What the verbs of vm share.
#pragma once

#include "common.h"

#include <dlgroup/guest.h>
#include <dlgroup/guest_record.h>

namespace dlgroup::tool {

std::string name_guest(pid_t pid, const std::string &name);
Result<void> check_running(const Context &context); // only the running kernel's are changed

// Both get the records, held, or in a dry run none.
// The threads that have come to an attached guest get what its profile gives them; if there
// was something to do, it says how many are served now.
Result<void> arrange_new_threads(const Context &context, Changes &changes, const GuestRecords *records,
				 const GuestRecord &record);
// As it was, or the record stays for another attempt.
Result<void> put_guest_back(const Context &context, Changes &changes, const GuestRecords *records,
			    const GuestRecord &record);

} // namespace dlgroup::tool
