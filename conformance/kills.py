#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whoever dies, wherever it stands: nobody else is hurt, nothing is left over, and service goes on.

kills.py --helper HELPER --worker WORKER --bin DIR points [POINT...]
kills.py ... random [--kills N] [--seconds S] [--seed N]

points: in a build with fault points (transport/fault_points.def) a process dies at each of them, once:
client, araxd, zygote, tenant, device process, compiler. random: processes are killed at random moments
while several applications run. What dies when follows from the seed that is printed, so pieces of a long
run add up (--seed 1 --kills 2000, --seed 2 --kills 2000 ...) and one in which something was wrong can be
had again, as far as the machine is not faster or slower.

Each time: an application that had nothing to do with it goes on with right results; the application
that had sees either right results or an error, and never a wrong value; its waiting calls return within
100 ms; a new application is served within a second; and what the dead have left (processes,
descriptors, memory, scratch directories) is gone within a second.
Exit status: 0 passed, 1 failed.
"""

import argparse
import collections
import contextlib
import mmap
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time

from daemon import PATIENCE, PROMPT, Client, Failure, World, check, poll

WAKE = 0.1  # seconds in which a waiting call returns
TRIES = 3  # of a point at which something took too long: the machine may have been busy
LEAVES = 10  # applications until one's tenant leaves by itself
LOOKS = 10  # that are alike before something is taken for steady
FDS_PER_SPARE = 2  # that araxd has of a tenant which is ready
CONFIGURATION = """[daemon]
pool = 2
idle_exit = 600
[policy]
name = random
[cache]
directory = {directory}/cache
[device sim]
backend = sim
instances = 2
options = memory=64M,latency=5us,bandwidth=20G,seed=1
"""
DEFINITION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../transport/fault_points.def")


class Late(Failure):
    """Right, but not in the time that is promised."""


class Point:
    def __init__(self, number, name, when):
        self.number, self.name, self.when = int(number), name, when
        self.role = name.split("_", 1)[0]


def points():
    with open(DEFINITION, encoding="ascii") as file:
        return [Point(*each) for each in re.findall(r"^FAULT\((\d+), (\w+), (\w+)\)$", file.read(), re.MULTILINE)]


class Page:
    """struct arax_fault_page"""

    HEAD, MAX = struct.Struct("<IIIIQ"), 256

    def __init__(self, path):
        self.path = path
        with open(path, "w+b") as file:
            file.truncate(self.HEAD.size + 4 * self.MAX)
            self.map = mmap.mmap(file.fileno(), 0)

    def arm(self, number, after=1):
        self.HEAD.pack_into(self.map, 0, 0, after, 0, 0, 0)
        struct.pack_into("<I", self.map, 0, number)

    def spare(self, number):
        """Who arrives there from now on is never to die."""
        struct.pack_into("<I", self.map, 8, number)

    def disarm(self):
        struct.pack_into("<I", self.map, 0, 0)

    def fired(self):
        """When somebody died, in seconds, or None."""
        _, _, _, fired, died_ns = self.HEAD.unpack_from(self.map, 0)
        return died_ns / 1e9 if fired else None

    def reached(self):
        return struct.unpack_from(f"<{self.MAX}I", self.map, self.HEAD.size)


def links_of(pid):
    """What its descriptors are."""
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return links


class Held(dict):
    """What is held on behalf of nobody in particular: what -> how much; kinds: of araxd's descriptors."""

    kinds = collections.Counter()

    def beyond(self, other):
        return {what: f"{other.get(what, 0)} -> {count}" for what, count in self.items() if count > other.get(what, 0)}


