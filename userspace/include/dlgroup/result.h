// SPDX-License-Identifier: GPL-2.0-only
// Errors travel as values. Every one names its object and a reason in words.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace dlgroup {

// The numbers are the exit status of the command.
enum class Status { ok = 0, failed = 1, bad_input = 2, refused = 3, unsupported = 4 };

struct Refusal; // admission.h

struct Error {
	Status status = Status::failed;
	std::string object;
	std::string reason;
	int sys_errno = 0;
	std::shared_ptr<const Refusal> refusal; // with Status::refused, if explained
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Status status, std::string object, std::string reason)
{
	return tl::unexpected<Error>(
		Error{status, std::move(object), std::move(reason), 0, nullptr});
}

inline tl::unexpected<Error> bad_input(std::string object, std::string reason)
{
	return fail(Status::bad_input, std::move(object), std::move(reason));
}

} // namespace dlgroup
