// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>

#include <dlgroup/svg.h>

namespace dlgroup {
namespace {

TEST(Svg, StepsAreEven)
{
	EXPECT_EQ(even_step(1, 10), 1);
	EXPECT_EQ(even_step(10, 10), 1);
	EXPECT_EQ(even_step(11, 10), 2);
	EXPECT_EQ(even_step(40, 10), 5);
	EXPECT_EQ(even_step(1e9, 10), 1e8);
}

// The same picture everywhere, and no name can break out of it.
TEST(Svg, NeedsNoOtherFile)
{
	TimeChart chart("a < b & \"c\"", std::chrono::milliseconds(10), 50);
	chart.box(0, 5e6, 10, 20, "run", "<script>");
	chart.name(10, "\xff\nt");
	auto text = chart.finish();
	EXPECT_EQ(text.find("href"), text.npos);
	EXPECT_EQ(text.find("<script"), text.npos);
	EXPECT_NE(text.find("<title>a &lt; b &amp; \"c\"</title>"), text.npos);
	EXPECT_NE(text.find("<rect x=\"120.00\" y=\"50.00\" width=\"480.00\" height=\"20.00\" class=\"run\">"
			    "<title>&lt;script&gt;</title></rect>"), text.npos);
	EXPECT_NE(text.find(">??t<"), text.npos);
	EXPECT_TRUE(text.starts_with("<svg "));
	EXPECT_TRUE(text.ends_with("</svg>\n"));
}

} // namespace
} // namespace dlgroup
