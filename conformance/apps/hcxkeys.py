# SPDX-License-Identifier: Apache-2.0
"""hcxkeys: wlangenpmkocl's keys are PBKDF2 of the words."""

import hashlib
import os
import tempfile

from harness import POCL, both, check, check_launched, need

ESSID = "arax-test"


def test_hcxkeys():
    need("wlangenpmkocl", POCL)
    words = [f"password{i:04d}" for i in range(200)]
    expected = [hashlib.pbkdf2_hmac("sha1", word.encode(), ESSID.encode(), 4096, 32).hex() for word in words]
    with tempfile.TemporaryDirectory(prefix="arax-hcxkeys-") as directory:
        path = os.path.join(directory, "words")
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(words) + "\n")
        native, arax = both(["wlangenpmkocl", "-P", "0", "-D", "0", "-e", ESSID, "-i", path])
    for side, run in (("native", native), ("Arax", arax)):
        keys = [line for line in run.out.split() if len(line) == 64]
        check(keys == expected, f"{side}: {sum(map(str.__eq__, keys, expected))} of {len(words)} keys are right",
              run.out[:2000], run.err[-2000:])
    print(f"{len(words)} keys equal PBKDF2-SHA1; {check_launched(arax)} launches on Arax")
