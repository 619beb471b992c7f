#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same programs on other devices: PoCL, rusticl, Oclgrind and simulated accelerators, alone and together.

fanout.py --bin DIR [--every | --full] [--only REGEX] [--devices REGEX] [--policies REGEX] [--seed N] [--list]

Every program says itself whether its results are right: Arax's own tests (which compare with what they
compute on the host), piglit's programs (which carry their expected values; their states must be native
PoCL's or better) and PyOpenCL. They know nothing of devices. Each combination of devices and policy has a
daemon of its own, which is then asked where the kernels ran: a program that never left the CPU has shown
nothing. With policy random every command goes to a device of its own, the same ones for the same seed.

Exit status: 0 passed, 1 failed, 77 no other device can be had.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time

import piglit
from daemon import Failure, PATIENCE, World, check, poll

RUSTICL = "libRusticlOpenCL.so.1"
OCLGRIND = "/usr/lib/oclgrind/liboclgrind-rt-icd.so"

SIMULATED = "[device sim{n}]\nbackend = sim\noptions = memory={memory},latency=5us,bandwidth=20G,seed={n}\n"
LIBRARY = "[device {name}]\nbackend = opencl\nlibrary = {library}\n"

# Name -> sections of the configuration, and the devices that must have been used.
DEVICES = {
    "pocl": ("", ["cpu-basic", "cpu-pthread"]),
    "sim": (SIMULATED.format(n=0, memory="256M"), ["sim0"]),
    # Less than the programs' buffers together: what is not needed has to leave.
    "sim-small": (SIMULATED.format(n=0, memory="192K"), ["sim0"]),
    "sim-two": (SIMULATED.format(n=0, memory="256M") + SIMULATED.format(n=1, memory="256M"), ["sim0", "sim1"]),
    "rusticl": (LIBRARY.format(name="rusticl", library=RUSTICL), ["rusticl"]),
    "oclgrind": (LIBRARY.format(name="oclgrind", library=OCLGRIND), ["oclgrind"]),
    "all": (SIMULATED.format(n=0, memory="64M") + LIBRARY.format(name="rusticl", library=RUSTICL)
            + LIBRARY.format(name="oclgrind", library=OCLGRIND), ["sim0", "rusticl", "oclgrind"]),
}
POLICIES = ["random", "round-robin", "least-loaded", "heterogeneous", "fair", "elastic", "pinned", "adaptive"]
# What may keep everything on the CPU, because nothing was to be gained elsewhere.
FREE_TO_STAY = {"adaptive", "heterogeneous", "fair", "elastic", "least-loaded", "pinned"}

# Arax's own tests that do not look at times, at the daemon or at what only a CPU can do.
OWN = ["fanout", "buffer", "event", "image", "kernel", "map", "ooo", "program", "queue", "threads"]
# Those that need nothing that only some devices have (SVM, printf, sub-buffers anywhere).
ANYWHERE = {"fanout"}
# Of the many that differ in a type only, some.
PIGLIT_QUICK = (r"^program@execute@(vector-|v[24]i32|switch|sizeof|sha256|realign|pyrit|program-scope|negative|multiple|"
                r"local-mem|kernel_exec|image-|global-|get-(global|local|group)-id|gegl-|for-loop|constant|comma|clz|"
                r"calls|bswap|bitselect|attributes|scalar-(arithmetic|comparison)-(int|float)|"
                r"atomic_(add|cmpxchg|min)-|store@store-(int4|float|uchar16)-)")
PIGLIT_FULL = r"^program@execute@"
# Where only the library's own device may run it: bswap and clz end the library's compiler, structs in registers are
# wrong (natively, too); offsets in three dimensions and vectors by value are refused because of such mistakes.
# Oclgrind rounds some conversions wrongly and loads an int from constant memory as 0, natively, too.
NOT_ALONE = {"rusticl": r"@(bswap|clz-optimizations|calls-(large-)?struct|global-offset|vector-arithmetic-\w+)$",
             "oclgrind": r"@(vector-conversion|constant-load)$"}
TESTER_SECONDS = 300


def rules(names):
    """Of pinned: kernels by their first letter, in turn to all devices and the CPU."""
    homes = [*names, "cpu-pthread"]
    return "".join(f"rules = kernel={letter}* -> {homes[i % len(homes)]}\n"
                   for i, letter in enumerate("betfcrwsam"))


