// SPDX-License-Identifier: GPL-2.0-only
// What the records have in common, as JSON. Whoever uses it links to the JSON library.
#pragma once

#include <nlohmann/json.hpp>

#include <dlgroup/record.h>

namespace dlgroup {

using Json = nlohmann::json;

Json threads_to_json(const std::vector<ThreadState> &threads);
std::string record_text(const Json &json);

// Reading throws what parse_record() catches: this, or what the library does.
struct Damaged {};
std::vector<ThreadState> threads_from_json(const Json &json);
CpuSet cpus_from_json(const Json &json);

// `read` makes the record of the JSON; `unknown` is what nobody knows if it cannot.
template <class Read>
auto parse_record(const std::string &text, const std::string &path, const char *unknown, Read read)
	-> Result<decltype(read(Json()))>
{
	auto damaged = [&] { return fail(Status::failed, path, fmt::format("is damaged: {} is not known", unknown)); };
	try {
		return read(Json::parse(text));
	} catch (const Damaged &) {
		return damaged();
	} catch (const Json::exception &) {
		return damaged();
	}
}

} // namespace dlgroup
