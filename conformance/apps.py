#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's own OpenCL programs, unmodified, on Arax: apps.py clinfo|clpeak|ffmpeg|enumeration

The loader's vendors (OCL_ICD_VENDORS) must be Arax alone; where a result is needed to compare with,
PoCL computes it in the same run. Programs get the library in ARAX_PRELOAD (sanitizer builds) by
LD_PRELOAD. Exit status: 0 passed, 1 failed, 77 a program or PoCL is not installed.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

POCL = "/etc/OpenCL/vendors/pocl.icd"
ARAX = os.environ.get("OCL_ICD_VENDORS", "")
# Follow the free memory or the clock of the moment.
DRIFTING = ("MEM_SIZE", "MEM_ALLOC", "CLOCK_FREQUENCY", "MAX_GLOBAL_VARIABLE", "TIMER", "IMAGE_MAX_BUFFER")


class Failure(Exception):
    pass


def check(condition, message, *outputs):
    if not condition:
        raise Failure("\n".join([message, *outputs]))


def need(*programs):
    for program in programs:
        if not os.path.exists(program) and not shutil.which(program):
            print(f"skip: {program} is not installed")
            sys.exit(77)


def start(command, seconds=120, vendors=None, arax=True, **environment):
    """Runs a program: its exit status, output, error output. None as a value unsets."""
    env = {**os.environ, "OCL_ICD_VENDORS": vendors or ARAX, "OCL_ICD_FILENAMES": "", **environment}
    env = {name: value for name, value in env.items() if value is not None}
    if arax and os.environ.get("ARAX_PRELOAD"):
        env["LD_PRELOAD"] = os.environ["ARAX_PRELOAD"]
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", timeout=seconds, check=False)
    except subprocess.TimeoutExpired as late:
        raise Failure(f"{command[0]} does not end within {seconds} s\n{late.stdout}") from None
    return done.returncode, done.stdout, done.stderr


def ok(command, **how):
    status, out, err = start(command, **how)
    check(status == 0, f"{' '.join(command)}: exit status {status}", out[-2000:], err[-2000:])
    return out


def raw(vendors, **how):
    """clinfo --raw: for each platform's suffix, property -> value."""
    found = {}
    for line in ok(["clinfo", "--raw"], vendors=vendors, **how).split("\n"):
        match = re.match(r"\[([^/]+)/([^\]]*)\]\s+(\S+)\s*(.*)", line)
        if match:
            found.setdefault(match[1], {})[match[2] + " " + match[3]] = match[4].strip()
    return found


def test_clinfo():
    need("clinfo")
    out = ok(["clinfo"])
    check("Platform Name                                   Arax" in out, "no platform Arax", out)
    check(re.search(r"^Number of platforms +1$", out, re.M), "not exactly one platform", out)
    check(re.search(r"^Number of devices +1$", out, re.M), "not exactly one device", out)
    # clinfo marks a query that failed with the error's name or number between angle brackets.
    wrong = [line for line in out.split("\n")
             if re.search(r"error|<.*(clGet|CL_INVALID|unknown)|invalid", line, re.I) and
             not re.search(r"Error Correction", line, re.I)]
    check(not wrong, "clinfo reports errors", *wrong)
    arax = raw(None).get("ARAX", {})
    for name, pattern in (("CL_DEVICE_TYPE", "CL_DEVICE_TYPE_GPU"), ("CL_DEVICE_AVAILABLE", "CL_TRUE"),
                          ("CL_DEVICE_VERSION", r"OpenCL 3\.0 .*"), ("CL_DEVICE_NAME", ".+"),
                          ("CL_DEVICE_MAX_COMPUTE_UNITS", "[1-9][0-9]*"),
                          ("CL_DEVICE_GLOBAL_MEM_SIZE", "[1-9][0-9]{7,}")):
        value = arax.get(f"0 {name}")
        check(value and re.fullmatch(pattern, value), f"{name} is {value}, not {pattern}")
        check("pocl" not in value.lower(), f"{name} names PoCL, which some programs refuse: {value}")
    print(f"{arax['0 CL_DEVICE_NAME']}: {len(arax)} properties, no error")


def test_clpeak():
    need("clpeak")
    out = ok(["clpeak", "--kernel-latency"])
    check("Platform: Arax" in out, "clpeak did not run on Arax", out)
    figure = re.search(r"Kernel launch latency : ([0-9.]+) us", out)
    check(figure and 0.01 < float(figure[1]) < 100000, "no plausible kernel latency", out)
    print(f"kernel latency {figure[1]} us")
    # The same by the events' profiling times. clpeak's other tests take minutes on a device that says
    # GPU: it gives such a device twelve times the work of a CPU.
    out = ok(["clpeak", "--kernel-latency", "--use-event-timer"])
    figure = re.search(r"Kernel launch latency : ([0-9.]+) us", out)
    check(figure and 0 <= float(figure[1]) < 100000, "no plausible latency by event times", out)
    print(f"kernel latency by events {figure[1]} us")


