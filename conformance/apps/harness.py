# SPDX-License-Identifier: Apache-2.0
"""How an application is run on native PoCL and on Arax, and what araxd says it did there."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

POCL = "/etc/OpenCL/vendors/pocl.icd"
ARAX = os.environ.get("OCL_ICD_VENDORS", "")
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's modules
HERE = os.path.dirname(os.path.abspath(__file__))


class Failure(Exception):
    pass


class Skip(Exception):
    pass


class Run:
    """A program that ended: its process id, exit status, output, error output."""

    def __init__(self, command, pid, status, out, err):
        self.command, self.pid, self.status, self.out, self.err = " ".join(command), pid, status, out, err


def check(condition, message, *outputs):
    if not condition:
        raise Failure("\n".join([message, *outputs]))


def need(*things):
    """Programs, files, and modules of Debian's Python as "python3: module"."""
    for thing in things:
        if thing.startswith("python3: "):
            done = subprocess.run([PYTHON, "-c", f"import {thing[9:]}"], capture_output=True, check=False)
            there = done.returncode == 0
        else:
            there = os.path.exists(thing) or shutil.which(thing)
        if not there:
            raise Skip(f"{thing} is not installed")


def start(command, seconds=120, native=False, vendors=None, preload="", **environment):
    """Runs a program, on Arax if not native. None as an environment's value unsets; preload is what
    the program needs to be there before a sanitizer's library is of use."""
    env = {**os.environ, "OCL_ICD_VENDORS": vendors or (POCL if native else ARAX), "OCL_ICD_FILENAMES": "",
           **environment}
    env = {name: value for name, value in env.items() if value is not None}
    if not native and os.environ.get("ARAX_PRELOAD"):
        env["LD_PRELOAD"] = f"{os.environ['ARAX_PRELOAD']} {preload}".strip()
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} does not end within {seconds} s") from None
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return Run(command, process.pid, process.returncode, out, err)


def ok(command, statuses=(0,), **how):
    run = start(command, **how)
    check(run.status in statuses, f"{run.command}: exit status {run.status}", run.out[-3000:], run.err[-3000:])
    return run


def both(command, **how):
    """On native PoCL, then on Arax."""
    return ok(command, native=True, **how), ok(command, **how)


def arax_program():
    """The arax of the build or installation whose library the loader loads, or the one in PATH."""
    vendors = pathlib.Path(ARAX)
    for icd in sorted(vendors.glob("*.icd")) if vendors.is_dir() else [vendors]:
        beside = pathlib.Path(icd.read_text(encoding="utf-8").strip()).parent.parent / "bin" / "arax"
        if beside.exists():
            return str(beside)
    return shutil.which("arax") or "arax"


def launches(run, seconds=20):
    """The proof that a program used Arax: kernel -> launches, as araxd counted them for its process.
    They become final a moment after the process has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done = subprocess.run([arax_program(), "status", "--json"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, check=False, timeout=60)
        check(done.returncode == 0, "arax status fails")
        for client in json.loads(done.stdout)["finished"]:
            if client["pid"] == run.pid:
                counts = {}
                for kernel in client["kernel_times"]:
                    counts[kernel["name"]] = counts.get(kernel["name"], 0) + kernel["launches"]
                return counts
        time.sleep(0.02)
    raise Failure(f"{run.command}: araxd does not know it: it did not run on Arax")


def check_launched(run, *kernels):
    """Each kernel (a regular expression) was launched on Arax by this program: how many in all."""
    counts = launches(run)
    for kernel in kernels:
        check(any(re.fullmatch(kernel, name) for name in counts), f"{run.command}: no kernel {kernel} on Arax, "
              f"only {sorted(counts)}")
    check(sum(counts.values()) > 0, f"{run.command}: no kernel was launched on Arax")
    return sum(counts.values())
