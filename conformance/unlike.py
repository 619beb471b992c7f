#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Devices that are unlike, live: a benchmark of policy heterogeneous on PoCL and rusticl.

unlike.py --bin DIR [--launches N] [--rounds N]

One application launches three kernels in turn, of which each device is good at others. Under pinned every
assignment of the kernels to the two devices is tried, the same for all launches of a kernel, which has the best
static one and both single devices among them; under heterogeneous Arax decides, after some rounds to learn. The
policies take turns, round by round; printed are the medians, and the median of the rounds' ratios. Exit status: 0,
77 where rusticl cannot be had.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys

from daemon import Failure, PATIENCE, World, check, poll

KERNELS = {"hash": 400, "madd": 400, "cosine": 20}
HOMES = ("cpu-pthread", "rusticl")


class Machine(World):
    def __init__(self, options):
        super().__init__(options)
        config = os.path.join(self.directory, "arax.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"[scheduling]\npolicy = heterogeneous\n[cache]\ndirectory = {options.cache}\n[device rusticl]\n")
        self.daemon("--config", config)

    def arax(self, *arguments):
        done = subprocess.run([f"{self.bin}/arax", *arguments], env=self.environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=PATIENCE)
        check(done.returncode == 0, f"arax {' '.join(arguments)}: {done.stderr}")
        return done.stdout


def took(client, launches):
    client.say(f"do {launches}")
    return float(client.line("took", 300).split()[1])


def launches_of(world, client):
    entry = world.entry(client)
    return {(each["name"], each["device"]): each["launches"] for each in entry["kernel_times"]}


def measure(world, options):
    client = world.client(",".join(f"{name}:{count}" for name, count in KERNELS.items()), "65536", "4", "8", "0")
    client.line("ready", 300)
    poll(lambda: "rusticl" in {each["name"] for each in world.entry(client)["devices"]}, "rusticl is there for it")
    ways = {"heterogeneous": ("policy", "heterogeneous")}
    for homes in itertools.product(HOMES, repeat=len(KERNELS)):
        rules = ",".join(f"kernel={kernel}->{home}" for kernel, home in zip(KERNELS, homes))
        ways[homes] = ("policy", "pinned", rules)
    times = {way: [] for way in ways}
    ran = {}
    for turn in range(options.learning + options.rounds):
        for way, command in ways.items():
            if turn and turn < options.learning and way != "heterogeneous":
                continue
            world.arax(*command)
            took(client, 2 * len(KERNELS) * 4)  # data comes to where it will be
            before = launches_of(world, client)
            seconds = took(client, options.launches)
            if turn >= options.learning:
                times[way].append(seconds)
            if way == "heterogeneous":
                ran = {key: count - before.get(key, 0) for key, count in launches_of(world, client).items()}
    client.say("check")
    client.line("right", 300)
    client.process.stdin.close()
    client.end()
    return times, ran


def report(times, ran, options):
    def name(way):
        return way if isinstance(way, str) else ", ".join(f"{kernel} on {home}" for kernel, home in zip(KERNELS, way))
    median = {way: statistics.median(all_of) for way, all_of in times.items()}
    for way, seconds in sorted(median.items(), key=lambda item: item[1]):
        print(f"{seconds * 1000 / options.launches:7.3f} ms a launch: {name(way)}")
    static = {way: seconds for way, seconds in median.items() if way != "heterogeneous"}
    best = min(static, key=static.get)
    single = min((way for way in static if len(set(way)) == 1), key=static.get)
    print("heterogeneous ran " + ", ".join(f"{kernel} on {device} {count}" for (kernel, device), count in
                                            sorted(ran.items()) if count))
    for what, way, most in (("the best static assignment", best, 1.10), ("the best single device", single, 1.05)):
        ratio = statistics.median(mine / its for mine, its in zip(times["heterogeneous"], times[way]))
        print(f"heterogeneous takes {ratio:.3f} of {what} ({name(way)}): {'reached' if ratio <= most else 'MISSED'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--launches", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--learning", type=int, default=8)
    options = parser.parse_args()
    options.bin = os.path.abspath(options.bin)
    options.helper = os.path.join(options.bin, "conformance_helper_load")
    options.cache = os.path.join(os.environ.get("XDG_CACHE_HOME", "/tmp"), "unlike")
    world = Machine(options)
    try:
        state = poll(lambda: next((line for line in world.arax("devices").splitlines() if line.startswith("rusticl")
                                   and "starting" not in line), None), "rusticl is there or not")[0]
        if "failed" in state:
            print(state)
            return 77
        times, ran = measure(world, options)
    finally:
        world.close()
    report(times, ran, options)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"FAILED: {failure}")
        sys.exit(1)