def test_ffmpeg():
    need("ffmpeg", POCL)
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "verbose", "-init_hw_device",
               "opencl=ocl:0.0", "-filter_hw_device", "ocl", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=5:d=1",
               "-vf", "format=yuv420p,hwupload,unsharp_opencl=lx=5:ly=5:la=1.5,avgblur_opencl=3,"
               "transpose_opencl=dir=clock,hwdownload,format=yuv420p", "-f", "framemd5", "-"]
    results = {}
    for side, vendors, platform in (("native", POCL, "Portable Computing Language"), ("Arax", None, "Arax")):
        status, out, err = start(command, vendors=vendors, arax=side == "Arax")
        frames = [line for line in out.split("\n") if line and not line.startswith("#")]
        if side == "native" and status != 0:
            print("skip: this ffmpeg has no OpenCL filters that run on PoCL\n" + err[-2000:])
            sys.exit(77)
        check(status == 0, f"{side}: exit status {status}", err[-3000:])
        check(f"{platform} / " in err or f": {platform}" in err, f"{side}: not on {platform}", err[-3000:])
        check(len(frames) == 5, f"{side}: {len(frames)} frames, not 5", out, err[-3000:])
        results[side] = frames
    check(results["Arax"] == results["native"], "the frames differ", *results["native"], *results["Arax"])
    print("5 frames equal native PoCL's")


def same_pocl(before, now, where):
    before, now = ({name: value for name, value in each.get("POCL", {}).items()
                    if not any(word in name for word in DRIFTING)} for each in (before, now))
    check(before, "PoCL has no properties")
    check(before == now, f"PoCL is not what it is alone: {where}",
          *(f"{name}: {before.get(name)} -> {now.get(name)}" for name in sorted({**before, **now})
            if before.get(name) != now.get(name)))


def platforms(vendors, **how):
    out = ok(["clinfo", "-l"], vendors=vendors, **how)
    return re.findall(r"^Platform #\d+: (.*)$", out, re.M)


def several_vendors(directory):
    """Arax beside PoCL, before and after it, and beside a vendor that does not exist."""
    icd = glob.glob(f"{ARAX}/*.icd") if os.path.isdir(ARAX) else [ARAX]
    check(len(icd) == 1, f"OCL_ICD_VENDORS={ARAX} is not Arax alone")
    alone = raw(POCL)
    for name in ("a-arax.icd", "z-arax.icd"):
        vendors = os.path.join(directory, name.replace(".icd", ""))
        os.mkdir(vendors)
        shutil.copy(icd[0], os.path.join(vendors, name))
        shutil.copy(POCL, vendors)
        with open(f"{vendors}/missing.icd", "w", encoding="ascii") as file:
            file.write("/nonexistent/libOpenCL-missing.so\n")
        listed = platforms(vendors)
        check(sorted(listed) == ["Arax", "Portable Computing Language"], f"{name}: listed are {listed}")
        same_pocl(alone, raw(vendors), name)
    print("beside PoCL: both listed, PoCL unchanged")
    return vendors, alone


def without_daemon(vendors, alone, what, environment):
    status, out, err = start(["clinfo", "-l"], ARAX_LOG=None, **environment)
    check("Arax" not in out and "rror" not in out, f"{what}: a platform without a daemon", out)
    check(not out.strip() and not err.strip(), f"{what}: not silent without ARAX_LOG", out, err)
    check(status in (0, 1), f"{what}: exit status {status}")
    started = time.monotonic()
    status, out, err = start(["clinfo", "-l"], **{**environment, "ARAX_LOG": "1"})
    seconds = time.monotonic() - started
    said = [line for line in (out + err).split("\n") if line.strip()]
    check(seconds < (5 if os.environ.get("ARAX_PRELOAD") else 1), f"{what}: {seconds:.2f} s to say no")
    check(len(said) == 1 and said[0].startswith("arax"), f"{what}: not one line with ARAX_LOG=1", *said)
    listed = platforms(vendors, ARAX_LOG=None, **environment)
    check(listed == ["Portable Computing Language"], f"{what}: beside PoCL listed are {listed}")
    same_pocl(alone, raw(vendors, ARAX_LOG=None, **environment), what)
    print(f"{what}: no platform, PoCL unchanged, {seconds * 1000:.0f} ms: {said[0]}")


def test_enumeration():
    need("clinfo", POCL)
    failed = []
    with tempfile.TemporaryDirectory(prefix="arax-enumeration-") as directory:
        vendors, alone = several_vendors(directory)
        locked = os.path.join(directory, "locked")
        os.mkdir(locked, 0o500)
        here = {"ARAX_SOCKET": os.path.join(directory, "araxd.sock")}
        cases = [("socket in an unwritable directory", {"ARAX_SOCKET": "/proc/araxd.sock"}),
                 ("socket below a file", {"ARAX_SOCKET": "/dev/null/araxd.sock"}),
                 ("socket's path too long", {"ARAX_SOCKET": f"{directory}/{'x' * 200}"}),
                 ("no daemon's program", {**here, "ARAX_DAEMON": "/nonexistent"}),
                 ("a daemon that fails", {**here, "ARAX_DAEMON": "/bin/false"})]
        if os.geteuid() != 0:
            cases.append(("socket in a read-only directory", {"ARAX_SOCKET": f"{locked}/araxd.sock"}))
        for what, environment in cases:
            try:
                without_daemon(vendors, alone, what, environment)
            except Failure as failure:
                failed.append(str(failure))
    check(not failed, "\n".join(failed))


TESTS = {"clinfo": test_clinfo, "clpeak": test_clpeak, "ffmpeg": test_ffmpeg, "enumeration": test_enumeration}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in TESTS:
        print(f"usage: apps.py {'|'.join(TESTS)}", file=sys.stderr)
        return 2
    if not ARAX:
        print("OCL_ICD_VENDORS must name Arax", file=sys.stderr)
        return 2
    try:
        TESTS[sys.argv[1]]()
    except Failure as failure:
        print(f"FAILED {sys.argv[1]}: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
