"""Whether systems exported the same events: a digest of all lines that depends neither on spelling nor on order.

Systems spell JSON in their own ways: white space, the order of keys, a `node` that is null where there is none. Each
line is read, spelled in one way and hashed; the sum of the hashes is the digest. None of this is timed.
"""

import gzip
import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from bench.measure import Figures
from bench.peers import Encoding

_READ_BYTES = 4 * 1024 * 1024
_DIGEST_BYTES = 16
_NO_NODE: tuple[object, ...] = (None, {}, {"id": None, "name": None})


class Different(Exception):
    """A system exported other events than it was given."""


def compare(exports: Mapping[tuple[str, str, Encoding], Callable[[Path], Figures]], folder: Path, events: int) -> str:
    """Return the digest of what all export, by system, variant and encoding; this warms them up, too.

    Raises `Different` if they do not agree, or if there are not so many events.
    """
    digests, path = Digests(), folder / "compared"
    found: dict[str, str] = {}
    for name, export in exports.items():
        export(path)
        found[" ".join(name)] = digests.of(path, name[-1])
        print(f"  {found[' '.join(name)]}  {' '.join(name)}", flush=True)
    digest = next(iter(found.values()))
    if any(other != digest for other in found.values()) or not digest.startswith(f"{events}:"):
        raise Different(f"not all systems exported the same {events} events: {found}")
    return digest


class Digests:
    """Returns the digest of what was exported. Bytes that were seen before are `known`, and not read again."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def of(self, path: Path, encoding: Encoding) -> str:
        """Return `count:digest` of a file of lines. Raises `Different` if the dates do not ascend."""
        with _opened(path, encoding) as lines:
            spelling = hashlib.file_digest(lines, hashlib.sha256).hexdigest()
        if spelling not in self.known:
            with _opened(path, encoding) as lines:
                self.known[spelling] = _digest(lines)
        return self.known[spelling]


def _digest(lines: io.BufferedIOBase) -> str:
    total = count = 0
    before = -(2**63)
    for line in lines:
        event = msgspec.json.decode(line)
        source, date = event["source"], event["smsEvent"]["date"]
        count += 1
        if source.get("node") in _NO_NODE:
            source.pop("node", None)
        if (source["type"] == "flow") != ("node" in source):
            raise Different(f"line {count}: type and node do not go together: {line!r}")
        if date < before:
            raise Different(f"line {count} is earlier than the one before it")
        before = date
        spelled = msgspec.json.encode(event, order="sorted")
        total += int.from_bytes(hashlib.blake2b(spelled, digest_size=_DIGEST_BYTES).digest())
    return f"{count}:{total % 2 ** (8 * _DIGEST_BYTES):032x}"


def _opened(path: Path, encoding: Encoding) -> io.BufferedIOBase:
    return gzip.GzipFile(path) if encoding == "gzip" else io.BufferedReader(io.FileIO(path), _READ_BYTES)
