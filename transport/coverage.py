#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How much of transport/ its own tests and the fuzzers' corpora reach: builds it for gcov in a folder of its
own (build-coverage, or the one that is named), runs them, prints lines and branches, and fails below 95 % of
the lines or 90 % of the branches. Assertions, which are for our own mistakes, are compiled out.
"""
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(p.name for p in (ROOT / "transport").glob("*.c") if not p.name.startswith(("test_", "fuzz_")))
OPTIONS = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS=--coverage -fprofile-update=atomic -DNDEBUG",
           "-DARAX_WERROR=OFF", "-DARAX_LIBFUZZER=OFF"]
LEAST_LINES, LEAST_BRANCHES = 95, 90


def run_tests(build):
    subprocess.run(["cmake", "-S", ROOT, "-B", build, *OPTIONS], check=True, stdout=subprocess.DEVNULL)
    for old in build.rglob("*.gcda"):
        old.unlink()
    here = ROOT / "transport"
    targets = [f"test-transport-{p.stem.removeprefix('test_')}" for p in here.glob("test_*.c")]
    targets += [f"replay-transport-{p.name}" for p in (here / "corpus").iterdir()] + ["replay-scheduler-client"]
    subprocess.run(["cmake", "--build", build, "-j2", "--target", *targets], check=True, stdout=subprocess.DEVNULL)
    tests = r"^(transport\.|scheduler\.corpus-client)"
    subprocess.run(["ctest", "--test-dir", build, "-R", tests, "-E", "model", "--output-on-failure"], check=True)


def collect(build):
    """Return: for each source, how often each line and each branch was taken, in whatever program."""
    lines = {name: {} for name in SOURCES}
    branches = {name: {} for name in SOURCES}
    with tempfile.TemporaryDirectory() as folder:
        for data in build.rglob("*.gcda"):
            if data.name.removesuffix(".gcda").removesuffix(".c") + ".c" not in SOURCES:
                continue
            subprocess.run(["gcov", "--json-format", "--branch-probabilities", data], cwd=folder, check=True,
                           stdout=subprocess.DEVNULL)
            for report in Path(folder).glob("*.gcov.json.gz"):
                for file in json.loads(gzip.open(report).read())["files"]:
                    path = Path(file["file"])
                    if path.parent.name != "transport" or path.name not in lines:
                        continue
                    for line in file["lines"]:
                        key = line["line_number"]
                        lines[path.name][key] = lines[path.name].get(key, 0) + line["count"]
                        for i, branch in enumerate(line["branches"]):
                            where = (key, line.get("function_name"), i)
                            taken = branches[path.name]
                            taken[where] = taken.get(where, 0) + branch["count"]
                report.unlink()
    return lines, branches


def share(counts):
    return 100 * sum(1 for n in counts if n) / len(counts)


def main():
    build = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build-coverage").resolve()
    run_tests(build)
    lines, branches = collect(build)
    for name in SOURCES:
        missed = [n for n, count in sorted(lines[name].items()) if not count]
        print(f"{name:12} lines {share(lines[name].values()):5.1f} %  branches "
              f"{share(branches[name].values()):5.1f} %  not reached: {missed or '-'}")
    all_lines = share([n for name in SOURCES for n in lines[name].values()])
    all_branches = share([n for name in SOURCES for n in branches[name].values()])
    print(f"transport/   lines {all_lines:5.1f} %  branches {all_branches:5.1f} %")
    return 0 if all_lines >= LEAST_LINES and all_branches >= LEAST_BRANCHES else 1


if __name__ == "__main__":
    sys.exit(main())
