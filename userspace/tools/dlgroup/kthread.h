// SPDX-License-Identifier: GPL-2.0-only
// What irq and net share: threads of the kernel are attached and put back.
#pragma once

#include "common.h"

#include <set>

#include <dlgroup/kthread_record.h>
#include <dlgroup/net.h>

namespace dlgroup::tool {

// TARGET, which has to have a reservation or be in one.
struct Served : Target {
	std::size_t source = 0; // whose servers they are
};
Result<Served> find_served(const Context &context);

// Reasons not to attach the threads of `object`.
Result<void> check_movable(const Context &context, const std::string &object,
			   const std::vector<Task> &threads);
// Refused, unless --shared: `reason` is who else has an advantage of them.
Result<void> check_shared(const Context &context, const Served &served, const std::string &object,
			  const std::string &reason);
// Who of the users is not in the group, as such a reason; empty if nobody is.
std::string users_outside(const Served &served, const Users &users);
std::string users_besides(const Served &served, const Interface &interface,
			  const std::vector<NetNamespace> &namespaces);

// What was attached.
struct Attached {
	std::string record; // its name
	std::string object; // in messages
	std::string name;   // on the command line
	Json named;	    // in JSON
};

// The group that a record says they are attached to, unless it is of threads that are gone.
std::optional<std::string> attached_to(const Context &context, const std::string &kind, const std::string &name,
				       const std::vector<Task> &threads);

// All of it is done or nothing, also by a later process.
class KernelThreads {
public:
	// Waits until nobody else attaches or detaches; a dry run waits for nobody.
	static Result<KernelThreads> open(const Context &context, const std::string &kind);

	Result<void> check_not_attached(const Attached &what, const std::vector<Task> &threads) const;
	// What is recorded, before it is touched, is put back by undo().
	Result<void> record(const std::string &name, const std::string &group,
			    const std::vector<Task> &threads,
			    const std::optional<InterfaceState> &interface = {});
	Result<void> write(const std::filesystem::path &file, const std::string &text);
	// Those in `born` have been made just now.
	Result<void> move(const std::string &group, const std::string &object,
			  const std::vector<Task> &threads, const std::optional<Policy> &policy,
			  const std::set<pid_t> &born = {});
	void tell(const std::string &step) { steps_.push_back(step); }
	tl::unexpected<Error> undo(const Error &error);

	// The verb: all that a record knows of is put back.
	Result<int> detach(const std::vector<Attached> &all);

	const std::vector<std::string> &steps() const { return steps_; }

private:
	KernelThreads(const Context &context, std::string kind) : context_(context), kind_(std::move(kind)) {}
	Result<std::optional<KernelThreadRecord>> recorded(const std::string &name) const;
	std::vector<std::string> put_back(const KernelThreadRecord &record);

	const Context &context_;
	std::string kind_;
	std::optional<KernelThreadRecords> records_; // none in a dry run
	std::vector<std::pair<std::string, KernelThreadRecord>> recorded_;
	std::vector<std::string> steps_;
};

} // namespace dlgroup::tool
