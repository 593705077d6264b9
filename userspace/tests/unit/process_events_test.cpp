// SPDX-License-Identifier: GPL-2.0-only
// The kernel's messages, as drivers/connector/cn_proc.c makes them.
#include <cstring>

#include <gtest/gtest.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>

#include <dlgroup/process_events.h>

namespace dlgroup {
namespace {

using Bytes = std::vector<std::byte>;

template <class T> void add(Bytes &to, const T &value)
{
	auto at = to.size();
	to.resize(at + sizeof(T));
	std::memcpy(to.data() + at, &value, sizeof(T));
}

Bytes message(const proc_event &event, __u32 from = CN_IDX_PROC)
{
	nlmsghdr header{};
	cn_msg connector{};
	header.nlmsg_len = sizeof(header) + sizeof(connector) + sizeof(event);
	header.nlmsg_type = NLMSG_DONE;
	connector.id = {from, CN_VAL_PROC};
	connector.len = sizeof(event);
	Bytes all;
	add(all, header);
	add(all, connector);
	add(all, event);
	all.resize(NLMSG_ALIGN(all.size()));
	return all;
}

proc_event made(pid_t parent, pid_t tid, pid_t tgid)
{
	proc_event event{};
	event.what = proc_event::PROC_EVENT_FORK;
	event.event_data.fork = {parent, parent, tid, tgid};
	return event;
}

TEST(ProcessEvents, AreThreadsMadeRenamedAndEnded)
{
	proc_event renamed{}, ended{}, session{};
	renamed.what = proc_event::PROC_EVENT_COMM;
	renamed.event_data.comm = {12, 10, "CPU 1/KVM"};
	ended.what = proc_event::PROC_EVENT_EXIT;
	ended.event_data.exit = {12, 10, 0, 17, 1, 1};
	session.what = proc_event::PROC_EVENT_SID;
	Bytes all;
	for (const auto &event : {made(10, 12, 10), renamed, session, ended}) {
		auto one = message(event);
		all.insert(all.end(), one.begin(), one.end());
	}
	EXPECT_EQ(parse_process_events(all), (std::vector<ProcessEvent>{
						     {ProcessEvent::made, 12, 10},
						     {ProcessEvent::renamed, 12, 10},
						     {ProcessEvent::ended, 12, 10}}));
}

TEST(ProcessEvents, OfOthersOrCutOffAreNone)
{
	EXPECT_TRUE(parse_process_events(message(made(10, 12, 10), CN_IDX_CIFS)).empty());
	auto whole = message(made(10, 12, 10));
	for (std::size_t length = 0; length < whole.size(); length++)
		EXPECT_TRUE(parse_process_events(std::span(whole).first(length)).empty()) << length;
	for (__u32 length : {0u, 3u, ~0u}) {
		auto bad = whole;
		std::memcpy(bad.data(), &length, sizeof(length));
		EXPECT_TRUE(parse_process_events(bad).empty()) << length;
	}
}

} // namespace
} // namespace dlgroup
