#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speaks as a binary of OpenCL-CTS does, for the tests of cts.py; a sub-test's name says what it does.

fake_suite.py [KIND] [--list | --help | sub-tests]     $FAKE_JOURNAL: a line for every sub-test begun
"""

import json
import os
import signal
import subprocess
import sys

SUBTESTS = ["pass_one", "fail_one", "skip_one", "crash_one", "pass_two", "hang_one", "exit_one", "silent_one",
            "old_one", "torn_one", "late_one", "pass_three"]


def say(text):
    print(text)  # as printf does: it stays in the buffer until somebody flushes


def journal(text):
    with open(os.environ["FAKE_JOURNAL"], "a", encoding="ascii") as file:
        file.write(text + "\n")


def run(name):
    """A sub-test's result for the results file, or None for one without."""
    say(f"{name}...")
    sys.stdout.flush()
    journal(name)
    # What looks like another sub-test's lines is not.
    say("pass_two passed, it is said here\nnothing...\n|<&>\x01")
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("hang"):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        journal(f"child {child.pid}")
        signal.pause()
    if name.startswith("exit"):
        sys.stdout.flush()
        os._exit(3)
    if name.startswith("torn"):
        # ends a line of its own in the middle, and the process behind it
        sys.stdout.write("torn_one pas")
        sys.stdout.flush()
        os._exit(0)
    if name.startswith("silent"):
        return "pass"
    if name.startswith("old"):
        say(f"{name} skipped (requires at least OpenCL version 9.0, but the device reports OpenCL version 3.0)")
        return "skip"
    if name.startswith("late"):  # its clFinish fails
        say(f"{name} passed")
        return "fail"
    if name.startswith("skip"):
        say(f"{name} test not supported")
        return "skip"
    say(f"{name} {'FAILED' if name.startswith('fail') else 'passed'}")
    return "fail" if name.startswith("fail") else "pass"


def main():
    arguments = sys.argv[1:]
    if "FAKE_SOLE" in os.environ:  # like test_conversions: what it is asked for are parts of its one sub-test
        if arguments and arguments[0] != "--list":
            say(f"sole_one...\nunable to parse {arguments}, skipping\nsole_one passed")
            return 0
        SUBTESTS[:] = ["sole_one"]
        arguments = arguments or SUBTESTS
    kind = arguments.pop(0) if arguments and arguments[0] in ("dies", "dies_at_exit", "skips_all") else ""
    if arguments == ["--list"] and "FAKE_OLD" not in os.environ:
        print("\n".join("\t" + name for name in SUBTESTS))
        return 0
    if arguments == ["--help"]:
        print("Usage: fake\n\tpid<num>\nOptions:\n\t-x\nTest names:\n" + "\n".join("\t" + name for name in SUBTESTS))
        return 0
    if kind == "dies":
        journal("dies")
        say("no platform")
        return 1
    unknown = [name for name in arguments if name not in SUBTESTS]
    if unknown:
        say(f"ERROR: The argument '{unknown[0]}' did not match any test names.")
        return 1
    results = {}
    for name in SUBTESTS:
        if name in arguments:
            results[name] = "skip" if kind == "skips_all" else run(name)
    with open(os.environ["CL_CONFORMANCE_RESULTS_FILENAME"], "w", encoding="ascii") as file:
        file.write('{\n\t"cmd": "fake",\n\t"args": "a \\0 that JSON does not know",\n\t"results": ' +
                   json.dumps(results) + "\n}\n")
    sys.stdout.flush()
    if kind == "dies_at_exit":
        os.kill(os.getpid(), signal.SIGABRT)
    return 1 if "fail" in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
