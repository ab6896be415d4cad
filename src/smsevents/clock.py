"""The clock. What depends on the time takes a clock as an argument; this is the one it gets by default."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Tell the time in Unix milliseconds, UTC."""
    return time.time_ns() // 1_000_000
