# SPDX-License-Identifier: Apache-2.0
"""clpeak: a kernel's latency, by the clock and by its event."""

import re

from harness import check, need, ok


def test_clpeak():
    need("clpeak")
    out = ok(["clpeak", "--kernel-latency"]).out
    check("Platform: Arax" in out, "clpeak did not run on Arax", out)
    figure = re.search(r"Kernel launch latency : ([0-9.]+) us", out)
    check(figure and 0.01 < float(figure[1]) < 100000, "no plausible kernel latency", out)
    print(f"kernel latency {figure[1]} us")
    # The same by the events' profiling times. clpeak's other tests take minutes on a device that says
    # GPU: it gives such a device twelve times the work of a CPU.
    out = ok(["clpeak", "--kernel-latency", "--use-event-timer"]).out
    figure = re.search(r"Kernel launch latency : ([0-9.]+) us", out)
    check(figure and 0 <= float(figure[1]) < 100000, "no plausible latency by event times", out)
    print(f"kernel latency by events {figure[1]} us")
