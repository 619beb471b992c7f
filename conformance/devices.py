#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Devices as applications and administrators see them: too small, no good, configured wrongly.

devices.py --bin DIR --crash LIBRARY --hang LIBRARY [TEST...]   every test has a daemon of its own

Exit status: 0 passed, 1 failed.
"""

import argparse
import json
import os
import subprocess
import sys

from daemon import Failure, PATIENCE, World, check, poll

SIM = "[device sim]\nbackend = sim\noptions = latency=1us,bandwidth=50G,memory={memory}\n"
MIB = 1 << 20


class Machine(World):
    def __init__(self, options):
        super().__init__(options)
        self.options = options
        self.config = os.path.join(self.directory, "arax.conf")

    def configure(self, text):
        with open(self.config, "w", encoding="ascii") as file:
            file.write(text)

    def start(self, text):
        self.configure(text)
        self.daemon("--config", self.config)

    def arax(self, *arguments):
        return subprocess.run([f"{self.bin}/arax", *arguments], env=self.environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=PATIENCE)

    def devices(self):
        return {each["name"]: each for each in json.loads(self.arax("devices", "--json").stdout)["devices"]}

    def state(self, name, begins, seconds=PATIENCE):
        return poll(lambda: (now := self.devices()[name]["state"]).startswith(begins) and now, f"{name}: {begins}", seconds)[0]

    def load(self, items, buffers, **environment):
        client = self.client("hash:1", str(items), str(buffers), "8", "0", **environment)
        client.line("ready")
        return client


def work(client, launches):
    """More launches, of which every result must be right."""
    client.say(f"do {launches}")
    client.line("took")
    client.say("check")
    client.line("right")


def end(client):
    client.process.stdin.close()
    client.end()


def moved(world, memory):
    """Bytes to the device of 16 MiB of buffers that are used in turn, four times each."""
    world.start(SIM.format(memory=memory))
    world.state("sim", "ready")
    client = world.load(16384, 256, ARAX_DEVICES="sim")
    work(client, 1024)
    sim = next(each for each in world.entry(client)["devices"] if each["name"] == "sim")
    check(sim["resident"] <= memory, f"{sim['resident']} bytes are on a device of {memory}")
    check(sim["commands"] >= 1024, f"it ran elsewhere: {sim}")
    end(client)
    return sim["bytes_in"], sim["bytes_out"]


def test_oversubscription(world):
    """Four times a device's memory: right, and everything has to come and go."""
    fits = Machine(world.options)
    try:
        enough = moved(fits, 32 * MIB)
    finally:
        fits.close()
    small = moved(world, 4 * MIB)
    check(enough[0] <= 17 * MIB, f"with enough memory {enough[0]} bytes came")
    check(small[0] >= 48 * MIB and small[1] >= 48 * MIB, f"with a quarter of it only {small} bytes moved")
    return (f"16 MiB of buffers on a device of 4 MiB, 1024 kernels right: {small[0] / MIB:.0f} MiB to it, "
            f"{small[1] / MIB:.0f} MiB from it; on one of 32 MiB {enough[0] / MIB:.0f} and {enough[1] / MIB:.0f}")


