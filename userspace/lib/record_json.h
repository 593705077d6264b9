// SPDX-License-Identifier: GPL-2.0-only
// What the records have in common, as JSON. Whoever uses it links to the JSON library.
#pragma once

#include <nlohmann/json.hpp>

#include <dlgroup/record.h>

namespace dlgroup {

using Json = nlohmann::json;

Json thread_to_json(const ThreadState &state);
// Nothing, or an exception of the library's, if it is damaged.
std::optional<ThreadState> thread_from_json(const Json &json);
std::string record_text(const Json &json);

} // namespace dlgroup
