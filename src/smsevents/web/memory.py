"""How the process deals with memory that it has freed.

glibc gives freed memory back to the system again and again: of the large pieces of an export each is faulted in again,
4 KiB by 4 KiB. Keeping a few MiB instead makes a whole export of plain lines cost a quarter less of the processor.
"""

from __future__ import annotations

import ctypes
import sys

MEMORY_KEPT_MAX_BYTES = 4 * 1024 * 1024
MEMORY_MAPPED_MIN_BYTES = 8 * 1024 * 1024  # larger than any piece of an export or import


_M_TRIM_THRESHOLD = -1  # the numbers of malloc.h, see mallopt(3)
_M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> None:
    """Let each arena of glibc's `malloc` keep up to MEMORY_KEPT_MAX_BYTES; does nothing with another C library."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MEMORY_MAPPED_MIN_BYTES)
        mallopt(_M_TRIM_THRESHOLD, MEMORY_KEPT_MAX_BYTES)
