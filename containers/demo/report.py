#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Turns what the demo measured into a table, report.json and report.html.

Every figure comes from the raw files of the run: the workload's own time stamps
and CPU clocks, and the kernel's sched_switch trace. Nothing is read back from an
earlier report.
"""

import argparse
import bisect
import gzip
import html
import json
import math
import os
import pathlib
import re
import sys

MS = 1_000_000
SCHED_DEADLINE = 6
POLICIES = {0: "SCHED_OTHER", 1: "SCHED_FIFO", SCHED_DEADLINE: "SCHED_DEADLINE"}

TITLES = {
    "cfs": "plain CFS",
    "weight": "cpu.weight 10000",
    "cpu-max": "cpu.max on the neighbour",
    "fifo": "SCHED_FIFO",
    "deadline": "SCHED_DEADLINE per thread",
    "deadline-helper": "SCHED_DEADLINE, helper too",
    "reservation": "reservation",
}
COLOURS = {
    "cfs": "#8a8f98",
    "weight": "#c9952b",
    "cpu-max": "#a8589b",
    "fifo": "#cf4a2f",
    "deadline": "#5b74d6",
    "deadline-helper": "#2b9db8",
    "reservation": "#0a8a4a",
}
STAGES = (("ctl-sense", "#7fb8e6"), ("ctl-compute", "#2f6fb3"), ("ctl-helper", "#e39a3b"), ("ctl-act", "#1d3f66"))


class BadRun(Exception):
    """The raw files are not what a whole run leaves."""


# ---- measurement ---------------------------------------------------------------------------------------------------------------

def read_trace(path):
    """(start_ns, end_ns, name) for each time one of control's processes ran."""
    pattern = re.compile(r"(\d+)\.(\d{6}): sched_switch: prev_comm=(\S+) prev_pid=(\d+) .* next_comm=(\S+) next_pid=(\d+) ")
    runs = []
    running = None
    with gzip.open(path, "rt") as lines:
        for line in lines:
            match = pattern.search(line)
            if not match:
                raise BadRun(f"{path}: not a sched_switch line: {line.strip()}")
            seconds, micros, prev_comm, prev_pid, next_comm, next_pid = match.groups()
            at_ns = int(seconds) * 1000 * MS + int(micros) * 1000
            if running and running[1] == prev_pid:
                # By the name at its end: a helper has its parent's when it begins.
                runs.append((running[0], at_ns, prev_comm))
            running = (at_ns, next_pid) if next_comm.startswith("ctl-") else None
    if not runs:
        raise BadRun(f"{path}: control never ran")
    return runs


class Supply:
    """CPU time received up to an instant."""

    def __init__(self, runs):
        self.starts = [run[0] for run in runs]
        self.ends = [run[1] for run in runs]
        self.before = [0]
        for start, end, _ in runs:
            self.before.append(self.before[-1] + end - start)

    def until(self, at_ns):
        i = bisect.bisect_right(self.starts, at_ns)
        if not i:
            return 0
        return self.before[i - 1] + min(at_ns, self.ends[i - 1]) - self.starts[i - 1]

    def least(self, backlogs, lengths):
        """For each length the least supply in a window of that length that lies wholly inside a backlog; None where none does.

        Supply is piecewise linear, so the least is found where a window begins at the end of a run or ends at the start of one."""
        result = [None] * len(lengths)
        for begin, end in backlogs:
            low = bisect.bisect_left(self.ends, begin)
            high = bisect.bisect_right(self.starts, end)
            for i, length in enumerate(lengths):
                if length > end - begin:
                    break
                last = end - length
                best = result[i]
                points = [begin, last]
                points += [at for at in self.ends[low:high] if begin <= at <= last]
                points += [at - length for at in self.starts[low:high] if begin <= at - length <= last]
                for at in points:
                    got = self.until(at + length) - self.until(at)
                    if best is None or got < best:
                        best = got
                result[i] = best
        return result


def backlogs_of(jobs):
    """The intervals in which control had a job released and not finished."""
    merged = []
    for release, _, finish in jobs:
        if merged and release <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], finish)
        else:
            merged.append([release, finish])
    return merged


def sbf(runtime, period, length):
    """What a reservation of `runtime` every `period` supplies at least in any window of `length`."""
    length -= 2 * (period - runtime)
    if length <= 0:
        return 0
    return length // period * runtime + min(runtime, length % period)


