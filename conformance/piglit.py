#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""piglit's OpenCL profile on Arax, compared with native PoCL test by test.

piglit's own runner is not used: its profile is a list of programs, and running them from here gives
each a process group that is killed as a whole at its timeout, and a preloaded library (ARAX_PRELOAD)
that reaches nothing else. What a test means by its exit status and its PIGLIT: lines is read as
piglit's runner reads it. Native results are kept in the output directory as long as the packages
they came from stay the same.

Exit status: 0 no test is worse on Arax, 1 some are, 2 cannot run, 77 piglit is not installed.
"""

import argparse
import ast
import concurrent.futures
import glob
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

PACKAGES = ("piglit", "libpocl2", "ocl-icd-libopencl1", "opencl-c-headers")
# The higher the worse. A test that does not apply is better than one that fails.
RANK = {"pass": 0, "warn": 1, "skip": 2, "fail": 3, "crash": 4, "timeout": 4, "notrun": 4}
CRASHES = {-signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL, -signal.SIGSEGV,
           -signal.SIGTRAP, -signal.SIGSYS, -signal.SIGKILL}
OUTPUT_KEPT = 4000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--vendors-native", default="/etc/OpenCL/vendors/pocl.icd",
                        help="directory or .icd file with PoCL alone (default: %(default)s)")
    parser.add_argument("--vendors-arax", default=os.environ.get("OCL_ICD_VENDORS"),
                        help="directory or .icd file with Arax alone (default: $OCL_ICD_VENDORS)")
    parser.add_argument("--filter", default="", metavar="REGEX", help="only tests whose name matches")
    parser.add_argument("--out", metavar="DIR", help="results; native ones are used again")
    parser.add_argument("--jobs", type=int, default=1, help="tests at once (default: 1)")
    parser.add_argument("--timeout", type=float, default=120, help="seconds per test")
    parser.add_argument("--list", action="store_true", help="print the names of the tests and leave")
    options = parser.parse_args()
    if not options.vendors_arax and not options.list:
        parser.error("--vendors-arax or OCL_ICD_VENDORS is needed")
    return options


def find_piglit():
    """The directory with piglit's bin and tests, or None."""
    for root in sorted(glob.glob("/usr/lib/*/piglit") + glob.glob("/usr/lib*/piglit")):
        if os.path.exists(f"{root}/tests/cl.xml.gz") and os.path.exists(f"{root}/bin/cl-program-tester"):
            return root
    return None


def read_profile(root):
    """Name -> command of every test of the profile."""
    tests = {}
    with gzip.open(f"{root}/tests/cl.xml.gz") as file:
        tree = xml.etree.ElementTree.parse(file).getroot()
    for test in tree.iter("Test"):
        values = {option.get("name"): ast.literal_eval(option.get("value"))
                  for option in test.iter("option")}
        if test.get("type") == "cl_prog":
            command = ["cl-program-tester", os.path.join(root, values["filename"])]
        else:
            command = list(values["command"])
        tests[test.get("name")] = [os.path.join(root, "bin", command[0])] + command[1:]
    if len(tests) != int(tree.get("count")):
        sys.exit(f"piglit.py: {len(tests)} tests read of {tree.get('count')}")
    return tests


def interpret(status, output):
    """A test's state and its subtests' states, by the rules of piglit's runner."""
    result, subtests = "fail", {}
    for line in output.split("\n"):
        if not line.startswith("PIGLIT:"):
            continue
        try:
            said = json.loads(line[7:])
        except ValueError:
            continue
        for name in said.get("enumerate subtests", []):
            subtests[name] = "notrun"
        subtests.update(said.get("subtest", {}))
        result = said.get("result", result)
    if status is None:
        result = "timeout"
    elif status in CRASHES:
        result = "crash"
    elif status != 0:
        result = "warn" if result == "pass" else "fail"
    return result, subtests


def run_test(command, environment, root, timeout):
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, cwd=root, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        text = output.read().decode(errors="replace")
    state, subtests = interpret(status, text)
    record = {"state": state, "subtests": subtests}
    if state != "pass" or any(each != "pass" for each in subtests.values()):
        record["output"] = text[-OUTPUT_KEPT:]
    return record


def run_all(side, tests, environment, root, options):
    results, started = {}, time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(run_test, command, environment, root, options.timeout): name
                   for name, command in tests.items()}
        for done in concurrent.futures.as_completed(running):
            results[running[done]] = done.result()
            if sys.stderr.isatty():
                print(f"\r{side}: {len(results)}/{len(tests)}", end="", file=sys.stderr)
    print(f"{side}: {len(tests)} tests in {time.monotonic() - started:.0f} s", flush=True)
    return results


