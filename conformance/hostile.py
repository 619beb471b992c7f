#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that break every rule of the protocol, and what everybody else notices of them: nothing.

hostile.py --helper HELPER --hostile HOSTILE --bin DIR [--rounds N] [ATTACK...]

One araxd for all attacks. Beside each of them an application computes and checks what it computes; after
each a new one is served, araxd is the same process with the descriptors that it had, and no tenant is
left. What an attacker itself has to see is checked by itself (hostile/hostile.c).

Exit status: 0 passed, 1 failed.
"""

import argparse
import os
import subprocess
import sys
import time

from daemon import Failure, PATIENCE, World, check, poll

ATTACK_SECONDS = 300
FDS_PER_TENANT = 2  # that is ready


def descriptors(world, daemon):
    """araxd's, without those for tenants: control socket, pidfd, description, statistics ..."""
    pool = world.status()["pool"]
    return len(os.listdir(f"/proc/{daemon.pid}/fd")) - FDS_PER_TENANT * (pool["ready"] + pool["starting"])


def no_more_descriptors(world, daemon, before):
    return descriptors(world, daemon) <= before


def attack(world, daemon, name, seed, hostile):
    """Return: what the attacker said, and how many rounds the neighbour computed meanwhile."""
    neighbour = world.client("loop", "31")
    neighbour.line("round 3")
    done = subprocess.run([hostile, name, str(seed)], env=world.environment(), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=ATTACK_SECONDS, check=False)
    check(done.returncode == 0, f"{name}, seed {seed}: the attacker ended with {done.returncode}: "
                                f"{done.stdout}{done.stderr}")
    neighbour.say("stop")
    neighbour.done()
    check(daemon.poll() is None, f"{name}: araxd ended with {daemon.poll()}")
    world.work()
    rounds = sum(line.startswith("round") for line in neighbour.seen)
    return f"{done.stdout.strip().replace(chr(10), '; ')} ({rounds} rounds beside it)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--helper", required=True)
    parser.add_argument("--hostile", required=True)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--rounds", type=int, default=1, help="each with seeds of its own")
    parser.add_argument("attacks", nargs="*")
    options = parser.parse_args()
    attacks = options.attacks or subprocess.run([options.hostile], capture_output=True, text=True,
                                                check=True).stdout.split()
    world = World(options)
    failed = 0
    try:
        daemon = world.daemon()
        world.work()
        before = world.settled()
        open_before = descriptors(world, daemon)
        for seed in range(1, options.rounds + 1):
            for name in attacks:
                started = time.monotonic()
                try:
                    said = attack(world, daemon, name, seed, options.hostile)
                    world.settled(like=before)
                    poll(lambda: no_more_descriptors(world, daemon, open_before),
                         f"{name}: araxd's descriptors are what they were", PATIENCE)
                    print(f"ok {name}: {time.monotonic() - started:.1f} s; {said}", flush=True)
                except Failure as failure:
                    failed += 1
                    print(f"FAILED {name}: {failure}", flush=True)
    finally:
        left = world.close()
    if left:
        print(f"FAILED: left behind: {left}")
    return 1 if failed or left else 0


if __name__ == "__main__":
    sys.exit(main())