def percentile(ordered, numerator, denominator):
    """Nearest rank."""
    return ordered[-(-len(ordered) * numerator // denominator) - 1]


def read_number(path):
    return int(path.read_text())


def reservation_in(state_files):
    text = state_files.get("cpu.rt.max")
    if not text:
        return None
    runtime, period = (int(word) * 1000 for word in text.split())
    return runtime, period


def measure(directory, lengths):
    name = directory.name
    control = json.loads((directory / "control.json").read_text())
    jobs = control["jobs"]
    begin = read_number(directory / "begin_ns")
    period = control["period_ns"]
    if [job[0] for job in jobs] != [begin + i * period for i in range(len(jobs))]:
        raise BadRun(f"{name}: the jobs are not those released")
    window = len(jobs) * period
    responses = sorted(finish - release for release, _, finish in jobs)
    others = {part: json.loads((directory / f"{part}.json").read_text()) for part in ("neighbour", "background")}
    runs = read_trace(directory / "trace.gz")
    supply = Supply(runs)
    files = json.loads((directory / "files.json").read_text())
    row = {
        "name": name,
        "title": TITLES[name],
        "set_aside_ppm": 0,
        "jobs": len(jobs),
        "missed": sum(response > period for response in responses),
        "response_p50_ns": percentile(responses, 50, 100),
        "response_p99_ns": percentile(responses, 99, 100),
        "response_worst_ns": responses[-1],
        "window_ns": window,
        "control_cpu_ns": sum(stage["cpu_ns"] for stage in control["stages"]) + control["helper_cpu_ns"],
        "neighbour_cpu_ns": sum(hog["cpu_ns"] for hog in others["neighbour"]),
        "background_cpu_ns": sum(hog["cpu_ns"] for hog in others["background"]),
        "period_ns": period,
        "demand_ns": control["demand_ns"],
        "helpers": control["helpers"],
        "cgroup_files": files,
        "containers": {part: container(directory, part) for part in ("control", "neighbour")},
    }
    if row["response_worst_ns"] <= 0 or row["control_cpu_ns"] <= 0:
        raise BadRun(f"{name}: nothing was measured")
    describe(row, control)
    row["cpu_stat"] = {path.name: path.read_text().splitlines() for path in sorted(directory.glob("*.stat"))}
    series = {
        "responses": responses,
        "runs": runs,
        "begin": begin,
        "jobs": jobs,
        "least": supply.least(backlogs_of(jobs), lengths),
        "supply": supply,
    }
    return row, series


def describe(row, control):
    """What was set aside and how, from what the kernel and the workload said."""
    name = row["name"]
    files = row["cgroup_files"]
    if name in ("deadline", "deadline-helper"):
        runtimes = [stage["runtime_ns"] for stage in control["stages"]]
        if not control["fork_refused"]:
            raise BadRun(f"{name}: fork() of a SCHED_DEADLINE thread was not refused")
        each = " + ".join(f"{ns / MS:g}" for ns in runtimes)
        how = f"worst cases {each} ms every {row['period_ns'] // MS} ms, admitted; fork() returned {control['fork_error']}"
        if name == "deadline":
            how += "; with reset-on-fork it works, the helper is SCHED_OTHER and waits behind the hogs"
        else:
            runtimes.append(control["helper_runtime_ns"])
            how += (f"; with reset-on-fork the parent asks for {control['helper_runtime_ns'] / MS:g} ms more for each helper: admitted "
                    f"{control['helpers_admitted']} times, refused {control['helpers_refused']} times")
        how += ". Needs CAP_SYS_NICE in the container"
        row["set_aside_ppm"] = sum(runtimes) * 1_000_000 // row["period_ns"]
        row["fork_error"] = control["fork_error"]
        row["admitted"] = True
        row["helpers_admitted"] = control["helpers_admitted"]
        row["helpers_refused"] = control["helpers_refused"]
    elif name == "reservation":
        runtime, period = reservation_in(files["control"])
        held, held_period = reservation_in(files["neighbour"])
        row["set_aside_ppm"] = runtime * 1_000_000 // period
        row["reservation"] = {"runtime_ns": runtime, "period_ns": period}
        row["neighbour_reservation"] = {"runtime_ns": held, "period_ns": held_period}
        how = (f"cpu.rt.max: {runtime / MS:g}ms/{period / MS:g}ms for control as a whole, forks included; "
               f"{held / MS:g}ms/{held_period / MS:g}ms holds the neighbour")
    elif name == "fifo":
        how = "control at 50 to 52; the neighbour's hogs are at 70 and 80"
    elif name == "cpu-max":
        how = f"cpu.max {files['neighbour']['cpu.max']} holds the neighbour's SCHED_OTHER tasks, not its SCHED_FIFO ones"
    elif name == "weight":
        how = "the largest share there is, of what SCHED_FIFO tasks leave"
    else:
        how = "equal shares of what SCHED_FIFO tasks leave"
    row["how"] = how


def container(directory, part):
    state = json.loads((directory / f"{part}.state").read_text())
    processes = []
    for line in (directory / f"{part}.procs").read_text().splitlines():
        pid, comm, policy, priority = line.split()
        processes.append({"pid": int(pid), "name": comm, "policy": POLICIES[int(policy)], "priority": int(priority)})
    return {
        "id": state["id"],
        "status": state["status"],
        "pid": state["pid"],
        "created": state["created"],
        "cgroup": (directory / f"{part}.cgroup").read_text().strip(),
        "processes": processes,
    }


def refusal(directory):
    return {
        "asked": "12ms/20ms",
        "crun_status": read_number(directory / "third.status"),
        "crun": (directory / "third.crun").read_text().strip(),
        "dlgroup_status": read_number(directory / "third.dlgroup.status"),
        "dlgroup": (directory / "third.dlgroup").read_text().strip(),
    }


# ---- text ----------------------------------------------------------------------------------------------------------------------

def duration(ns):
    """Three significant digits are all that a table needs."""
    if ns >= 1000 * MS:
        return f"{ns / 1000 / MS:.2f} s"
    return f"{ns / MS:.2f} ms"


def percent(part, whole):
    return f"{100 * part / whole:.1f} %"


def set_aside(row):
    return percent(row["set_aside_ppm"], 1_000_000) if row["set_aside_ppm"] else "none"


HEADINGS = ("scenario", "CPU set aside", "jobs", "missed", "p99", "worst", "left to neighbour", "to background")


def cells(row):
    return (row["title"], set_aside(row), str(row["jobs"]), str(row["missed"]), duration(row["response_p99_ns"]),
            duration(row["response_worst_ns"]), percent(row["neighbour_cpu_ns"], row["window_ns"]),
            percent(row["background_cpu_ns"], row["window_ns"]))


def text_table(rows):
    lines = [HEADINGS] + [cells(row) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    out = []
    for number, line in enumerate(lines):
        out.append("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                             for i, (cell, width) in enumerate(zip(line, widths))).rstrip())
        if number == 0:
            out.append("  ".join("-" * width for width in widths))
    return "\n".join(out)


# ---- pictures ------------------------------------------------------------------------------------------------------------------

class Plot:
    """An SVG with one pair of axes."""

    width, height = 1000, 400
    left, right, top, bottom = 64, 28, 18, 52

    def __init__(self, x_range, y_range, x_label, y_label, log_x=False):
        self.log_x = log_x
        self.x_range = tuple(math.log10(x) for x in x_range) if log_x else x_range
        self.y_range = y_range
        self.parts = []
        self.label(self.width / 2 + 24, self.height - 8, x_label, "axis", "middle")
        self.parts.append(f'<text class="axis" text-anchor="middle" transform="translate(14 {self.height / 2 - 16:.0f}) rotate(-90)">'
                          f'{html.escape(y_label)}</text>')

    def x(self, value):
        low, high = self.x_range
        value = math.log10(value) if self.log_x else value
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def y(self, value):
        low, high = self.y_range
        return self.height - self.bottom - (value - low) / (high - low) * (self.height - self.top - self.bottom)

    def label(self, x, y, text, kind="tick", anchor="start"):
        self.parts.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>')

    def x_tick(self, value, text, line="grid"):
        x = self.x(value)
        self.parts.append(f'<line class="{line}" x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{self.height - self.bottom}"/>')
        self.label(x, self.height - self.bottom + 18, text, "tick", "middle")

    def y_tick(self, value, text):
        y = self.y(value)
        self.parts.append(f'<line class="grid" x1="{self.left}" x2="{self.width - self.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        self.label(self.left - 8, y + 4, text, "tick", "end")

    def line(self, points, colour, width=2.0, dash=""):
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"{dashes} points="{path}"/>')

    def area(self, points, colour):
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self.parts.append(f'<polygon fill="{colour}" points="{path}"/>')

    def svg(self, title):
        return (f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{html.escape(title)}">'
                + "".join(self.parts) + "</svg>")


def legend(entries):
    items = []
    for colour, dash, text in entries:
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        items.append(f'<span><svg viewBox="0 0 28 8"><line x1="1" x2="27" y1="4" y2="4" stroke="{colour}" stroke-width="3"{dashes}/></svg>'
                     f"{html.escape(text)}</span>")
    return '<p class="legend">' + "".join(items) + "</p>"


def stroke(name):
    """Colour, width and dashes of a scenario's curves."""
    return COLOURS[name], 3.2 if name == "reservation" else 2.0, {"cpu-max": "7 4", "deadline-helper": "2 4"}.get(name, "")


def cdf_picture(rows, series):
    low = min(s["responses"][0] for s in series)
    high = max(s["responses"][-1] for s in series)
    x_range = (10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
    plot = Plot(x_range, (0, 1), "response time", "jobs finished within", log_x=True)
    for fraction in (0, 0.25, 0.5, 0.75, 1):
        plot.y_tick(fraction, f"{fraction * 100:.0f} %")
    decade = x_range[0]
    while decade <= x_range[1]:
        plot.x_tick(decade, f"{decade // MS} ms" if decade < 1000 * MS else f"{decade // (1000 * MS)} s")
        decade *= 10
    deadline = rows[0]["period_ns"]
    x = plot.x(deadline)
    plot.parts.append(f'<line class="deadline" x1="{x:.1f}" x2="{x:.1f}" y1="{plot.top}" y2="{plot.height - plot.bottom}"/>')
    plot.label(x + 6, plot.height - plot.bottom - 8, f"deadline, {deadline // MS} ms", "note")
    for row, data in zip(rows, series):
        responses = data["responses"]
        points = [(x_range[0], 0)]
        for i, response in enumerate(responses):
            # A step is drawn where it begins and ends; equal values need one.
            if i + 1 == len(responses) or responses[i + 1] != response:
                points += [(response, points[-1][1]), (response, (i + 1) / len(responses))]
        points.append((x_range[1], 1))
        colour, width, dash = stroke(row["name"])
        plot.line(points, colour, width, dash)
    return plot.svg("Response time distribution of each scenario") + legend(
        [(stroke(row["name"])[0], stroke(row["name"])[2], row["title"]) for row in rows])


def supply_picture(rows, series, lengths):
    period = rows[0]["period_ns"]
    bound = next((row["reservation"] for row in rows if "reservation" in row), None)
    drawn = [value for data in series for value in data["least"] if value is not None]
    if bound:
        drawn.append(sbf(bound["runtime_ns"], bound["period_ns"], lengths[-1]))
    top = max(5 * MS, -(-max(drawn) // MS) * MS)
    plot = Plot((0, lengths[-1]), (0, top), "length of the window", "CPU time received")
    for ms in range(0, lengths[-1] // MS + 1, 5):
        plot.x_tick(ms * MS, f"{ms} ms")
    for ms in range(0, top // MS + 1):
        plot.y_tick(ms * MS, f"{ms} ms")
    entries = []
    if bound:
        points = [(length, sbf(bound["runtime_ns"], bound["period_ns"], length)) for length in lengths]
        plot.area(points + [(lengths[-1], 0), (0, 0)], "#0a8a4a1c")
        plot.line(points, "#0a8a4a", 1.6, "6 4")
        entries.append(("#0a8a4a", "6 4", f"sbf of {bound['runtime_ns'] / MS:g}ms/{bound['period_ns'] / MS:g}ms: promised in any window"))
        x, y = plot.x(period), plot.y(sbf(bound["runtime_ns"], bound["period_ns"], period))
        plot.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#0a8a4a"/>')
        plot.label(x - 8, y - 8, f"sbf({period // MS} ms) = {sbf(bound['runtime_ns'], bound['period_ns'], period) / MS:g} ms", "note", "end")
    demand = rows[0]["demand_ns"]
    y = plot.y(demand)
    plot.parts.append(f'<line class="deadline" x1="{plot.left}" x2="{plot.width - plot.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
    plot.label(plot.left + 6, y - 6, f"what a job needs, {demand / MS:g} ms", "note")
    for row, data in zip(rows, series):
        points = [(length, got) for length, got in zip(lengths, data["least"]) if got is not None]
        colour, width, dash = stroke(row["name"])
        plot.line(points, colour, width, dash)
        entries.append((colour, dash, f"{row['title']}: least received"))
    return plot.svg("Least supply received in any window against the supply bound function") + legend(entries)


def timeline_picture(rows, series):
    """The first jobs released after the neighbour's hogs began to storm."""
    period = rows[0]["period_ns"]
    span = 4 * period
    label, right, lane, gap, top = 216, 28, 22, 14, 24
    width = 1000
    height = top + len(rows) * (lane + gap) + 26
    parts = []

    def x(ns):
        return label + ns / span * (width - label - right)

    for number, (row, data) in enumerate(zip(rows, series)):
        y = top + number * (lane + gap)
        start = data["begin"] + data["storm"]
        parts.append(f'<rect class="lane" x="{label}" y="{y}" width="{width - label - right}" height="{lane}" rx="2"/>')
        weight = ' font-weight="600"' if row["name"] == "reservation" else ""
        parts.append(f'<text class="tick"{weight} text-anchor="end" x="{label - 10}" y="{y + lane - 6}">{html.escape(row["title"])}</text>')
        first = max(0, bisect.bisect_left(data["supply"].ends, start))
        for begin, end, name in data["runs"][first:]:
            if begin >= start + span:
                break
            left, right_edge = x(max(begin - start, 0)), x(min(end - start, span))
            colour = dict(STAGES).get(name, "#888")
            parts.append(f'<rect x="{left:.2f}" y="{y}" width="{max(right_edge - left, 0.3):.2f}" height="{lane}" fill="{colour}"/>')
    for i in range(5):
        parts.append(f'<line class="deadline" x1="{x(i * period):.1f}" x2="{x(i * period):.1f}" y1="{top - 6}" y2="{height - 24}"/>')
        parts.append(f'<text class="tick" text-anchor="middle" x="{x(i * period):.1f}" y="{height - 8}">{i * period // MS} ms</text>')
    swatches = "".join(f'<span><svg viewBox="0 0 28 8"><rect width="28" height="8" fill="{colour}"/></svg>{name[4:]}</span>'
                       for name, colour in STAGES)
    return (f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="When control ran">' + "".join(parts) + "</svg>"
            + f'<p class="legend">{swatches}</p>')


# ---- the page ------------------------------------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light; --ink: #1c2430; --soft: #5b6675; --line: #dfe4ea; --good: #0a8a4a; --bad: #b3341e; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1060px; padding: 40px 30px 60px; color: var(--ink); background: #fff;
  font: 16px/1.55 "Inter", "Segoe UI", "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 10px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 44px 0 6px; }
p { margin: 6px 0 12px; max-width: 76ch; }
.lead { font-size: 18px; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 15px; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; font-size: 13px; color: var(--soft); padding: 8px 10px; border-bottom: 2px solid var(--ink);
  vertical-align: bottom; }
td { text-align: right; padding: 9px 10px; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; width: 36%; }
td small { display: block; color: var(--soft); font-size: 12.5px; line-height: 1.4; }
tr.ours td { background: #eaf6ef; border-bottom-color: #bfe2cd; }
tr.ours td:first-child { padding-left: 10px; }
.title { font-weight: 600; }
.dot { display: inline-block; width: 9px; height: 9px; border-radius: 5px; margin-right: 8px; }
.bar { display: block; height: 4px; margin-top: 4px; border-radius: 2px; background: #f3d9d3; min-width: 70px; }
.bar i { display: block; height: 4px; border-radius: 2px; background: var(--bad); }
.missed { color: var(--bad); font-weight: 600; } .none { color: var(--good); font-weight: 600; }
figure { margin: 10px 0 0; } svg { display: block; width: 100%; height: auto; }
svg .grid { stroke: #e8ecf1; } svg .deadline { stroke: #6d7785; stroke-width: 1; stroke-dasharray: 3 3; } svg .lane { fill: #f2f4f7; }
svg text { font: 13px "Inter", "Segoe UI", "DejaVu Sans", Arial, sans-serif; fill: #5b6675; } svg .note { fill: #1c2430; font-size: 12.5px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 13.5px; color: var(--soft); max-width: none; margin: 8px 0 0 8px; }
.legend span { white-space: nowrap; } .legend svg { display: inline-block; width: 28px; height: 8px; margin-right: 7px; }
pre { background: #17202b; color: #e8edf3; padding: 14px 18px; border-radius: 6px; overflow-x: auto; white-space: pre-wrap;
  font: 13.5px/1.55 "DejaVu Sans Mono", Menlo, Consolas, monospace; } pre b { color: #8fd6ae; font-weight: 400; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; font-size: 13.5px; }
dt { color: var(--soft); } dd { margin: 0; font-family: "DejaVu Sans Mono", Menlo, monospace; font-size: 12.5px; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 26px; } .pair h3 { font-size: 16px; margin: 8px 0 2px; }
.pair table { font-size: 13.5px; } .pair td, .pair th { padding: 4px 8px; } .pair td:first-child { width: auto; }
@media (max-width: 720px) { .pair { grid-template-columns: 1fr; } body { padding: 24px 16px; } }
"""


def table_html(rows):
    out = ["<table><thead><tr>", *(f"<th>{html.escape(text)}</th>" for text in HEADINGS), "</tr></thead><tbody>"]
    for row in rows:
        values = list(map(html.escape, cells(row)))
        values[0] = (f'<span class="dot" style="background:{COLOURS[row["name"]]}"></span><span class="title">{values[0]}</span>'
                     f"<small>{html.escape(row['how'])}</small>")
        share = 100 * row["missed"] / row["jobs"]
        values[3] = (f'<span class="{"missed" if row["missed"] else "none"}">{row["missed"]}</span>'
                     f'<span class="bar"><i style="width:{share:.1f}%"></i></span>')
        late = "missed" if row["response_worst_ns"] > row["period_ns"] else "none"
        values[5] = f'<span class="{late}">{values[5]}</span>'
        out.append(f'<tr class="{"ours" if row["name"] == "reservation" else ""}">' + "".join(f"<td>{value}</td>" for value in values) + "</tr>")
    return "".join(out) + "</tbody></table>"


def container_html(one, cgroup_files):
    files = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in sorted(cgroup_files.items()))
    processes = "".join(f"<tr><td>{html.escape(p['name'])}</td><td>{p['pid']}</td><td>{p['policy']}</td><td>{p['priority']}</td></tr>"
                        for p in one["processes"])
    return (f"<div><h3>{html.escape(one['id'])}</h3><dl><dt>crun state</dt><dd>{html.escape(one['status'])}, pid {one['pid']}, "
            f"created {html.escape(one['created'])}</dd><dt>cgroup</dt><dd>{html.escape(one['cgroup'])}</dd>{files}</dl>"
            f"<table><thead><tr><th>process</th><th>pid</th><th>policy</th><th>priority</th></tr></thead><tbody>{processes}</tbody></table></div>")


def refusal_html(refused):
    return (f"<pre><b># crun create third     (cpu.rt.max: 12000 20000)</b>\n{html.escape(refused['crun'])}\n"
            f"<b># echo $?</b>\n{refused['crun_status']}\n"
            f"<b># dlgroup set /third 12ms/20ms</b>\n{html.escape(refused['dlgroup'])}\n"
            f"<b># echo $?</b>\n{refused['dlgroup_status']}</pre>")


def page(report, rows, series, lengths):
    period, demand = rows[0]["period_ns"], rows[0]["demand_ns"]
    body = [
        "<h1>What a guaranteed CPU budget is worth</h1>",
        f'<p class="lead">Two containers share one CPU. <i>control</i> is a pipeline of three processes that needs {demand / MS:g} ms of '
        f"CPU time every {period / MS:g} ms and forks a helper in each job; <i>neighbour</i> misbehaves. The same workload ran under each "
        "scheduler setting; a job is missed when it ends after the next is released.</p>",
        f'<div class="scroll">{table_html(rows)}</div>',
        "<p>“Set aside” is bandwidth that the kernel admitted for control alone. “Left” is the CPU time that the neighbour and an ordinary "
        "background process received while the jobs ran.</p>",
        "<h2>How long a job took</h2>",
        "<p>Share of the jobs that were finished within a response time. A curve that has not reached 100 % at the dashed line belongs to a "
        "control loop that missed deadlines.</p>",
        f"<figure>{cdf_picture(rows, series)}</figure>",
        "<h2>CPU time received, against what was promised</h2>",
        "<p>The least CPU time that control received in any window of a given length in which it always had work, from the kernel’s "
        "<code>sched_switch</code> trace. The promise holds less the latency of a timer interrupt and the other servers’ overruns. "
        "A curve ends at the longest such window there was.</p>",
        f"<figure>{supply_picture(rows, series, lengths)}</figure>",
    ]
    if report["supply"]:
        margin, at = report["supply"]["least_margin_ns"], report["supply"]["least_margin_at_ns"]
        body.append(f"<p>Where the reservation promises anything, it was nearest to its promise in windows of {at / MS:g} ms: "
                    f"{abs(margin) / MS:.3f} ms {'more' if margin >= 0 else 'less'} than sbf.</p>")
    body += [
        "<h2>Who ran when the storm began</h2>",
        "<p>The 80 ms after the neighbour’s SCHED_FIFO hogs first began to take all they could get. A job is released at each dashed line; "
        "the blocks are control’s processes.</p>",
        f"<figure>{timeline_picture(rows, series)}</figure>",
    ]
    if report["refusal"]:
        body += [
            "<h2>A third container asks for more than is left</h2>",
            "<p>The kernel refuses it, so crun does not start it; the sentence of dlgroup says which rule, what was asked, what is free and what would fit.</p>",
            refusal_html(report["refusal"]),
        ]
    last = rows[-1]
    body += [
        f"<h2>The containers</h2><p>Started by crun; as they were in the scenario “{html.escape(last['title'])}”.</p>",
        '<div class="pair">', *(container_html(last["containers"][part], last["cgroup_files"][part]) for part in ("control", "neighbour")), "</div>",
        "<h2>Where this was measured</h2>",
        "<p>In QEMU with <code>-icount</code>: guest time is counted instructions, so the figures repeat on any host; they say nothing about "
        "hardware latency.</p><dl>",
        *(f"<dt>{html.escape(name.replace('_', ' '))}</dt><dd>{html.escape(str(value))}</dd>" for name, value in report["machine"].items()),
        "</dl>",
    ]
    return ('<!DOCTYPE html>\n<!-- SPDX-License-Identifier: GPL-2.0-only -->\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><title>dlgroup: the demo</title>'
            f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n")


# ---- everything ----------------------------------------------------------------------------------------------------------------

def supply_verdict(rows, series, lengths):
    for row, data in zip(rows, series):
        if "reservation" not in row:
            continue
        bound = row["reservation"]
        margins = []
        for length, got in zip(lengths, data["least"]):
            promised = sbf(bound["runtime_ns"], bound["period_ns"], length)
            # In a window that may be a blackout nothing is promised.
            if got is not None and promised:
                margins.append((got - promised, length))
        if not margins:
            return None
        margin, at = min(margins)
        return {"windows": len(margins), "longest_ns": margins[-1][1], "least_margin_ns": margin, "least_margin_at_ns": at}
    return None


def write(path, text):
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=pathlib.Path, help="what the guest left in /out")
    parser.add_argument("out", type=pathlib.Path, help="where report.json and report.html go")
    parser.add_argument("--fact", action="append", default=[], metavar="NAME=VALUE", help="a line for 'where this was measured'")
    options = parser.parse_args()
    try:
        machine = dict(fact.split("=", 1) for fact in options.fact)
        for name in ("release", "cmdline", "cmdline_sha256", "initramfs_sha256"):
            machine[name] = (options.raw / name).read_text().strip()
        lengths = list(range(0, 25 * MS + 1, MS // 4))
        rows, series = [], []
        for name in (options.raw / "scenarios").read_text().split():
            row, data = measure(options.raw / name, lengths)
            data["storm"] = read_number(options.raw / "storm_ns")
            rows.append(row)
            series.append(data)
        refused = options.raw / "reservation"
        report = {
            "schema_version": 1,
            "machine": machine,
            "rows": rows,
            "supply": supply_verdict(rows, series, lengths),
            "refusal": refusal(refused) if refused.is_dir() else None,
        }
        write(options.out / "report.json", json.dumps(report, indent=1) + "\n")
        write(options.out / "report.html", page(report, rows, series, lengths))
    except (BadRun, OSError, ValueError, KeyError) as error:
        print(f"demo: the report cannot be made: {error}", file=sys.stderr)
        return 1
    print(text_table(rows))
    if report["refusal"]:
        print(f"\nA third container asks for {report['refusal']['asked']}:\n{report['refusal']['crun']}\n{report['refusal']['dlgroup']}")
    for row in rows:
        if row["name"] == "reservation" and row["missed"]:
            print(f"demo: control missed {row['missed']} of {row['jobs']} deadlines with its reservation", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
