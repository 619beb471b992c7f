#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who dies, who goes on, and what is left: clients, tenants and araxd killed at the worst moments.

lifecycle.py --helper HELPER --bin DIR [TEST...]   every test has a daemon of its own

Exit status: 0 passed, 1 failed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

from daemon import PATIENCE, PROMPT, Failure, World, check, gone, poll


def kill_spinning(world, how):
    """A client with an endless kernel ends by a signal; another works before and after."""
    world.work()
    before = world.settled()
    spinner = world.client("spin")
    spinner.line("spinning")
    tenant = world.tenant(spinner)
    other = world.client("loop", "100")
    other.line("round 5")
    spinner.process.send_signal(how)
    _, took = poll(lambda: spinner.process.poll() is not None, "the client ends", PROMPT / 2)
    spinner.end(-how)
    _, gone_after = poll(lambda: gone(tenant), "its tenant is gone", PROMPT)
    other.line("round")
    other.say("stop")
    other.done()
    world.work(2)
    world.settled(like=before)
    return f"the client ended within {took * 1000:.0f} ms, its tenant {gone_after * 1000:.0f} ms later"


def test_client_killed(world):
    return kill_spinning(world, signal.SIGKILL)


def test_interrupt(world):
    return kill_spinning(world, signal.SIGINT)


def test_client_terminated(world):
    return kill_spinning(world, signal.SIGTERM)


def tenant_killed(world, how):
    """The call that waits fails at once, and the context goes on with another tenant."""
    client = world.client("spin", how)
    client.line("spinning")
    tenant = world.tenant(client)
    bystander = world.client("loop", "7")
    bystander.line("round 3")
    started = time.monotonic()
    os.kill(tenant, signal.SIGKILL)
    said = client.line("finish", PROMPT).split()
    took = time.monotonic() - started
    wrong = [] if int(said[1]) < 0 else [f"the waiting call ({how}) gave {said[1]}, no error"]
    if int(said[3]) >= 0:
        wrong.append(f"the event's status is {said[3]}, no error")
    if int(client.line("enqueue").split()[1]) != 0:
        wrong.append("a command after it gave an error")
    if client.line("notified").split()[1] != "1":
        wrong.append("the context's pfn_notify was not called once")
    client.done()
    bystander.line("round")
    bystander.say("stop")
    bystander.done()
    world.settled()
    check(not wrong, "; ".join(wrong))
    return f"{said[1]} after {took * 1000:.0f} ms, the event {said[3]}"


def test_tenant_killed_finish(world):
    return tenant_killed(world, "finish")


def test_tenant_killed_read(world):
    return tenant_killed(world, "read")


def test_tenant_killed_map(world):
    return tenant_killed(world, "map")


def test_tenant_killed_wait(world):
    return tenant_killed(world, "wait")


def test_tenant_killed_barrier(world):
    return tenant_killed(world, "barrier")


def kill_daemon(world):
    """Its status before."""
    before = world.status()
    os.kill(before["daemon"]["pid"], signal.SIGKILL)
    poll(lambda: gone(before["daemon"]["pid"]), "araxd is dead")
    return before


def next_daemon(world, *clients):
    """A client starts the next araxd, which takes over what the others have: its status."""
    world.work(3)
    poll(lambda: all(world.counted(client) for client in clients), "the new araxd counts who was there before")
    return world.status()


def test_daemon_killed(world):
    """Who runs goes on; the next client starts the next araxd, which knows what the last one knew."""
    world.work()
    client, spinner = world.client("loop", "50"), world.client("spin")
    client.line("round 5")
    spinner.line("spinning")
    tenants = [world.tenant(client), world.tenant(spinner)]
    entry = world.entry(client)
    before = kill_daemon(world)
    # What said 'round' before the death may still wait in the pipe: count from the last one seen.
    while not client.lines.empty():
        client.line("round")
    for _ in range(100):
        client.line("round")
    check(world.status() is None, "an araxd answers that nobody started")
    after = next_daemon(world, client, spinner)
    check(after["daemon"]["pid"] != before["daemon"]["pid"], "no new araxd")
    check([world.tenant(client), world.tenant(spinner)] == tenants, "they have other tenants")
    now = world.entry(client)
    check(now["kernels"] >= entry["kernels"] + 1000 and now["duration_ms"] > entry["duration_ms"],
          f"not the totals of before: {entry} {now}")
    check(now["program"] == entry["program"] and now["policy"] == entry["policy"], f"{entry} {now}")
    # The first application is in the journal, the one that started araxd has been added.
    poll(lambda: world.status()["totals"]["clients"] == 2 and world.status()["totals"]["kernels"] == 20,
         "the totals go on")
    for _ in range(10):
        client.line("round")
    client.say("stop")
    client.done()
    entry, _ = poll(lambda: world.entry(client, "finished"), "it has finished")
    check(entry["kernels"] >= now["kernels"], f"not all that it did: {now} {entry}")
    spinner.process.kill()
    _, took = poll(lambda: all(gone(tenant) for tenant in tenants), "their tenants are gone", PROMPT)
    world.settled()
    return f"110 rounds after the death, then araxd {after['daemon']['pid']}; tenants gone after {took * 1000:.0f} ms"