class Service(World):
    """A daemon with devices, and what it says of them."""

    def __init__(self, options, devices, policy):
        super().__init__(options)
        sections, self.names = DEVICES[devices] if devices else ("", [])
        config = os.path.join(self.directory, "arax.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"[scheduling]\npolicy = {policy.removeprefix('only-')}\nseed = {options.seed}\n"
                       f"{rules(self.names)}[cache]\ndirectory = {options.cache}\n{sections}")
        self.daemon("--config", config)

    def devices(self):
        """Name -> what arax devices says of it."""
        done = subprocess.run([f"{self.bin}/arax", "devices", "--json"], env=self.environment(), text=True,
                              capture_output=True, check=True, timeout=PATIENCE)
        return {each["name"]: each for each in json.loads(done.stdout)["devices"]}

    def ran(self):
        """Device -> launches that have ended there, of all applications so far."""
        launches = collections.Counter()
        for each in self.status()["totals"]["kernel_times"]:
            launches[each["device"]] += each["launches"]
        return launches

    def run(self, command, seconds, **environment):
        try:
            done = subprocess.run(command, env=self.environment(**environment), stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
        except subprocess.TimeoutExpired as late:
            return None, f"still running after {late.timeout} s"
        return done.returncode, done.stdout + done.stderr


class Own:
    """A test of Arax: a program that checks what it gets."""

    def __init__(self, name, options):
        self.name, self.anywhere = name, name in ANYWHERE
        self.command = [os.path.join(options.bin, f"conformance_{name}")]
        self.commands, self.seed = options.commands, options.seed

    def wrong(self, service, more):
        # Oclgrind interprets: a hundredth of the speed.
        commands = self.commands // 10 if "oclgrind" in service.names else self.commands
        status, output = service.run(self.command, TESTER_SECONDS, FANOUT_COMMANDS=str(commands),
                                     FANOUT_SEED=str(self.seed), **more)
        bad = [line for line in output.splitlines() if line.startswith("not ok")]
        return None if status == 0 and not bad else "\n".join([f"exit status {status}", *(bad or [output[-800:]])])


class Piglit:
    """A program with the values that it shall compute; native PoCL's state is good enough."""

    anywhere = True

    def __init__(self, name, command, root):
        self.name, self.command, self.root = name, command, root
        self.before = None

    def state(self, service, more):
        status, output = service.run(self.command, TESTER_SECONDS, PIGLIT_SOURCE_DIR=self.root, **more)
        return (*piglit.interpret(status, output), output)

    def wrong(self, service, more):
        state, subtests, output = self.state(service, more)
        pairs = [(self.before[0], state), *((self.before[1][name], subtests.get(name, "notrun"))
                                            for name in self.before[1])]
        if all(piglit.RANK.get(now, 4) <= piglit.RANK.get(then, 4) for then, now in pairs):
            return None
        lines = [line for line in output.splitlines() if not line.startswith("PIGLIT")]
        return f"{self.before[0]} -> {state}\n" + "\n".join(lines[-8:])


class Script:
    """PyOpenCL: its arrays, random numbers and reductions, checked by test_pyopencl.py."""

    name, anywhere = "pyopencl", False

    def __init__(self):
        self.command = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "test_pyopencl.py")]

    def wrong(self, service, more):
        status, output = service.run(self.command, TESTER_SECONDS, **more)
        return None if status in (0, 77) else f"exit status {status}\n{output[-800:]}"


def programs(options):
    found = [Own(name, options) for name in OWN] + [Script()]
    root = piglit.find_piglit()
    if root:
        wanted = re.compile(PIGLIT_FULL if options.full else PIGLIT_QUICK)
        found += [Piglit(name, command, root) for name, command in piglit.read_profile(root).items()
                  if wanted.search(name)]
    return [each for each in found if re.search(options.only, each.name)]


def with_jobs(options, work, items):
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(work, items))


def baseline(options, found):
    """What the CPU alone makes of piglit's programs."""
    tests = [each for each in found if isinstance(each, Piglit)]
    service = Service(options, None, "adaptive")
    try:
        for test, outcome in zip(tests, with_jobs(options, lambda test: test.state(service, {}), tests)):
            test.before = outcome[:2]
    finally:
        service.close()


