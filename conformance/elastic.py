#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How an application grows onto devices and shrinks again: a benchmark on simulated accelerators.

elastic.py --bin DIR [--launches N] [--kernel-ms MS] [--rounds N]

The devices' kernels take a modelled time, so this machine's processors do not decide. Printed are, for one
in-order queue and for four, the throughput on 1, 2 and 4 devices against one device (ideal: 2 and 4); then,
under elastic, what a second application does to the first one, and how soon; and under fair, Jain's index
of 2 and 4 equal applications.
"""

import argparse
import os
import statistics
import subprocess
import sys

from daemon import Failure, World


class Devices(World):
    def __init__(self, options, count, policy):
        super().__init__(options)
        config = os.path.join(self.directory, "arax.conf")
        item = options.kernel_ms * 1e6 / 1024
        with open(config, "w", encoding="ascii") as file:
            file.write(f"[policy]\nname = {policy}\n[cache]\ndirectory = {options.cache}\n"
                       f"[device sim]\nbackend = sim\ninstances = {count}\n"
                       f"options = memory=64M,latency=5us,bandwidth=20G,streams=1,item_ns={item:.0f}\n")
        self.daemon("--config", config)

    def application(self, options, queues=1, buffers=16):
        return self.client(str(options.launches), str(queues), str(buffers), ARAX_DEVICES="sim")


def rounds(client, count):
    """(how long, when it ended) of the next rounds."""
    found = []
    for _ in range(count):
        words = client.line("round").split()
        found.append((float(words[2]), float(words[3])))
    return found


def stop(client):
    client.say("")
    client.end()


def alone(options, count, queues):
    world = Devices(options, count, "elastic")
    try:
        client = world.application(options, queues)
        rounds(client, 2)
        took = statistics.median(each for each, _ in rounds(client, options.rounds))
        stop(client)
        return options.launches / took
    finally:
        world.close()


def arrival(options):
    world = Devices(options, 4, "elastic")
    try:
        first = world.application(options)
        rounds(first, 2)
        before = statistics.median(each for each, _ in rounds(first, options.rounds))
        second = world.application(options)
        rounds(second, 1)
        both = [statistics.median(each for each, _ in rounds(client, options.rounds)) for client in (first, second)]
        stop(second)
        rounds(first, 2)
        after = statistics.median(each for each, _ in rounds(first, options.rounds))
        stop(first)
        return before, both, after
    finally:
        world.close()


def fair(options, count):
    world = Devices(options, 2, "fair")
    try:
        clients = [world.application(options) for _ in range(count)]
        for client in clients:
            rounds(client, 1)
        speeds = [1 / statistics.median(each for each, _ in rounds(client, options.rounds)) for client in clients]
        for client in clients:
            stop(client)
        return sum(speeds) ** 2 / (count * sum(each * each for each in speeds)), sum(speeds) * options.launches
    finally:
        world.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--launches", type=int, default=400)
    parser.add_argument("--kernel-ms", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    options.bin = os.path.abspath(options.bin)
    options.helper = os.path.join(options.bin, "conformance_helper_elastic")
    options.cache = os.path.join(os.environ.get("XDG_CACHE_HOME", "/tmp"), "elastic")
    for queues in (1, 4):
        speeds = {count: alone(options, count, queues) for count in (1, 2, 4)}
        text = ", ".join(f"{count}: {speed:.0f}/s ({speed / speeds[1]:.2f}x)" for count, speed in speeds.items())
        print(f"{queues} queue{'s' if queues > 1 else ''}, devices {text}", flush=True)
    before, both, after = arrival(options)
    print(f"elastic, 4 devices: a round takes {before:.3f} s alone, {both[0]:.3f} and {both[1]:.3f} s beside each other, "
          f"{after:.3f} s alone again", flush=True)
    for count in (2, 4):
        index, total = fair(options, count)
        print(f"fair, 2 devices, {count} applications: Jain's index {index:.3f}, together {total:.0f} kernels/s", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, subprocess.SubprocessError) as failure:
        print(f"FAILED: {failure}")
        sys.exit(1)