def test_daemon_killed_client_killed(world):
    """A client that dies while there is no araxd: its tenant leaves, even from a kernel that never ends."""
    spinner = world.client("spin")
    spinner.line("spinning")
    tenant = world.tenant(spinner)
    kill_daemon(world)
    spinner.process.kill()
    _, took = poll(lambda: gone(tenant), "its tenant is gone", PROMPT)
    world.work()
    world.settled()
    return f"its tenant was gone after {took * 1000:.0f} ms"


def recovers(client, tenant):
    """Its tenant is killed: the kernel that runs fails, and the application goes on with another."""
    os.kill(tenant, signal.SIGKILL)
    started = time.monotonic()
    said = client.line("finish").split()
    took = time.monotonic() - started
    check(int(said[1]) < 0 and int(said[3]) < 0, f"{said}: no error")
    check(int(client.line("enqueue").split()[1]) == 0, "a command after it gave an error")
    check(client.line("notified").split()[1] == "1", "the context's pfn_notify was not called once")
    client.done()
    return f"{said[1]} after {took * 1000:.0f} ms"


def test_taken_over_tenant_killed(world):
    """A fault after a new araxd has come is recovered as usual."""
    client = world.client("spin")
    client.line("spinning")
    tenant = world.tenant(client)
    kill_daemon(world)
    next_daemon(world, client)
    said = recovers(client, tenant)
    world.settled()
    return said


def test_orphan_tenant_killed(world):
    """A fault while there is no araxd: the application starts one itself."""
    client = world.client("spin")
    client.line("spinning")
    tenant = world.tenant(client)
    kill_daemon(world)
    said = recovers(client, tenant)
    world.settled()
    return said


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_daemon_killed_often(world):
    """Twenty araxds, one after the other, and an application that runs all the time."""
    client, strays = world.client("loop", "60"), world.strays()
    client.line("round 5")
    tenant, counts = world.tenant(client), []
    for i in range(20):
        kill_daemon(world)
        if i % 2:
            client.line("round")
        next_daemon(world, client)
        check(world.tenant(client) == tenant, "the application has another tenant")
        if i in (1, 19):
            poll(lambda: world.status()["pool"]["ready"] >= 2, "the pool is full")
            counts.append((descriptors(tenant), descriptors(client.pid), len(world.processes())))
    check(counts[0][:2] == counts[1][:2], f"descriptors of tenant and client: {counts}")
    poll(lambda: len(world.processes()) <= counts[0][2], f"no more processes than {counts[0][2]}", 20)
    poll(lambda: world.strays(strays) == {tenant}, "the one tenant is all that is left of twenty", 20)
    world.client_stops(client)
    status = world.status()
    check(status["totals"]["clients"] >= 20, f"what has finished: {status['totals']}")
    world.settled()
    poll(lambda: not world.strays(strays), "nothing is left", PROMPT)
    sockets = os.listdir(world.socket + ".tenants")
    check(len(sockets) == len(world.settled()) - 3, f"sockets of tenants: {sockets}, processes {world.processes()}")
    return f"descriptors and processes {counts[0]} and {counts[1]}"


