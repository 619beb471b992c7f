#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Limits of users, containers and applications on one system socket.

limits.py --helper HELPER --bin DIR [TEST...]      every test has a daemon of its own

Who exceeds a limit gets OpenCL's error, others notice nothing, and what is given back can be had
again. Several users and containers need root and PID namespaces; without them those tests are
skipped, with the reason. Exit status: 0 passed, 1 failed, 77 all were skipped.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 60
OUT_OF_RESOURCES, ALLOCATION_FAILURE = -5, -4
ANNE, BERT = 54321, 54322  # nobody's


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failure(message)


def poll(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        check(time.monotonic() < deadline, f"{what}: not within {PATIENCE} s")
        time.sleep(0.005)
    return value


class World:
    """A system daemon, socket-activated as by systemd, with a configuration of its own."""

    def __init__(self, options, configuration, group=None, inherited=(), **environment):
        self.options = options
        self.group = None  # a cgroup for the clients
        self.directory = tempfile.mkdtemp(prefix="arax-limits-")
        os.chmod(self.directory, 0o711)
        self.socket = os.path.join(self.directory, "araxd.sock")
        config = os.path.join(self.directory, "arax.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(configuration + f"\n[cache]\ndirectory = {self.directory}/cache\n")
        self.own = []
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening.bind(self.socket)
        os.chmod(self.socket, 0o666)
        listening.listen(64)
        self.daemon = subprocess.Popen(
            ["/bin/sh", "-c", '[ -z "$4" ] || echo 0 >"$4/cgroup.procs" || exit; exec 3<&$1; '
             'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$2" --config "$3"', "sh",
             str(listening.fileno()), f"{options.bin}/araxd", config, group or ""],
            env={**self.environment(), **environment}, stdin=subprocess.DEVNULL,
            pass_fds=(listening.fileno(), *inherited), start_new_session=True)
        listening.close()
        poll(self.status, "araxd answers")

    def environment(self):
        return {**{name: value for name, value in os.environ.items()
                   if name not in ("ARAX_LOG", "ARAX_DEVICES", "ARAX_POLICY", "ARAX_DAEMON", "ARAX_PRELOAD")},
                "ARAX_SOCKET": self.socket, "OCL_ICD_FILENAMES": ""}

    def client(self, *arguments, user=None, container=False):
        command = [self.options.helper, *arguments]
        if container:
            # Of the machine it sees the socket and its own processes.
            command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--ipc", "--net", *command]
        if self.group:
            command = ["/bin/sh", "-c", 'echo 0 >"$0/cgroup.procs" && exec "$@"', self.group, *command]
        process = subprocess.Popen(command, env=self.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True, user=user, extra_groups=[] if user else None,
                                   start_new_session=True)
        self.own.append(process)
        return process

    def hold(self, **who):
        """A client with a context, or the error that it got."""
        process = self.client("hold", **who)
        error = int(self.line(process, "context"))
        return process, error

    @staticmethod
    def line(process, what):
        line = process.stdout.readline().split()
        check(line and line[0] == what, f"not '{what}' but {line}")
        return " ".join(line[1:])

    @staticmethod
    def let_go(process):
        process.stdin.close()
        check(process.wait(PATIENCE) == 0, f"a client ended with {process.returncode}")

    def status(self):
        done = subprocess.run([f"{self.options.bin}/arax", "status", "--json"], env=self.environment(),
                              capture_output=True, check=False, timeout=PATIENCE)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def attached(self, count):
        poll(lambda: len(self.status()["clients"]) == count, f"{count} clients")

    def close(self):
        for process in (*self.own, self.daemon):
            if process.poll() is None:
                process.terminate()
        for process in (*self.own, self.daemon):
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def needs_users(options):
    if os.geteuid():
        raise Skip("several users need root")
    for path in (options.helper, f"{options.bin}/../lib/libarax-opencl.so"):
        done = subprocess.run(["test", "-r", path], user=ANNE, extra_groups=[], check=False)
        if done.returncode:
            raise Skip(f"other users cannot read {path}")


def needs_containers():
    if os.geteuid():
        raise Skip("containers need root")
    done = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "--ipc", "--net", "true"], check=False,
                          capture_output=True)
    if done.returncode:
        raise Skip(f"no namespaces: {done.stderr.decode().strip()}")


