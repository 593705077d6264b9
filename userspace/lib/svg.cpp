// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/svg.h>

#include <cstdint>

#include <fmt/format.h>

namespace dlgroup {

namespace {

constexpr double kLeft = 120, kWidth = 960, kRight = 30, kTop = 40, kBottom = 30;
constexpr unsigned kTicks = 10;

constexpr std::string_view kStyle =
	"text{font:12px sans-serif;fill:#222}.title{font-size:14px}"
	".grid{stroke:#ddd;fill:none}.run{fill:#4a7fb5}.wait{fill:#bbb}.miss{fill:#c22;stroke:#c22}"
	".mark{stroke:#222;fill:#222}.supply{stroke:#2a7;fill:none;stroke-width:2}"
	".demand{stroke:#c60;fill:none;stroke-width:2}";

// Names are any bytes: what is not printable ASCII could spoil the file.
std::string escaped(std::string_view text)
{
	std::string out;
	for (char letter : text) {
		if (letter == '<')
			out += "&lt;";
		else if (letter == '>')
			out += "&gt;";
		else if (letter == '&')
			out += "&amp;";
		else
			out += letter < ' ' || letter > '~' ? '?' : letter;
	}
	return out;
}

} // namespace

double even_step(double until, unsigned most)
{
	double step = 1;
	while (true) {
		for (int factor : {1, 2, 5})
			if (until <= step * factor * most)
				return step * factor;
		step *= 10;
	}
}

TimeChart::TimeChart(std::string_view title, nanoseconds until, double height)
    : until_(static_cast<double>(until.count())), height_(height), title_(escaped(title))
{
	auto step = even_step(until_, kTicks);
	for (double at = 0; at <= until_; at += step) {
		line({{at, 0}, {at, height_}}, "grid");
		note(at, height_ + 15, format_duration(nanoseconds(static_cast<std::int64_t>(at))));
	}
}

double TimeChart::x(double ns) const
{
	return kLeft + ns / until_ * kWidth;
}

void TimeChart::box(double from_ns, double to_ns, double top, double height, std::string_view style,
		    std::string_view tooltip)
{
	body_ += fmt::format("<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" class=\"{}\">"
			     "<title>{}</title></rect>\n",
			     x(from_ns), kTop + top, x(to_ns) - x(from_ns), height, style, escaped(tooltip));
}

void TimeChart::line(const std::vector<Point> &points, std::string_view style)
{
	body_ += fmt::format("<polyline class=\"{}\" points=\"", style);
	for (auto [ns, y] : points)
		body_ += fmt::format("{:.2f},{:.2f} ", x(ns), kTop + y);
	body_ += "\"/>\n";
}

void TimeChart::dot(const Point &at, std::string_view style, std::string_view tooltip)
{
	body_ += fmt::format("<circle cx=\"{:.2f}\" cy=\"{:.2f}\" r=\"4\" class=\"{}\"><title>{}</title></circle>\n",
			     x(at.first), kTop + at.second, style, escaped(tooltip));
}

void TimeChart::arrow(double at_ns, double top, double height, bool down, std::string_view style)
{
	auto tip = kTop + top + (down ? height : 0), side = tip + (down ? -4 : 4);
	body_ += fmt::format("<path class=\"{0}\" d=\"M{1:.2f} {2:.2f}V{3:.2f}M{1:.2f} {4:.2f}l-3 {5:.2f}h6z\"/>\n",
			     style, x(at_ns), kTop + top, kTop + top + height, tip, side - tip);
}

void TimeChart::name(double y, std::string_view text)
{
	body_ += fmt::format("<text x=\"{:.2f}\" y=\"{:.2f}\" text-anchor=\"end\">{}</text>\n", kLeft - 8,
			     kTop + y, escaped(text));
}

void TimeChart::note(double x_ns, double y, std::string_view text)
{
	body_ += fmt::format("<text x=\"{:.2f}\" y=\"{:.2f}\" text-anchor=\"middle\">{}</text>\n", x(x_ns),
			     kTop + y, escaped(text));
}

std::string TimeChart::finish() const
{
	auto width = kLeft + kWidth + kRight, height = kTop + height_ + kBottom;
	return fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
			   "viewBox=\"0 0 {0:.0f} {1:.0f}\">\n<title>{2}</title>\n<style>{3}</style>\n"
			   "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
			   "<text x=\"8\" y=\"20\" class=\"title\">{2}</text>\n{4}</svg>\n",
			   width, height, title_, kStyle, body_);
}

} // namespace dlgroup
