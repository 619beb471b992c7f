# SPDX-License-Identifier: Apache-2.0
"""CLBlast's own test clients: each routine in every precision and layout against the processor's BLAS."""

import glob
import os
import re

from harness import POCL, Skip, check, check_launched, need, ok

TALLY = re.compile(r"(\d+) passed / (\d+) skipped / (\d+) failed")
QUICK = ("xaxpy", "xdot")
# Their kernels take minutes to compile, natively too; xgemm has them all.
SLOW = {"xconvgemm", "xgemmbatched", "xgemmstridedbatched"}


def tallies(run):
    """For each precision and sub-test: passed, skipped, failed."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", run.out)
    found = [tuple(map(int, each)) for each in TALLY.findall(plain)]
    check(found, f"{run.command}: no result", run.out[-2000:], run.err[-2000:])
    return found


def compare(routine, seconds):
    command = [f"clblast_test_{routine}", "-platform", "0", "-device", "0"]
    results = {}
    for native in (True, False):
        # The exit status is the number of sub-tests that failed.
        run = ok(command, statuses=range(256) if native else (0,), native=native, seconds=seconds)
        results[native] = tallies(run)
    failed = sum(each[2] for each in results[False])
    check(failed == 0, f"{routine}: {failed} failed on Arax", run.out[-3000:])
    check([each[:2] for each in results[False]] == [each[:2] for each in results[True]] or
          any(each[2] for each in results[True]), f"{routine}: not the tests that ran natively",
          str(results[True]), str(results[False]))
    print(f"{routine}: {sum(each[0] for each in results[False])} passed, "
          f"{check_launched(run)} launches on Arax", flush=True)


def test_clblast():
    need(*(f"clblast_test_{routine}" for routine in QUICK), POCL)
    for routine in QUICK:
        compare(routine, 300)


def test_clblast_all():
    need(POCL)
    clients = sorted(os.path.basename(path)[13:] for path in glob.glob("/usr/bin/clblast_test_x*"))
    if not clients:
        raise Skip("clblast_test_x* are not installed")
    for routine in clients:
        if routine not in SLOW:
            compare(routine, 1800)
