#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cts.py on a suite of our own that passes, fails, skips, crashes, hangs and lies (cts/fake_suite.py)."""

import contextlib
import io
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import cts  # noqa: E402

SECONDS = 3  # what a sub-test of the fake suite may take
ALL = {"pass_one": "pass", "fail_one": "fail", "skip_one": "skip", "crash_one": "crash", "pass_two": "pass",
       "hang_one": "timeout", "exit_one": "crash", "silent_one": "pass", "old_one": "skip", "torn_one": "crash",
       "late_one": "fail", "pass_three": "pass"}


class Fake(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="arax-test-cts-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.bin = os.path.join(self.folder, "bin")
        os.mkdir(self.bin)
        os.symlink(os.path.join(HERE, "cts", "fake_suite.py"), os.path.join(self.bin, "fake"))
        self.journal = os.path.join(self.folder, "journal")
        self.environment = {**os.environ, "FAKE_JOURNAL": self.journal}
        os.environ["FAKE_JOURNAL"] = self.journal
        self.addCleanup(os.environ.pop, "FAKE_JOURNAL", None)
        os.environ.pop("ARAX_PRELOAD", None)  # a sanitizer for Arax, which is not here

    def journaled(self):
        try:
            with open(self.journal, encoding="ascii") as file:
                return file.read().split("\n")[:-1]
        except FileNotFoundError:
            return []

    def run_suite(self, names, *arguments, binary="fake", **environment):
        suite = cts.Suite("fake", binary, list(arguments), environment, SECONDS)
        with open(os.path.join(self.folder, "log"), "wb") as log:
            return cts.run_suite(suite, names, self.bin, self.environment, log)

    def assert_gone(self, pid):
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        self.addCleanup(os.close, fd)
        self.assertTrue(select.select([fd], [], [], 20)[0], "its child is still there")

    def states(self, results):
        return {name: result.state for name, result in results.items()}

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def main(self, selection, expected="", native="", arguments=(), suites="fake 3 fake\nabsent 3 absent\n"):
        """cts.py as from the command line: its exit status, report and JUnit tree."""
        out = os.path.join(self.folder, "out")
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = cts.main(["--cts", self.bin, "--tier", self.write("tier", selection), "--out", out,
                               "--expected", self.write("expected", expected), "--native-record",
                               self.write("native", native), "--suites", self.write("suites", suites),
                               "--vendors-arax", "/nonexistent", *arguments])
        report, tree = "", None
        if os.path.exists(f"{out}/report.md"):
            with open(f"{out}/report.md", encoding="utf-8") as file:
                report = file.read()
            tree = xml.etree.ElementTree.parse(f"{out}/junit.xml").getroot()
        return status, report, tree


class Running(Fake):
    def test_every_outcome_and_restarts(self):
        results = self.run_suite(["*"])
        self.assertEqual(self.states(results), ALL)
        begun = [line for line in self.journaled() if not line.startswith("child")]
        # silent_one has a result only in a file that the process of torn_one did not come to write.
        self.assertEqual(sorted(begun), sorted([*ALL, "silent_one"]), "each runs once, whatever became of others")
        self.assertGreaterEqual(results["hang_one"].seconds, SECONDS)
        self.assertLess(results["pass_three"].seconds, SECONDS)
        self.assertIn("exit status -11", results["crash_one"].output)
        self.assertIn("exit status 3", results["exit_one"].output)
        self.assertEqual(results["pass_two"].output, "")

    def test_what_hangs_is_ended_with_its_children(self):
        self.assertEqual(self.states(self.run_suite(["hang_one"])), {"hang_one": "timeout"})
        self.assert_gone(int(self.journaled()[-1].split()[1]))

    def test_selection(self):
        names = ["pass_two", "no_such", "pass_one", "pass_one"]
        self.assertEqual(self.states(self.run_suite(names)),
                         {"no_such": "missing", "pass_two": "pass", "pass_one": "pass"})
        left_out = ["*", *(f"-{name}" for name in ALL if name != "fail_one")]
        self.assertEqual(self.states(self.run_suite(left_out)), {"fail_one": "fail"})

    def test_a_binary_without_list(self):
        self.assertEqual(self.states(self.run_suite(["pass_one"], FAKE_OLD="1")), {"pass_one": "pass"})

    def test_a_sole_subtest_is_not_named(self):
        self.assertEqual(self.states(self.run_suite(["*"], FAKE_SOLE="1")), {"sole_one": "pass"})
        self.assertEqual(self.journaled(), ["sole_one"])

    def test_dies_before_its_first_subtest(self):
        results = self.run_suite(["pass_one", "pass_two"], "dies")
        self.assertEqual(self.states(results), {"pass_one": "notrun", "pass_two": "notrun"})
        self.assertIn("no platform", results["pass_one"].output)
        self.assertEqual(self.journaled(), ["dies"], "it is not started for ever")

    def test_dies_after_its_last_subtest(self):
        results = self.run_suite(["pass_one", "pass_two"], "dies_at_exit")
        self.assertEqual(self.states(results), {"pass_one": "pass", "pass_two": "pass", "(exit)": "crash"})

    def test_results_without_a_line(self):
        self.assertEqual(self.states(self.run_suite(["pass_one", "crash_one"], "skips_all")),
                         {"pass_one": "skip", "crash_one": "skip"})

    def test_not_built(self):
        self.assertEqual(self.states(self.run_suite(["pass_one"], binary="absent")), {"pass_one": "notrun"})
        self.assertEqual(self.states(self.run_suite(["*"], binary="absent")), {"*": "notrun"})


class Judging(Fake):
    def test_nothing_unexpected(self):
        status, report, tree = self.main("fake pass_one skip_one fail_one\n", "fake fail_one fail,crash it | must\n",
                                         "fake pass pass_one\nfake fail fail_one\n")
        self.assertEqual(status, 0)
        self.assertIn("Nothing unexpected", report)
        self.assertIn("| fake | fail_one | fail | fail | it \\| must |", report)
        self.assertIn("| fake | 1 pass, 1 fail, 1 unknown | 1 pass, 1 fail, 1 skip |", report)
        suite = tree.find("testsuite")
        self.assertEqual([suite.get(key) for key in ("tests", "failures", "skipped")], ["3", "0", "2"])
        self.assertIn("it | must", suite.find("testcase[@name='fail_one']/skipped").get("message"))

    def test_unexpected(self):
        for selection, expected, native in (
                ("fake fail_one\n", "", "fake fail fail_one\n"),  # native fails too: still to be named
                ("fake crash_one\n", "fake crash_one fail another state\n", ""),
                ("fake skip_one\n", "", "fake pass skip_one\n"),  # native has it
                ("fake no_such\n", "", ""), ("absent *\n", "", "")):
            with self.subTest(selection=selection):
                status, report, tree = self.main(selection, expected, native)
                self.assertEqual(status, 1)
                self.assertIn("**1 unexpected.**", report)
                self.assertEqual(tree.find("testsuite").get("failures"), "1")
                self.assertEqual(len(tree.findall(".//failure")), 1)

    def test_better_than_native(self):
        status, report, _ = self.main("fake pass_one pass_two\n", "", "fake crash pass_one\n")
        self.assertEqual(status, 0)
        self.assertIn("## Better than native\n\n| suite | sub-test | native |\n|---|---|---|\n"
                      "| fake | pass_one | crash |\n", report)

    def test_native_run_beside(self):
        status, report, _ = self.main("fake pass_one skip_one\n", "", "fake fail pass_one\n",
                                      ["--native", "/nonexistent"])
        self.assertEqual(status, 0)
        self.assertIn("| fake | pass_one | pass | pass |", report)
        self.assertIn("| fake | skip_one | skip | skip |", report)

    def test_filters(self):
        status, report, _ = self.main("fake *\nabsent *\n", "", "", ["--suite", "fa.*", "--filter", "^pass_t"])
        self.assertEqual(status, 0)
        self.assertIn("2 sub-tests", report)

    def test_resume(self):
        selection = "fake pass_one fail_one crash_one\n"
        self.assertEqual(self.main(selection)[0], 1)
        self.assertEqual(self.journaled(), ["pass_one", "fail_one", "crash_one"])
        os.unlink(self.journal)
        self.main("absent pass_one\n", arguments=["--resume"])  # another suite: this one is not forgotten
        self.assertEqual(self.journaled(), [])
        status, report, _ = self.main(selection + "fake pass_two\n", arguments=["--resume"])
        self.assertEqual(status, 1)
        self.assertEqual(self.journaled(), ["fail_one", "crash_one", "pass_two"], "what was not in order is run again")
        self.assertIn("4 sub-tests", report)
        self.assertIn("2 pass, 1 fail, 1 crash", report)

    def test_ended_by_a_signal(self):
        out = os.path.join(self.folder, "out")
        command = [sys.executable, os.path.join(HERE, "cts.py"), "--cts", self.bin, "--out", out,
                   "--tier", self.write("tier", "fake pass_one hang_one\nlater *\n"), "--vendors-arax", "/nonexistent",
                   "--suites", self.write("suites", "fake 60 fake\nlater 60 fake\n")]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            self.addCleanup(process.kill)
            deadline = time.monotonic() + 20
            while not any(line.startswith("child") for line in self.journaled()) and time.monotonic() < deadline:
                time.sleep(0.01)
            child = int(self.journaled()[-1].split()[1])
            group = os.getpgid(child)
            process.send_signal(signal.SIGTERM)
            try:
                self.assertEqual(process.wait(20), 128 + signal.SIGTERM)
            except BaseException:
                os.killpg(group, signal.SIGKILL)
                raise
        self.assert_gone(child)
        self.assertEqual(self.states(cts.load_results(f"{out}/arax.json")), {("fake", "pass_one"): "pass"},
                         "who was through is known, nobody else is blamed or begun")

    def test_what_cannot_run(self):
        for selection, expected, native, suites in (
                ("nobody *\n", "", "", "fake 3 fake\n"), ("fake\n", "", "", "fake 3 fake\n"),
                ("fake *\n", "fake pass_one fail\n", "", "fake 3 fake\n"),
                ("fake *\n", "fake pass_one odd reason\n", "", "fake 3 fake\n"),
                ("fake *\n", "", "fake odd pass_one\n", "fake 3 fake\n"),
                ("fake *\n", "", "", "fake 3 fake\nfake 3 fake\n"), ("fake *\n", "", "", "fake soon fake\n")):
            with self.subTest(selection=selection, expected=expected):
                self.assertEqual(self.main(selection, expected, native, suites=suites)[0], 2)
        self.assertEqual(self.main("fake *\n", arguments=["--cts", "/nonexistent"])[0], 77)


class OwnFiles(unittest.TestCase):
    """The files in cts/ can be read and agree with each other."""

    def test_files(self):
        suites = cts.read_suites(os.path.join(cts.DATA, "suites.txt"))
        tiers = [cts.read_selection(os.path.join(cts.DATA, f"tier{n}.txt"), suites) for n in (1, 2, 3)]
        self.assertEqual(sum(len(names) for names in tiers[0].values()), 348)
        self.assertFalse(set(tiers[1]) & set(tiers[2]))
        native = cts.read_record(os.path.join(cts.DATA, "native.txt"))
        for key, (states, _) in cts.read_expected(os.path.join(cts.DATA, "expected.txt")).items():
            self.assertIn(key[0], suites)
            self.assertNotIn("pass", states, key)
            self.assertFalse(key[0] in tiers[0] and key[1] in tiers[0][key[0]], f"{key}: all of tier 1 passes")
        self.assertLessEqual({suite for suite, _ in native}, set(suites))


if __name__ == "__main__":
    unittest.main()
