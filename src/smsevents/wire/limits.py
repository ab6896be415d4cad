"""The limits of the contract (docs/api.md): what client and server hold each other to."""

from __future__ import annotations

DAY_MS = 24 * 60 * 60 * 1000
HISTORY_MS = 90 * DAY_MS
FUTURE_MAX_MS = DAY_MS
TEXT_MAX_CHARACTERS = 1024
# Five strings of TEXT_MAX_CHARACTERS, each character spelled in 12 bytes (a pair of \uXXXX), fit in here.
LINE_MAX_BYTES = 64 * 1024
