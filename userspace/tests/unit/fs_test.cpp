// SPDX-License-Identifier: GPL-2.0-only
// Files that are not the kernel's: how they are opened, read and replaced.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <dlgroup/fs.h>

#include "made_tree.h"

namespace dlgroup::test {
namespace {

namespace fs = std::filesystem;

class Files : public ::testing::Test {
protected:
	Files() : made_({{"bundle/config.json", "old"}, {"secret", "x"}})
	{
		fs::create_directory_symlink("bundle", made_.path("link"));
		fs::create_symlink("../secret", made_.path("bundle/linked.json"));
	}
	std::string why(const Result<Dir> &dir) { return dir ? "" : dir.error().reason; }
	std::string why(const Result<RegularFile> &file) { return file ? "" : file.error().reason; }
	std::size_t entries()
	{
		return static_cast<std::size_t>(std::distance(fs::directory_iterator(made_.path("bundle")), {}));
	}

	MadeTree made_;
};

TEST_F(Files, StrictPathHasNoLinks)
{
	EXPECT_EQ(why(Dir::open_strictly(made_.path("bundle"))), "");
	EXPECT_EQ(why(Dir::open_strictly(made_.path("link"))), "has a symbolic link in its path");
	EXPECT_EQ(why(Dir::open_strictly(made_.path("link/."))), "has a symbolic link in its path");
	EXPECT_EQ(why(Dir::open_strictly(made_.path("nothing"))), "No such file or directory");
	EXPECT_EQ(why(Dir::open_strictly(made_.path("secret"))), "Not a directory");
	EXPECT_EQ(why(Dir::open_strictly("")), "");
	EXPECT_EQ(why(Dir::open_strictly("..")), "leads out of where it begins");
	EXPECT_EQ(why(Dir::open_strictly("/../../etc")), "leads out of where it begins");
}

TEST_F(Files, OnlyRegularFilesOfASizeAreRead)
{
	auto dir = Dir::open_strictly(made_.path("bundle"));
	ASSERT_TRUE(dir);
	auto file = dir->read_regular("config.json", 3);
	ASSERT_TRUE(file);
	EXPECT_EQ(file->text, "old");
	EXPECT_EQ(file->owner, geteuid());
	EXPECT_EQ(why(dir->read_regular("config.json", 2)), "larger than 2 bytes");
	EXPECT_EQ(why(dir->read_regular("linked.json", 9)), "has a symbolic link in its path");
	EXPECT_EQ(why(dir->read_regular("../secret", 9)), "leads out of where it begins");
	ASSERT_EQ(mkfifo(made_.path("bundle/pipe").c_str(), 0600), 0);
	EXPECT_EQ(why(dir->read_regular("pipe", 9)), "not a regular file");
	EXPECT_EQ(why(dir->read_regular(".", 9)), "not a regular file");
}

TEST_F(Files, ReplacedAsAWhole)
{
	auto dir = Dir::open_strictly(made_.path("bundle"));
	ASSERT_TRUE(dir);
	fs::permissions(made_.path("bundle/config.json"), fs::perms(0640));
	// Who has the old one open keeps it: it is not written into.
	std::ifstream before(made_.path("bundle/config.json"));
	auto count = entries();
	std::string text(200000, 'n');
	ASSERT_TRUE(dir->replace("config.json", text));
	EXPECT_EQ(made_.read("bundle/config.json"), text);
	std::string old;
	before >> old;
	EXPECT_EQ(old, "old");
	EXPECT_EQ(fs::status(made_.path("bundle/config.json")).permissions(), fs::perms(0640));
	EXPECT_EQ(entries(), count);
	// A link is replaced, not followed.
	ASSERT_TRUE(dir->replace("linked.json", "own"));
	EXPECT_EQ(made_.read("secret"), "x");
	EXPECT_EQ(made_.read("bundle/linked.json"), "own");
}

TEST_F(Files, AFailedReplaceLeavesNothing)
{
	auto dir = Dir::open_strictly(made_.path("bundle"));
	ASSERT_TRUE(dir);
	fs::create_directory(made_.path("bundle/directory"));
	auto count = entries();
	EXPECT_FALSE(dir->replace("directory", "text"));
	EXPECT_EQ(entries(), count);
}

TEST_F(Files, OnlyItsOwnerMayWrite)
{
	auto own = geteuid();
	auto check = [&](mode_t mode, uid_t owner) {
		auto done = check_written_by(RegularFile{"", own, mode}, "f", owner);
		return done ? std::string() : done.error().reason;
	};
	EXPECT_EQ(check(S_IFREG | 0644, own), "");
	EXPECT_EQ(check(S_IFREG | 0664, own), "others than its owner can write it");
	EXPECT_EQ(check(S_IFREG | 0646, own), "others than its owner can write it");
	EXPECT_EQ(check(S_IFREG | 0644, own + 1), "is another user's");
	auto dir = Dir::open(made_.path("bundle"));
	ASSERT_TRUE(dir);
	EXPECT_TRUE(dir->check_written_by(own));
	fs::permissions(made_.path("bundle"), fs::perms(0777));
	EXPECT_FALSE(dir->check_written_by(own));
}

} // namespace
} // namespace dlgroup::test
