"""The limits of the contract between client and server (docs/api.md)."""

from __future__ import annotations

HOUR_MS = 60 * 60 * 1000
DAY_MS = 24 * HOUR_MS
HISTORY_MS = 90 * DAY_MS
FUTURE_MAX_MS = DAY_MS
TEXT_MAX_CHARACTERS = 1024
# Enough for five strings of TEXT_MAX_CHARACTERS, with each character spelled in 12 bytes (a pair of \uXXXX).
LINE_MAX_BYTES = 64 * 1024
