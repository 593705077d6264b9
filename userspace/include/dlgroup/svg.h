// SPDX-License-Identifier: GPL-2.0-only
// Pictures with time from left to right, each a file of its own that needs no
// other. They show results, they decide nothing: so here there is floating point.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dlgroup/units.h>

namespace dlgroup {

class TimeChart {
public:
	// From 0 to `until` (> 0), `height` pixels below the title.
	TimeChart(std::string_view title, nanoseconds until, double height);

	using Point = std::pair<double, double>; // ns, pixels from the top
	double height() const { return height_; }
	double until() const { return until_; }
	// `style` is one of: run, wait, miss, mark, supply, demand, grid, label.
	void box(double from_ns, double to_ns, double top, double height, std::string_view style,
		 std::string_view tooltip);
	void line(const std::vector<Point> &points, std::string_view style);
	void dot(const Point &at, std::string_view style, std::string_view tooltip);
	// An arrow: up to `top` if something arrives, down from it if something is due.
	void arrow(double at_ns, double top, double height, bool down, std::string_view style);
	// Left of the chart, or in it.
	void name(double y, std::string_view text);
	void note(double x_ns, double y, std::string_view text);
	// The whole file.
	std::string finish() const;

private:
	double x(double ns) const;

	double until_, height_;
	std::string title_;
	std::string body_;
};

// 1, 2 or 5 times a power of ten: not more than `most` steps to `until`.
double even_step(double until, unsigned most);

} // namespace dlgroup
