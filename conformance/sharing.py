#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How applications share devices: a benchmark.

sharing.py --bin DIR [--seconds S] [--rounds N] [--tenants N,N,...] [throughput] [fair] [light]

throughput: on this machine's CPU, the kernels of N applications per second on Arax (policy fair) beside those of
N processes on native PoCL, in turn, as the median of the rounds' ratios; and Jain's index of what each of them
completed. fair: the same index on two simulated accelerators that all of them share, where the applications'
kernels and depths differ, of the time that each got. light: the latencies of an application with a kernel now
and then, alone and beside one that always has something to do; on the CPU, natively, and on a shared device.
Every application checks its results in the end.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

from daemon import Failure, World, poll

SIMULATED = ("[device sim]\nbackend = sim\ninstances = {count}\n"
             "options = memory=256M,latency=5us,bandwidth=20G,streams=1,item_ns={item}\n")
# Kernels of about 30 us, 300 us and 5 ms on a processor: iterations, elements, launches in flight.
CLASSES = {"short": ("hash:20", 2048, 8), "medium": ("hash:100,madd:100", 8192, 8), "long": ("hash:200,madd:200", 65536, 4)}
WANTED = {"throughput": 1.0, "jain": 0.98, "light": 2.0}


class Machine(World):
    def __init__(self, options, devices=""):
        super().__init__(options)
        config = os.path.join(self.directory, "arax.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"[scheduling]\npolicy = fair\n[cache]\ndirectory = {options.cache}\n{devices}")
        self.daemon("--config", config)
        # What it does once, for seconds, is nobody's throughput.
        poll(lambda: self.status()["compiler"]["state"] == "ready", "the compiler is ready")
        self.native = {"OCL_ICD_VENDORS": options.native}

    def load(self, classes, items, depth, period_us=0, buffers=2, **environment):
        return self.client(classes, str(items), str(buffers), str(depth), str(period_us), **environment)


def ready(clients):
    for client in clients:
        client.line("ready")
    return clients


def together(clients, seconds):
    """(launches, p50, p99, longest) of each over the same time."""
    start = time.monotonic() + 0.1
    for client in clients:
        client.say(f"go {start:.6f} {start + seconds:.6f}")
    return [tuple(float(word) for word in client.line("did", seconds + 60).split()[1:]) for client in clients]


def end(clients):
    for client in clients:
        client.say("check")
        client.line("right")
        client.process.stdin.close()
        client.end()


def jain(shares):
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares)) if any(shares) else 0


def verdict(good):
    return "reached" if good else "MISSED"


def throughput(options):
    for name, (classes, items, depth) in CLASSES.items():
        for count in options.tenants:
            machine = Machine(options)
            try:
                arax = ready([machine.load(classes, items, depth) for _ in range(count)])
                native = ready([machine.load(classes, items, depth, **machine.native) for _ in range(count)])
                ratios, indices, totals = [], [], []
                for turn in range(options.rounds + 1):
                    order = (arax, native) if turn % 2 else (native, arax)
                    found = {id(side): [each[0] for each in together(side, options.seconds)] for side in order}
                    if not turn:  # what is learned and built in the background
                        continue
                    totals.append((sum(found[id(arax)]), sum(found[id(native)])))
                    ratios.append(totals[-1][0] / totals[-1][1])
                    indices.append((jain(found[id(arax)]), jain(found[id(native)])))
                end(arax + native)
                sides = [statistics.median(total[side] for total in totals) / options.seconds for side in (0, 1)]
                index = [statistics.median(pair[side] for pair in indices) for side in (0, 1)]
                ratio = statistics.median(ratios)
                print(f"throughput, {name} kernels, N = {count}: Arax {sides[0]:.0f}/s, native {sides[1]:.0f}/s, "
                      f"ratio {ratio:.2f} ({verdict(ratio >= WANTED['throughput'])}); Jain's index {index[0]:.4f} "
                      f"({verdict(index[0] >= WANTED['jain'])}), natively {index[1]:.4f}", flush=True)
            finally:
                machine.close()


def fair(options):
    """Kernels of 0.25 to 2 ms, 16 to 64 of them in flight: by launches they differ, by time they must not."""
    for count in options.tenants:
        machine = Machine(options, SIMULATED.format(count=2, item=1000))
        try:
            kinds = [(256 << i % 4, 16 << i % 3) for i in range(count)]
            clients = ready([machine.load("hash:1", items, depth, buffers=32, ARAX_DEVICES="sim") for items, depth in kinds])
            together(clients, options.seconds)
            found = together(clients, options.seconds)
            end(clients)
            shares = [launches[0] * kind[0] * 1000 / 1e9 / options.seconds for launches, kind in zip(found, kinds)]
            index = jain(shares)
            print(f"fair, 2 shared devices, N = {count}: Jain's index {index:.4f} ({verdict(index >= WANTED['jain'])}), "
                  f"devices busy {sum(shares) / 2:.3f}", flush=True)
        finally:
            machine.close()


def beside(machine, light, heavy, seconds, rounds):
    """p99 of the light one: alone, and beside the heavy one, in turn."""
    clients = ready([light, heavy])
    together([light], seconds)
    found = ([], [])
    for _ in range(rounds):
        found[0].append(together([light], seconds)[0][2])
        found[1].append(together(clients, seconds)[0][2])
    end(clients)
    return [statistics.median(each) for each in found]


def light(options):
    sorts = [("the CPU", "", {}, False), ("the CPU, natively", "", {}, True),
             ("one shared device", SIMULATED.format(count=1, item=1000), {"ARAX_DEVICES": "sim"}, False)]
    for where, devices, more, native in sorts:
        machine = Machine(options, devices)
        try:
            more = {**more, **(machine.native if native else {})}
            shared = bool(devices)
            one = machine.load("hash:1" if shared else "hash:100", 1024 if shared else 8192, 1, 10000, **more)
            other = machine.load("hash:1" if shared else "hash:100", 1024 if shared else 32768, 16, 0, buffers=16, **more)
            lone, both = beside(machine, one, other, options.seconds, options.rounds)
            print(f"light beside heavy on {where}: p99 {lone:.0f} us alone, {both:.0f} us beside, {both / lone:.2f} times "
                  f"({'for comparison' if native else verdict(both <= WANTED['light'] * lone)})", flush=True)
        finally:
            machine.close()


PARTS = {"throughput": throughput, "fair": fair, "light": light}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--native", default="/etc/OpenCL/vendors/pocl.icd", help="PoCL's .icd file")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tenants", default="2,4,8")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}")
    options.bin = os.path.abspath(options.bin)
    options.helper = os.path.join(options.bin, "conformance_helper_load")
    options.cache = os.path.join(os.environ.get("XDG_CACHE_HOME", "/tmp"), "sharing")
    options.tenants = [int(count) for count in options.tenants.split(",")]
    for part in options.parts or PARTS:
        PARTS[part](options)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, subprocess.SubprocessError) as failure:
        print(f"FAILED: {failure}")
        sys.exit(1)
