#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every allocation and system call of Arax's own code fails, one after another.

faults.py --bin DIR --preload LIBRARY --every PROGRAM [--role client|daemon|tenant|compile|device]...
          [--full] [--at N [--from] [--start]]

A run without failing numbers the calls that a process makes (preload_fail.c) while an application
sends every opcode (helper_every.c). Then call 1 fails, call 2, ...: alone ("once"), and with all
that come after it ("from"). After each: no crash, no hang, no error but those for want of memory
and other resources, no memory, descriptor or process left over; and once calls succeed again, a new
client computes everything right, with the same daemon.

By default each place in the code fails once (its first call), in what time --seconds allows, the
rest being said; --full is every call and takes long. --at N repeats one, with --start one of a daemon's
start.

The processes of the service (daemon, tenants, compiler) keep some things for later on purpose: what is left
over is said by the service itself ("arax status": nobody attached, nothing ready beyond what is configured,
no build), and only then counted.
Exit status: 0 passed, 1 failed, 77 cannot be done here.
"""

import argparse
import collections
import contextlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

HEADER = struct.Struct("<IIQQQQqQ")
TRACE, CALLS = 4096, 65536
KINDS = ("memory", "mmap", "memfd", "sendmsg", "recvmsg", "spawn", "futex", "socket", "files", "thread", "other")
MODULES = {"client": "libarax-opencl", "daemon": "araxd", "tenant": "arax-tenant", "compile": "arax-compile",
           "device": "arax-device"}
PERSIST = 3  # seconds for which a process of the service is refused everything
HANG = 75  # seconds after which a process that has not ended never will
SETTLE = 10
LEAK_TRIES = 5


class Failure(Exception):
    pass


class Leak(Failure):
    pass


def check(condition, message):
    if not condition:
        raise Failure(message)


def poll(condition, what, seconds=SETTLE):
    deadline = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < deadline, f"{what}: not within {seconds} s")
        time.sleep(0.005)


class Page:
    """What preload_fail.so reads and writes."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as file:
            file.truncate(TRACE + 8 * CALLS)
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def set(self, at, persist, kinds):
        self.map[:TRACE] = bytes(TRACE)
        HEADER.pack_into(self.map, 0, 1, int(persist), at, kinds, 0, 0, 0, 0)

    def disarm(self):
        struct.pack_into("<I", self.map, 0, 0)

    def get(self):
        _, _, _, _, count, failed, live, first = HEADER.unpack_from(self.map, 0)
        return count, failed, live, first

    def trace(self):
        count = min(self.get()[0], CALLS - 1)
        return struct.unpack_from(f"<{count}Q", self.map, TRACE + 8)


