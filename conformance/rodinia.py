#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rodinia's OpenCL applications on Arax, compared with native PoCL run by run.

rodinia.py --preload LIBRARY SUITE     SUITE has opencl/ with built binaries, and data/

First every application runs once on each side with a preload (preload_readback.c) that notes every
buffer it reads back; these and the files that it writes must be the same to the last bit. What an
application computes from uninitialised memory, natively too, cannot be: such exceptions stand with
their reasons in APPLICATIONS. Then both sides run --rounds times in turn, without notes, and the
medians of their wall times are printed with their ratio. The first run has filled the caches of
compiled programs of both.

An application runs in a fresh copy of its folder each time, so SUITE stays as it was. Where the
clock seeds random numbers it answers a constant, and leukocyte's request for a GPU, which native PoCL
cannot fulfil, gets the CPU there.

Exit status: 0 all the same, 1 something differs or fails, 2 cannot run, 77 no SUITE or no PoCL.
"""

import argparse
import array
import hashlib
import math
import os
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

DATA = "../../data"
SIDES = ("native", "arax")
OUTPUT_KEPT = 2000


@dataclass
class Near:
    """How close an application's results must be where they cannot be the same.

    Numbers of `kind` ('f' or 'd') in the first `reads` read-backs differ by at most `relative`, but
    for the places in `unstable`; of the rest the sizes are compared, or nothing if `rest_varies`.
    Numbers in `files` differ by at most `absolute`; other files are free.
    """
    why: str
    kind: str
    reads: int
    relative: float
    unstable: tuple = ()
    rest_varies: bool = False
    files: tuple = ()
    absolute: float = 0.0


@dataclass
class Application:
    name: str
    folder: str  # below opencl/
    command: str
    environment: dict = field(default_factory=dict)  # always
    checking: dict = field(default_factory=dict)  # in the run that is compared, not in timed ones
    native: dict = field(default_factory=dict)  # only natively
    ignored: tuple = ()  # files that it writes and that are no results
    near: Near = None


# Without it the memory that they read uninitialised depends on what the process did before.
ZEROED = {"MALLOC_PERTURB_": "255"}
SEEDED = {"READBACK_TIME": "1700000000"}
PARTICLES = "particlefilter"


def particle_filter(precision, kind):
    why = ("normalize_weights_kernel races: one work-group sums weights that another has not "
           "normalised yet, so after the first frame runs differ natively, too")
    return Application(
        f"pf_{precision}", PARTICLES, f"./OCL_particlefilter_{precision}.out -x 128 -y 128 -z 10 -np 1024",
        near=Near(why, kind, reads=3, relative=1e-5, files=("output.txt",), absolute=5.0))


APPLICATIONS = (
    Application("b+tree", "b+tree",
                f"./b+tree.out file {DATA}/b+tree/mil.txt command {DATA}/b+tree/command.txt"),
    Application("backprop", "backprop", "./backprop.out -n 65536"),
    Application("bfs", "bfs", f"./bfs.out {DATA}/bfs/graph65536.txt"),
    Application("cfd", "cfd", f"./euler3d.out {DATA}/cfd/grid.1.5K"),
    Application("dwt2d", "dwt2d", f"./dwt2d.out 192.bmp -i {DATA}/dwt2d -D 192x192 -f -5 -l 3"),
    Application("gaussian", "gaussian", "./gaussian.out -s 256 -q"),
    Application("heartwall", "heartwall",
                f"./heartwall.out -f {DATA}/heartwall/test.avi -i {DATA}/heartwall/input.txt -n 3", ZEROED),
    Application("hotspot", "hotspot",
                f"./hotspot.out 512 2 2 {DATA}/hotspot/temp_512 {DATA}/hotspot/power_512 output.txt"),
    Application("hotspot3D", "hotspot3D", f"./hotspot3D.out -n 64 -l 8 -i 100 "
                f"-f {DATA}/hotspot3D/power_64x8 {DATA}/hotspot3D/temp_64x8 output.txt"),
    # Both files hold a million numbers of an input that has half as many: memory behind it.
    Application("hybridsort", "hybridsort", f"./hybridsort.out {DATA}/hybridsort/500000.txt",
                ignored=("hybridinput.txt", "hybridoutput.txt")),
    Application("kmeans", "kmeans", f"./kmeans.out -o -i {DATA}/kmeans/20480.txt"),
    Application("lavaMD", "lavaMD", "./lavaMD.out -boxes1d 6", SEEDED),
    Application("leukocyte", "leukocyte/OpenCL", f"./leukocyte.out ../{DATA}/leukocyte/testfile.avi 1",
                native={"READBACK_GPU": "1"}),
    Application("lud", "lud", f"./ocl/lud.out -i {DATA}/lud/256.dat", SEEDED),
    Application("myocyte", "myocyte", f"./myocyte.out -time 10 -r {DATA}/myocyte", near=Near(
        "the host steers its solver by a buffer that the kernel never writes",
        "f", reads=1, relative=1e-5, unstable=(0, 1, 2), rest_varies=True)),
    Application("nn", "nn", f"./nn.out filelist.txt -r 5 -lat 30 -lng 90 -f {DATA} -p 0 -d 0"),
    Application("nw", "nw", "./nw.out 1024 10 ./nw.cl"),
    Application("pf_naive", PARTICLES, "./OCL_particlefilter_naive.out -x 128 -y 128 -z 10 -np 1024", SEEDED),
    particle_filter("single", "f"),
    particle_filter("double", "d"),
    # What it writes for debugging depends on the size of its groups, which it takes as large as it may.
    Application("pathfinder", "pathfinder", "./pathfinder.out -c 10000 -r 100 -h 20",
                checking={"READBACK_GROUP": "1024"}),
    Application("srad", "srad", "./srad.out -n 10 -l 1 -s 502 458"),
    Application("streamcluster", "streamcluster",
                "./streamcluster.out 10 20 64 4096 4096 1000 none output.txt 1 -p 0 -d 0", ZEROED,
                ignored=("PD_OCL.txt",)),  # times
)


class Failure(Exception):
    pass


@dataclass
class Run:
    seconds: float
    reads: list = field(default_factory=list)  # lines of the preload
    values: bytes = b""  # what was read back, if it was kept
    files: dict = field(default_factory=dict)  # name -> content


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("suite", nargs="?", default=os.environ.get("ARAX_RODINIA"), metavar="SUITE",
                        help="directory with opencl/ (binaries beside their kernels) and data/ "
                        "(default: $ARAX_RODINIA)")
    parser.add_argument("--preload", required=True, help="the library made of preload_readback.c")
    parser.add_argument("--vendors-native", default="/etc/OpenCL/vendors/pocl.icd",
                        help="directory or .icd file with PoCL alone (default: %(default)s)")
    parser.add_argument("--vendors-arax", default=os.environ.get("OCL_ICD_VENDORS"),
                        help="directory or .icd file with Arax alone (default: $OCL_ICD_VENDORS)")
    parser.add_argument("--rounds", type=int, default=3, help="timed runs per side (default: 3; 0: none)")
    parser.add_argument("--filter", default="", metavar="REGEX", help="only applications whose name matches")
    parser.add_argument("--timeout", type=float, default=180, help="seconds per run (default: 180)")
    options = parser.parse_args()
    if not options.vendors_arax:
        parser.error("--vendors-arax or OCL_ICD_VENDORS is needed")
    options.preload = os.path.abspath(options.preload)
    if not os.path.exists(options.preload):
        parser.error(f"{options.preload} does not exist")
    return options


def environment_for(application, side, options, noted):
    """noted: the directory for notes, None in a timed run."""
    # A sanitizer's library comes first, if there is one.
    libraries = [os.environ.get("ARAX_PRELOAD") if side == "arax" else None, options.preload]
    vendors = options.vendors_arax if side == "arax" else options.vendors_native
    environment = {**os.environ, **application.environment, "OCL_ICD_VENDORS": vendors,
                   "OCL_ICD_FILENAMES": "", "LD_PRELOAD": " ".join(filter(None, libraries))}
    environment.pop("POCL_DEVICES", None)
    if side == "native":
        environment.update(application.native)
    if noted:
        environment.update(application.checking, READBACK_LOG=f"{noted}/log")
        if application.near:
            environment["READBACK_DATA"] = f"{noted}/data"
    return environment


def fresh_copy(application, options):
    """The application's folder in the scratch directory: always the same path, for the caches."""
    top = application.folder.split("/", maxsplit=1)[0]
    copy = f"{options.scratch}/opencl/{top}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(f"{options.suite}/opencl/{top}", copy, ignore=shutil.ignore_patterns("*.o"))
    return f"{options.scratch}/opencl/{application.folder}"


