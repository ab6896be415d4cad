"""Deflate and gzip: isal's, or Python's own where isal is not installed. Both have the same functions.

isal is several times as fast. It has no ready-made package for Windows on ARM, and building it takes an assembler.
"""

from __future__ import annotations

try:
    from isal import igzip, isal_zlib
except ModuleNotFoundError:
    import gzip as igzip  # type: ignore[no-redef]  # the same functions
    import zlib as isal_zlib  # type: ignore[no-redef]  # the same functions

__all__ = ["igzip", "isal_zlib"]
