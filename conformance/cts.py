#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Khronos' OpenCL conformance tests on Arax, sub-test by sub-test, beside a native implementation.

cts.py --cts DIR --tier 1                       DIR: built OpenCL-CTS binaries (its test_conformance)
cts.py --cts DIR --tier 1 --tier 2 --native /etc/OpenCL/vendors/pocl.icd --out results

A suite is one binary with its arguments (cts/suites.txt), a tier a list of suites and sub-tests
(cts/tier<N>.txt). All wanted sub-tests of a suite are given to one process; when that crashes or a
sub-test takes longer than its limit, the sub-test that was running gets the blame and a new process
runs the rest. Native states come from a run (--native) or from a record (cts/native.txt).

A sub-test is in order if it passes, or does what cts/expected.txt allows it to, with a reason, or is
skipped where the native implementation does not pass either. Whatever else is unexpected.

Exit status: 0 nothing unexpected, 1 something is, 2 cannot run, 77 there are no binaries.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "cts")
# "missing": this CTS has no such sub-test; "notrun": its suite is not built or does not start.
STATES = ("pass", "fail", "skip", "crash", "timeout", "missing", "notrun")
TAIL_LINES = 30
STARTED = re.compile(r"^(\S+)\.\.\.$")
ENDED = re.compile(r"^(\S+) (?:(passed)|(FAILED)|"
                   r"(skipped \(.*|test not supported|test currently not implemented))$")


class Unusable(Exception):
    """What was asked for cannot be run at all."""


class Running:
    """The processes of all suites that run now, and whether the whole run is to end.

    They are in sessions of their own, so that nothing of them is left when one hangs; nobody else
    would end them with this process.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.processes = set()
        self.stopped = False

    def start(self, command, **how):
        with self.lock:
            if self.stopped:
                return None
            process = subprocess.Popen(command, start_new_session=True, **how)
            self.processes.add(process)
            return process

    def end(self, process):
        """Ends a process and what it has started."""
        with self.lock:
            self.kill(process)
            process.wait()
            self.processes.discard(process)

    def stop(self):
        with self.lock:
            self.stopped = True
            for process in self.processes:
                self.kill(process)

    @staticmethod
    def kill(process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


RUNNING = Running()


@dataclasses.dataclass
class Suite:
    name: str
    binary: str
    arguments: list
    environment: dict
    seconds: float


@dataclasses.dataclass
class Result:
    state: str
    seconds: float = 0.0
    output: str = ""


def lines_of(path):
    """The words of every line that is not empty or a comment."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if words and not words[0].startswith("#"):
                yield f"{path}:{number}", words


def read_suites(path, factor=1.0):
    """suite, seconds per sub-test, [NAME=VALUE ...], binary, arguments"""
    suites = {}
    for where, words in lines_of(path):
        name, seconds, *rest = words
        environment = {}
        while rest and re.match(r"[A-Z_]+=", rest[0]):
            key, value = rest.pop(0).split("=", 1)
            environment[key] = value
        if not rest or name in suites:
            raise Unusable(f"{where}: no binary, or a suite described twice")
        suites[name] = Suite(name, rest[0], rest[1:], environment, float(seconds) * factor)
    return suites


def read_selection(path, suites):
    """suite, sub-tests; * for all of them, -name to leave one out"""
    selection = {}
    for where, (name, *subtests) in lines_of(path):
        if name not in suites or not subtests:
            raise Unusable(f"{where}: unknown suite {name}, or no sub-test named")
        selection.setdefault(name, []).extend(subtests)
    return selection


def read_expected(path):
    """suite, sub-test (or *), states with commas, the reason"""
    expected = {}
    for where, words in lines_of(path):
        if len(words) < 4 or any(state not in STATES for state in words[2].split(",")):
            raise Unusable(f"{where}: not 'suite sub-test state[,state] reason'")
        expected[words[0], words[1]] = (words[2].split(","), " ".join(words[3:]))
    return expected


def read_record(path):
    """suite, state, sub-tests in that state"""
    record = {}
    for where, (suite, state, *subtests) in lines_of(path):
        if state not in STATES:
            raise Unusable(f"{where}: unknown state {state}")
        for subtest in subtests:
            record[suite, subtest] = Result(state)
    return record


def write_record(path, results):
    with open(path, "w", encoding="utf-8") as file:
        groups = {}
        for (suite, subtest), result in results.items():
            groups.setdefault((suite, STATES.index(result.state)), []).append(subtest)
        for (suite, state), subtests in sorted(groups.items()):
            file.write(" ".join([suite, STATES[state], *sorted(subtests)]) + "\n")


def list_subtests(binary, environment):
    """The names of a binary's sub-tests: newer binaries have --list, all have --help."""
    for option in ("--list", "--help"):
        try:
            said = subprocess.run([binary, option], env=environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=60, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
        if option == "--help" and "Test names:" in said:
            said = said.split("Test names:", 1)[1]
        names = re.findall(r"^\t(\S+)$", said, re.M)
        if names:
            return names
    return []


class Watch:
    """What the lines of one process say about its sub-tests, and since when the one that runs does."""

    def __init__(self, names, now):
        self.pending = set(names)
        self.states = {}
        self.current = None
        self.since = now
        self.output = []
        self.rest = b""

    def feed(self, data, now):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.line(line.decode(errors="replace"), now)

    def line(self, text, now):
        started, ended = STARTED.match(text), ENDED.match(text)
        if started and started[1] in self.pending:
            # A sub-test before it that said nothing of its outcome: the results file may know.
            self.leave("unknown", now)
            self.current, self.since, self.output = started[1], now, []
            self.pending.discard(self.current)
        self.output.append(text)
        if ended and ended[1] == self.current:
            self.leave("pass" if ended[2] else "fail" if ended[3] else "skip", now)

    def leave(self, state, now):
        if self.current:
            tail = "" if state in ("pass", "skip") else "\n".join(self.output[-TAIL_LINES:])
            self.states[self.current] = Result(state, now - self.since, tail)
        self.current, self.since = None, now


def read_results_file(path):
    """What the binary wrote to CL_CONFORMANCE_RESULTS_FILENAME; nothing if it did not get that far."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        # The arguments that it repeats may hold characters that JSON does not allow.
        found = re.search(r'"results":\s*(\{.*?\})', text, re.S)
        return {name: state for name, state in json.loads(found[1]).items() if state in STATES}
    except (OSError, ValueError, TypeError):
        return None


def run_process(command, names, seconds, environment, directory, log):
    """Runs sub-tests, which the command names, in one process: their results, and those that had no
    chance because of another."""
    path = os.path.join(directory, "results.json")
    if os.path.exists(path):
        os.unlink(path)
    process = RUNNING.start(command, env={**environment, "CL_CONFORMANCE_RESULTS_FILENAME": path},
                            cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    if not process:
        return {}, set()
    watch, late = Watch(names, time.monotonic()), False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = watch.since + seconds - time.monotonic()
            late = left <= 0
            if late:
                break
            if selector.select(left):
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    break
                log.write(data)
                watch.feed(data, time.monotonic())
    if not late:
        try:  # it has closed its output, and has not ended
            process.wait(max(1.0, seconds))
        except subprocess.TimeoutExpired:
            late = True
    RUNNING.end(process)
    process.stdout.close()
    if RUNNING.stopped:  # who is not through has no result, and nobody is to blame
        return {name: result for name, result in watch.states.items() if result.state != "unknown"}, set()
    return judge(process.returncode, late, watch, read_results_file(path))


def judge(status, late, watch, said):
    """A process has ended: the results of its sub-tests, and those that are still to be run."""
    now = time.monotonic()
    state, what = ("timeout", "ended at its time limit") if late else ("crash", f"exit status {status}")
    if said is None and watch.current:
        watch.output.append(f"[{what}]")
        watch.leave(state, now)
    elif said is None or late or status < 0:  # between sub-tests, or after the last one
        watch.leave("unknown", now)
        watch.states["(exit)"] = Result(state, 0.0, "\n".join([*watch.output[-TAIL_LINES:], f"[{what}]"]))
    watch.leave("unknown", now)
    for name, final in (said or {}).items():
        if name in watch.states or name in watch.pending:
            before = watch.states.get(name, Result(final))
            watch.states[name] = Result(final, before.seconds, before.output)
            watch.pending.discard(name)
    unknown = {name for name, result in watch.states.items() if result.state == "unknown"}
    if set(watch.states) - unknown - {"(exit)"}:
        # Who did not say how it ended is asked again, now that somebody else is out of the way.
        watch.pending |= unknown
        return {name: result for name, result in watch.states.items() if name not in unknown}, watch.pending
    # Nobody else is to blame, and trying again would go on for ever.
    output = "\n".join([*watch.output[-TAIL_LINES:], f"[{what}]"])
    states = {name: Result("crash", watch.states[name].seconds, "no result\n" + output) for name in unknown}
    if not unknown:
        states = {name: Result("notrun", 0.0, output) for name in watch.pending}
        watch.pending.clear()
    return states, watch.pending


def run_suite(suite, names, cts, environment, log, known=None, keep=None):
    """Runs sub-tests of a suite that are not known yet, with as many processes as it takes.

    After each process keep() gets what is known by then.
    """
    binary = os.path.join(cts, suite.binary)
    environment = {**environment, **suite.environment}
    if not os.access(binary, os.X_OK):
        absent = Result("notrun", 0.0, f"{suite.binary} is not built")
        return {name: absent for name in names if name[0] not in "*-"} or {"*": absent}
    have = list_subtests(binary, environment)
    if not have:
        return {"*": Result("notrun", 0.0, f"{suite.binary} does not list its sub-tests")}
    wanted = [name for name in names if name[0] not in "*-"] if "*" not in names else list(have)
    left_out = {name[1:] for name in names if name[0] == "-"}
    wanted = [name for name in dict.fromkeys(wanted) if name not in left_out]
    results = {name: Result("missing", 0.0, f"{suite.binary} has no such sub-test")
               for name in wanted if name not in have}
    results.update({name: known[name] for name in wanted if known and name in known})
    pending = [name for name in wanted if name not in results]
    with tempfile.TemporaryDirectory(prefix="arax-cts-") as directory:
        # Some tests read files beside them, some write into the working directory.
        folder = os.path.dirname(os.path.abspath(binary))
        for entry in os.listdir(folder):
            os.symlink(os.path.join(folder, entry), os.path.join(directory, entry))
        while pending:
            # Who has but one runs it unasked; test_conversions takes names for those of conversions.
            asked = pending if len(have) > 1 else []
            states, rest = run_process([binary, *suite.arguments, *asked], pending, suite.seconds,
                                       environment, directory, log)
            results.update(states)
            pending = [name for name in pending if name in rest]
            if keep:
                keep(results)
    return results


def in_order(earlier, suite):
    """What of a suite need not be run again."""
    return {subtest: result for (name, subtest), result in earlier.items()
            if name == suite and result.state in ("pass", "skip")}


def run_side(side, selection, suites, environment, options):
    """Runs a selection on one implementation: (suite, sub-test) -> Result."""
    results, lock = {}, threading.Lock()
    folder, path = os.path.join(options.out, side), os.path.join(options.out, f"{side}.json")
    os.makedirs(folder, exist_ok=True)
    earlier = load_results(path) if options.resume and os.path.exists(path) else {}

    def one(name):
        if RUNNING.stopped:
            return
        started, known = time.monotonic(), in_order(earlier, name)

        def keep(found):
            with lock:
                results.update({(name, subtest): result for subtest, result in found.items()})
                save_results(path, {**earlier, **results})

        with open(os.path.join(folder, f"{name}.log"), "ab" if known else "wb", buffering=0) as log:
            found = run_suite(suites[name], selection[name], options.cts, environment, log, known, keep)
        keep(found)
        if RUNNING.stopped:
            return
        counts = ", ".join(f"{count} {state}" for state, count in count_states(found.values()).items())
        print(f"{side}: {name}: {counts} in {time.monotonic() - started:.0f} s", flush=True)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(one, name) for name in selection]:
            done.result()
    return results


def count_states(results):
    counts = {}
    for result in results:
        counts[result.state] = counts.get(result.state, 0) + 1
    return {state: counts[state] for state in STATES if state in counts}


def save_results(path, results):
    nested = {}
    for (suite, subtest), result in sorted(results.items()):
        nested.setdefault(suite, {})[subtest] = dataclasses.asdict(result)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(nested, file, indent=1)
    os.replace(path + ".new", path)


def load_results(path):
    with open(path, encoding="utf-8") as file:
        return {(suite, subtest): Result(**result) for suite, subtests in json.load(file).items()
                for subtest, result in subtests.items()}


@dataclasses.dataclass
class Row:
    suite: str
    subtest: str
    native: str
    result: Result
    verdict: str  # "ok", "expected", "unexpected"
    reason: str = ""


def verdict_of(key, result, native, expected):
    if result.state == "pass":
        return "ok", ""
    allowed, reason = expected.get(key) or expected.get((key[0], "*")) or ((), "")
    if result.state in allowed:
        return "expected", reason
    if result.state == "skip" and native != "pass":
        return "ok", ""
    return "unexpected", ""


def compare(arax, native, expected):
    rows = []
    for key in sorted(arax):
        before = native[key].state if key in native else "-"
        rows.append(Row(*key, before, arax[key], *verdict_of(key, arax[key], before, expected)))
    return rows


def suite_table(rows):
    """suite -> side -> state -> count"""
    table = {}
    for row in rows:
        for name in (row.suite, "all"):
            sides = table.setdefault(name, ({}, {}))
            for counts, state in zip(sides, (row.native, row.result.state)):
                counts[state] = counts.get(state, 0) + 1
    return dict(sorted(table.items(), key=lambda item: (item[0] == "all", item[0])))


def describe(counts):
    return ", ".join(f"{counts[state]} {'unknown' if state == '-' else state}"
                     for state in (*STATES, "-") if state in counts)


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def markdown(rows, seconds):
    bad = [row for row in rows if row.verdict == "unexpected"]
    yield "# OpenCL conformance tests on Arax\n"
    yield f"{len(rows)} sub-tests in {seconds:.0f} s: {describe(suite_table(rows).get('all', ({}, {}))[1])}.\n"
    yield f"**{len(bad)} unexpected.**\n" if bad else "Nothing unexpected.\n"
    yield "| suite | native | Arax |\n|---|---|---|"
    for name, (native, arax) in suite_table(rows).items():
        yield f"| {name} | {describe(native)} | {describe(arax)} |"
    if bad:
        yield "\n## Unexpected\n\n| suite | sub-test | native | Arax |\n|---|---|---|---|"
        for row in bad:
            yield f"| {row.suite} | {row.subtest} | {row.native} | **{row.result.state}** |"
    if any(row.verdict == "expected" for row in rows):
        yield "\n## Expected, with reasons\n\n| suite | sub-test | native | Arax | reason |\n|---|---|---|---|---|"
        for row in rows:
            if row.verdict == "expected":
                yield f"| {row.suite} | {row.subtest} | {row.native} | {row.result.state} | {cell(row.reason)} |"
    better = [row for row in rows if row.result.state == "pass" and row.native not in ("pass", "-")]
    if better:
        yield "\n## Better than native\n\n| suite | sub-test | native |\n|---|---|---|"
        for row in better:
            yield f"| {row.suite} | {row.subtest} | {row.native} |"
    yield "\n## Every sub-test\n\n| suite | sub-test | native | Arax | s |\n|---|---|---|---|---|"
    for row in rows:
        yield f"| {row.suite} | {row.subtest} | {row.native} | {row.result.state} | {row.result.seconds:.1f} |"
    for row in bad:
        if row.result.output:
            yield f"\n### {row.suite} {row.subtest}\n\n```\n{row.result.output}\n```"


def junit(rows):
    root = xml.etree.ElementTree.Element("testsuites", name="OpenCL-CTS on Arax")
    for name in dict.fromkeys(row.suite for row in rows):
        mine = [row for row in rows if row.suite == name]
        counts = [sum(1 for row in mine if row.verdict == "unexpected"),
                  sum(1 for row in mine if row.verdict != "unexpected" and row.result.state != "pass")]
        suite = xml.etree.ElementTree.SubElement(
            root, "testsuite", name=name, tests=str(len(mine)), failures=str(counts[0]), skipped=str(counts[1]),
            errors="0", time=f"{sum(row.result.seconds for row in mine):.3f}")
        for row in mine:
            case = xml.etree.ElementTree.SubElement(suite, "testcase", classname=f"cts.{name}", name=row.subtest,
                                                    time=f"{row.result.seconds:.3f}")
            message = f"native: {row.native}, Arax: {row.result.state}" + (f"; {row.reason}" if row.reason else "")
            # XML has no characters for what a crashed test may have printed.
            text = re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd]", "?", row.result.output)
            if row.verdict == "unexpected":
                xml.etree.ElementTree.SubElement(case, "failure", message=message, type=row.result.state).text = text
            elif row.result.state != "pass":
                xml.etree.ElementTree.SubElement(case, "skipped", message=message)
            else:
                xml.etree.ElementTree.SubElement(case, "system-out").text = message
    tree = xml.etree.ElementTree.ElementTree(root)
    xml.etree.ElementTree.indent(tree)
    return tree


def environment_for(vendors, preload=None):
    environment = {**os.environ, "OCL_ICD_VENDORS": vendors, "OCL_ICD_FILENAMES": ""}
    for name in ("POCL_DEVICES", "LD_PRELOAD", "CL_DEVICE_TYPE", "CL_DEVICE_INDEX", "CL_PLATFORM_INDEX",
                 "CL_WIMPY_MODE"):
        environment.pop(name, None)
    if preload:
        environment["LD_PRELOAD"] = preload
    return environment


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cts", metavar="DIR", default=os.environ.get("ARAX_CTS"),
                        help="directory of built binaries, the build's test_conformance (default: $ARAX_CTS)")
    parser.add_argument("--tier", metavar="N", action="append", default=[], help="1, 2, 3, or a file; repeatable")
    parser.add_argument("--suite", metavar="REGEX", default="", help="only suites whose whole name matches")
    parser.add_argument("--filter", metavar="REGEX", default="", help="only sub-tests whose name matches")
    parser.add_argument("--vendors-arax", default=os.environ.get("OCL_ICD_VENDORS"),
                        help="directory or .icd file with Arax alone (default: $OCL_ICD_VENDORS)")
    parser.add_argument("--native", metavar="VENDORS",
                        help="run the native implementation of this directory or .icd file, too")
    parser.add_argument("--native-only", action="store_true", help="run nothing on Arax")
    parser.add_argument("--native-record", default=os.path.join(DATA, "native.txt"), metavar="FILE",
                        help="native states where --native does not give them (default: %(default)s)")
    parser.add_argument("--expected", default=os.path.join(DATA, "expected.txt"), metavar="FILE",
                        help="what may fail, and why (default: %(default)s)")
    parser.add_argument("--suites", default=os.path.join(DATA, "suites.txt"), metavar="FILE",
                        help="the suites' binaries and arguments (default: %(default)s)")
    parser.add_argument("--out", metavar="DIR", help="where report.md, junit.xml, logs and states go")
    parser.add_argument("--resume", action="store_true",
                        help="run only what was neither passed nor skipped in the last run of --out")
    parser.add_argument("--jobs", type=int, default=1, help="suites at once (default: 1)")
    parser.add_argument("--time-factor", type=float, default=1.0, help="multiplies every time limit")
    options = parser.parse_args(argv)
    options.tier = options.tier or ["1"]
    if not options.vendors_arax and not options.native_only:
        parser.error("--vendors-arax or OCL_ICD_VENDORS is needed")
    if options.native_only and not options.native:
        parser.error("--native-only needs --native")
    return options


def filtered(selection, suites, options):
    """The selection by --suite and --filter; the latter needs the binaries' names where there is a *."""
    chosen = {}
    for name, subtests in selection.items():
        if options.suite and not re.fullmatch(options.suite, name):
            continue
        if options.filter:
            binary = os.path.join(options.cts, suites[name].binary)
            left_out = {subtest[1:] for subtest in subtests if subtest[0] == "-"}
            known = list_subtests(binary, dict(os.environ)) if "*" in subtests else subtests
            subtests = [each for each in known if each[0] != "-" and each not in left_out and
                        re.search(options.filter, each)]
        if subtests:
            chosen[name] = subtests
    return chosen


def prepare(options):
    suites = read_suites(options.suites, options.time_factor)
    selection = {}
    for tier in options.tier:
        path = os.path.join(DATA, f"tier{tier}.txt") if tier.isdigit() else tier
        for name, subtests in read_selection(path, suites).items():
            selection.setdefault(name, []).extend(subtests)
    selection = filtered(selection, suites, options)
    if not selection:
        raise Unusable("nothing is selected")
    return suites, selection


def report(options, arax, native, expected, seconds):
    rows = compare(arax, native, expected)
    text = "\n".join(markdown(rows, seconds)) + "\n"
    with open(os.path.join(options.out, "report.md"), "w", encoding="utf-8") as file:
        file.write(text)
    junit(rows).write(os.path.join(options.out, "junit.xml"), encoding="utf-8", xml_declaration=True)
    print(text.split("\n## Every sub-test", 1)[0])
    print(f"report: {options.out}/report.md")
    return 1 if any(row.verdict == "unexpected" for row in rows) else 0


def main(argv=None):
    options = arguments(argv)
    if not options.cts or not os.path.isdir(options.cts):
        print(f"skip: no directory of built OpenCL-CTS binaries: {options.cts or '--cts or ARAX_CTS names it'}")
        return 77
    options.cts = os.path.abspath(options.cts)
    options.out = os.path.abspath(options.out or tempfile.mkdtemp(prefix="arax-cts-"))
    os.makedirs(options.out, exist_ok=True)
    try:
        suites, selection = prepare(options)
        expected = read_expected(options.expected)
        native = read_record(options.native_record) if os.path.exists(options.native_record) else {}
        if options.native:
            native.update(run_side("native", selection, suites, environment_for(options.native), options))
        if options.native_only:
            write_record(os.path.join(options.out, "native.txt"), native)
            return 0
        started = time.monotonic()
        arax = run_side("arax", selection, suites,
                        environment_for(options.vendors_arax, os.environ.get("ARAX_PRELOAD")), options)
    except (Unusable, OSError, ValueError) as error:
        print(f"cts.py: {error}", file=sys.stderr)
        return 2
    return report(options, arax, native, expected, time.monotonic() - started)


def stop(number, _frame):
    """A signal: no suite goes on without us. What was through is in the results, for --resume."""
    RUNNING.stop()
    sys.exit(128 + number)


if __name__ == "__main__":
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, stop)
    sys.exit(main())