def stamps(folder):
    """What changes when a file is written, for every file below."""
    found = {}
    for directory, _, names in os.walk(folder):
        for path in (os.path.join(directory, name) for name in names):
            status = os.stat(path)
            found[os.path.relpath(path, folder)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def execute(command, folder, environment, timeout):
    """Seconds that a successful run takes."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment, cwd=folder, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            # Popen.wait(timeout) would look only every 50 ms.
            ended = os.pidfd_open(process.pid)
            ready, _, _ = select.select([ended], [], [], timeout)
            seconds = time.perf_counter() - started
            os.close(ended)
            status = process.wait() if ready else f"none within {timeout:g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if status != 0:
            output.seek(0)
            said = output.read().decode(errors="replace")[-OUTPUT_KEPT:]
            raise Failure(f"exit status {status}\n{said}".rstrip())
    return seconds


def run(application, side, options, noted=None):
    folder = fresh_copy(application, options)
    before = stamps(folder)
    try:
        result = Run(execute(application.command.split(), folder,
                             environment_for(application, side, options, noted), options.timeout))
    except (Failure, OSError) as failure:
        raise Failure(f"{side}: {failure}") from None
    if noted:
        for name, stamp in stamps(folder).items():
            if stamp != before.get(name) and name not in application.ignored:
                with open(f"{folder}/{name}", "rb") as file:
                    result.files[name] = file.read()
        with open(f"{noted}/log", encoding="ascii") as file:
            result.reads = file.read().splitlines()
        if application.near:
            with open(f"{noted}/data", "rb") as file:
                result.values = file.read()
    return result


# ---- comparing -----------------------------------------------------------------------------------


def sizes(reads):
    return [int(line.split()[1]) for line in reads]


def digest(content):
    return hashlib.sha256(content).hexdigest()[:16]


def compare_exactly(native, arax):
    """What differs, as lines."""
    wrong = []
    if len(native.reads) != len(arax.reads):
        wrong.append(f"{len(native.reads)} read-backs natively, {len(arax.reads)} on Arax")
    for number, (line, other) in enumerate(zip(native.reads, arax.reads)):
        if line != other:
            wrong.append(f"read-back {number}: native {line}, Arax {other}")
    for name in sorted({**native.files, **arax.files}):
        if native.files.get(name) != arax.files.get(name):
            wrong.append(f"{name}: " + ", ".join(
                f"{side} {digest(each.files[name]) if name in each.files else 'not written'}"
                for side, each in zip(SIDES, (native, arax))))
    return wrong


def close(value, other, relative=0.0, absolute=0.0):
    if math.isnan(value) or math.isnan(other):
        return math.isnan(value) and math.isnan(other)
    return value == other or math.isclose(value, other, rel_tol=relative, abs_tol=absolute)


def numbers_of(text):
    found = []
    for word in text.decode(errors="replace").split():
        try:
            found.append(float(word))
        except ValueError:
            continue
    return found


def compare_nearly(native, arax, near):
    wrong = []
    pairs = [sizes(each.reads)[:near.reads if near.rest_varies else None] for each in (native, arax)]
    if pairs[0] != pairs[1] or len(pairs[0]) < near.reads:
        return [f"sizes read back: native {pairs[0]}, Arax {pairs[1]}"]
    values = [array.array(near.kind, each.values[:sum(pairs[0][:near.reads])]) for each in (native, arax)]
    for place, (value, other) in enumerate(zip(*values)):
        if place not in near.unstable and not close(value, other, relative=near.relative):
            wrong.append(f"value {place} read back: native {value:g}, Arax {other:g}")
    for name in near.files:
        found = [numbers_of(each.files.get(name, b"")) for each in (native, arax)]
        if not found[0] or len(found[0]) != len(found[1]) or not all(
                close(value, other, absolute=near.absolute) for value, other in zip(*found)):
            wrong.append(f"{name}: native {found[0]}, Arax {found[1]}")
    return wrong


def check(application, options):
    """One run on each side: what was compared, or Failure."""
    runs = []
    for side in SIDES:
        with tempfile.TemporaryDirectory(prefix=f"{side}-", dir=options.scratch) as noted:
            runs.append(run(application, side, options, noted))
    native, arax = runs
    for side, each in zip(SIDES, runs):
        if not each.reads or any(line.startswith("unseen") for line in each.reads):
            raise Failure(f"{side}: no read-backs, or ones whose content is not known when they return")
    wrong = compare_exactly(native, arax)
    if wrong and application.near:
        wrong = compare_nearly(native, arax, application.near)
        verdict = "near"
    else:
        verdict = "yes"
    if wrong:
        more = [f"... and {len(wrong) - 8} more"] if len(wrong) > 8 else []
        raise Failure("\n".join(wrong[:8] + more))
    megabytes = sum(sizes(native.reads)) / 2**20
    return [verdict, f"{len(native.reads)}", f"{megabytes:.2f}", f"{len(native.files)}"]


# ---- the table -----------------------------------------------------------------------------------

HEAD = ("application", "identical", "reads", "   MiB", "files", "native s", "Arax s", "ratio")


def row(cells):
    widths = (max(len(each.name) for each in APPLICATIONS), *map(len, HEAD[1:]))
    cells = [*cells, *[""] * (len(HEAD) - len(cells))]
    texts = [cells[0].ljust(widths[0]), cells[1].ljust(widths[1])]
    texts += [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:])]
    print("| " + " | ".join(texts) + " |", flush=True)


def measure(application, options):
    """Medians natively and on Arax, and the median of the ratios of runs that followed each other."""
    seconds = {side: [] for side in SIDES}
    for number in range(options.rounds):
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            seconds[side].append(run(application, side, options).seconds)
    ratio = statistics.median(arax / native for native, arax in zip(*seconds.values()))
    return *map(statistics.median, seconds.values()), ratio


def treat(application, options):
    """Prints the application's row: (its name, its ratio or None, what is wrong or None)."""
    cells, ratio = [application.name], None
    try:
        cells += check(application, options)
        if options.rounds > 0:
            native, arax, ratio = measure(application, options)
            cells += [f"{native:.3f}", f"{arax:.3f}", f"{ratio:.2f}"]
    except Failure as failure:
        row([application.name, "NO"])
        return application.name, None, str(failure)
    row(cells)
    return application.name, ratio, None


def report(applications, results):
    """What follows the table. Return: the number of applications that failed."""
    ratios = {name: ratio for name, ratio, _ in results if ratio}
    if ratios:
        mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
        row(["geometric mean", "", "", "", "", "", "", f"{mean:.2f}"])
        slow = [f"{name} {ratio:.2f}" for name, ratio in ratios.items() if ratio > 1.10]
        print(f"\nabove 1.10: {', '.join(slow) or 'none'}")
    for application in applications:
        if application.near:
            print(f"{application.name} need only be near: {application.near.why}")
    failed = [(name, wrong) for name, _, wrong in results if wrong]
    for name, wrong in failed:
        print(f"\nFAILED {name}: " + wrong.replace("\n", "\n    "))
    print(f"\n{len(results) - len(failed)} of {len(results)} applications as natively")
    return len(failed)


def main():
    options = arguments()
    if not options.suite or not os.path.isdir(f"{options.suite}/opencl"):
        print("skip: no folder with built Rodinia applications (SUITE or ARAX_RODINIA)")
        return 77
    if not os.path.exists(options.vendors_native):
        print(f"skip: {options.vendors_native} does not exist: nothing to compare with")
        return 77
    options.suite = os.path.abspath(options.suite)
    applications = [each for each in APPLICATIONS if re.search(options.filter, each.name)]
    if not applications:
        print(f"no application matches {options.filter}")
        return 2
    with tempfile.TemporaryDirectory(prefix="arax-rodinia-") as options.scratch:
        os.mkdir(f"{options.scratch}/opencl")
        os.symlink(f"{options.suite}/data", f"{options.scratch}/data")
        row(HEAD)
        row(["---", *["--:"] * (len(HEAD) - 1)])
        results = [treat(each, options) for each in applications]
    return 1 if report(applications, results) else 0


if __name__ == "__main__":
    # ctest ends this with SIGTERM at its time limit: leave through the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