class World:
    """A directory with a socket and what runs because of it."""

    def __init__(self, options, role):
        self.options, self.role = options, role
        self.directory = tempfile.mkdtemp(prefix="arax-faults-")
        self.page = Page(os.path.join(self.directory, "page"))
        self.own = []
        self.daemon = None
        self.said = ""
        self.libexec = options.bin
        self.builds = 0
        if role in ("tenant", "compile", "device"):
            self.libexec = os.path.join(self.directory, "libexec")
            os.mkdir(self.libexec)
            for name in ("arax-tenant", "arax-compile", "arax-device"):
                real, link = os.path.join(options.bin, name), os.path.join(self.libexec, name)
                if name != MODULES[role]:
                    os.symlink(real, link)
                    continue
                with open(link, "w", encoding="ascii") as file:
                    file.write("#!/bin/sh\n" + "".join(f"{k}='{v}' " for k, v in self.settings().items()) +
                               f"exec '{real}' \"$@\"\n")
                os.chmod(link, 0o755)

    def settings(self):
        return {"LD_PRELOAD": self.options.preload, "FAULTS_PAGE": self.page.path,
                "FAULTS_MODULES": MODULES[self.role] + (f",{self.options.more}" if self.options.more else "")}

    def environment(self, role):
        env = {name: value for name, value in os.environ.items()
               if name not in ("ARAX_LOG", "ARAX_DEVICES", "ARAX_POLICY", "ARAX_DAEMON", "ARAX_PRELOAD")}
        env["ARAX_SOCKET"] = os.path.join(self.directory, "araxd.sock")
        if role == self.role:
            env.update(self.settings())
        return env

    def start(self):
        config = os.path.join(self.directory, "arax.conf")
        with open(config, "w", encoding="ascii") as file:
            # Without spare tenants one run is like another.
            file.write(f"[daemon]\npool = {2 if self.role == 'client' else 0}\n")
            if self.role == "compile":
                file.write(f"[cache]\ndirectory = {self.directory}/cache\n")
            if self.role == "device":
                file.write("[device sim]\nbackend = sim\noptions = memory=64M,item_ns=1\n")
        self.log = open(os.path.join(self.directory, "log"), "w+b")
        self.daemon = subprocess.Popen(
            [f"{self.options.bin}/araxd", "--socket", os.path.join(self.directory, "araxd.sock"), "--config", config,
             "--libexec", self.libexec, "--idle-exit", "600"],
            env=self.environment("daemon"), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.own.append(self.daemon)
        poll(lambda: os.path.exists(os.path.join(self.directory, "araxd.sock")) or self.daemon.poll() is not None,
             "araxd listens")
        return self.daemon.poll() is None

    def client(self, rounds):
        """An application: how it ended, and what it said."""
        env = self.environment("client")
        if self.role == "compile":
            # Programs that the cache does not have.
            self.builds += 1
            env["EVERY_OPTIONS"] = f"-DBUILD={self.builds}"
        if self.role == "device":
            env["ARAX_POLICY"] = "random"
        process = subprocess.Popen([self.options.every, str(rounds)], env=env,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.own.append(process)
        try:
            said = process.communicate(timeout=HANG)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            raise Failure("the application hangs") from None
        status = process.returncode
        check(status != -signal.SIGALRM, f"the application hangs\n{said}")
        check(status >= 0, f"the application was ended by signal {-status}\n{said}")
        check(status == 0, f"the application is not content\n{said}")
        return said

    def arax(self, *arguments):
        done = subprocess.run([f"{self.options.bin}/arax", *arguments], env=self.environment("tool"),
                              capture_output=True, check=False, timeout=HANG)
        return done.stdout if done.returncode == 0 else None

    def settled(self):
        """Nobody is there, and nothing is kept beyond what is configured."""
        said = self.arax("status", "--json")
        if not said:
            return False
        state = json.loads(said)
        pool, compiler = state["pool"], state["compiler"]
        if pool["ready"]:
            self.arax("reload")  # surplus tenants go now, not at the next quiet spell
        return not (pool["ready"] or pool["starting"] or pool["attached"] or state["clients"] or
                    compiler["compiling"] or compiler["waiting"]) and state["daemon"]["connections"] == 1

    def serving(self):
        """Does it take what comes, as far as it knows?"""
        said = self.arax("status", "--json")
        state = json.loads(said) if said else None
        return state and not state["pool"]["resting"] and not state["compiler"]["error"]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def children(self):
        try:
            with open(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children", encoding="ascii") as file:
                return len(file.read().split())
        except OSError:
            return 0

    def stop(self):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.terminate()
            try:
                self.daemon.wait(SETTLE)
            except subprocess.TimeoutExpired:
                raise Failure("araxd does not end") from None

    def close(self):
        for process in self.own:
            if process.poll() is None:
                process.kill()
                process.wait()
        if self.daemon:
            self.log.close()

    def log_tail(self):
        if not self.daemon:
            return ""
        with contextlib.suppress(OSError), open(os.path.join(self.directory, "log"), "rb") as file:
            return file.read()[-2000:].decode(errors="replace")
        return ""

    def remove(self):
        self.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def number(said, what):
    return next(int(line.split()[1]) for line in said.splitlines() if line.startswith(what + " "))


class Client:
    """The application's own library; one daemon serves all runs."""

    def __init__(self, options):
        self.world = World(options, "client")
        self.world.start()
        self.world.page.set(0, False, 0)
        self.world.client(1)
        self.reference = None

    def run(self, at, persist, kinds, _start=False):
        # How many commands were in flight at most, and so are kept for later, is a matter of time; a
        # leak is there each time.
        for tries in range(LEAK_TRIES, 0, -1):
            try:
                return self.once(at, persist, kinds)
            except Leak:
                if tries == 1:
                    raise
        return None

    def once(self, at, persist, kinds):
        page = self.world.page
        page.set(at, persist, kinds)
        said = self.world.client(1)
        count, failed, live, _ = page.get()
        descriptors = number(said, "descriptors")
        if not at:
            self.reference = tuple(map(max, (live, descriptors), self.reference or (0, 0)))
        elif failed:
            if live > self.reference[0]:
                raise Leak(f"{live - self.reference[0]} allocations are left over")
            check(descriptors <= self.reference[1], f"{descriptors - self.reference[1]} descriptors are left over")
        return count, failed

    def end(self):
        self.world.stop()
        self.world.remove()

    def log(self):
        return self.world.log_tail()


class Service:
    """A process of the service. What happens when it starts is one call of many: those fail in a daemon of
    their own each, the others in one that is there already."""

    def __init__(self, options, role):
        self.options, self.role = options, role
        self.references = {}
        self.worlds, self.world, self.kept = [], None, None  # all, the latest run's, the one that is there already

    def begin(self, at, persist, kinds):
        """A new daemon. Return: does it run?"""
        self.world = World(self.options, self.role)
        self.worlds.append(self.world)
        self.world.page.set(at, persist, kinds)
        return self.world.start()

    def run(self, at, persist, kinds, start=True):
        if start:
            up = self.begin(at, persist, kinds)
        else:
            self.world, up = self.kept, True
            if not self.world:
                check(self.begin(0, False, 0), "araxd does not start")
                self.world.client(1)
                self.kept = self.world
        world, page = self.world, self.world.page
        if not start:
            page.set(at, persist, kinds)
        if up:
            self.first(persist)
        count, failed = page.get()[:2]
        page.disarm()
        # Who has failed several times in a row is not tried again for a while.
        poll(lambda: world.daemon.poll() is not None or world.serving(), "the service tries again", HANG)
        if world.daemon.poll() is not None:
            # It may refuse to start, but orderly.
            check(start and at and world.daemon.returncode == 3, f"araxd ended with {world.daemon.returncode}")
        else:
            world.client(1)
            self.look(at, start)
        if start:
            world.stop()
            check(world.daemon.returncode in (0, 3), f"araxd ended with {world.daemon.returncode}")
            self.worlds.remove(world)
            world.remove()
        return count, failed

    def first(self, persist):
        # Who is refused everything for long leaves its clients to their own timeouts.
        timer = threading.Timer(PERSIST if persist else HANG, self.world.page.disarm)
        timer.start()
        try:
            self.world.client(0)
        finally:
            timer.cancel()

    def look(self, at, start):
        """What the daemon holds when nobody is there any more."""
        world, page = self.world, self.world.page
        poll(world.settled, "the service comes to rest", HANG)
        reference = self.references.get(start)

        def state():
            return world.descriptors(), world.children(), page.get()[2] if self.role == "daemon" else 0

        if not at:
            # The connection of who has asked last may not be closed yet.
            known = state()
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline:
                time.sleep(0.005)
                known = tuple(map(min, known, state()))
            self.references[start] = tuple(map(max, known, reference or known))
            return
        for i, what in enumerate(("descriptors", "children", "allocations")):
            poll(lambda i=i: state()[i] <= reference[i],
                 f"araxd's {what} are as before ({reference[i]}; {state()[i]} after {SETTLE} s)")

    def end(self):
        worlds, self.worlds, self.world, self.kept = self.worlds, [], None, None
        try:
            for world in worlds:
                world.stop()
        finally:
            for world in worlds:
                world.remove()

    def log(self):
        return self.world.log_tail() if self.world else ""


def name_of(options, role, what):
    module = os.path.join(options.bin, MODULES[role])
    if role == "client":
        module = os.path.join(options.bin, "../lib/libarax-opencl.so")
    kind, place = KINDS[min(what >> 56, len(KINDS) - 1)], (what & ~(255 << 56)) - 1
    with contextlib.suppress(OSError):
        done = subprocess.run(["addr2line", "-fe", module, hex(place)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            function, line = done.stdout.split("\n")[:2]
            return f"{kind} in {function} ({os.path.basename(line)})"
    return f"{kind} at {place:#x}"


def plan(options, trace, starting):
    """Which calls fail, and how: all, or the first of every place in the code. (call, with all later ones?, at
    the start of a daemon?); what is called in a running one, too, needs no new one for it."""
    if options.at:
        return [(options.at, options.persist, options.start)]
    if options.full:
        known = set(trace)
        calls = [(n, False) for n in range(1, len(trace) + 1)]
        calls += [(n, True) for n, what in enumerate(starting, 1) if what not in known]
        return [(n, persist, start) for n, start in calls for persist in (False, True)]
    first = {}
    for n, what in enumerate(trace, 1):
        first.setdefault(what, (n, False))
    for n, what in enumerate(starting, 1):
        first.setdefault(what, (n, True))
    once = [(n, False, start) for n, start in first.values()]
    more = [(n, True, start) for n, start in first.values()]
    random.Random(1).shuffle(once)
    random.Random(2).shuffle(more)
    return [each for pair in zip(once, more) for each in pair]


def traces(subject, role, kinds):
    """The calls of a run that is left alone: of a process that runs, and of one that starts."""
    def longest(start):
        trace = ()
        for _ in range(2):
            subject.run(0, False, kinds, start)
            trace = max(trace, subject.world.page.trace(), key=len)
        return trace

    if role == "client":
        return longest(False), ()
    starting = longest(True)
    if role == "daemon":
        return (), starting
    return longest(False), starting


def role_run(options, role, deadline):
    subject = Client(options) if role == "client" else Service(options, role)
    failures, done, failed_calls = [], 0, collections.Counter()
    trace, starting, todo = (), (), []
    try:
        try:
            trace, starting = traces(subject, role, options.kinds)
        except Failure as failure:
            failures.append(f"{role}: nothing fails: {failure}")
            print(f"{failures[-1]}\n{subject.log()}", flush=True)
        todo = plan(options, trace, starting)
        for at, persist, start in todo:
            if deadline and time.monotonic() > deadline:
                break
            done += 1
            try:
                failed = subject.run(at, persist, options.kinds, start)[1]
                if failed:
                    failed_calls[KINDS[subject.world.page.get()[3] >> 56]] += 1
            except Failure as failure:
                first = subject.world.page.get()[3] if subject.world else 0
                what = name_of(options, role, first) if first else "nothing had failed"
                failures.append(f"{role}: call {at}{' of the start' if start else ''}"
                                f"{' and all later ones' if persist else ''}: {what}: {failure}")
                print(f"{failures[-1]}\n{subject.log()}", flush=True)
                with contextlib.suppress(Failure):
                    subject.end()
                if role == "client":
                    subject = Client(options)
                    for _ in range(2):
                        subject.run(0, False, options.kinds)
                if len(failures) >= options.give_up:
                    break
    finally:
        with contextlib.suppress(Failure):
            subject.end()
    calls = collections.Counter(KINDS[what >> 56] for what in (*trace, *starting))
    told = ", ".join(f"{count} {kind}" for kind, count in failed_calls.most_common())
    print(f"{role}: {len(trace)} calls and {len(starting)} from its start on ("
          f"{', '.join(f'{count} {kind}' for kind, count in calls.most_common())}) at "
          f"{len({*trace, *starting})} places; {done} of {len(todo)} runs ({told} failed), {len(failures)} wrong",
          flush=True)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--preload", required=True)
    parser.add_argument("--every", required=True)
    parser.add_argument("--role", action="append", choices=list(MODULES))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seconds", type=float, default=0, help="for all roles together; 0: as long as it takes")
    parser.add_argument("--at", type=int)
    parser.add_argument("--from", dest="persist", action="store_true")
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--kinds", default="", help="comma list of " + ", ".join(KINDS))
    parser.add_argument("--more", default="", help="further modules whose calls fail, as libpocl")
    parser.add_argument("--give-up", type=int, default=1000)
    options = parser.parse_args()
    for name in ("bin", "preload", "every"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    options.kinds = sum(1 << KINDS.index(kind) for kind in options.kinds.split(",") if kind) or (1 << 63)
    if options.kinds == 1 << 63:
        options.kinds = (1 << len(KINDS)) - 1
    roles = options.role or ["client", "daemon", "tenant", "compile"]
    failures = []
    for i, role in enumerate(roles):
        share = options.seconds / len(roles) if options.seconds else 0
        failures += role_run(options, role, time.monotonic() + share if share else None)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