class Deaths(World):
    """A daemon with simulated devices, applications, and what they hold."""

    def __init__(self, options):
        super().__init__(options)
        self.worker_program = options.worker
        self.leftover = {}  # what was last, when somebody looked
        self.page = Page(os.path.join(self.directory, "faults"))
        self.config = os.path.join(self.directory, "arax.conf")
        with open(self.config, "w", encoding="ascii") as file:
            file.write(CONFIGURATION.format(directory=self.directory))
        # What applications start when there is no araxd.
        self.starter = os.path.join(self.directory, "araxd")
        with open(self.starter, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\nexec "{self.bin}/araxd" --config "{self.config}" "$@"\n')
        os.chmod(self.starter, 0o700)

    def environment(self, **more):
        return super().environment(**{"ARAX_FAULT_PAGE": self.page.path, "ARAX_DAEMON": self.starter, **more})

    def worker(self, seed, options="", rounds=0):
        client = Client(self, str(rounds), str(seed), options, program=self.worker_program)
        self.own.append(client.process)
        return client

    def neighbour(self, number):
        """One that uses nothing that is to die, and computes until it is told to stop."""
        self.page.spare(number)
        client = self.client("loop", "31", ARAX_DEVICES="cpu", ARAX_FAULT_PAGE="")
        client.line("round 3")
        self.page.spare(0)
        return client

    def reap(self):
        """araxd may have been started by a process of this test."""
        self.own = [process for process in self.own if process.poll() is None]

    def held(self, status):
        """Without the spares and without what lives for some time when nobody uses it."""
        pool = status["pool"]
        spares = pool["ready"] + pool["starting"]
        daemon = status["daemon"]["pid"]
        own = {process.pid for process in self.own if process.pid != daemon}
        found = Held(processes=-spares, zombies=0)
        warm = status["compiler"]["state"] == "ready"  # until then there are some that help it
        for pid, what in self.processes().items():
            if pid in own or ("arax-compile" in what and not warm):
                continue
            kind = "zombies" if what == "zombie" else "device processes" if "arax-device" in what else "processes"
            found[kind] = found.get(kind, 0) + 1
        found["processes"] += not warm
        # The cache keeps a bounded number of results at hand, and each trust domain has one memory of what it learned.
        open_files = [link for link in links_of(daemon)
                      if "/memfd:arax-result" not in link and "/memfd:arax-costs" not in link]
        found["descriptors"] = len(open_files) - FDS_PER_SPARE * spares
        found.kinds = collections.Counter(re.sub(r"\[?\d+\]?", "", link) for link in open_files)
        with open(f"/proc/{daemon}/maps", encoding="ascii", errors="replace") as file:
            found["mapped memory files"] = sum("/memfd:" in line for line in file)
        found["scratch directories"] = len(os.listdir(self.scratch())) - spares
        return found

    def quiet(self, clients, compiler=False):
        """Nobody but these is served, and everything that is always there is there; the compiler takes its time.
        Return: what is held."""
        status = self.status()
        if not status or len(status["clients"]) != clients:
            return None
        if compiler and status["compiler"]["state"] != "ready":
            return None
        pool = status["pool"]
        if pool["starting"] or pool["ready"] != pool["configured"] + pool["extra"] or pool["attached"] != clients:
            return None
        held = self.held(status)
        return held if not held["zombies"] else None

    def as_before(self, clients, seconds):
        try:
            poll(lambda: self.quiet(clients), "all is as before", seconds)
        except Failure as failure:
            status = self.status()
            raise Failure(f"{failure}: {status['pool']}, {len(status['clients'])} clients, {self.held(status)}"
                          if status else f"{failure}: araxd does not answer") from None

    def steady(self, clients, what, compiler=False):
        """What is held when nothing is in the middle of anything: the same at several looks."""
        seen = []

        def same():
            held = self.quiet(clients, compiler)
            if not held or (seen and held != seen[0]):
                seen.clear()
            if held:
                seen.append(held)
            return held if len(seen) >= LOOKS else None
        return poll(same, what)[0]

    def no_more_than(self, before, seconds=PROMPT):
        """A second after the last that ended nothing is left over. Return: after how long."""
        last = [None]

        def nothing():
            status = self.status()
            now = self.held(status) if status else None
            beyond = now.beyond(before) if now else {"araxd": "does not answer"}
            if "descriptors" in beyond:
                beyond["more of"] = dict(now.kinds - before.kinds)
            self.leftover = beyond or self.leftover
            last[0] = beyond
            return not beyond
        try:
            return poll(nothing, "something is left over", seconds)[1]
        except Failure as failure:
            raise Late(f"{failure}: {last[0]}") from None

    def new_client(self):
        """Return: how long it took from its start to its end."""
        started = time.monotonic()
        self.work(9)
        return time.monotonic() - started

    def manage(self, *arguments):
        return subprocess.run([f"{self.bin}/arax", *arguments], env=self.environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=PATIENCE, check=False)


def rounds_of(worker, since, seconds=PATIENCE):
    """Reads its lines until it has done a round without an error that began after since. Return: when the first
    call failed, None."""
    lost = None
    deadline = time.monotonic() + seconds
    good = 0
    while True:
        words = worker.line("", deadline - time.monotonic()).split()
        check(words[0] == "round", f"an application says: {' '.join(words)}")
        at = int(words[3 if words[2] == "ok" else 4]) / 1e9
        if words[2] == "lost" and at > since:
            lost = lost or (at, int(words[3]), " ".join(words[5:]))
            good = 0
        elif at > since:
            good += 1
        if good == 2:
            return lost


class Points:
    """Tries the points one after the other."""

    def __init__(self, options):
        self.options = options
        self.world = Deaths(options)
        self.all = {point.name: point for point in points()}
        self.started = self.all["TENANT_STARTED"].number
        self.seed = 0
        self.idle = self.busy = None  # what is held when nobody is there, and with the neighbour
        self.neighbour = None
        self.longest = {}

    def note(self, what, seconds, limit):
        self.longest[what] = max(self.longest.get(what, 0), seconds)
        if seconds > limit:
            raise Late(f"{what}: {seconds * 1000:.0f} ms, allowed {limit * 1000:.0f} ms")

    def ready(self):
        """araxd, with nobody there."""
        world = self.world
        if not world.status():
            world.daemon("--config", world.config)
            world.work(1)
            worker = world.worker(1)
            rounds_of(worker, 0)
            worker.say("stop")
            worker.line("ok")
            worker.end()
        held = world.steady(0, "araxd is ready")
        self.idle = self.idle or held

    def bring_neighbour(self):
        if not self.neighbour:
            self.ready()
            self.neighbour = self.world.neighbour(self.started)
        held = self.world.steady(1, "only the neighbour is served")
        self.busy = self.busy or held

    def stop_neighbour(self):
        if self.neighbour:
            self.neighbour.line("round")
            self.neighbour.say("stop")
            self.neighbour.done()
            self.neighbour = None

    def arrange(self, point):
        """Until the point may be armed. Return: the application that is there already, or None."""
        world = self.world
        if point.when == "first":
            self.stop_neighbour()
            world.manage("stop")
            poll(lambda: not world.processes(), "nothing runs")
            return None
        self.bring_neighbour()
        # One that has died again and again is not tried for some time, but for who asks.
        world.manage("device", "online", "sim")
        if point.when == "compile":
            poll(lambda: world.quiet(1, compiler=True), "the compiler is ready")
        if point.when in ("run", "compile"):
            return None
        worker = world.worker(self.seed)
        rounds_of(worker, 0)
        # It must have the devices that are to be drained.
        poll(lambda: self.linked(worker), "it has devices")
        return worker

    def linked(self, worker):
        done = self.world.manage("devices", "--json")
        return done.returncode == 0 and done.stdout.count('"tenants": 1') >= 2 and worker.process.poll() is None

    def act(self, point, worker):
        """What makes somebody arrive. Return: the application."""
        world = self.world
        if point.when in ("first", "run", "compile"):
            return world.worker(self.seed, f"-DFRESH={self.seed}" if point.when == "compile" else "")
        if point.when == "leave":
            return self.leave(point, worker)
        if point.when == "replace":
            os.kill(world.tenant(worker), signal.SIGKILL)
        else:
            for arguments in (("device", "offline", "sim"), ("device", "online", "sim"), ("reload",)):
                if not world.page.fired():
                    world.manage(*arguments)
        return worker

    def leave(self, point, worker):
        """Its end. When araxd is the first to end a tenant whose client has gone, nobody arrives: another one, then."""
        for _ in range(LEAVES):
            worker.say("stop")
            with contextlib.suppress(Failure):
                poll(self.world.page.fired, "somebody arrives", PROMPT)
                break
            worker.end()
            worker = self.arrange(point)
        return worker

    def fired(self, point):
        died, _ = poll(self.world.page.fired, f"somebody arrives at {point.name}", 20)
        self.world.page.disarm()
        return died

    def witness(self, point, worker, died):
        """What the application sees that had to do with it."""
        if point.role == "CLIENT":
            poll(lambda: worker.process.poll() is not None, "the client is dead", PROMPT)
            worker.end(-signal.SIGKILL)
            return
        if point.when == "leave":
            worker.end()
            return
        lost = rounds_of(worker, died)
        if lost and point.role in ("TENANT", "DEVICE"):
            self.note("a waiting call returned", lost[0] - died, WAKE)
        worker.say("stop")
        # What it was doing may still fail; what it computes must be right.
        worker.line("ok")
        worker.end()

    def attempt(self, point):
        self.seed += 1
        worker = self.arrange(point)
        self.world.page.arm(point.number)
        worker = self.act(point, worker)
        try:
            self.die(point, worker)
        finally:
            self.world.page.disarm()
            worker.process.kill()

    def die(self, point, worker):
        world = self.world
        died = self.fired(point)
        self.note("a new application was served", world.new_client(), PROMPT)
        self.witness(point, worker, died)
        if self.neighbour:
            while not self.neighbour.lines.empty():
                self.neighbour.line("round")
            self.neighbour.line("round", PROMPT)
        if point.role == "ARAXD" or point.when == "first":
            self.stop_neighbour()
        world.reap()
        self.note("nothing was left over", world.no_more_than(self.busy if self.neighbour else self.idle), PROMPT)
        world.as_before(1 if self.neighbour else 0, PATIENCE)

    def run(self, chosen):
        failed = []
        self.bring_neighbour()
        for point in chosen:
            started = time.monotonic()
            for left in range(TRIES - 1, -1, -1):
                try:
                    self.attempt(point)
                    print(f"ok {point.name}: {time.monotonic() - started:.2f} s", flush=True)
                    break
                except Late as late:
                    print(f"{'again' if left else 'FAILED'} {point.name}: {late}", flush=True)
                    if not left:
                        failed.append(point.name)
                except (Failure, OSError, subprocess.SubprocessError) as failure:
                    print(f"FAILED {point.name}: {failure}", flush=True)
                    failed.append(point.name)
                    self.restart()
                    self.bring_neighbour()
                    break
        return failed

    def restart(self):
        """After a failure: everything anew."""
        left = self.world.close()
        if left:
            print(f"  left behind: {left}", flush=True)
        self.neighbour, self.idle, self.busy = None, None, None
        self.world = Deaths(self.options)


def run_points(options):
    run = Points(options)
    chosen = [point for point in run.all.values()
              if not options.names or any(re.fullmatch(name, point.name) for name in options.names)]
    try:
        failed = run.run(chosen)
        for what, seconds in sorted(run.longest.items()):
            print(f"{what} within {seconds * 1000:.0f} ms")
    finally:
        left = run.world.close()
    if left:
        print(f"FAILED: left behind: {left}")
    print(f"{len(chosen) - len(failed)} points passed, {len(failed)} failed: {' '.join(failed)}")
    return 1 if failed or left else 0


class Victims:
    """Who could die: kind -> process ids."""

    # Of everybody else there are so few, and so little goes on without them, that they die more seldom.
    KINDS = {"client": 6, "tenant": 6, "device": 3, "spare": 1, "zygote": 1, "compiler": 1, "araxd": 1}
    RARE = {"spare": 1, "zygote": 0.5, "compiler": 0.25, "araxd": 0.25}  # at most one per batch, and not in each

    def __init__(self, world, rng, only):
        self.world, self.rng, self.only = world, rng, only or list(self.KINDS)
        self.tenants = {}  # of clients, also when their araxd has gone
        self.allowed = set()

    def batch(self):
        self.allowed = {kind for kind in self.only if self.rng.random() < self.RARE.get(kind, 1)}

    def look(self, workers):
        found = collections.defaultdict(list)
        status = self.world.status()
        living = {worker.pid for worker in workers}
        found["client"] = sorted(living)
        served = {}
        if status:
            served = {each["pid"]: each["tenant_pid"] for each in status["clients"]}
            self.tenants.update(served)
            daemon = status["daemon"]["pid"]
            found["araxd"] = [daemon]
            for pid in children_of(daemon):
                kind = {"arax-zygote": "zygote", "arax-compile": "compiler", "arax-device": "device",
                        "arax-tenant": "spare"}.get(name_of(pid))
                if kind and pid not in served.values():
                    found[kind].append(pid)
        self.tenants = {pid: tenant for pid, tenant in self.tenants.items() if pid in living}
        found["tenant"] = [tenant for tenant in self.tenants.values() if name_of(tenant) == "arax-tenant"]
        return found

    def choose(self, workers):
        """Return: (kind, process id), or None when nobody is there."""
        found = self.look(workers)
        kinds = [kind for kind in self.KINDS if kind in self.allowed and found[kind]]
        if not kinds:
            return None
        kind = self.rng.choices(kinds, [self.KINDS[each] for each in kinds])[0]
        if kind in self.RARE:
            self.allowed.discard(kind)
        return kind, self.rng.choice(found[kind])


def children_of(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(each) for each in file.read().split()]
    return []


def name_of(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            return file.read().strip()
    return None


class Random:
    """Batches of kills; after each everything must be as before."""

    WORKERS, BATCH, PAUSE, HANG = 3, 25, 0.05, 20

    def __init__(self, options, seed):
        self.options, self.rng = options, random.Random(seed)
        self.world = Deaths(options)
        self.victims = Victims(self.world, self.rng, options.only)
        self.workers, self.neighbour = [], None
        self.heard = {}  # worker -> when it said something
        self.kills, self.rounds = collections.Counter(), collections.Counter()
        self.history = collections.deque(maxlen=12)
        self.new, self.left = [], []
        self.idle = None

    def begin(self):
        self.world.daemon("--config", self.world.config)
        self.world.work(1)
        worker = self.world.worker(1)
        rounds_of(worker, 0)
        self.finish(worker)
        self.idle = self.world.steady(0, "araxd is ready", compiler=True)

    def finish(self, worker):
        """It may still say that something was lost, and then must end well."""
        with contextlib.suppress(BrokenPipeError):
            worker.say("stop")
        worker.line("ok", self.HANG)
        worker.end()

    def listen(self):
        """What the applications have said meanwhile."""
        now = time.monotonic()
        for worker in self.workers:
            while not worker.lines.empty():
                words = worker.line().split()
                if words[0] != "round":
                    self.wrong(worker, " ".join(words))
                self.rounds[words[2]] += 1
                self.heard[worker] = now
            check(now - self.heard[worker] < self.HANG, f"application {worker.pid} hangs: silent for "
                                                        f"{now - self.heard[worker]:.0f} s")

    @staticmethod
    def wrong(worker, line):
        """All that it has to say."""
        worker.process.wait(PATIENCE)
        for thread in worker.threads:
            thread.join(PATIENCE)
        lines = [line, *(each for each in iter(worker.lines.get, None))]
        raise Failure("an application says:\n  " + "\n  ".join(lines))

    def kill(self):
        """Return: was there somebody?"""
        victim = self.victims.choose(self.workers)
        time.sleep(self.rng.uniform(0, self.PAUSE))  # the moment is what is tried
        if not victim:
            return False
        kind, pid = victim
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.kills[kind] += 1
        self.history.append(f"{kind} {pid}")
        if kind == "client":
            worker = next(each for each in self.workers if each.pid == pid)
            self.listen_last(worker)
            self.workers.remove(worker)
        return True

    def listen_last(self, worker):
        """It has been killed; what it said before must have been right."""
        worker.process.wait(PATIENCE)
        for thread in worker.threads:
            thread.join(PATIENCE)
        lines = [line for line in iter(worker.lines.get, None) if not line.startswith("round")]
        check(not lines, "an application said:\n  " + "\n  ".join(lines))

    def employ(self):
        while len(self.workers) < self.WORKERS:
            worker = self.world.worker(self.rng.randrange(1 << 30))
            self.heard[worker] = time.monotonic()
            self.workers.append(worker)

    def batch(self):
        """Return: how many were killed."""
        world = self.world
        self.neighbour = world.client("loop", "31", ARAX_DEVICES="cpu")
        self.neighbour.line("round 2")
        self.victims.batch()
        world.manage("device", "online", "sim")
        killed = 0
        for _ in range(self.BATCH):
            self.employ()
            killed += self.kill()
            self.listen()
        self.settle()
        return killed

    def settle(self):
        """Everybody ends, and a new application is served."""
        self.new.append(self.world.new_client())
        while not self.neighbour.lines.empty():
            self.neighbour.line("round")
        self.neighbour.line("round", PATIENCE)
        for worker in self.workers:
            self.finish(worker)
        self.neighbour.say("stop")
        self.neighbour.done()
        self.workers = []
        self.world.reap()
        try:
            self.left.append(self.world.no_more_than(self.idle, PATIENCE))
            if self.left[-1] > PROMPT:
                print(f"left over for {self.left[-1]:.1f} s: {self.world.leftover}", flush=True)
        except Failure:
            self.left.append(PATIENCE)
            raise
        self.world.as_before(0, PATIENCE)

    def late(self):
        """Now and then something may take longer because the machine is busy; what is always late is wrong."""
        late = [f"{what} after more than {limit:.1f} s, {sum(each > limit for each in times)} of {len(times)} times"
                for what, times, limit in (("a new application was served", self.new, PROMPT),
                                           ("nothing was left over", self.left, PROMPT))
                if sum(each > limit for each in times) > 1 + len(times) / 20]
        check(not late, "; ".join(late))


def run_random(options):
    seed = options.seed if options.seed is not None else random.randrange(1 << 30)
    run, failure = Random(options, seed), None
    print(f"seed {seed}", flush=True)
    started = time.monotonic()
    try:
        run.begin()
        begun = time.monotonic()
        while ((not options.seconds or time.monotonic() - started < options.seconds)
               and (not options.kills or sum(run.kills.values()) < options.kills)):
            run.batch()
        took = time.monotonic() - begun
        run.late()
    except (Failure, OSError, subprocess.SubprocessError) as error:
        failure, took = error, time.monotonic() - started
    finally:
        left = run.world.close()
    total = sum(run.kills.values())
    print(f"{total} kills in {took:.1f} s, {total / took:.1f} a second, seed {seed}: "
          + ", ".join(f"{count} {kind}" for kind, count in run.kills.most_common()))
    print(f"applications did {run.rounds['ok']} rounds, lost something in {run.rounds['lost']}; new ones were served "
          f"within {max(run.new, default=0) * 1000:.0f} ms; nothing was left over "
          f"after {max(run.left, default=0) * 1000:.0f} ms")
    if failure:
        print(f"FAILED after {total} kills with seed {seed}: {failure}\n  the last: {', '.join(run.history)}")
    if left:
        print(f"FAILED: left behind: {left}")
    return 1 if failure or left else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--helper", required=True, help="helper_lifecycle")
    parser.add_argument("--worker", required=True, help="helper_kills")
    parser.add_argument("--bin", required=True)
    parser.add_argument("mode", choices=("points", "random"))
    parser.add_argument("names", nargs="*", metavar="POINT", help="regular expressions; default: all")
    parser.add_argument("--kills", type=int, default=0, help="end after so many; 0: after --seconds")
    parser.add_argument("--seconds", type=float, default=0, help="end after so long; 0: after --kills")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", action="append", choices=list(Victims.KINDS), help="who dies")
    options = parser.parse_args()
    if options.mode == "random" and not options.kills and not options.seconds:
        parser.error("--kills or --seconds")
    for name in ("helper", "worker", "bin"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    return run_points(options) if options.mode == "points" else run_random(options)


if __name__ == "__main__":
    # ctest ends this with SIGTERM at its time limit: leave through the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
