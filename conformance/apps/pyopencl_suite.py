# SPDX-License-Identifier: Apache-2.0
"""PyOpenCL's own tests, from where Debian's package has them: state for state as native or better."""

import os
import re
import tempfile
import xml.etree.ElementTree

from harness import POCL, PYTHON, check, launches, need, start

EXAMPLES = "/usr/share/doc/python-pyopencl-doc/examples"
# PyOpenCL expects failures of PoCL, which it knows by name, and skips on Arax what it finds missing.
RANK = {"passed": 0, "xfailed": 1, "skipped": 1, "failed": 2}


def outcomes(path):
    found = {}
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        kinds = {each.tag: each for each in case}
        state = "failed" if {"failure", "error"} & set(kinds) else "passed"
        if "skipped" in kinds:
            state = "xfailed" if kinds["skipped"].get("type") == "pytest.xfail" else "skipped"
        # Which device or platform it is is part of a test's name.
        name = re.sub("<.*>", "", case.get("name"))
        found[name] = (state, "".join(each.get("message") or "" for each in case)[:300])
    return found


def suite(name, seconds):
    need("python3: pyopencl", "python3: pytest", "python3: mako", f"{EXAMPLES}/test_{name}.py", POCL)
    states = {}
    with tempfile.TemporaryDirectory(prefix="arax-pyopencl-") as directory:
        for native in (True, False):
            path = os.path.join(directory, f"{native}.xml")
            run = start([PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={path}",
                         f"{EXAMPLES}/test_{name}.py"], native=native, seconds=seconds,
                        preload="libstdc++.so.6",  # what it throws is found by a sanitizer only so
                        PYOPENCL_CTX="0", PYOPENCL_NO_CACHE="1", PYTHONDONTWRITEBYTECODE="1")
            check(os.path.exists(path), f"{name}: pytest fails", run.out[-3000:], run.err[-3000:])
            states[native] = outcomes(path)
    check(states[True].keys() == states[False].keys(), f"{name}: not the same tests",
          *sorted(states[True].keys() ^ states[False].keys()))
    worse = [f"{test}: native {states[True][test][0]}, Arax {state}: {why}"
             for test, (state, why) in states[False].items() if RANK[state] > RANK[states[True][test][0]]]
    check(not worse, f"{name}: worse on Arax than native", *worse, run.out[-6000:])
    counts = {state: sum(each[0] == state for each in states[False].values()) for state in RANK}
    check(counts["passed"] > len(states[False]) / 2, f"{name}: {counts}", run.out[-3000:])
    count = sum(launches(run).values())  # araxd knows it, also where it only copies
    print(f"{name}: {counts}, {count} launches on Arax", flush=True)
    return count


def test_pyopencl():
    counts = [suite(name, 300) for name in ("wrapper", "enqueue_copy", "arrays_in_structs")]
    check(all(counts[::2]), f"no kernel was launched on Arax: {counts}")


def test_pyopencl_toolbox():
    """Arrays, reductions, scans, elementwise functions, sorting, random numbers: hundreds of programs."""
    for name in ("clrandom", "array", "algorithm", "clmath"):
        check(suite(name, 3000), f"{name}: no kernel was launched on Arax")