def versions():
    found = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES],
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return sorted(found.stdout.split("\n"))


def native_results(tests, environment, root, options):
    """Native results, from an earlier run where the packages are the same."""
    path, key, kept = f"{options.out}/native.json", [versions(), os.cpu_count()], {}
    try:
        with open(path, encoding="utf-8") as file:
            stored = json.load(file)
        if stored["key"] == key:
            kept = stored["results"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    missing = {name: command for name, command in tests.items() if name not in kept}
    if missing:
        kept.update(run_all("native", missing, environment, root, options))
        # What ran into its time limit may have had a busy machine to blame.
        lasting = {name: record for name, record in kept.items() if record["state"] != "timeout"}
        save(path, {"key": key, "results": lasting})
    return {name: kept[name] for name in tests}


def save(path, value):
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
    os.replace(path + ".new", path)


def environment_for(vendors, root, **more):
    environment = {**os.environ, "OCL_ICD_VENDORS": vendors, "OCL_ICD_FILENAMES": "",
                   "PIGLIT_SOURCE_DIR": root, **more}
    for name in ("POCL_DEVICES", "PIGLIT_CL_PLATFORM", "LD_PRELOAD"):
        if name not in more:
            environment.pop(name, None)
    return environment


def group_of(name):
    parts = name.split("@")
    return "@".join(parts[:2 if len(parts) > 2 else 1])


def print_table(native, arax):
    states = ("pass", "warn", "skip", "fail", "crash", "timeout")
    groups = {}
    for side, results in enumerate((native, arax)):
        for name, record in results.items():
            for group in (group_of(name), "all"):
                counts = groups.setdefault(group, ({}, {}))[side]
                counts[record["state"]] = counts.get(record["state"], 0) + 1
    head = "".join(f"{state:>8}" for state in states)
    print(f"\n{'':<18}|{'native':^{len(head)}} |{'Arax':^{len(head)}}")
    print(f"{'group':<18}|{head} |{head}")
    for group in sorted(groups, key=lambda each: (each == "all", each)):
        rows = ["".join(f"{counts.get(state, 0) or '.':>8}" for state in states)
                for counts in groups[group]]
        print(f"{group:<18}|{rows[0]} |{rows[1]}")


def compare(native, arax):
    """Prints every difference; how many are for the worse."""
    worse, same = 0, True
    for name in native:
        pairs = [(name, native[name]["state"], arax[name]["state"])]
        subtests = (native[name]["subtests"], arax[name]["subtests"])
        for part in {**subtests[0], **subtests[1]}:
            pairs.append((f"{name} / {part}", *(each.get(part, "notrun") for each in subtests)))
        for what, before, now in pairs:
            if before == now:
                continue
            if same:
                print("\ndifferences:")
            same = False
            bad = RANK.get(now, 4) > RANK.get(before, 4)
            worse += bad
            print(f"  {'WORSE' if bad else 'other'}  {before:>7} -> {now:<7}  {what}")
        if any(RANK.get(now, 4) > RANK.get(before, 4) for _, before, now in pairs):
            for line in arax[name].get("output", "").strip().split("\n")[-12:]:
                print(f"           | {line}")
    print(f"\n{worse} worse on Arax than native" if not same else "\nno difference")
    return worse


def main():
    options = arguments()
    root = find_piglit()
    if not root:
        print("skip: piglit is not installed")
        return 77
    tests = {name: command for name, command in read_profile(root).items()
             if re.search(options.filter, name)}
    if options.list or not tests:
        print("\n".join(tests) or f"no test matches {options.filter}")
        return 0 if tests else 2
    if not os.path.exists(options.vendors_native):
        print(f"skip: {options.vendors_native} does not exist: nothing to compare with")
        return 77
    if not options.out:
        options.out = tempfile.mkdtemp(prefix="arax-piglit-")
    options.out = os.path.abspath(options.out)
    os.makedirs(options.out, exist_ok=True)
    preload = os.environ.get("ARAX_PRELOAD")
    native = native_results(tests, environment_for(options.vendors_native, root,
                            POCL_CACHE_DIR=f"{options.out}/pocl-cache"), root, options)
    arax = run_all("arax", tests, environment_for(options.vendors_arax, root,
                   **({"LD_PRELOAD": preload} if preload else {})), root, options)
    save(f"{options.out}/arax.json", arax)
    print_table(native, arax)
    print(f"results: {options.out}/native.json {options.out}/arax.json")
    return 1 if compare(native, arax) else 0


if __name__ == "__main__":
    sys.exit(main())
