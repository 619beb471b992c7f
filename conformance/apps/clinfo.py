# SPDX-License-Identifier: Apache-2.0
"""clinfo: what Arax says about itself, without an error; and beside other vendors' platforms."""

import glob
import os
import re
import shutil
import tempfile
import time

from harness import ARAX, POCL, Failure, check, need, ok, start

# Follow the free memory or the clock of the moment.
DRIFTING = ("MEM_SIZE", "MEM_ALLOC", "CLOCK_FREQUENCY", "MAX_GLOBAL_VARIABLE", "TIMER", "IMAGE_MAX_BUFFER")


def raw(vendors, **how):
    """clinfo --raw: for each platform's suffix, property -> value."""
    found = {}
    for line in ok(["clinfo", "--raw"], vendors=vendors, **how).out.split("\n"):
        match = re.match(r"\[([^/]+)/([^\]]*)\]\s+(\S+)\s*(.*)", line)
        if match:
            found.setdefault(match[1], {})[match[2] + " " + match[3]] = match[4].strip()
    return found


def test_clinfo():
    need("clinfo")
    out = ok(["clinfo"]).out
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


def same_pocl(before, now, where):
    before, now = ({name: value for name, value in each.get("POCL", {}).items()
                    if not any(word in name for word in DRIFTING)} for each in (before, now))
    check(before, "PoCL has no properties")
    check(before == now, f"PoCL is not what it is alone: {where}",
          *(f"{name}: {before.get(name)} -> {now.get(name)}" for name in sorted({**before, **now})
            if before.get(name) != now.get(name)))


def platforms(vendors, **how):
    out = ok(["clinfo", "-l"], vendors=vendors, **how).out
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
    run = start(["clinfo", "-l"], ARAX_LOG=None, **environment)
    out, err = run.out, run.err
    check("Arax" not in out and "rror" not in out, f"{what}: a platform without a daemon", out)
    check(not out.strip() and not err.strip(), f"{what}: not silent without ARAX_LOG", out, err)
    check(run.status in (0, 1), f"{what}: exit status {run.status}")
    started = time.monotonic()
    run = start(["clinfo", "-l"], **{**environment, "ARAX_LOG": "1"})
    seconds = time.monotonic() - started
    said = [line for line in (run.out + run.err).split("\n") if line.strip()]
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