def test_tenants_of_users(options):
    needs_users(options)
    with contextlib.closing(World(options, "[daemon]\nmax_clients_per_user = 2")) as world:
        held = [world.hold(user=ANNE) for _ in range(2)]
        check([error for _, error in held] == [0, 0], f"within the limit: {held}")
        check(world.hold(user=ANNE)[1] == OUT_OF_RESOURCES, "beyond the limit")
        check(world.hold(user=BERT)[1] == 0, "another user is limited, too")
        world.let_go(held[0][0])
        world.attached(2)
        check(world.hold(user=ANNE)[1] == 0, "what was given back cannot be had")


def test_many_at_once(options):
    """Those that wait for a tenant count: all ask at the same time."""
    with contextlib.closing(World(options, "[daemon]\npool = 0\nmax_clients_per_user = 3")) as world:
        clients = [world.client("hold") for _ in range(12)]
        errors = [None] * len(clients)

        def ask(i):
            errors[i] = int(world.line(clients[i], "context"))

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(clients))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        check(errors.count(0) == 3 and errors.count(OUT_OF_RESOURCES) == 9, f"{errors}")


def test_containers(options):
    needs_containers()
    with contextlib.closing(World(options, "[limits]\ntenants = 1")) as world:
        outside, error = world.hold()
        check(error == 0, f"outside: {error}")
        check(world.hold()[1] == OUT_OF_RESOURCES, "a second one outside")
        inside, error = world.hold(container=True)
        check(error == 0, f"in a container: {error}")
        check(world.hold(container=True)[1] == 0, "in another container")
        world.let_go(inside)
        world.let_go(outside)


def test_caches(options):
    needs_containers()
    with contextlib.closing(World(options, "")) as world:
        def build(**who):
            before = world.status()["compiler"]["cache_hits"]
            process = world.client("build", "the same", **who)
            check(world.line(process, "context") == "0" and world.line(process, "build") == "0", "build")
            world.let_go(process)
            return world.status()["compiler"]["cache_hits"] - before

        check([build(), build()] == [0, 1], "outside it is built once")
        check(build(container=True) == 0, "a container gets what was built outside")
        check(build() == 1, "outside it is still there")


def test_memory(options):
    with contextlib.closing(World(options, "[limits]\nmemory = 192M\nmemory_per_tenant = 64M")) as world:
        process = world.client("memory", "4")
        check(world.line(process, "context") == "0", "context")
        count, error = map(int, world.line(process, "memory").split())
        check(14 <= count <= 16 and error == ALLOCATION_FAILURE, f"{count} buffers of 4 MiB, then {error}")
        check(world.line(process, "again") == "0", "what was released cannot be had again")
        world.let_go(process)
        world.attached(0)
        held = [world.hold() for _ in range(3)]
        check([error for _, error in held] == [0, 0, 0], f"within the limit: {[error for _, error in held]}")
        check(world.hold()[1] == OUT_OF_RESOURCES, "beyond the limit of all together")
        world.let_go(held[0][0])
        world.attached(2)
        check(world.hold()[1] == 0, "what was given back cannot be had")


def test_inheritance(options):
    """Of araxd's environment and descriptors the processes that run others' code have nothing."""
    with open(os.path.join(tempfile.gettempdir(), f"arax-limits-open-{os.getpid()}"), "w+b") as secret:
        os.unlink(secret.name)
        os.set_inheritable(secret.fileno(), True)
        with contextlib.closing(World(options, "", inherited=(secret.fileno(),), ARAX_TEST_SECRET="known")) as world:
            process = world.client("build", "inherited")
            check(world.line(process, "context") == "0" and world.line(process, "build") == "0", "a build")
            holder, error = world.hold()
            check(error == 0, f"context: {error}")
            status = world.status()
            for pid in (status["clients"][0]["tenant_pid"], status["pool"]["zygote"], status["compiler"]["pid"]):
                try:
                    with open(f"/proc/{pid}/environ", "rb") as file:
                        environment = file.read()
                    files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
                except PermissionError as denied:
                    raise Skip(f"what a sandboxed process has cannot be looked at: {denied}") from None
                check(b"ARAX_TEST_SECRET" not in environment and b"LISTEN_FDS" not in environment, f"{environment}")
                check(not any("arax-limits-open" in name or name.endswith("araxd.sock") for name in files), f"{files}")
            with open(f"/proc/{world.daemon.pid}/environ", "rb") as file:
                check(b"ARAX_TEST_SECRET" in file.read(), "araxd itself has it")
            world.let_go(holder)


