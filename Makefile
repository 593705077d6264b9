# SPDX-License-Identifier: GPL-2.0-only
# Everything a user types. Each target is a script's work; what is built already is used as it is.

BUILD := build
prefix ?= /usr/local
JOBS ?= $(shell nproc)
export JOBS

help:
	@echo 'make demo        build all that is needed and show what a reservation is worth (about 30 minutes the first time)'
	@echo 'make test        run the tests that decide (about 45 minutes the first time)'
	@echo 'make test-debug  run the suite on a kernel with lockdep, KASAN and kmemleak'
	@echo 'make test-all    both, and the own selftests of the kernel, with the feature and without'
	@echo 'make perf        measure what reservations cost; passes and fails nothing'
	@echo 'make check       the checks that need no kernel'
	@echo
	@echo 'make deps        install with apt what is missing'
	@echo 'make kernel      build/kernel/on/arch/x86/boot/bzImage'
	@echo 'make tools       build/userspace/dlgroup'
	@echo 'make suite       build/selftests: the kernel selftests'
	@echo 'make install     the tools, their man pages and completions, to prefix=/usr/local below DESTDIR='
	@echo 'make clean       remove build/'

deps:
	scripts/deps

kernel: deps
	scripts/kernel build on

tools: deps
	cmake -S userspace -B $(BUILD)/userspace --log-level=WARNING
	cmake --build $(BUILD)/userspace -j$(JOBS)

suite: deps
	scripts/kernel suite

install: tools
	cmake --install $(BUILD)/userspace --prefix $(prefix)

demo: kernel tools
	scripts/demo

test: deps
	scripts/test all

test-debug: deps
	scripts/test debug

test-all: deps
	scripts/test all more debug

perf: deps
	scripts/kernel build on without
	scripts/kernel suite
	scripts/perf

check: deps
	scripts/test check

clean:
	rm -rf $(BUILD)

.PHONY: help deps kernel tools suite install demo test test-debug test-all perf check clean
# Stages use all CPUs themselves.
.NOTPARALLEL:
