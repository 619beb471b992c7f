#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""arax trace, plot and top, looking at programs that say themselves what they did.

trace.py --helper HELPER --bin DIR [TEST...]   every test has a daemon of its own

Exit status: 0 passed, 1 failed.
"""

import argparse
import collections
import json
import os
import pty
import select
import signal
import subprocess
import sys
import xml.etree.ElementTree

from daemon import Failure, World, check, poll, PATIENCE

TIMES = ("queued_ns", "submit_ns", "start_ns", "end_ns")


class Trace:
    """A trace's file, checked for what holds for every trace."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.root = json.load(file)
        self.events = self.root["traceEvents"]
        self.slices = [each for each in self.events if each["ph"] == "X"]
        self.other = self.root["otherData"]
        self.names = {each["pid"]: each["args"]["name"] for each in self.events
                      if each["ph"] == "M" and each["name"] == "process_name"}
        self.by_id = {(each["pid"], each["args"]["id"]): each for each in self.slices if "id" in each["args"]}
        self.flows = []
        self.check_slices()
        self.check_flows()

    def check_slices(self):
        check(self.other["commands"] == len(self.slices), f"{len(self.slices)} slices, {self.other}")
        check(len(self.by_id) == sum("id" in each["args"] for each in self.slices), "an id appears twice")
        threads = {(each["pid"], each["tid"]) for each in self.events
                   if each["ph"] == "M" and each["name"] == "thread_name"}
        last = {}
        for each in sorted(self.slices, key=lambda one: one["args"]["start_ns"]):
            args, thread = each["args"], (each["pid"], each["tid"])
            times = [args[name] for name in TIMES]
            check(0 <= times[0] and times == sorted(times), f"not in order: {each}")
            check(abs(each["ts"] * 1000 - times[2]) < 1 and abs(each["dur"] * 1000 - times[3] + times[2]) < 1,
                  f"drawn elsewhere: {each}")
            check(each["pid"] in self.names and thread in threads, f"of nobody: {each}")
            check(last.get(thread, 0) <= times[2], f"over the one before: {each}")
            last[thread] = times[3]
            # Of one application, whatever the row: an inline device does one at a time.
            inline = (each["pid"], args["device"])
            if args["device"] == "cpu-basic":
                check(last.get(inline, 0) <= times[2], f"two at a time on {inline}: {each}")
                last[inline] = times[3]

    def check_flows(self):
        ends = {phase: {each["id"]: each for each in self.events if each["ph"] == phase} for phase in "sf"}
        check(ends["s"].keys() == ends["f"].keys(), "arrows with one end")
        check(len(ends["s"]) == self.other["flows"], "arrows are not counted")
        for number, begin in ends["s"].items():
            end = ends["f"][number]
            pair = []
            for each in (begin, end):
                on = self.by_id.get((each["pid"], each["args"]["id"]))
                check(on and on["tid"] == each["tid"], f"an arrow at nothing: {each}")
                check(on["ts"] - 0.0011 <= each["ts"] <= on["ts"] + on["dur"] + 0.0011, f"beside its command: {each} {on}")
                pair.append(on)
            check(end["bp"] == "e" and pair[0]["args"]["end_ns"] <= pair[1]["args"]["start_ns"], f"backwards: {pair}")
            self.flows.append(pair)

    def of(self, pid, category=None):
        found = [each for each in self.slices if each["pid"] == pid and category in (None, each["cat"])]
        return sorted(found, key=lambda each: each["args"]["start_ns"])

    def counts(self, pid):
        return collections.Counter(each["name"] for each in self.of(pid))


def arax(world, *arguments, status=0, **more):
    done = subprocess.run([f"{world.bin}/arax", *arguments], env=world.environment(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          timeout=PATIENCE, **more)
    check(done.returncode == status, f"arax {' '.join(arguments)}: {done.returncode}, not {status}: {done.stderr}")
    return done


class Tracer:
    """arax trace, until it is told to end."""

    def __init__(self, world, *arguments):
        self.path = os.path.join(world.directory, "trace.json")
        self.process = subprocess.Popen([f"{world.bin}/arax", "trace", self.path, *arguments],
                                        env=world.environment(), stdin=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        world.own.append(self.process)
        line = self.process.stderr.readline()
        check(line.startswith("arax: tracing"), f"arax trace says {line}")

    def end(self, how=signal.SIGINT):
        self.process.send_signal(how)
        self.said = self.process.communicate(timeout=PATIENCE)[1]
        check(self.process.returncode == 0, f"arax trace ended with {self.process.returncode}: {self.said}")
        return Trace(self.path)


def compare(trace, pid, said):
    """Every kernel that the program launched, once, with the times that it was told."""
    launched = [line for line in said if "kernel" in line]
    others = next(line["others"] for line in said if "others" in line)
    kernels = trace.of(pid, "kernel")
    check(len(kernels) == len(launched), f"{len(kernels)} kernels traced, {len(launched)} launched")
    offset = None
    for traced, known in zip(kernels, sorted(launched, key=lambda line: line["times"][2])):
        args = traced["args"]
        check(traced["name"] == known["kernel"] and args["global"] == known["global"], f"{traced} is not {known}")
        offset = known["times"][0] - args["queued_ns"] if offset is None else offset
        check([args[name] + offset for name in TIMES] == known["times"], f"{traced} at another time than {known}")
        check(args["device"] in ("cpu-basic", "cpu-pthread") and args["queue"] > 0, f"nowhere: {traced}")
    counts = trace.counts(pid)
    check(all(counts[name] == n for name, n in others.items()), f"traced {counts}, done {others}")
    check(len(trace.of(pid)) == len(launched) + sum(others.values()), f"more than was done: {counts}")
    return launched


def test_program(world):
    path = os.path.join(world.directory, "t.json")
    done = arax(world, "trace", path, "--", world.helper, "run")  # the library starts the daemon
    trace = Trace(path)
    check(list(trace.names.values()) == [os.path.basename(world.helper)[:63]], f"applications: {trace.names}")
    pid = next(iter(trace.names))
    launched = compare(trace, pid, [json.loads(line) for line in done.stdout.splitlines()])
    check(trace.other["dropped"] == trace.other["invalid"] == trace.other["flows_without_beginning"] == 0,
          f"{trace.other}")
    arrows = {(begin["name"], end["name"]) for begin, end in trace.flows}
    for wanted in (("heavy", "fill"), ("fill", "copy"), ("copy", "wide"), ("wide", "read buffer"),
                   ("heavy", "blend"), ("blend", "heavy")):
        check(wanted in arrows, f"no arrow {wanted} in {arrows}")
    # In order: no command has more than one arrow, to the one before it.
    chain = [pair for pair in trace.flows if {pair[0]["name"], pair[1]["name"]} <= {"heavy", "blend"}]
    check(all(end["args"]["id"] - begin["args"]["id"] == 1 for begin, end in chain), f"{chain}")
    read = next(each for each in trace.of(pid) if each["name"] == "fill")
    check(read["args"]["bytes"] == 8 << 20, f"{read}")
    finished = poll(lambda: world.status()["finished"], "the application is known to have ended")[0][0]
    check(finished["pid"] == pid and finished["kernels"] == len(launched), f"arax status says {finished}")
    return f"{len(trace.slices)} commands, {len(trace.flows)} arrows"


def test_two_applications(world):
    world.daemon()
    tracer = Tracer(world)
    clients = [world.client("run") for _ in range(2)]
    for client in clients:
        client.end()
        client.said = [json.loads(line) for line in iter(client.lines.get, None)]
    trace = tracer.end()
    check(sorted(trace.names) == sorted(client.pid for client in clients), f"{trace.names}")
    for client in clients:
        compare(trace, client.pid, client.said)
    check(trace.other["applications"] == 2, f"{trace.other}")
    return f"{len(trace.slices)} commands"


def test_only_the_program(world):
    world.daemon()
    path = os.path.join(world.directory, "t.json")
    other = world.client("spin")
    other.line("spinning")
    done = arax(world, "trace", path, "--", "/bin/sh", "-c", f"{world.helper} run; exit 7", status=7)
    trace = Trace(path)
    check(len(trace.names) == 1 and other.pid not in trace.names, f"{trace.names}")
    compare(trace, next(iter(trace.names)), [json.loads(line) for line in done.stdout.splitlines()])


def test_tenant_killed(world):
    world.daemon()
    tracer = Tracer(world)
    spinner = world.client("spin")
    spinner.line("spinning")
    os.kill(world.tenant(spinner), signal.SIGKILL)
    spinner.line("ended -")
    spinner.line("again 0")
    spinner.end()
    trace = tracer.end()
    check(trace.counts(spinner.pid) == {"blend": 11, "write buffer": 1}, f"{trace.counts(spinner.pid)}")
    check(trace.other["applications"] == 1 and trace.other["dropped"] == 0, f"{trace.other}")


def test_client_killed(world):
    """The program under trace ends by a signal: its status, and a whole file with what had ended."""
    world.daemon()
    path = os.path.join(world.directory, "t.json")
    number = os.path.join(world.directory, "pid")
    script = (f"sh -c 'echo $$ >{number}; exec {world.helper} spin' | "
              f"(read line; kill -9 $(cat {number})); kill -9 $$")
    arax(world, "trace", path, "--", "/bin/sh", "-c", script, status=128 + 9)
    trace = Trace(path)
    check(len(trace.names) == 1, f"{trace.names}")
    check(trace.counts(next(iter(trace.names))) == {"blend": 10, "write buffer": 1}, f"{trace.root}")


def test_daemon_killed(world):
    daemon = world.daemon()
    tracer = Tracer(world)
    client = world.client("run")
    client.end()
    daemon.kill()
    daemon.wait()
    trace = tracer.end()
    check("araxd has gone" in tracer.said, tracer.said)
    check(list(trace.names) == [client.pid] and len(trace.of(client.pid, "kernel")) == 62, f"{trace.names}")


def trace_memory(daemon):
    """Bytes of all applications' traces."""
    sizes = {}
    for name in os.listdir(f"/proc/{daemon.pid}/fd"):
        path = f"/proc/{daemon.pid}/fd/{name}"
        try:
            if os.readlink(path).startswith("/memfd:arax-trace"):
                status = os.stat(path)
                sizes[status.st_ino] = status.st_blocks * 512
        except OSError:
            continue
    return sum(sizes.values())


def test_off(world):
    """Nobody writes what nobody reads, also not after somebody has read."""
    daemon = world.daemon()
    first = world.client("spin")
    first.line("spinning")
    head = trace_memory(daemon)
    check(0 < head <= 4096, f"{head} bytes of trace although nobody traces")
    tracer = Tracer(world)
    second = world.client("spin")
    second.line("spinning")
    traced = trace_memory(daemon)
    check(traced >= 2 * 4096 + 2 * 4096, f"{traced} bytes of trace are not enough for its entries")
    trace = tracer.end()
    check(sorted(trace.names) == sorted((first.pid, second.pid)), f"{trace.names}")
    check(not trace.of(first.pid) and len(trace.of(second.pid)) == 11, f"{trace.root}")
    third = world.client("spin")
    third.line("spinning")
    check(trace_memory(daemon) <= traced + 4096, "an application writes its trace although nobody reads any more")


def test_too_slow(world):
    """A reader that does not read loses, knows how much, and stops nobody."""
    world.daemon()
    tracer = Tracer(world)
    tracer.process.send_signal(signal.SIGSTOP)
    count = 100000
    client = world.client("flood", str(count))
    client.end()
    tracer.process.send_signal(signal.SIGCONT)
    trace = tracer.end()
    kernels = trace.counts(client.pid)["null"]
    check(0 < kernels < count and kernels + trace.other["dropped"] == count, f"{kernels} kernels, {trace.other}")
    check(f"{trace.other['dropped']} were lost" in tracer.said, tracer.said)
    check(any(each["name"] == "arax_dropped" and each["pid"] == client.pid for each in trace.events), "no word of it")
    return f"{trace.other['dropped']} of {count} lost"


def test_time(world):
    world.daemon()
    path = os.path.join(world.directory, "t.json")
    arax(world, "trace", path, "--seconds", "0.2")
    check(Trace(path).slices == [], "commands of nobody")


def test_limit(world):
    world.daemon()
    path = os.path.join(world.directory, "t.json")
    done = arax(world, "trace", path, "--limit", "0.01", "--", world.helper, "run")
    trace = Trace(path)
    check(trace.other["over_limit"] > 0 and os.path.getsize(path) < 30000, f"{trace.other}")
    check("largest size" in done.stderr, done.stderr)


def test_bad(world):
    path = os.path.join(world.directory, "t.json")
    check("no daemon" in arax(world, "trace", path, status=1).stderr, "no word of the daemon")
    check(not os.path.exists(path), "a file without a trace")
    said = arax(world, "trace", path, "--", "/bin/true").stderr
    check("has not used Arax" in said and Trace(path).slices == [], said)
    world.daemon()
    nowhere = os.path.join(world.directory, "nowhere", "t.json")
    check(nowhere in arax(world, "trace", nowhere, status=1).stderr, "no name")
    check("No space left" in arax(world, "trace", "/dev/full", "--", world.helper, "run", status=1).stderr, "full")
    check("/nonsense" in arax(world, "trace", path, "--", "/nonsense", status=1).stderr, "no program")
    for wrong in ([], [path, "--seconds", "x"], [path, "--seconds", "-1"], [path, "--nonsense"],
                  [path, "--seconds", "1", "--", "/bin/true"]):
        arax(world, "trace", *wrong, status=2)


def test_plot(world):
    path, picture = (os.path.join(world.directory, name) for name in ("t.json", "t.svg"))
    arax(world, "trace", path, "--", world.helper, "run")
    arax(world, "plot", path, picture)
    with open(picture, "rb") as file:
        first = file.read()
    arax(world, "plot", path, picture)
    with open(picture, "rb") as file:
        check(first == file.read(), "another picture of the same trace")
    tree = xml.etree.ElementTree.fromstring(first)
    kinds = collections.Counter(each.get("class") for each in tree.iter())
    devices = {each["args"]["device"] for each in Trace(path).slices}
    check(kinds["lane"] == len(devices) and kinds["legend"] == 1 and kinds["axis"] == 1, f"{kinds} {devices}")

    cut, other = (os.path.join(world.directory, name) for name in ("cut.json", "other.json"))
    with open(path, "rb") as whole, open(cut, "wb") as part:
        part.write(whole.read()[:-500])
    with open(other, "w", encoding="ascii") as file:
        file.write('{"name": "no trace"}')
    os.remove(picture)
    for wrong, why in ((cut, "cut off"), (other, "not a trace"), ("/dev/null", "cut off"),
                       (path + "x", "No such file"), (world.directory, "directory")):
        said = arax(world, "plot", wrong, picture, status=1).stderr
        check(why in said and wrong in said, f"{wrong}: {said}")
    check(not os.path.exists(picture), "a picture of nothing")
    check("No space left" in arax(world, "plot", path, "/dev/full", status=1).stderr, "no word of the disk")
    check("nowhere" in arax(world, "plot", path, world.directory + "/nowhere/x.svg", status=1).stderr, "no name")
    arax(world, "plot", path, status=2)


def test_top(world):
    check("no daemon" in arax(world, "top", "--once", status=1).stderr, "no word of the daemon")
    world.daemon()
    client = world.client("spin")
    client.line("spinning")
    said = arax(world, "top", "--once", "--interval", "0.3").stdout
    line = next((each.split() for each in said.splitlines() if each.split()[:1] == [str(client.pid)]), None)
    check(line, f"{client.pid} is not in {said}")
    name, queue, memory = line[1], line[5], " ".join(line[8:10])
    check(name == os.path.basename(world.helper)[:16] and queue == "1", f"{line}")
    check(memory.endswith("KiB") and float(line[8]) >= 16, f"memory: {memory} in {line}")
    check(all(device in said for device in ("cpu-basic", "cpu-pthread")), said)
    said = arax(world, "top", "--batch", "--count", "3", "--interval", "0.05").stdout
    check(said.count("DEVICE") == 3, said)
    check("terminal" in arax(world, "top", status=1).stderr, "no word of the terminal")
    arax(world, "top", "--interval", "0", status=2)
    arax(world, "top", "nonsense", status=2)


def test_top_live(world):
    world.daemon()
    pid, master = pty.fork()
    if pid == 0:
        os.execve(f"{world.bin}/arax", ["arax", "top", "--interval", "0.1"],
                  {**world.environment(), "TERM": "xterm", "LINES": "30", "COLUMNS": "120"})
    seen = b""
    try:
        while b"no application" not in seen:
            ready = select.select([master], [], [], PATIENCE)[0]
            check(ready, f"nothing more than {seen}")
            seen += os.read(master, 65536)
        os.write(master, b"q")

        def ended():
            if select.select([master], [], [], 0)[0]:
                try:
                    os.read(master, 65536)
                except OSError:
                    pass
            return os.waitpid(pid, os.WNOHANG)
        status = poll(lambda: (lambda got: got if got[0] else None)(ended()), "arax top ends")[0][1]
        pid = 0
        check(status == 0, f"arax top ended with {status}")
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(master)


TESTS = {name[5:]: function for name, function in globals().items() if name.startswith("test_")}


def run(name, options):
    world = World(options)
    try:
        said, failure = TESTS[name](world) or "", None
    except Failure as error:
        said, failure = "", str(error)
    finally:
        left = world.close()
    if left and not failure:
        failure = f"left behind after arax stop: {left}"
    print(f"not ok {name}: {failure[:3000]}" if failure else f"ok {name}: {said}", flush=True)
    return not failure


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--helper", required=True, help="helper_trace")
    parser.add_argument("--bin", required=True, help="directory of araxd and arax")
    parser.add_argument("tests", nargs="*", metavar="TEST", help=", ".join(TESTS))
    options = parser.parse_args()
    options.helper, options.bin = os.path.abspath(options.helper), os.path.abspath(options.bin)
    unknown = set(options.tests) - set(TESTS)
    if unknown:
        parser.error(f"no test {', '.join(sorted(unknown))}")
    return 0 if all([run(name, options) for name in options.tests or TESTS]) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
