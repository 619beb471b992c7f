#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the models of the ring and of the wake-ups (model_*.pml) with spin: every interleaving, with
stores that leave in nearly any order, which includes that of the program (x86's). Then each mistake that the
code could have made, made in the model: spin must find it, or the model proves nothing; on x86 too unless it
is said otherwise.
"""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
WAKING = [
    "NO_FENCE_OF_WAKER",
    "CLEARS_WITHOUT_COUNTING",
    "CLEARS_AND_LEAVES",
    "WAKES_THEN_CLEARS",
    "FUTEX_DOES_NOT_COMPARE",
    "WAKES_ONE",
]
BUGS = {
    "wake": WAKING + ["LOOKS_THEN_ANNOUNCES", "RINGS_THEN_PUBLISHES"],
    "ring": [
        "NO_FENCE_OF_WAKER",
        "FUTEX_DOES_NOT_COMPARE",
        "INDEX_THEN_DATA",
        "INDEX_NOT_RELEASED",
        "DATA_THEN_INDEX",
        "FREES_THEN_COPIES",
        "ROOM_FOR_ONE_MORE",
    ],
    "slot": [
        "NO_FENCE_OF_WAKER",
        "FUTEX_DOES_NOT_COMPARE",
        "TAKES_SILENTLY",
        "FLAG_AFTER_LOOK",
        "FLAG_READ_BEFORE_FENCE",
        "SLOT_CLEARED_AFTER_SENDING",
        "INDEX_THEN_STATUS",
        "RESTS_OWING",
    ],
}
# Harmless where stores do not overtake one another.
NOT_ON_X86 = {"INDEX_NOT_RELEASED"}


def check(model, folder, defines):
    """Return: how many states there are (where all were visited), and what is wrong with one or None."""
    source = folder / f"{model}.pml"
    shutil.copy(HERE / "model_memory.pml", folder)
    shutil.copy(HERE / f"model_{model}.pml", source)
    subprocess.run(
        ["spin", *(f"-D{name}" for name in defines), "-a", source.name],
        cwd=folder, check=True, stdout=subprocess.DEVNULL,
    )
    options = ["-O1", "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=3000", "-DVECTORSZ=512"]
    subprocess.run(["cc", *options, "-o", "pan", "pan.c"], cwd=folder, check=True)
    out = subprocess.run(["./pan", "-m100000"], cwd=folder, capture_output=True, text=True).stdout
    wrong = re.search(r"^pan:1: (.*) \(at depth", out, re.M)
    if wrong:
        return 0, wrong[1]
    states = re.search(r"errors: 0\n\s*(\d+) states, stored", out)
    if not states or "not completed" in out or "too small" in out:
        sys.exit(f"{model} {defines}: the search did not end\n{out}")
    return int(states[1]), None


def main():
    if not shutil.which("spin") or not shutil.which("cc"):
        print("spin or a C compiler is not installed")
        return 77
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        for model, bugs in BUGS.items():
            states, wrong = check(model, Path(name), [])
            print(f"{model}: {wrong or f'{states} states, nothing wrong'}", flush=True)
            bad += bool(wrong)
            for bug in bugs:
                memory = [] if bug in NOT_ON_X86 else ["TSO"]
                wrong = check(model, Path(name), [*memory, f"BUG_{bug}"])[1]
                print(f"  {bug.lower().replace('_', ' ')}: {wrong or 'NOT FOUND'}", flush=True)
                bad += not wrong
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
