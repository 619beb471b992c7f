# SPDX-License-Identifier: Apache-2.0
"""hashcat: its kernels are compiled and linked from the files that they include, and find known words."""

import hashlib
import os
import tempfile
import zlib

from harness import POCL, check, check_launched, need, ok

WORDS = [f"password{i:04d}" for i in range(2000)]
OPTIONS = ("--force", "-D", "1,2", "--backend-ignore-cuda", "--backend-ignore-hip", "--potfile-disable",
           "--self-test-disable", "--quiet")
# What hashcat is asked, and what it prints.
ATTACKS = {
    "MD5, words": (("-m", "0", "-a", "0", "-O", "{hashes}", "{words}"),
                   [f"{hashlib.md5(word.encode()).hexdigest()}" for word in (WORDS[77], WORDS[1234])],
                   [WORDS[77], WORDS[1234]]),
    "CRC32, mask": (("-m", "11500", "-a", "3", "{hashes}", "?d?d?d?d"),
                    [f"{zlib.crc32(b'4711'):08x}:00000000"], ["4711"]),
}


def crack(directory, what, native):
    options, hashes, _ = ATTACKS[what]
    # An empty cache each: every kernel is compiled here and now.
    home = tempfile.mkdtemp(dir=directory)
    files = {"hashes": hashes, "words": WORDS}
    for name, lines in files.items():
        files[name] = os.path.join(home, name)
        with open(files[name], "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
    command = ["hashcat", *(each.format(**files) for each in options), *OPTIONS]
    return ok(command, native=native, seconds=1500, HOME=home, XDG_DATA_HOME=f"{home}/data",
              XDG_CACHE_HOME=f"{home}/cache")


def test_hashcat():
    need("hashcat", POCL)
    with tempfile.TemporaryDirectory(prefix="arax-hashcat-") as directory:
        for what, (_, hashes, words) in ATTACKS.items():
            expected = sorted(f"{each}:{word}" for each, word in zip(hashes, words))
            for side, native in (("native", True), ("Arax", False)):
                run = crack(directory, what, native)
                check(sorted(run.out.split()) == expected, f"{what}: {side} found {run.out!r}", run.err[-2000:])
            print(f"{what}: found natively and on Arax, {check_launched(run)} launches on Arax", flush=True)