def combination(options, found, devices, policy):
    """Return: how many programs were wrong."""
    started = time.monotonic()
    service = Service(options, devices, policy)
    try:
        states = poll(lambda: (now := service.devices()) and all(
            now.get(name, {}).get("state", "").startswith(("ready", "failed")) for name in service.names) and now,
            f"{devices}: the devices are there")[0]
        absent = [f"{name}: {states[name]['state']}" for name in service.names
                  if not states[name]["state"].startswith("ready")]
        if absent:
            print(f"skip {devices}, {policy}: " + "; ".join(absent))
            return None
        # Nothing may go to the CPU: each program waits until a device has its kernels, and ends with an error
        # where none takes them.
        more = {"ARAX_DEVICES": ",".join(service.names), "FANOUT_ALIGN": "8"} if policy.startswith("only-") else {}
        if more and devices != "pocl":
            found = [each for each in found if each.anywhere and not any(
                re.search(NOT_ALONE[name], each.name) for name in service.names if name in NOT_ALONE)]
        outcomes = with_jobs(options, lambda test: test.wrong(service, more), found)
        wrong = [(test, outcome) for test, outcome in zip(found, outcomes) if outcome]
        # What a tenant did counts when it has ended.
        poll(lambda: not service.status()["clients"], "everybody has left")
        ran, commands = service.ran(), service.status()["totals"]["commands"]
    finally:
        service.close()
    # Of several devices the first that is there may have done everything when the others come.
    idle = [name for name in service.names if not ran.get(name)]
    if idle and policy not in FREE_TO_STAY and (devices not in ("all", "pocl") or len(idle) == len(service.names)):
        wrong.append((None, f"no kernel ran on {', '.join(idle)}"))
    where = ", ".join(f"{name} {count}" for name, count in sorted(ran.items()) if count)
    print(f"{'FAILED' if wrong else 'ok'} {devices}, {policy}: {len(found)} programs, {commands} commands in "
          f"{time.monotonic() - started:.0f} s; kernels: {where}", flush=True)
    for test, outcome in wrong:
        print(f"  {test.name if test else devices}: " + outcome.replace("\n", "\n    "))
    return len(wrong)


def plan(options):
    """Which devices with which policies."""
    if options.full or options.every:
        return [(devices, policy) for devices in DEVICES for policy in ["only-random", *POLICIES]
                if (devices in ("all", "sim-two") or policy.endswith("random"))
                # Some programs' buffers are more than it has: only somewhere else they can run.
                and (devices, policy) != ("sim-small", "only-random")]
    return [("sim-small", "random"), ("sim-two", "elastic"), ("rusticl", "only-random"),
            ("oclgrind", "only-random"), ("all", "only-random"), ("all", "heterogeneous")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="the build's bin directory")
    parser.add_argument("--every", action="store_true", help="all devices and policies")
    parser.add_argument("--full", action="store_true", help="these, and all of piglit's programs")
    parser.add_argument("--seed", type=int, default=1, help="of the random test and of policy random")
    parser.add_argument("--only", default="", metavar="REGEX", help="programs")
    parser.add_argument("--devices", default="", metavar="REGEX", help="sets of devices")
    parser.add_argument("--policies", default="", metavar="REGEX")
    parser.add_argument("--commands", type=int, default=1500, help="of the random test")
    parser.add_argument("--jobs", type=int, default=2, help="programs at once")
    parser.add_argument("--list", action="store_true", help="what would run")
    options = parser.parse_args()
    options.helper, options.bin = None, os.path.abspath(options.bin)
    options.cache = os.path.join(os.environ.get("XDG_CACHE_HOME", "/tmp"), "fanout")
    combinations = [(devices, policy) for devices, policy in plan(options)
                    if re.fullmatch(options.devices or ".*", devices) and re.fullmatch(options.policies or ".*", policy)]
    found = programs(options)
    if options.list:
        print("\n".join([each.name for each in found] + [f"on {devices}, {policy}" for devices, policy in combinations]))
        return 0
    kinds = collections.Counter(type(each).__name__ for each in found)
    print(f"{len(found)} programs: {kinds['Own']} of Arax, {kinds['Script']} of PyOpenCL, {kinds['Piglit']} of piglit; "
          f"seed {options.seed}", flush=True)
    baseline(options, found)
    outcomes = [combination(options, found, *each) for each in combinations]
    if all(each is None for each in outcomes):
        return 77
    return 1 if any(outcomes) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"FAILED: {failure}")
        sys.exit(1)
