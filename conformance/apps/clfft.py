# SPDX-License-Identifier: Apache-2.0
"""clFFT's client: transforms that it checks itself, and ones that it times over several runs."""

import re

from harness import POCL, check, check_launched, need, start

CHECKED = (("-x", "1024", "-y", "32", "-b", "4"), ("-x", "256", "-b", "8", "--double"), ("-x", "64", "-y", "64", "-o", "--inv"))
CHECKED_MORE = (("-x", "1024", "--inLayout", "5", "--outLayout", "3", "-o"), ("-x", "243", "-y", "25", "-b", "3"),
                ("-x", "64", "-y", "32", "-z", "16"), ("-x", "8192", "--inv"), ("-x", "729", "--double"),
                ("-x", "512", "-y", "8", "--inLayout", "2", "--outLayout", "2"))
TIMED = ("-x", "1024", "-y", "32", "-b", "4")


def said(options, native):
    run = start(["clFFT-client", "-a", *options], native=native, seconds=300)
    verdict = re.search(r"Internal Client Test \*+(PASS|FAIL)", run.out)
    return run, verdict[1] if verdict and run.status == 0 else f"exit status {run.status}"


def compare(options):
    """Where the client finds nothing to complain of natively it must find nothing on Arax."""
    _, native = said((*options, "-p", "1"), True)
    run, arax = said((*options, "-p", "1"), False)
    what = " ".join(options)
    check(arax in (native, "PASS"), f"{what}: native {native}, Arax {arax}", run.out[-2000:], run.err[-2000:])
    print(f"{what}: native {native}, Arax {arax}, {check_launched(run, '(fft|transpose).*')} launches on Arax")
    return native


def transforms(options):
    need("clFFT-client", POCL)
    passed = [compare(each) for each in options].count("PASS")
    check(passed == len(options), f"native passes {passed} of {len(options)}")


def test_clfft():
    transforms(CHECKED)
    run = start(["clFFT-client", "-a", *TIMED, "-p", "3"])
    check(run.status == 0 and re.search(r"Execution gflops: [0-9.]*[1-9]", run.out), "no times", run.out, run.err)
    check_launched(run, "fft.*", "transpose.*")


def test_clfft_all():
    transforms(CHECKED + CHECKED_MORE)
