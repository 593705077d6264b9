// SPDX-License-Identifier: GPL-2.0-only
// Integers that hold any product of two times.
#pragma once

namespace dlgroup {

// Only an extension in the eyes of -Wpedantic: every 64 bit target has them.
__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 i128;

} // namespace dlgroup
