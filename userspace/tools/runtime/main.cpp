// SPDX-License-Identifier: GPL-2.0-only
#include "runtime.h"

int main(int argc, char **argv)
{
	return dlgroup::runtime::main({}, {argv, argv + argc});
}