def test_daemon_killed_starting(world):
    """araxds that are killed while they start leave nothing behind, and the one that stays has all."""
    world.work()
    client, strays = world.client("loop", "70"), world.strays()
    client.line("round 5")
    tenant = world.tenant(client)
    kill_daemon(world)
    for i in range(12):
        process = subprocess.Popen([f"{world.bin}/araxd", "--socket", world.socket], env=world.environment(),
                                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        world.own.append(process)
        time.sleep(i * 0.004)  # not to wait for anything: the moment of the death is what is varied
        process.kill()
        process.wait()
    client.line("round")
    next_daemon(world, client)
    check(world.tenant(client) == tenant, "the application has another tenant")
    poll(lambda: world.strays(strays) == {tenant}, "the one tenant is all that is left of twelve", 20)
    world.client_stops(client)
    world.settled()
    poll(lambda: not world.strays(strays), "nothing is left", PROMPT)
    return "12 killed"


def test_taken_over_counts(world):
    """Limits count who was there before; `arax stop` waits for them, and one socket has one araxd."""
    config = os.path.join(world.directory, "arax.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write("[daemon]\nmax_clients_per_user = 2\n")
    daemon = world.daemon("--config", config)
    clients = [world.client("loop", str(seed)) for seed in (80, 90)]
    for client in clients:
        client.line("round 3")
    kill_daemon(world)
    daemon.wait()
    daemon = world.daemon("--config", config)
    poll(lambda: all(world.counted(client) for client in clients), "both are counted")
    refused = world.client("context")
    check(int(refused.line("context").split()[1]) < 0, "a third application was served")
    refused.end()
    second = subprocess.run([f"{world.bin}/araxd", "--socket", world.socket], env=world.environment(),
                            stdin=subprocess.DEVNULL, check=False, timeout=PATIENCE)
    check(second.returncode == 0 and daemon.poll() is None, f"a second araxd: {second.returncode}")
    world.client_stops(clients[0])
    subprocess.run([f"{world.bin}/arax", "stop"], env=world.environment(), stdout=subprocess.DEVNULL, check=True)
    clients[1].line("round")
    check(daemon.poll() is None, "araxd left before its last application")
    world.client_stops(clients[1])
    check(daemon.wait(PATIENCE) == 0, f"araxd: exit status {daemon.returncode}")
    poll(lambda: not world.processes(), "everything has ended")
    left = sorted(os.listdir(world.directory))
    check(left == ["arax.conf", "araxd.sock.lock"], f"left behind: {left}")
    return "two of two, and no third"


def test_taken_over_device(world):
    """On a device with a process of its own: the data comes home, and another process takes its place."""
    config = os.path.join(world.directory, "arax.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write("[device sim]\nbackend = sim\n")

    def device():
        done = subprocess.run([f"{world.bin}/arax", "devices", "--json"], env=world.environment(),
                              stdout=subprocess.PIPE, check=True, timeout=PATIENCE)
        sim = next(each for each in json.loads(done.stdout)["devices"] if each["name"] == "sim")
        return [each["pid"] for each in sim["processes"] if each["state"] == "ready"]

    def launches():
        entry = world.entry(client)
        return sum(each["commands"] for each in entry["devices"] if each["name"] == "sim") if entry else 0

    daemon = world.daemon("--config", config)
    client = world.client("loop", "100", ARAX_DEVICES="sim")
    client.line("round 2")
    tenant, old = world.tenant(client), device()
    kill_daemon(world)
    daemon.wait()
    client.line("round")
    daemon = world.daemon("--config", config)
    poll(lambda: device() not in ([], old), "the device has another process")
    poll(lambda: all(gone(pid) for pid in old), "the old process has ended")
    before = launches()
    client.line("round")
    poll(lambda: launches() > before, "the application uses the device")
    check(world.tenant(client) == tenant, "the application has another tenant")
    world.client_stops(client)
    world.settled()
    return f"process {old} and then {device()}"


def test_enumeration(world):
    """Asking for the device starts no tenant for whoever asks."""
    world.work()
    before = world.settled()
    client = world.client("enumerate")
    client.line("enumerated")
    status = world.status()
    check(not status["clients"] and not status["pool"]["attached"], f"enumeration attached: {status['clients']}")
    now = {pid: what for pid, what in world.processes().items() if pid != client.pid}
    check(now == before, f"enumeration changed the processes: {before} -> {now}")
    client.process.stdin.close()
    client.end()
    return "no process more"


def test_idle_exit(world):
    daemon = world.daemon("--foreground", "--idle-exit", "1")
    holder = world.client("loop", "3")
    holder.line("round 2")
    started = time.monotonic()
    while time.monotonic() - started < 1.5:  # longer than the idle time, but somebody is here
        holder.line("round")
        check(daemon.poll() is None, "araxd left while a client was there")
    holder.say("stop")
    holder.done()
    _, took = poll(lambda: daemon.poll() is not None, "araxd leaves when idle", 10)
    check(daemon.returncode == 0, f"araxd: exit status {daemon.returncode}")
    check(took > 0.5, f"araxd left after {took:.2f} s, not one")
    check(not os.path.exists(world.socket), "the socket is still there")
    poll(lambda: not world.processes(), "its children are gone")
    left = sorted(os.listdir(world.directory))
    check(left in ([], ["araxd.sock.lock"]), f"left behind: {left}")
    return f"left after {took:.1f} s"


def test_devices(world):
    """ARAX_DEVICES narrows what commands run on."""
    for device in ("cpu-basic", "cpu-pthread"):
        client = world.work(9, ARAX_DEVICES=device)
        entry, _ = poll(lambda c=client: world.entry(c, "finished"), "the client's statistics")
        used = {each["name"]: each["commands"] for each in entry["devices"]}
        check(used.get(device, 0) >= 10, f"{device} did not run the kernels: {used}")
        check(not any(count for name, count in used.items() if name != device), f"not only {device}: {used}")
    return "cpu-basic and cpu-pthread alone"


def test_wrong_settings(world):
    """A device or policy that is not there: clCreateContext fails, and nothing else happens."""
    world.work()
    before, daemon = world.settled(), world.status()["daemon"]["pid"]
    errors = {}
    for name in ("ARAX_DEVICES", "ARAX_POLICY"):
        client = world.client("context", **{name: "nonexistent"})
        _, error, handle = client.line("context", 5).split()
        client.end()
        check(int(error) < 0 and handle == "null", f"{name}=nonexistent: clCreateContext gave {error} {handle}")
        check(not client.errors, f"{name}=nonexistent: printed {client.errors!r}")
        errors[name] = error
        world.work(4)
        loud = world.client("context", **{name: "nonexistent", "ARAX_LOG": "1"})
        loud.line("context")
        loud.end()
        check("nonexistent" in loud.errors or name in loud.errors, f"{name}: ARAX_LOG=1 says {loud.errors!r}")
    world.settled(like=before)
    check(world.status()["daemon"]["pid"] == daemon, "it is another araxd")
    return f"clCreateContext gave {errors}"


def test_two_clients(world):
    clients = [world.client("loop", seed) for seed in ("1000", "2000")]
    for client in clients:
        client.line("round 20")
    tenants = [world.tenant(client) for client in clients]
    check(tenants[0] != tenants[1], f"both have tenant {tenants[0]}")
    for client in clients:
        client.say("stop")
    for client in clients:
        client.done()
    poll(lambda: all(gone(tenant) for tenant in tenants), "their tenants are gone", PROMPT)
    return "each with its tenant"


def test_many_clients(world):
    world.work()
    before = world.settled()
    scratch = len(os.listdir(world.scratch())) - world.status()["pool"]["extra"]
    pids = [world.work(seed).pid for seed in range(12)]
    after = world.settled(like=before)
    poll(lambda: len(os.listdir(world.scratch())) - world.status()["pool"]["extra"] == scratch,
         "no more scratch directories than before", 10)
    finished = {each["pid"]: each for each in world.status()["finished"]}
    check(all(finished.get(pid, {}).get("errors") == 0 for pid in pids), f"statistics: {finished}")
    return f"{len(after)} processes before and after"


TESTS = {name[5:]: function for name, function in globals().items() if name.startswith("test_")}


def run(name, options):
    world = World(options)
    try:
        said, failure = TESTS[name](world) or "", None
    except Failure as error:
        said, failure = "", str(error)
    finally:
        left = world.close()
    if left and not failure:
        failure = f"left behind after arax stop: {left}"
    print(f"not ok {name}: {failure}" if failure else f"ok {name}: {said}", flush=True)
    return not failure


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--helper", required=True, help="helper_lifecycle")
    parser.add_argument("--bin", required=True, help="directory of araxd and arax")
    parser.add_argument("tests", nargs="*", metavar="TEST", help=", ".join(TESTS))
    options = parser.parse_args()
    options.helper, options.bin = os.path.abspath(options.helper), os.path.abspath(options.bin)
    unknown = set(options.tests) - set(TESTS)
    if unknown:
        parser.error(f"no test {', '.join(sorted(unknown))}")
    return 0 if all([run(name, options) for name in options.tests or TESTS]) else 1


if __name__ == "__main__":
    # ctest ends this with SIGTERM at its time limit: leave through the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
