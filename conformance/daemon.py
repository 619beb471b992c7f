# SPDX-License-Identifier: Apache-2.0
"""A daemon of one's own, the clients of a test, and what runs because of them: shared by the tests that
kill, attack and measure whole systems (lifecycle.py, kills.py, hostile.py, soak.py, fanout.py ...).

Everything started here, by a test or by Arax on its behalf, has the test's directory in its
environment or command line: this is how it is found again, checked to be gone, and ended by its
process id when a test fails. Conditions are polled against a deadline; nothing sleeps and hopes.
"""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time

PATIENCE = 60  # for what is slow on a busy machine and has no promised time
PROMPT = 1.0  # what the specification of Arax promises


class Failure(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failure(message)


def poll(condition, what, seconds=PATIENCE):
    """Waits until condition() is true: what it was, and how long that took."""
    started = time.monotonic()
    while True:
        value = condition()
        took = time.monotonic() - started
        if value and took <= seconds:
            return value, took
        check(took <= seconds, f"{what}: {'only ' if value else 'not '}within {took:.2f} s, allowed {seconds} s")
        time.sleep(0.005)


def process_state(pid):
    """A letter, or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return None


def gone(pid):
    """Has it ended? Whether its parent also reaps it is settled()'s concern: init takes its time."""
    return process_state(pid) in (None, "Z")


class Client:
    """A run of the helper, or of another program; its lines arrive as they are printed."""

    def __init__(self, world, *arguments, program=None, **environment):
        self.what = " ".join(arguments)
        self.process = subprocess.Popen([program or world.helper, *arguments], env=world.environment(**environment),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.lines = queue.Queue()
        self.errors = ""
        self.seen = []
        threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._read_errors)]
        for thread in threads:
            thread.start()
        self.threads = threads

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put(None)

    def _read_errors(self):
        self.errors = self.process.stderr.read()

    def line(self, start="", seconds=PATIENCE):
        """The next line that begins so, others skipped."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.001, deadline - time.monotonic()))
            except queue.Empty:
                raise Failure(f"client {self.what}: no '{start}' within {seconds} s; it said {self.seen[-5:]}") from None
            if line is None:
                self.lines.put(None)
                raise Failure(f"client {self.what}: ended ({self.process.wait()}) before '{start}'; it said {self.seen[-5:]}")
            self.seen.append(line)
            if line.startswith(start):
                return line

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self, status=0, seconds=PATIENCE):
        """Waits for its end, which must be this one."""
        try:
            got = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"client {self.what}: still there after {seconds} s; it said {self.seen[-5:]}") from None
        for thread in self.threads:
            thread.join(PATIENCE)
        check(got == status, f"client {self.what}: exit status {got}, not {status}; it said {self.seen[-5:]}")

    def done(self):
        """It must say ok and end well."""
        self.line("ok")
        self.end()


class Processes(dict):
    """World.processes() and how many of them were tenants beyond those that are always kept ready."""

    def __init__(self, found, extra):
        super().__init__(found)
        self.extra = extra


class World:
    """A directory with a socket, and everything that runs because of it."""

    def __init__(self, options):
        self.directory = tempfile.mkdtemp(prefix="arax-life-")
        self.socket = os.path.join(self.directory, "araxd.sock")
        self.helper, self.bin = options.helper, options.bin
        self.own = []

    def environment(self, **more):
        env = {name: value for name, value in os.environ.items()
               if name not in ("ARAX_LOG", "ARAX_DEVICES", "ARAX_POLICY", "ARAX_DAEMON", "ARAX_PRELOAD")}
        return {**env, "OCL_ICD_FILENAMES": "", "ARAX_SOCKET": self.socket, **more}

    def client(self, *arguments, **environment):
        client = Client(self, *arguments, **environment)
        self.own.append(client.process)
        return client

    def daemon(self, *arguments):
        process = subprocess.Popen([f"{self.bin}/araxd", "--socket", self.socket, *arguments],
                                   env=self.environment(), stdin=subprocess.DEVNULL)
        self.own.append(process)
        poll(self.status, "araxd answers")
        return process

    def work(self, seed=1, **environment):
        """A client that computes something and must succeed."""
        client = self.client("check", str(seed), **environment)
        client.done()
        return client

    def status(self):
        """arax status --json, or None when no daemon answers."""
        done = subprocess.run([f"{self.bin}/arax", "status", "--json"], env=self.environment(),
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=PATIENCE)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def entry(self, client, where="clients"):
        status = self.status()
        return next((each for each in status[where] if each["pid"] == client.pid), None) if status else None

    def counted(self, client):
        """Is it known, with what it has done?"""
        entry = self.entry(client)
        return entry and entry["commands"]

    def client_stops(self, client):
        client.say("stop")
        client.done()

    def tenant(self, client):
        return poll(lambda: self.entry(client), f"{client.what} has a tenant")[0]["tenant_pid"]

    def processes(self):
        """Process id -> command of everything of this world: what shows the directory in its command line or
        environment, and what descends from that (tenants show nothing). Zombies included."""
        mark, found, parents, names = self.directory.encode(), {}, {}, {}
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rsplit(b")", 1)[1].split()[:2]
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    command = file.read()
                pid = int(name)
                parents[pid] = int(parent)
                names[pid] = "zombie" if state == b"Z" else command.replace(b"\0", b" ").decode(errors="replace").strip()
                if mark not in command:
                    with open(f"/proc/{name}/environ", "rb") as file:
                        if mark not in file.read():
                            continue
                found[pid] = names[pid]
        for pid in parents:
            line, above = [], pid
            while above in parents and above not in found and above not in line:
                line.append(above)
                above = parents[above]
            if above in found:
                found.update({each: names[each] for each in line})
        return found

    def strays(self, known=()):
        """Processes of Arax that belong to no araxd: taken over ones are init's children, as leaked ones are."""
        found = set()
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    program = file.read().split(b"\0")[0].decode(errors="replace")
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rsplit(b")", 1)[1].split()[:2]
                with open(f"/proc/{int(parent)}/comm", encoding="ascii", errors="replace") as file:
                    above = file.read().strip()
                if (os.path.dirname(os.path.realpath(program)) == self.bin and state != b"Z" and
                        os.path.basename(program) in ("arax-tenant", "arax-device", "arax-compile") and
                        not above.startswith("arax")):
                    found.add(int(name))
        return found - set(known)

    def scratch(self):
        """araxd's work directory: beside its socket, or on /dev/shm when that is a disk."""
        beside = self.socket + ".work"
        return beside if os.path.isdir(beside) else f"/dev/shm/arax-{os.getuid()}-{self.status()['daemon']['pid']}.work"

    def settled(self, like=None):
        """Waits until the pool is full and nobody is served: the processes that are then there, as
        many as in like, where tenants that are kept ready for a burst do not count."""
        last = [None, 0]

        def quiet():
            status, found = self.status(), self.processes()
            last[:] = [found, last[1] + 1 if found == last[0] else 0]
            if not status or status["clients"] or status["compiler"]["state"] != "ready":
                return None
            pool = status["pool"]
            if pool["starting"] or pool["attached"] or pool["ready"] != pool["configured"] + pool["extra"]:
                return None
            if "zombie" in found.values() or (
                    like is not None and len(found) - pool["extra"] != len(like) - like.extra):
                return None
            return Processes(found, pool["extra"]) if last[1] >= 10 else None
        try:
            return poll(quiet, "araxd is quiet again", 20)[0]
        except Failure as failure:
            raise Failure(f"{failure}; processes before {like}, now {self.processes()}, "
                          f"status {json.dumps(self.status())}") from None

    def close(self):
        """Ends what is left; what araxd itself does not end is a leak of Arax."""
        for process in self.own:
            if process.poll() is None and "araxd" not in str(process.args[0]):
                process.kill()
                process.wait()
        status = self.status()
        subprocess.run([f"{self.bin}/arax", "stop"], env=self.environment(), stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
        left = None
        try:
            poll(lambda: not self.processes(), "everything ends after arax stop", 20 if status else 5)
        except Failure:
            left = self.processes()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.own:
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
        return left