def test_objects(options):
    with contextlib.closing(World(options, "[limits]\nobjects = 1000")) as world:
        process = world.client("objects")
        check(world.line(process, "context") == "0", "context")
        check(world.line(process, "objects") == f"1000 {OUT_OF_RESOURCES}", "objects up to the limit")
        check(world.line(process, "again") == "0", "what was released cannot be had again")
        world.let_go(process)


def test_commands(options):
    with contextlib.closing(World(options, "[limits]\ncommands = 100")) as world:
        process = world.client("commands")
        check(world.line(process, "context") == "0", "context")
        count, error = map(int, world.line(process, "commands").split())
        # The gate is in flight, too.
        check(90 <= count <= 100 and error == OUT_OF_RESOURCES, f"{count} commands, then {error}")
        check(world.line(process, "finish") == "0", "what was accepted is executed")
        check(world.line(process, "again") == "0", "an enqueue waits for room")
        world.let_go(process)


def test_compile_time(options):
    """Who has had its part of the compiler waits; who asks for what is there already does not."""
    with contextlib.closing(World(options, "[limits]\ncompile_time = 1")) as world:
        process = world.client("builds", "1000", "one after the other")
        check(world.line(process, "context") == "0", "context")
        count, error = map(int, world.line(process, "builds").split())
        check(1 <= count < 1000 and error == OUT_OF_RESOURCES, f"{count} builds, then {error}")
        check("compile_time" in process.stdout.read(), "the log says why")
        world.let_go(process)
        process = world.client("builds", "2", "one after the other")
        check(world.line(process, "context") == "0", "context")
        check(count < 2 or world.line(process, "builds") == "2 0", "cached programs need no compiler")
        world.let_go(process)


def needs_seccomp(world):
    check(world.hold()[1] == 0, "a first client")
    walls = world.status()["pool"]["sandbox"]["walls"]
    if "seccomp" not in walls:
        raise Skip(f"no list of system calls here, only {walls}")


def test_kernel_memory(options):
    """What a kernel allocates beside its buffers: a quarter of the limit, and four times of it."""
    if os.uname().machine != "x86_64":
        raise Skip("the kernel makes system calls of x86-64")
    with contextlib.closing(World(options, "[limits]\nkernel_memory = 256M")) as world:
        needs_seccomp(world)

        def eat(size):
            process = world.client("eat", str(size))
            check(world.line(process, "context") == "0", "context")
            said = world.line(process, "eat")
            world.let_go(process)
            return said

        check(eat(64) == "0 -1", "less than the limit, and what is not counted")
        check(eat(1024) == "-12 -1", "more than the limit")


class Group:
    """A cgroup below our own, if it may be made."""

    def __init__(self):
        with open("/proc/self/mountinfo", encoding="ascii") as file:
            trees = [line.split()[4] for line in file if " - cgroup2 " in line and line.split()[3] == "/"]
        with open("/proc/self/cgroup", encoding="ascii") as file:
            own = [line[3:].strip() for line in file if line.startswith("0::/")]
        if not trees or not own:
            raise Skip("no cgroup2 is mounted, or none of ours")
        self.path = own[0].rstrip("/") + f"/arax-limits-{os.getpid()}"
        self.directory = trees[0] + self.path
        try:
            os.mkdir(self.directory)
        except OSError as error:
            raise Skip(f"no cgroup can be made: {error}") from None

    def below(self, name):
        os.mkdir(os.path.join(self.directory, name))
        return os.path.join(self.directory, name)

    def close(self):
        def gone():
            """The kernel takes out who has ended a little later."""
            try:
                for name in os.listdir(self.directory):
                    if os.path.isdir(os.path.join(self.directory, name)):
                        os.rmdir(os.path.join(self.directory, name))
                os.rmdir(self.directory)
            except OSError:
                return False
            return True

        poll(gone, "the cgroup is empty")


