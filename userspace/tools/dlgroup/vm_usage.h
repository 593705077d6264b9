// SPDX-License-Identifier: GPL-2.0-only
// Reading what a guest uses, at the beginning of each period.
#pragma once

#include "vm.h"

#include <dlgroup/usage.h>

namespace dlgroup::tool {

constexpr unsigned kNeeded = 990; // which quantile of the need is reserved, per mille

// A clock whose periods begin when they should, however long a reading takes; a test has
// its own.
class PeriodTimer {
public:
	virtual ~PeriodTimer() = default;
	virtual Result<void> start(nanoseconds period) = 0;
	// The period that begins now, the first is 0; one that is over already is left out.
	// Nothing: this process is told to end.
	virtual Result<std::optional<std::uint64_t>> wait() = 0;
	virtual nanoseconds passed(std::uint64_t period) = 0; // since it began
	virtual nanoseconds tick() = 0; // of the kernel
};

class KernelTimer : public PeriodTimer {
public:
	Result<void> start(nanoseconds period) override;
	Result<std::optional<std::uint64_t>> wait() override;
	nanoseconds passed(std::uint64_t period) override;
	nanoseconds tick() override;

private:
	std::optional<Fd> timer_, end_;
	nanoseconds first_{0}, period_{0};
	std::uint64_t begun_ = 0;
};

// One guest, and where its reservation is or would be.
class MeasuredGuest {
public:
	static Result<MeasuredGuest> find(const Context &context);

	const Guest &guest() const { return guest_; }
	const std::string &group() const { return group_; }
	const std::optional<GuestRecord> &record() const { return record_; }
	const RtMax &reservation() const { return reservation_; }
	const CpuSet &cpus() const { return cpus_; } // of the group that its served threads may use

	// What all its threads have used so far. `timer` is asked when that has been read.
	Result<UsageReading> read(std::uint64_t period, PeriodTimer &timer);
	std::string name() const { return name_guest(guest_.pid, guest_.name); }

private:
	explicit MeasuredGuest(const Context &context) : context_(&context) {}
	bool is_served(const GuestThread &thread) const;
	void look_at_threads();

	const Context *context_;
	GuestName named_;
	Guest guest_;
	std::optional<GuestRecord> record_;
	std::string group_;
	RtMax reservation_;
	CpuSet cpus_;
	std::map<pid_t, GuestThread> known_;
	bool look_again_ = false;
};

// For so many periods by the clock, or until this process is told to end.
Result<Usage> measure(MeasuredGuest &guest, PeriodTimer &timer, nanoseconds period, std::uint64_t periods);

Result<int> vm_profile(const Context &context, PeriodTimer &timer);
Result<int> vm_tune(const Context &context, PeriodTimer &timer);

} // namespace dlgroup::tool
