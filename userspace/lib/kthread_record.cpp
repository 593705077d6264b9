// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/kthread_record.h>

#include "record_json.h"

namespace dlgroup {

std::string KernelThreadRecord::to_text() const
{
	Json json = {{"group", group}, {"threads", threads_to_json(threads)}};
	if (interface)
		json["interface"] = {{"name", interface->name}, {"index", interface->index},
				     {"threaded", interface->threaded}};
	return record_text(json);
}

Result<KernelThreadRecord> KernelThreadRecord::parse(const std::string &text, const std::string &path)
{
	return parse_record(text, path, "what the threads were before", [](const Json &json) {
		KernelThreadRecord record;
		record.group = json.at("group");
		if (json.contains("interface")) {
			const auto &is = json.at("interface");
			record.interface = {is.at("name"), is.at("index"), is.at("threaded")};
		}
		record.threads = threads_from_json(json.at("threads"));
		return record;
	});
}

} // namespace dlgroup