def cgroup_of(pid):
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
        return next(line[3:].strip() for line in file if line.startswith("0::"))


def test_cgroup_of_client(options):
    with contextlib.closing(Group()) as group, contextlib.closing(World(options, "")) as world:
        world.group = group.directory
        process, error = world.hold()
        check(error == 0, f"context: {error}")
        tenant = world.status()["clients"][0]["tenant_pid"]
        check(cgroup_of(process.pid) == group.path, "the client itself is not there")
        poll(lambda: cgroup_of(tenant) == group.path, "the tenant is in its client's cgroup")
        poll(lambda: world.status()["clients"][0]["cgroup"] == "client", "the status says so")
        world.let_go(process)
        world.attached(0)


def test_cgroup_own(options):
    """A daemon that was given a part of the tree has a cgroup there for each domain."""
    with contextlib.closing(Group()) as group:
        group.below("araxd")
        with contextlib.closing(World(options, "[limits]\ncgroup = own\nmemory = 1G",
                                      group=os.path.join(group.directory, "araxd"))) as world:
            held = [world.hold()[0] for _ in range(2)]
            own = f"{group.path}/domain-{os.getuid()}-0"
            for client in world.status()["clients"]:
                poll(lambda pid=client["tenant_pid"]: cgroup_of(pid) == own, "the tenant is in its domain's cgroup")
            poll(lambda: [each["cgroup"] for each in world.status()["clients"]] == ["domain"] * 2, "the status")
            check(cgroup_of(world.daemon.pid) == f"{group.path}/araxd", "araxd has not moved")
            limit = os.path.join(group.directory, f"domain-{os.getuid()}-0", "memory.max")
            if os.path.exists(limit):
                with open(limit, encoding="ascii") as file:
                    check(int(file.read()) == 5 << 30, "the domain's memory and one kernel's")
            for process in held:
                world.let_go(process)
            poll(lambda: not os.path.exists(os.path.dirname(limit)), "the domain's cgroup goes with its last tenant")


def test_shares(options):
    """Three applications of one user weigh together what one of another does."""
    needs_users(options)
    with contextlib.closing(World(options, "")) as world:
        def nice():
            with_user = {}
            for each in world.status()["clients"]:
                with open(f"/proc/{each['tenant_pid']}/stat", encoding="ascii") as file:
                    with_user.setdefault(each["uid"], []).append(int(file.read().rsplit(")", 1)[1].split()[16]))
            return with_user

        base = os.nice(0)
        anne = [world.hold(user=ANNE)[0] for _ in range(3)]
        check(nice() == {ANNE: [base] * 3}, f"alone: {nice()}")
        bert = world.hold(user=BERT)[0]
        now = nice()
        more = {each - base for each in now[ANNE]}
        check(now[BERT] == [base] and more == {min(5, 19 - base)}, f"with another user: {now}")
        world.let_go(anne[0])
        world.attached(3)
        poll(lambda: {each - base for each in nice()[ANNE]} == {min(3, 19 - base)}, "two are less nice than three")
        world.let_go(bert)
        world.attached(2)
        poll(lambda: nice() == {ANNE: [base] * 2}, "alone again they are as before")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--helper", required=True)
    parser.add_argument("--bin", required=True)
    parser.add_argument("test", nargs="*")
    options = parser.parse_args()
    tests = {name[5:]: function for name, function in globals().items() if name.startswith("test_")}
    failed = passed = 0
    for name in options.test or tests:
        try:
            tests[name](options)
            passed += 1
            print(f"ok {name}", flush=True)
        except Skip as skip:
            print(f"skip {name}: {skip}", flush=True)
        except Failure as failure:
            failed += 1
            print(f"FAILED {name}: {failure}", flush=True)
    return 1 if failed else 0 if passed else 77


if __name__ == "__main__":
    sys.exit(main())
