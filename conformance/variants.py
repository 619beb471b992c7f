#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Registered variants, from the manifest to the launch, with daemons of their own.

variants.py --bin DIR --helper PROGRAM

A variant of an application's kernel is used where its rules allow it, and the program's own kernel
where they do not; arax reload brings, changes and takes away. What is wrong with a variant is said by
arax variants, with file, section and reason, whether the manifest shows it or the compiler, and the
program does what it did without it. Built-in kernels of the administrator's own. Also on rusticl where
that is installed.
Exit status: 0 passed, 1 failed.
"""

import argparse
import ctypes
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time

GOOD = """kernel void which(global int *to, int add)
{ to[get_global_id(0)] = 2000 + add + (int)get_local_size(0); }
"""
PROGRAM_SAYS, VARIANT_SAYS = 1500, 2500


class Failure(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failure(message)


class Daemon:
    """A daemon with a folder of manifests; ends with the block."""

    def __init__(self, bin_dir, helper, configuration=""):
        self.bin, self.helper = bin_dir, helper
        self.directory = tempfile.TemporaryDirectory(prefix="arax-variants-")
        os.chmod(self.directory.name, 0o700)
        self.folder = os.path.join(self.directory.name, "variants")
        os.mkdir(self.folder)
        socket = os.path.join(self.directory.name, "araxd.sock")
        config = os.path.join(self.directory.name, "arax.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"[variants]\ndirectory = {self.folder}\n{configuration}")
        self.environment = dict(os.environ, ARAX_SOCKET=socket)
        self.environment["XDG_CACHE_HOME"] = os.path.join(self.directory.name, "cache")
        self.process = subprocess.Popen(
            [os.path.join(bin_dir, "araxd"), "--socket", socket, "--config", config],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        while self.arax("status").returncode:  # ends with the daemon, or with the test's time limit
            check(self.process.poll() is None, "araxd has ended")
        self.program = hashlib.sha256(self.run("--source").stdout.encode()).hexdigest()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.directory.cleanup()

    def arax(self, *arguments):
        return subprocess.run([os.path.join(self.bin, "arax"), *arguments], env=self.environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    def run(self, *arguments, **environment):
        result = subprocess.run([self.helper, *arguments], env={**self.environment, **environment},
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240)
        check(result.returncode == 0, result.stdout + result.stderr)
        return result

    def says(self, *sizes, **environment):
        """What the kernel says for each size of work-groups."""
        lines = [int(line) for line in self.run(*map(str, sizes), **environment).stdout.split()
                 if line.isdigit()]
        check(len(lines) == len(sizes) + 1 and lines[-1] == 7, lines)
        return lines[:-1]

    def write(self, text, *lines, name="mine.ini", file="mine.cl", **keys):
        """A manifest with one section, [mine]."""
        with open(os.path.join(self.folder, file), "w", encoding="ascii") as out:
            out.write(text)
        section = {"kernel": "which", "program": self.program, "target": "pocl", "source": file,
                   "sha256": hashlib.sha256(text.encode()).hexdigest(),
                   "arguments": "global int *to, int add", **keys}
        with open(os.path.join(self.folder, name), "w", encoding="ascii") as out:
            out.write("[mine]\n" + "".join(f"{k} = {v}\n" for k, v in section.items() if v is not None))
            out.writelines(f"{line}\n" for line in lines)
        result = self.arax("reload")
        check(result.returncode == 0, result.stderr)

    def variants(self):
        return {v["name"]: v for v in json.loads(self.arax("variants", "--json").stdout)["variants"]}


def test_used(daemon):
    check(daemon.says(8) == [PROGRAM_SAYS + 8], "nothing is registered yet")
    daemon.write(GOOD)
    check(daemon.variants()["mine"]["state"] == "ok", daemon.variants()["mine"])
    check(daemon.says(8, 4) == [VARIANT_SAYS + 8, VARIANT_SAYS + 4], "the variant is not used")
    check(all(number > VARIANT_SAYS for number in daemon.says(0)), "nor with the size left open")
    misses = json.loads(daemon.arax("status", "--json").stdout)["compiler"]["cache_misses"]
    daemon.says(8)
    check(json.loads(daemon.arax("status", "--json").stdout)["compiler"]["cache_misses"] == misses,
          "the build with a variant is not in the cache")
    daemon.write(GOOD.replace("2000", "3000"))
    check(daemon.says(8) == [3508], "the changed variant is not used")
    daemon.write(GOOD, target="rusticl")
    check(daemon.says(8) == [PROGRAM_SAYS + 8], "a variant for another device is used")
    for file in os.listdir(daemon.folder):
        os.unlink(os.path.join(daemon.folder, file))
    daemon.arax("reload")
    check("mine" not in daemon.variants() and daemon.says(8) == [PROGRAM_SAYS + 8], "it is still there")


def test_rules(daemon):
    daemon.write(GOOD, "local = 16")
    said = daemon.says(16, 8, 0)
    check(said == [VARIANT_SAYS + 16, PROGRAM_SAYS + 8, VARIANT_SAYS + 16], f"local: {said}, {daemon.variants()}")
    daemon.write(GOOD, "local_multiple = 8")
    check(daemon.says(16, 4, 0) == [VARIANT_SAYS + 16, PROGRAM_SAYS + 4, VARIANT_SAYS + 8], "multiple")
    daemon.write(GOOD, "global_multiple = 128")
    check(daemon.says(16) == [PROGRAM_SAYS + 16], "global_multiple")
    daemon.write(GOOD.replace("kernel void", "kernel __attribute__((reqd_work_group_size(32, 1, 1))) void"),
                 "local = 32 1 1")
    check(daemon.says(32, 16, 0) == [VARIANT_SAYS + 32, PROGRAM_SAYS + 16, VARIANT_SAYS + 32], "required")


def rejected(daemon, state, reason):
    check(daemon.says(8) == [PROGRAM_SAYS + 8], f"the program does not do what it did: {reason}")
    mine = daemon.variants()["mine"]
    check(mine["state"] == state and reason in mine["reason"], f"{mine}, not {state}: {reason}")
    check(mine["manifest"].endswith("mine.ini") and mine["line"] == 1, mine)
    table = daemon.arax("variants").stdout
    check(reason.split("'")[0] in table and "mine.ini:1" in table, table)
    check(daemon.variants()["arax_sgemm"]["state"] == "ok", "another one was hurt")


def test_rejected(daemon):
    """By the manifest, and by what the compiler finds."""
    daemon.write(GOOD, sha256="0" * 64)
    rejected(daemon, "rejected", "mine.cl has the hash")
    daemon.write(GOOD, source="missing.cl")
    rejected(daemon, "rejected", "missing.cl: No such file")
    daemon.write(GOOD, "colour = green")
    rejected(daemon, "rejected", "unknown key 'colour'")
    daemon.write(GOOD, arguments="global float *to, int add")
    rejected(daemon, "not used", "of the program's kernel, argument 0 is 'int* to'")
    daemon.write(GOOD.replace("int add", "uint add"))
    rejected(daemon, "not used", "argument 1 is 'uint add'")
    daemon.write(GOOD.replace("which", "what"))
    rejected(daemon, "not used", "no kernel which")
    daemon.write("this is no kernel")
    rejected(daemon, "not used", "it cannot be built")
    daemon.write(GOOD, kernel="nobody")
    rejected(daemon, "not used", "the program has no such kernel")
    daemon.write(GOOD.replace("kernel void", "kernel __attribute__((reqd_work_group_size(32, 1, 1))) void"))
    rejected(daemon, "not used", "work-groups")
    # PoCL ends its process when a function is missing.
    daemon.write("int missing(int);\n" + GOOD.replace("2000", "missing(1)"))
    rejected(daemon, "not used", "")
    daemon.write(GOOD)
    check(daemon.says(8) == [VARIANT_SAYS + 8] and daemon.variants()["mine"]["state"] == "ok",
          "the good one is not used any more")


def test_cached(daemon):
    """What a build said is known again when its result comes from the cache."""
    for _ in range(2):
        daemon.write(GOOD.replace("int add", "uint add"))
        check(daemon.variants()["mine"]["state"] == "ok", "nobody has built with it yet")
        rejected(daemon, "not used", "argument 1 is 'uint add'")


def test_builtin(daemon):
    """The administrator's own."""
    unknown, success = "CL_INVALID_VALUE", "CL_SUCCESS"
    check(unknown in daemon.run("--builtin", "which").stdout, "a kernel that nobody registered")
    daemon.write(GOOD, program=None, builtin="yes", target="any")
    check(success in daemon.run("--builtin", "which;arax_conv2d_float").stdout, "it is not offered")
    daemon.write(GOOD, program=None, builtin="yes", target="any", arguments="global int *to")
    check("CL_OUT_OF_RESOURCES" in daemon.run("--builtin", "which").stdout, "its arguments differ")
    check("it has 2 arguments" in daemon.variants()["mine"]["reason"], daemon.variants()["mine"])
    check(success in daemon.run("--builtin", "arax_conv2d_float").stdout, "another one was hurt")
    daemon.write(GOOD, program=None, builtin="yes", target="pocl")
    check("no reference" in daemon.variants()["mine"]["reason"], daemon.variants()["mine"])
    check(unknown in daemon.run("--builtin", "which").stdout, "it is offered without a reference")


