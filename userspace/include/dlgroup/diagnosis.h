// SPDX-License-Identifier: GPL-2.0-only
// What would spoil a guarantee, told from the facts alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <dlgroup/facts.h>

namespace dlgroup {

enum class Severity {
	error,   // no reservation can work
	warning, // a guarantee is weaker than its numbers say
	note,    // worth knowing
};
std::string name_severity(Severity severity);

struct Finding {
	std::string id;
	Severity severity = Severity::warning;
	std::string object;
	std::string what;
	std::string why;
	std::string remedy;
	bool is_command = true; // the remedy can be given to a shell as it is
};

// Every id that diagnose() can report.
const std::vector<std::string> &finding_ids();
// With a group, only what concerns it and its CPUs; with `irq` also what threads of
// interrupts need to be attached.
std::vector<Finding> diagnose(const Facts &facts, const std::optional<std::string> &group,
			      bool irq = false);

// The sentence about a reservation that nothing uses, if that is so.
std::optional<std::string> nothing_served(const Tree &tree, std::size_t group,
					  const std::vector<Task> &tasks_sharing);

} // namespace dlgroup
