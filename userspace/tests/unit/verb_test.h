// SPDX-License-Identifier: GPL-2.0-only
// Verbs that are called on a made tree whose fakes stand for the kernel.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "made_tree.h"

namespace dlgroup::test {

class VerbTest : public ::testing::Test {
protected:
	using Verb = Result<int> (*)(const tool::Context &);

	VerbTest() : made_(MadeTree::machine()), tasks_(made_), groups_(made_)
	{
		std::filesystem::create_directories(made_.path("run"));
	}
	Roots running()
	{
		auto roots = made_.roots();
		roots.running = true;
		return roots;
	}
	Result<int> call(Verb verb)
	{
		auto roots = running();
		::testing::internal::CaptureStdout();
		::testing::internal::CaptureStderr();
		auto result = verb(tool::Context{options_, roots, groups_, tasks_});
		out_ = ::testing::internal::GetCapturedStdout();
		err_ = ::testing::internal::GetCapturedStderr();
		return result;
	}
	std::string why(const Result<int> &result)
	{
		return result ? "" : result.error().object + ": " + result.error().reason;
	}
	Task task(pid_t tid) { return read_task(made_.roots(), tid).value(); }

	// All that attach changes, in one text; and whether something is recorded.
	virtual std::string state() = 0;
	virtual bool has_record() = 0;

	// Killed after each of its steps in turn, it is put back by another process. How many
	// times it was called, the last time to its end.
	int killed_after_each_step(Verb attach, Verb detach)
	{
		auto before = state();
		int steps = 0;
		for (bool finished = false; !finished && !HasFatalFailure(); steps++)
			killed_after(steps, attach, detach, before, finished);
		return steps;
	}

	MadeTree made_;
	MadeTaskControl tasks_;
	MadeGroupControl groups_;
	tool::Options options_;
	std::string out_, err_;

private:
	void killed_after(int steps, Verb attach, Verb detach, const std::string &before, bool &finished)
	{
		pid_t child = fork();
		if (child == 0) {
			int left = steps;
			auto step = [&] {
				if (left-- == 0)
					kill(getpid(), SIGKILL);
			};
			tasks_.after_call = step;
			groups_.after_move = step;
			_exit(call(attach) ? 0 : 1);
		}
		int status = 0;
		waitpid(child, &status, 0);
		finished = WIFEXITED(status);
		ASSERT_TRUE(!finished || WEXITSTATUS(status) == 0);
		EXPECT_NE(state(), before) << steps;
		ASSERT_TRUE(has_record()) << steps;
		auto done = call(detach);
		ASSERT_TRUE(done) << why(done);
		EXPECT_EQ(state(), before) << steps;
		EXPECT_FALSE(has_record()) << steps;
	}
};

} // namespace dlgroup::test
