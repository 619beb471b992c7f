#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What conformance.escape and conformance.fault cannot show from inside the sandbox.

containment.py --bin DIR --without HELPER

That its probes can tell: with the sandbox switched off many of them succeed. That it degrades: where
the kernel lacks a mechanism the others hold, and nothing is counted as denied. That the configuration
holds: a daemon that must have walls which it cannot have serves nobody, and says why; a command that
runs for longer than it may is ended.
Exit status: 0 passed, 1 failed.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile


class Failure(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failure(message)


class Daemon:
    """A daemon with a configuration of its own; ends with the block."""

    def __init__(self, bin_dir, configuration, wrapper=()):
        self.bin = bin_dir
        self.directory = tempfile.TemporaryDirectory(prefix="arax-escape-")
        os.chmod(self.directory.name, 0o700)
        socket = os.path.join(self.directory.name, "araxd.sock")
        with open(os.path.join(self.directory.name, "arax.conf"), "w", encoding="ascii") as file:
            file.write(configuration)
        self.environment = dict(os.environ, ARAX_SOCKET=socket)
        self.environment["XDG_CACHE_HOME"] = os.path.join(self.directory.name, "cache")
        self.process = subprocess.Popen(
            [*wrapper, os.path.join(bin_dir, "araxd"), "--socket", socket, "--config", file.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=60)
        self.directory.cleanup()

    def run(self, program, *arguments):
        return subprocess.run([os.path.join(self.bin, program), *arguments], env=self.environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240)

    def until_listening(self):
        while True:  # ends with the daemon, or with the time limit of the test
            if self.run("arax", "status").returncode == 0:
                return
            check(self.process.poll() is None, "araxd has ended")


def test_probes_can_tell(bin_dir):
    with Daemon(bin_dir, "[sandbox]\nuse = off\n") as daemon:
        daemon.until_listening()
        result = daemon.run("conformance_escape")
        gave = re.findall(r"^skip \w+\.(\w+): .*; it gave (-?\d+)$", result.stdout, re.MULTILINE)
        through = [name for name, value in gave if int(value) >= 0]
        print(f"without a sandbox {len(through)} of {len(gave)} probes get through")
        if "written for x86-64" in result.stdout:
            return
        check(result.returncode == 0, result.stdout + result.stderr)
        check("nothing is denied here" in result.stdout, "the probes passed without a sandbox")
        check("DEGRADED" in daemon.run("arax", "status").stdout, "arax status does not say so")
        for name in ("open", "open_write", "proc_araxd_environ", "socket_unix", "kill_araxd", "incbin"):
            check(name in through, f"{name} is denied although nothing denies it: {gave}")
        check(len(through) >= 40, f"only {through}")


def walls(status, of):
    found = re.search(rf"^sandbox +{of}: (?:complete \(|DEGRADED, only )([\w ]+)", status, re.MULTILINE)
    check(found, status)
    return set(found.group(1).split())


def test_degraded(bin_dir, helper):
    """Each mechanism taken away."""
    with Daemon(bin_dir, "") as daemon:
        daemon.until_listening()
        daemon.run("conformance_context")
        whole = walls(daemon.run("arax", "status").stdout, "tenants")
    for calls, lost in (
        ("landlock_create_ruleset", {"landlock"}),
        ("unshare", {"mount", "pid", "net", "ipc", "identity"}),
        ("open_tree", {"mount", "identity"}),
        ("unshare,landlock_create_ruleset", {"landlock", "mount", "pid", "net", "ipc", "identity"}),
    ):
        with Daemon(bin_dir, "", (helper, calls)) as daemon:
            daemon.until_listening()
            result = daemon.run("conformance_escape")
            skipped = len(re.findall(r"^skip \w+\.", result.stdout, re.MULTILINE))
            stand = walls(daemon.run("arax", "status").stdout, "tenants")
            print(f"without {calls}: {' '.join(sorted(stand))}; {skipped} probes cannot be denied")
            check(result.returncode == 0, result.stdout + result.stderr)
            check(stand >= whole - lost and not stand & (lost - {"identity"}), f"{stand}, not {whole - lost}")
            result = daemon.run("conformance_process")
            check(result.returncode == 0, result.stdout + result.stderr)


def test_required(bin_dir):
    with Daemon(bin_dir, "[sandbox]\nuse = off\nrequire = landlock, pid\n") as daemon:
        daemon.until_listening()
        result = daemon.run("conformance_context")
        check(result.returncode == 2 and "no platform" in result.stdout, result.stdout)
        status = daemon.run("arax", "status").stdout
        check("cannot be sandboxed as required, without: landlock pid" in status, status)
    with Daemon(bin_dir, "[sandbox]\nrequire = none\n") as daemon:
        daemon.until_listening()
        result = daemon.run("conformance_context")
        check(result.returncode == 0, result.stdout + result.stderr)


def test_time_limit(bin_dir):
    with Daemon(bin_dir, "[limits]\ncommand_time = 1\n") as daemon:
        daemon.until_listening()
        daemon.environment["ARAX_TEST_TIME_LIMIT"] = "1"
        result = daemon.run("conformance_fault", "endless")
        check(result.returncode == 0 and "ok endless" in result.stdout, result.stdout + result.stderr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--without", required=True)
    arguments = parser.parse_args()
    try:
        test_probes_can_tell(arguments.bin)
        test_degraded(arguments.bin, arguments.without)
        test_required(arguments.bin)
        test_time_limit(arguments.bin)
    except Failure as failure:
        print(f"FAILED: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
