// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/kthread_record.h>

#include "record_json.h"

namespace dlgroup {

const ThreadState *KernelThreadRecord::find(const Task &task) const
{
	for (const auto &one : threads)
		if (is_same(one, task))
			return &one;
	return nullptr;
}

std::string KernelThreadRecord::to_text() const
{
	Json json = {{"group", group}, {"threads", Json::array()}};
	if (interface)
		json["interface"] = {{"name", interface->name}, {"index", interface->index},
				     {"threaded", interface->threaded}};
	for (const auto &one : threads)
		json["threads"].push_back(thread_to_json(one));
	return record_text(json);
}

Result<KernelThreadRecord> KernelThreadRecord::parse(const std::string &text, const std::string &path)
{
	auto damaged = [&] {
		return fail(Status::failed, path, "is damaged: what the threads were before is not known");
	};
	KernelThreadRecord record;
	try {
		auto json = Json::parse(text);
		record.group = json.at("group");
		if (json.contains("interface")) {
			const auto &is = json.at("interface");
			record.interface = {is.at("name"), is.at("index"), is.at("threaded")};
		}
		for (const auto &one : json.at("threads")) {
			auto thread = thread_from_json(one);
			if (!thread)
				return damaged();
			record.threads.push_back(*thread);
		}
	} catch (const Json::exception &) {
		return damaged();
	}
	return record;
}

} // namespace dlgroup
