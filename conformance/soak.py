#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many applications for a long time, a quarter of them hostile or crashing: nothing grows, nothing is wrong.

soak.py --worker WORKER --helper HELPER --hostile HOSTILE --bin DIR [--seconds S] [--tenants N] [--seed N]

Of N applications at a time (32) an eighth break the protocol in every way (hostile/hostile.c) and an eighth
have kernels that fault (test_fault.c; on the CPU, because who shares a device dies of the faults of its
trust domain there); the others compute on all devices and check every value
(helper_kills.c). Each is replaced when it ends, honest ones end after some seconds. After a warm-up and at
the end all leave, and what then is held is compared: the memory of araxd, the zygote and the compiler must
not have grown by more than 1 %, descriptors, mapped memory files, processes and scratch directories not at
all. An honest application must never see a wrong value or an error.
Exit status: 0 passed, 1 failed.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time

from daemon import PATIENCE, Failure, check, poll
from kills import Deaths, children_of, name_of

DRIFT = 0.01
# Without those that take all connections which one user may have: whoever comes then is refused.
ATTACKS = ("fields", "heads", "records", "stale", "indices", "double-fetch", "holes", "arena", "map", "messages",
           "descriptors", "descriptor-flood", "slow-reader")
# Without those that are about time.
FAULTS = ("segfault", "segfault_large", "wild", "illegal", "overflow", "overflow_large", "divide", "replay",
          "no_event", "again", "threads")
LIFE = (1, 10)  # seconds of an honest application
LONGEST = 120  # of a hostile or crashing one


def resident(pid):
    """KiB of its memory that is there, shared or not."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Rss:"))


class Honest:
    def __init__(self, soak):
        self.soak, self.rounds = soak, 0
        self.client = soak.world.worker(soak.rng.randrange(1 << 30))
        self.until = time.monotonic() + soak.rng.uniform(*LIFE)

    def read(self):
        while not self.client.lines.empty():
            words = self.client.line().split()
            check(words[:1] == ["round"] and words[2] == "ok",
                  f"an honest application says: {' '.join(words)} {[*self.client.lines.queue]}")
            self.rounds += 1

    def ended(self):
        self.read()
        if time.monotonic() < self.until:
            return False
        self.finish()
        return True

    def finish(self):
        self.client.say("stop")
        while (line := self.client.line()) != "ok":
            check(line.split()[2:3] == ["ok"], f"an honest application says: {line}")
            self.rounds += 1
        self.client.end()
        self.soak.counts["honest applications"] += 1
        self.soak.counts["their rounds"] += self.rounds


class Other:
    """One that ends by itself and says by its exit status whether it saw what it has to see."""

    def __init__(self, soak, what, command, **environment):
        self.soak, self.what, self.command = soak, what, command
        self.until = time.monotonic() + LONGEST
        self.process = subprocess.Popen(command, env=soak.world.environment(**environment), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        soak.world.own.append(self.process)

    def ended(self):
        check(time.monotonic() < self.until, f"{' '.join(self.command)} hangs")
        if self.process.poll() is None:
            return False
        said = self.process.stdout.read()
        check(self.process.returncode == 0, f"{' '.join(self.command)} ended with {self.process.returncode}: {said}")
        self.soak.counts[self.what] += 1
        return True

    def finish(self):
        poll(self.ended, f"{' '.join(self.command)} ends", LONGEST)


class Soak:
    def __init__(self, options):
        self.options, self.rng = options, random.Random(options.seed)
        self.world = Deaths(options)
        self.slots = []
        self.counts = dict.fromkeys(("honest applications", "their rounds", "attacks", "crashing applications"), 0)

    def employ(self, index):
        options = self.options
        if index % 8 == 0:
            return Other(self, "attacks", [options.hostile, self.rng.choice(ATTACKS), str(self.rng.randrange(1000))])
        if index % 8 == 4:
            return Other(self, "crashing applications",
                         [f"{options.bin}/conformance_fault", self.rng.choice(FAULTS)], ARAX_DEVICES="cpu")
        return Honest(self)

    def work(self, seconds):
        """All applications, and then nobody."""
        until = time.monotonic() + seconds
        self.slots = [self.employ(index) for index in range(self.options.tenants)]
        while time.monotonic() < until:
            for index, each in enumerate(self.slots):
                if each.ended():
                    self.slots[index] = self.employ(index)
            time.sleep(0.02)  # between two looks at them
        for each in self.slots:
            each.finish()
        self.slots = []
        self.world.reap()

    def settled(self):
        """What is held when nobody is there: memory in KiB by process, and everything else."""
        held, _ = poll(lambda: self.world.quiet(0, compiler=True), "nobody is served", PATIENCE)
        daemon = self.world.status()["daemon"]["pid"]
        memory = {"araxd": resident(daemon)}
        for pid in children_of(daemon):
            if name_of(pid) in ("arax-zygote", "arax-compile"):
                memory[name_of(pid)] = resident(pid)
        return memory, held

    def run(self):
        options = self.options
        self.world.daemon("--config", self.world.config)
        self.work(options.warm_up or max(5, options.seconds / 10))
        before, held = self.settled()
        self.work(options.seconds)
        after, now = self.settled()
        drift = sum(after.values()) / sum(before.values()) - 1
        print("memory in KiB: " + ", ".join(f"{name} {before[name]} -> {after.get(name)}" for name in before)
              + f"; drift {drift * 100:+.2f} %")
        print("held: " + ", ".join(f"{count} {what}" for what, count in now.items()))
        check(drift < DRIFT, f"memory has grown by {drift * 100:.2f} %")
        more = now.beyond(held)
        check(not more, f"there is more than after the warm-up: {more}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("worker", "helper", "hostile", "bin"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--warm-up", type=float, default=0, help="default: a tenth of that, and five seconds")
    parser.add_argument("--tenants", type=int, default=32)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    for name in ("worker", "helper", "hostile", "bin"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    soak, failure = Soak(options), None
    try:
        soak.run()
    except (Failure, OSError, subprocess.SubprocessError) as error:
        failure = error
    finally:
        left = soak.world.close()
    print(f"{options.tenants} tenants, {options.seconds:.0f} s, seed {options.seed}: "
          + ", ".join(f"{count} {what}" for what, count in soak.counts.items()))
    if failure:
        print(f"FAILED: {failure}")
    if left:
        print(f"FAILED: left behind: {left}")
    return 1 if failure or left else 0


if __name__ == "__main__":
    # ctest ends this with SIGTERM at its time limit: leave through the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