def test_moves_in_trace(world):
    """arax trace has every transfer, with its bytes, and comes to the same as arax status."""
    path = os.path.join(world.directory, "t.json")
    world.start(SIM.format(memory=4 * MIB))
    world.state("sim", "ready")
    client = world.load(16384, 128, ARAX_DEVICES="sim")
    tracer = subprocess.Popen([f"{world.bin}/arax", "trace", path], env=world.environment(), stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    world.own.append(tracer)
    check(tracer.stderr.readline().startswith("arax: tracing"), "arax trace does not begin")

    def totals():
        sim = next(each for each in world.entry(client)["devices"] if each["name"] == "sim")
        return sim["bytes_in"] + sim["bytes_out"]
    before = totals()
    work(client, 300)
    grown = totals() - before
    tracer.terminate()
    tracer.communicate(timeout=PATIENCE)
    with open(path, encoding="utf-8") as file:
        slices = [each for each in json.load(file)["traceEvents"] if each["ph"] == "X"]
    moves = [each["args"] for each in slices if each["cat"] == "transfer" and each["args"]["device"] == "sim"]
    kernels = [each for each in slices if each["cat"] == "kernel"]
    check(len(kernels) == 300 and all(each["args"]["device"] == "sim" for each in kernels), f"{len(kernels)} kernels")
    commands = {each["args"]["id"] for each in slices if "id" in each["args"]}
    check(all(each.get("for") in commands for each in moves), "a transfer names no command of the trace")
    check(sum(each["bytes"] for each in moves) == grown, f"{sum(each['bytes'] for each in moves)} bytes traced, {grown} moved")
    end(client)
    return f"{len(moves)} transfers, {grown} bytes for 300 kernels: {grown / 300:.0f} bytes a command"


def test_bad_libraries(world):
    """What does not load, crashes or hangs is reported with its reason; the rest is there all the while."""
    # A sandbox shows a process what is below /usr, and not the libraries of a build tree.
    text = "[sandbox]\nuse = off\n" + SIM.format(memory=64 * MIB)
    for name, library in (("missing", "libnosuchthing.so.1"), ("empty", "libm.so.6"), ("crash", world.options.crash),
                          ("hang", world.options.hang)):
        text += f"[device {name}]\nbackend = opencl\nlibrary = {library}\n"
    world.start(text)
    world.state("sim", "ready")
    client = world.load(4096, 4, ARAX_DEVICES="cpu,sim")
    work(client, 40)
    said = {name: world.state(name, "failed: ") for name in ("missing", "empty", "crash", "hang")}
    for name, words in (("missing", "libnosuchthing.so.1"), ("crash", "SIGABRT"), ("hang", "did not answer within 10 s")):
        check(words in said[name], f"{name}: {said[name]}")
    check(said["missing"] in world.arax("devices").stdout, "arax devices does not say it")
    work(client, 40)
    end(client)
    return "; ".join(f"{name} {reason}" for name, reason in said.items())


BAD = [("[scheduling]\npolicy = fastest\n", 2, "policy = fastest: must be one of"),
       ("[device gpu]\nbackend = cuda\n", 2, "backend = cuda: must be sim or opencl"),
       ("[device gpu]\n", 1, "[device gpu]: backend"),
       ("[device]\ndevices = cpu-basic, gpu\n", 2, "comma list"),
       ("[device sim]\nbackend = sim\nspeed = 3\n", 3, "unknown key 'speed'"),
       ("[sheduling]\n", 1, "unknown section [sheduling]"),
       ("[scheduling]\nrules = kernel=gemm\n", 2, "rules")]


def test_reload(world):
    """A configuration with a mistake is refused with line and reason, and what was there goes on."""
    good = "[scheduling]\npolicy = fair\n" + SIM.format(memory=64 * MIB)
    world.start(good)
    world.state("sim", "ready")
    client = world.load(4096, 4, ARAX_DEVICES="sim")
    process = world.devices()["sim"]["pid"]
    for text, line, reason in BAD:
        world.configure(text)
        done = world.arax("reload")
        check(done.returncode == 1 and f"{self_name(world)}:{line}: " in done.stderr and reason in done.stderr,
              f"{text!r}: {done.returncode}, {done.stderr}")
        check(world.status()["daemon"]["policy"] == "fair", f"after {text!r} the policy is another")
        check(world.devices()["sim"]["pid"] == process, f"after {text!r} the device is another")
        work(client, 8)
    check(world.arax("policy", "fastest").returncode == 1, "a policy that is not there")
    world.configure(good.replace("fair", "elastic"))
    done = world.arax("reload")
    check(done.returncode == 0 and world.status()["daemon"]["policy"] == "elastic", f"a good one: {done.stderr}")
    work(client, 8)
    end(client)
    return f"{len(BAD)} mistakes refused"


def self_name(world):
    return os.path.basename(world.config)


TESTS = {name[5:]: function for name, function in globals().items() if name.startswith("test_")}


def run(name, options):
    world = Machine(options)
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
    parser.add_argument("--bin", required=True, help="directory of araxd and arax")
    parser.add_argument("--crash", required=True, help="a library that crashes")
    parser.add_argument("--hang", required=True, help="a library that hangs")
    parser.add_argument("tests", nargs="*", metavar="TEST", help=", ".join(TESTS))
    options = parser.parse_args()
    options.bin, options.crash, options.hang = map(os.path.abspath, (options.bin, options.crash, options.hang))
    options.helper = os.path.join(options.bin, "conformance_helper_load")
    unknown = set(options.tests) - set(TESTS)
    if unknown:
        parser.error(f"no test {', '.join(sorted(unknown))}")
    return 0 if all([run(name, options) for name in options.tests or TESTS]) else 1


if __name__ == "__main__":
    sys.exit(main())
