#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's own OpenCL programs, unmodified, on Arax: conformance/apps NAME...

The loader's vendors (OCL_ICD_VENDORS) must be Arax alone; what a result is compared with is computed
by PoCL in the same run, and araxd says whether the kernels ran on Arax. Programs get the library in
ARAX_PRELOAD (sanitizer builds) by LD_PRELOAD. Exit status: 0 passed, 1 failed, 77 a program or PoCL
is not installed.
"""

import sys
import time

sys.dont_write_bytecode = True

import clblast  # noqa: E402 (nothing is to be written into the sources)
import clfft  # noqa: E402
import clinfo  # noqa: E402
import clpeak  # noqa: E402
import dnn  # noqa: E402
import ffmpeg  # noqa: E402
import hashcat  # noqa: E402
import hcxkeys  # noqa: E402
import pyopencl_suite  # noqa: E402
import umat  # noqa: E402
from harness import ARAX, Failure, Skip  # noqa: E402

MODULES = (clblast, clfft, clinfo, clpeak, dnn, ffmpeg, hashcat, hcxkeys, pyopencl_suite, umat)
TESTS = {name[5:].replace("_", "-"): function for module in MODULES
         for name, function in vars(module).items() if name.startswith("test_")}


def run(name):
    started = time.monotonic()
    try:
        TESTS[name]()
    except Skip as why:
        print(f"skip {name}: {why}")
        return 77
    except Failure as failure:
        print(f"FAILED {name}: {failure}", file=sys.stderr)
        return 1
    print(f"passed {name} in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def main():
    if len(sys.argv) < 2 or not set(sys.argv[1:]) <= set(TESTS):
        print(f"usage: conformance/apps {'|'.join(TESTS)}...", file=sys.stderr)
        return 2
    if not ARAX:
        print("OCL_ICD_VENDORS must name Arax", file=sys.stderr)
        return 2
    statuses = {run(name) for name in sys.argv[1:]}
    return 1 if 1 in statuses else max(statuses)


if __name__ == "__main__":
    sys.exit(main())
