"""Whether systems gave the same events: a digest of all lines that does not depend on spelling or on order.

Systems spell JSON in their own way: white space, the order of keys, a `node` that is null where there is none.
Each line is read, spelled as smsevents does, and hashed; the sum of the hashes is the digest. None of this is timed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
from typing import TYPE_CHECKING

import msgspec

from smsevents.events import Campaign, Event, Flow, Node, OneOff, SmsEvent, encode

if TYPE_CHECKING:
    from pathlib import Path

    from bench.peers import Encoding

_READ_BYTES = 4 * 1024 * 1024
_DIGEST_BYTES = 16


class Different(Exception):
    """A system gave other events than it was given."""


class _AnyNode(msgspec.Struct):
    id: str | None = None
    name: str | None = None


class _AnySource(msgspec.Struct):
    type: str
    campaign: Campaign
    sendDate: int  # noqa: N815 -- the name on the wire
    node: _AnyNode | None = None


class _AnyEvent(msgspec.Struct):
    smsEvent: SmsEvent  # noqa: N815 -- the name on the wire
    source: _AnySource


_decoder = msgspec.json.Decoder(_AnyEvent)


class Digests:
    """Gives the digest of what was exported. What has the same bytes as something before is not read again."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[str, str] = {}

    def of(self, path: Path, encoding: Encoding) -> str:
        """Give `count:digest` of a file of lines. Raises `Different` if the dates do not ascend."""
        with _opened(path, encoding) as lines:
            spelling = hashlib.file_digest(lines, hashlib.sha256).hexdigest()
        if spelling not in self._known:
            with _opened(path, encoding) as lines:
                self._known[spelling] = _digest(lines)
        return self._known[spelling]


def canonical(line: bytes) -> tuple[int, bytes]:
    """Read a line in any system's spelling; give its date and its canonical spelling."""
    found = _decoder.decode(line)
    source = found.source
    node = source.node
    if node is not None and node.id is not None and node.name is not None:
        made: Flow | OneOff = Flow(source.campaign, Node(node.id, node.name), source.sendDate)
    else:
        made = OneOff(source.campaign, source.sendDate)
    if source.type != ("flow" if isinstance(made, Flow) else "one-off"):
        raise Different(f"type and node do not go together: {line!r}")
    return found.smsEvent.date, encode(Event(found.smsEvent, made))


def _digest(lines: io.BufferedIOBase) -> str:
    total = count = 0
    before = -(2**63)
    for line in lines:
        date, spelled = canonical(line)
        if date < before:
            raise Different(f"line {count + 1} is earlier than the one before it")
        before = date
        count += 1
        total += int.from_bytes(hashlib.blake2b(spelled, digest_size=_DIGEST_BYTES).digest())
    return f"{count}:{total % 2 ** (8 * _DIGEST_BYTES):032x}"


def _opened(path: Path, encoding: Encoding) -> io.BufferedIOBase:
    if encoding == "gzip":
        return gzip.GzipFile(path)
    return io.BufferedReader(io.FileIO(path), _READ_BYTES)
