#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a flood of one user leaves to a neighbour of another one: a benchmark.

fairshare.py --bin DIR [--processes N] [--seconds S] [--rounds N] [--neighbour KIND]... [--flood KIND]...

For each kind of flood (N processes that do nothing else) and each kind of neighbour, the neighbour's throughput
is measured alone and beside the flood, by turns. Two users share the machine equally: the neighbour's fair share
is half of the processor time that there is for the two of them (what others on the machine take is left out), or
what it takes alone, if that is less, and the throughput that it would have with it. Printed is the ratio of what
it has to its fair share, the median of the rounds; 0.90 is wanted. How soon it has its turn is another question:
the neighbour "finishes", who waits for each of its small kernels, is not measured unless asked for.

Needs root, for two users. Exit status: 0 all are at least --least, 1 some are not, 77 cannot be done here.
"""

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys

from limits import ANNE, BERT, Failure, Skip, World, check, needs_users

NEIGHBOURS = ("kernels", "launches", "transfers", "builds", "finishes")
FLOODS = ("kernels", "launches", "transfers", "objects", "builds", "connections", "attaches")
TICKS = os.sysconf("SC_CLK_TCK")


def processes():
    """Of all: parent, session, and seconds of processor time, with those of children that have been waited for."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                words = file.read().rsplit(")", 1)[1].split()
            found[int(name)] = int(words[1]), int(words[3]), sum(int(words[i]) for i in (11, 12, 13, 14)) / TICKS
    return found


def used(roots):
    """Processor time of these processes and all that descend from them."""
    table = processes()
    total = 0
    for pid in table:
        at = pid
        while at in table and at not in roots:
            at = table[at][0]
        total += table[pid][2] if at in roots else 0
    return total


def machine():
    """Processor time of all, and what a hypervisor took."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, soft, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + soft) / TICKS, steal / TICKS


class Neighbour:
    def __init__(self, world, kind):
        self.world = world
        self.process = world.client("measure", kind, user=ANNE)
        check(self.process.stdout.readline() == "ready\n", "the neighbour does not begin")

    def measure(self, seconds, flood=()):
        """Per second: how often, processor time of the service and of the clients, and of everybody else."""
        roots = {self.world.daemon.pid, self.process.pid, *flood}
        ours, (all_before, steal) = used(roots), machine()
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        check(words and words[0] == "done", f"the neighbour says {words}")
        ours, (all_after, stolen) = used(roots) - ours, machine()
        took = float(words[2])
        return int(words[1]) / took, ours / took, (all_after - all_before - ours + stolen - steal) / took

    def close(self):
        self.world.let_go(self.process)


class Flood:
    """Processes of one session, as a user's job is."""

    def __init__(self, world, kind, count):
        command = "; ".join(['for i in $(seq "$1"); do "$2" flood "$3" & done', "wait"])
        self.process = subprocess.Popen(["/bin/sh", "-c", command, "sh", str(count), world.options.helper, kind],
                                        env=world.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        text=True, user=BERT, extra_groups=[], start_new_session=True)
        for _ in range(count):
            check(self.process.stdout.readline() in ("ready\n", "refused\n"), "the flood does not begin")

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


def ratio(world, options, neighbour, flood):
    """The neighbour's part of its fair share, once: alone, beside the flood, alone again."""
    subject = Neighbour(world, neighbour)
    try:
        subject.measure(options.seconds / 2)
        alone = [subject.measure(options.seconds)]
        with contextlib.closing(Flood(world, flood, options.processes)) as beside:
            subject.measure(options.seconds / 4)
            rate, _, others = subject.measure(options.seconds, [beside.process.pid])
        subject.measure(options.seconds / 4)
        alone.append(subject.measure(options.seconds))
    finally:
        subject.close()
    for_both = os.cpu_count() - max(0, others)
    takes = statistics.mean(each for _, each, _ in alone)
    share = min(1, for_both / 2 / takes) if takes else 1
    return rate / (share * statistics.mean(each for each, _, _ in alone))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--helper")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--least", type=float, default=0.90)
    parser.add_argument("--neighbour", action="append", choices=NEIGHBOURS)
    parser.add_argument("--flood", action="append", choices=FLOODS)
    options = parser.parse_args()
    options.bin = os.path.abspath(options.bin)
    options.helper = options.helper or os.path.join(options.bin, "conformance_helper_fairshare")
    needs_users(options)
    neighbours, floods = options.neighbour or NEIGHBOURS[:-1], options.flood or FLOODS
    print(f"{'flood':12}" + "".join(f"{name:>11}" for name in neighbours), flush=True)
    least = 1e9
    for flood in floods:
        row = []
        for neighbour in neighbours:
            with contextlib.closing(World(options, "")) as world:
                row.append(statistics.median(ratio(world, options, neighbour, flood) for _ in range(options.rounds)))
        least = min(least, *row)
        print(f"{flood:12}" + "".join(f"{each:11.2f}" for each in row), flush=True)
    print(f"least: {least:.2f} of the fair share (wanted: {options.least:.2f})")
    return 0 if least >= options.least else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Skip as skip:
        print(f"skip: {skip}")
        sys.exit(77)
    except Failure as failure:
        print(f"FAILED: {failure}")
        sys.exit(1)
