#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""oci-bundle: what it makes, and that a refused call leaves nothing. The program is that of build/containers."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = pathlib.Path(os.environ.get("OCI_BUNDLE", ROOT / "build" / "containers" / "oci-bundle"))


class Bundle(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = pathlib.Path(holder.name)
        self.bundle = self.directory / "bundle"

    def make(self, *arguments):
        return subprocess.run([PROGRAM, self.bundle, *arguments], capture_output=True, text=True, check=False)

    def config(self, *arguments):
        result = self.make("--cgroup", "/c", *arguments, "--", "sleep", "-1")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return json.loads((self.bundle / "config.json").read_text())

    def assert_refused(self, status, sentence, *arguments):
        result = self.make(*arguments)
        self.assertEqual(result.returncode, status)
        self.assertIn(sentence, result.stderr)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_reservation(self):
        config = self.config("--unified", "cpu.rt.max=1500 5000", "--unified", "cpu.weight=7", "--rtprio", "50")
        self.assertEqual(config["linux"]["resources"]["unified"], {"cpu.rt.max": "1500 5000", "cpu.weight": "7"})
        self.assertEqual(config["linux"]["cgroupsPath"], "/c")
        self.assertEqual(config["process"]["rlimits"], [{"type": "RLIMIT_RTPRIO", "soft": 50, "hard": 50}])
        self.assertEqual(config["process"]["args"], ["sleep", "-1"])
        self.assertEqual(config["process"]["capabilities"]["bounding"], [])

    def test_root_file_system(self):
        self.config("--program", str(PROGRAM))
        self.assertTrue(os.access(self.bundle / "rootfs/bin/oci-bundle", os.X_OK))
        self.assertEqual(os.readlink(self.bundle / "rootfs/bin/sh"), "busybox")

    def test_user_namespace(self):
        config = self.config("--userns")
        self.assertIn({"type": "user"}, config["linux"]["namespaces"])
        self.assertEqual(config["linux"]["uidMappings"][0]["containerID"], 0)

    def test_annotations_and_environment(self):
        config = self.config("--annotation", "a/b=c=d", "--env", "X=1", "--env", "Y=")
        self.assertEqual(config["annotations"], {"a/b": "c=d"})
        self.assertEqual(config["process"]["env"], ["PATH=/bin", "X=1", "Y="])
        self.assertEqual(self.make("--cgroup", "/d", "--annotation", "a", "--", "true").stderr,
                         "oci-bundle: --annotation: 'a' is not KEY=VALUE\n")

    def test_existing_bundle_stays(self):
        self.config()
        before = (self.bundle / "config.json").read_text()
        result = self.make("--cgroup", "/other", "--", "true")
        self.assertEqual((result.returncode, result.stderr), (1, f"oci-bundle: {self.bundle}: exists already\n"))
        self.assertEqual((self.bundle / "config.json").read_text(), before)

    def test_bad_calls(self):
        self.assert_refused(2, "no command", "--cgroup", "/c")
        self.assert_refused(2, "--cgroup is required", "--", "true")
        self.assert_refused(2, "'c' does not begin with /", "--cgroup", "c", "--", "true")
        self.assert_refused(2, "--rtprio", "--cgroup", "/c", "--rtprio", "100", "--", "true")
        self.assert_refused(2, "--cgroup-mount", "--cgroup", "/c", "--cgroup-mount", "maybe", "--", "true")
        for text in ("cpu.rt.max", "=1", "a/b=1"):
            self.assert_refused(2, f"'{text}' is not FILE=VALUE", "--cgroup", "/c", "--unified", text, "--", "true")
        for text in ("/a", "/a:b", "/a:/b:rx", "/a:/b:ro:z"):
            self.assert_refused(2, f"'{text}' is not SOURCE:DESTINATION[:ro]", "--cgroup", "/c", "--mount", text, "--", "true")

    def test_missing_program(self):
        self.assert_refused(1, "/nowhere/x: No such file or directory", "--cgroup", "/c", "--program", "/nowhere/x", "--", "true")


if __name__ == "__main__":
    unittest.main()
