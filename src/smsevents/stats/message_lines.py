"""Lines → what decides on the state of a message, and which message it is."""

from __future__ import annotations

import re
from hashlib import blake2b

from smsevents.stats.message_states import DIGEST_BYTES
from smsevents.wire.lines import NotLines

_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_line = re.compile(
    rb'"userId":(%b),"status":"([A-Z]+)","date":(-?[0-9]+)\},"source":(\{[^\n]*),"sendDate":(-?[0-9]+)\}\}\n' % _TEXT
)


def events_in(lines: bytes) -> list[tuple[bytes, bytes, bytes, bytes, bytes]]:
    r"""Return user, status, date, source, send date of each canonical line, each ended by `\n`. Raises `NotLines`."""
    found = _line.findall(lines)
    if len(found) != lines.count(b"\n"):
        raise NotLines
    return found


def digest_of_message(user: bytes, source: bytes, sent: bytes) -> bytes:
    """Return the digest of a message, from the texts of `events_in`."""
    # the JSON of a text ends with a quote, and a source begins with a brace, so the three cannot be confused
    return blake2b(user + sent + source, digest_size=DIGEST_BYTES, usedforsecurity=False).digest()