def test_discrete(bin_dir, helper):
    try:
        ctypes.CDLL("libRusticlOpenCL.so.1", mode=os.RTLD_LAZY)
    except OSError:
        return print("rusticl is not installed")
    with Daemon(bin_dir, helper, "[device rusticl]\n") as daemon:
        alone = {"ARAX_DEVICES": "rusticl"}
        check(daemon.says(8, **alone) == [PROGRAM_SAYS + 8], "rusticl, nothing registered")
        daemon.write(GOOD, "local = 16", target="oclgrind rusticl")
        check(daemon.says(16, 8, **alone) == [VARIANT_SAYS + 16, PROGRAM_SAYS + 8], "rusticl")
        check(daemon.says(16, ARAX_DEVICES="cpu") == [PROGRAM_SAYS + 16], "the CPU has rusticl's variant")
        daemon.write("this is no kernel", target="rusticl")
        check(daemon.says(16, **alone) == [PROGRAM_SAYS + 16], "rusticl, with one that cannot be built")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="where araxd and arax are")
    parser.add_argument("--helper", required=True)
    arguments = parser.parse_args()
    for test in (test_used, test_rules, test_rejected, test_cached, test_builtin):
        start = time.monotonic()
        with Daemon(arguments.bin, arguments.helper) as daemon:
            test(daemon)
        print(f"ok {test.__name__} ({time.monotonic() - start:.1f} s)", flush=True)
    test_discrete(arguments.bin, arguments.helper)
    print("ok test_discrete")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"FAILED: {failure}")
        sys.exit(1)
