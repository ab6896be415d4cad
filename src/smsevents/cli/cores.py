"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # https://docs.kernel.org/admin-guide/cgroup-v2.html, of a container


def usable_cores(quota: Path = CPU_QUOTA) -> int:
    """Return how many cores this process may use: those that it may run on, or fewer if a container limits it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed_us, period_us = quota.read_text().split()
        return max(1, min(cores, math.ceil(int(allowed_us) / int(period_us))))
    except (OSError, ValueError, ZeroDivisionError):  # no limit, or a system without such files
        return cores
