#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The arithmetic of the demo's report, against values worked out by hand and against brute force."""

import gzip
import importlib.util
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "demo" / "report.py"
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("report", SCRIPT)
report = importlib.util.module_from_spec(spec)
spec.loader.exec_module(report)
MS = report.MS
US = 1000


class Sbf(unittest.TestCase):
    def test_values(self):
        for length_us, supply_us in ((0, 0), (7000, 0), (7001, 1), (8500, 1500), (12000, 1500), (12500, 2000), (20000, 4500), (23500, 6000)):
            self.assertEqual(report.sbf(1500 * US, 5000 * US, length_us * US), supply_us * US, length_us)

    def test_whole_cpu(self):
        self.assertEqual(report.sbf(5, 5, 12), 12)


class Percentile(unittest.TestCase):
    def test_nearest_rank(self):
        self.assertEqual(report.percentile(list(range(1, 101)), 99, 100), 99)
        self.assertEqual(report.percentile(list(range(1, 1001)), 99, 100), 990)
        self.assertEqual(report.percentile([7], 99, 100), 7)
        self.assertEqual(report.percentile([1, 2, 3], 50, 100), 2)


class Least(unittest.TestCase):
    def test_against_brute_force(self):
        rng = random.Random(1)
        for _ in range(50):
            runs, at = [], 0
            for _ in range(8):
                at += rng.randrange(0, 6)
                end = at + rng.randrange(1, 5)
                runs.append((at, end, "ctl-x"))
                at = end
            busy = [any(start <= t < end for start, end, _ in runs) for t in range(at + 10)]
            backlogs = [[0, at // 2], [at // 2 + 3, at + 5]]
            lengths = list(range(0, 20))
            expected = []
            for length in lengths:
                windows = [sum(busy[t:t + length]) for begin, end in backlogs for t in range(begin, end - length + 1)]
                expected.append(min(windows) if windows else None)
            self.assertEqual(report.Supply(runs).least(backlogs, lengths), expected)


class Backlogs(unittest.TestCase):
    def test_late_jobs_are_one_backlog(self):
        jobs = [[0, 0, 5], [20, 20, 45], [40, 45, 55], [60, 60, 65]]
        self.assertEqual(report.backlogs_of(jobs), [[0, 5], [20, 55], [60, 65]])


SWITCH = "  x-1  [000] d..2.  {0}: sched_switch: prev_comm={1} prev_pid={2} prev_prio=120 prev_state=R ==> next_comm={3} next_pid={4} next_prio=120\n"


class MadeRun(unittest.TestCase):
    """Three jobs, the second of them late."""

    scenario = "cfs"

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.raw = pathlib.Path(holder.name) / "raw"
        self.out = pathlib.Path(holder.name)
        row = self.raw / self.scenario
        row.mkdir(parents=True)
        for name, text in (("release", "6.12"), ("cmdline", "quiet"), ("cmdline_sha256", "0"), ("initramfs_sha256", "1"),
                           ("scenarios", f"{self.scenario}\n"), ("storm_ns", "0")):
            (self.raw / name).write_text(text)
        begin = 1000 * MS
        finishes = [begin + 4 * MS, begin + 41 * MS, begin + 60 * MS]
        jobs = [[begin + 20 * i * MS, begin + 20 * i * MS, finish] for i, finish in enumerate(finishes)]
        self.control = {"period_ns": 20 * MS, "demand_ns": 4 * MS, "fork_refused": 0, "fork_error": "", "helpers": 3, "helper_cpu_ns": MS,
                        "helpers_admitted": 0, "helpers_refused": 0, "helper_runtime_ns": 0,
                        "stages": [{"name": "ctl-act", "runtime_ns": 0, "cpu_ns": 11 * MS}], "jobs": jobs}
        (row / "begin_ns").write_text(str(begin))
        (row / "neighbour.json").write_text('[{"name":"nb","cpu_ns":30000000}]')
        (row / "background.json").write_text('[{"name":"bg","cpu_ns":6000000}]')
        (row / "files.json").write_text('{"control":{"cpu.weight":"100"},"neighbour":{"cpu.max":"max 100000"}}')
        for part in ("control", "neighbour"):
            (row / f"{part}.state").write_text('{"id":"%s","status":"running","pid":1,"created":"now"}' % part)
            (row / f"{part}.procs").write_text("1 a 1 50\n")
            (row / f"{part}.cgroup").write_text(f"/{part}\n")
        self.row = row
        self.trace = (SWITCH.format("1.000000", "nb", 9, "ctl-act", 1) + SWITCH.format("1.004000", "ctl-act", 1, "nb", 9) +
                      SWITCH.format("1.037000", "nb", 9, "ctl-act", 1) + SWITCH.format("1.041000", "ctl-act", 1, "nb", 9) +
                      SWITCH.format("1.056000", "nb", 9, "ctl-act", 1) + SWITCH.format("1.060000", "ctl-act", 1, "nb", 9))

    def run_report(self):
        (self.row / "control.json").write_text(json.dumps(self.control))
        with gzip.open(self.row / "trace.gz", "wt") as trace:
            trace.write(self.trace)
        return subprocess.run([SCRIPT, self.raw, self.out], capture_output=True, text=True, check=False)

    def read_json(self):
        return json.loads((self.out / "report.json").read_text())

    def read_page(self):
        return (self.out / "report.html").read_text()


class WholeRun(MadeRun):
    def test_figures(self):
        result = self.run_report()
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        row = self.read_json()["rows"][0]
        self.assertEqual((row["jobs"], row["missed"], row["response_p99_ns"], row["response_worst_ns"]), (3, 1, 21 * MS, 21 * MS))
        self.assertEqual((row["control_cpu_ns"], row["neighbour_cpu_ns"], row["background_cpu_ns"]), (12 * MS, 30 * MS, 6 * MS))
        self.assertIn("50.0 %", result.stdout)
        self.assertNotRegex(self.read_page(), r"https?://|<script|<link|@import|url\(")

    def assert_refused(self, sentence):
        result = self.run_report()
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, f"^demo: .*{sentence}.*\n$")
        self.assertFalse((self.out / "report.json").exists())

    def test_missing_job(self):
        del self.control["jobs"][1]
        self.assert_refused("not those released")

    def test_foreign_trace(self):
        self.trace += "CPU:0 [LOST 17 EVENTS]\n"
        self.assert_refused("not a sched_switch line")

    def test_empty_trace(self):
        self.trace = ""
        self.assert_refused("never ran")


CRUN_SAYS = "writing file `cpu.rt.max`: No space left on device"
REFUSED = "dlgroup: /third: refused (rule 1, CPU 0): asked 60.0 %, free 10.0 % of 95.0 %; fits: 2ms/20ms"


class Reservation(MadeRun):
    """The same with a reservation of 1.5 ms every 5 ms, and a third container refused."""

    scenario = "reservation"

    def setUp(self):
        super().setUp()
        (self.row / "files.json").write_text('{"control":{"cpu.rt.max":"1500 5000"},"neighbour":{"cpu.rt.max":"10000 20000"}}')
        for part, pid in (("control", 4711), ("neighbour", 4712)):
            (self.row / f"{part}.state").write_text('{"id":"%s","status":"running","pid":%d,"created":"today"}' % (part, pid))
            (self.row / f"{part}.procs").write_text(f"{pid} {part}-a 1 50\n")
        for name, text in (("third.status", "1"), ("third.crun", CRUN_SAYS), ("third.dlgroup.status", "3"), ("third.dlgroup", REFUSED)):
            (self.row / name).write_text(text + "\n")

    def in_time(self):
        begin = self.control["jobs"][0][0]
        self.control["jobs"][1][2] = begin + 40 * MS
        self.trace = self.trace.replace("1.041000", "1.040000")

    def test_missed_deadline(self):
        result = self.run_report()
        self.assertEqual((result.returncode, result.stderr), (1, "demo: control missed 1 of 3 deadlines with its reservation\n"))
        # The pictures show why.
        self.assertEqual(self.read_json()["rows"][0]["missed"], 1)
        self.assertIn("</html>", self.read_page())

    def test_last_moment_is_in_time(self):
        self.in_time()
        result = self.run_report()
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"(?m)^reservation +30\.0 % +3 +0 +20\.00 ms +20\.00 ms +50\.0 % +10\.0 %$")
        self.assertIn(f"A third container asks for 12ms/20ms:\n{CRUN_SAYS}\n{REFUSED}\n", result.stdout)

    def test_json(self):
        self.in_time()
        self.run_report()
        made = self.read_json()
        row = made["rows"][0]
        columns = ("name", "title", "set_aside_ppm", "jobs", "missed", "response_p99_ns", "response_worst_ns", "neighbour_cpu_ns",
                   "background_cpu_ns", "window_ns")
        self.assertEqual([row[column] for column in columns],
                         ["reservation", "reservation", 300000, 3, 0, 20 * MS, 20 * MS, 30 * MS, 6 * MS, 60 * MS])
        self.assertEqual(row["reservation"], {"runtime_ns": 1500 * US, "period_ns": 5 * MS})
        self.assertEqual((row["containers"]["control"]["pid"], row["containers"]["neighbour"]["cgroup"]), (4711, "/neighbour"))
        self.assertEqual(made["refusal"], {"asked": "12ms/20ms", "crun_status": 1, "crun": CRUN_SAYS,
                                           "dlgroup_status": 3, "dlgroup": REFUSED})
        self.assertGreater(made["supply"]["windows"], 0)

    def test_page(self):
        self.in_time()
        self.run_report()
        page = self.read_page()
        for title, curves in (("Response time distribution of each scenario", 1),
                              ("Least supply received in any window against the supply bound function", 2)):
            picture = re.search(f'<svg [^>]*aria-label="{title}">(.*?)</svg>', page)
            self.assertIsNotNone(picture, title)
            self.assertEqual(picture[1].count("<polyline "), curves, title)
        self.assertRegex(page, r'aria-label="Least supply .*>sbf\(20 ms\) = 4\.5 ms<')
        for part, pid in (("control", 4711), ("neighbour", 4712)):
            self.assertIn(f"<h3>{part}</h3><dl><dt>crun state</dt><dd>running, pid {pid}, created today</dd>"
                          f"<dt>cgroup</dt><dd>/{part}</dd>", page)
            self.assertIn(f"<td>{part}-a</td><td>{pid}</td><td>SCHED_FIFO</td><td>50</td>", page)
        self.assertIn(f"{REFUSED}\n<b># echo $?</b>\n3</pre>", page)


if __name__ == "__main__":
    unittest.main()
