"""Processor cores that this process may use: what threads are started for where no setting says how many.

`os.cpu_count()` is the machine's, whatever a container, a job scheduler or `taskset` left of it, and threads that wait for
one another's share of the time are slower than few.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Of a control group, version 2: microseconds of processor time, or "max", and the period that they are of."""
FIRST_QUOTA = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))
"""The same two of version 1, where -1 is no limit."""


def cores() -> int:
    """Whole cores: of those the machine has, at most what the process is bound to and its control group's quota gives."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed, _quota() or allowed))


def _quota() -> int | None:
    """Cores' worth of time, rounded up; None without a limit."""
    for paths in ((QUOTA,), FIRST_QUOTA):
        try:
            share, period = " ".join(path.read_text(encoding="ascii") for path in paths).split()
            found = math.ceil(int(share) / int(period))
        except (OSError, ValueError, ZeroDivisionError):  # none, or "max"
            continue
        if found > 0:
            return found
    return None
