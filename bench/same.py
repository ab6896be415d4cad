"""Whether systems exported the same events: a digest of all lines that depends neither on spelling nor on order.

What they count is compared number by number.

Systems spell JSON in their own ways: white space, the order of keys, a `node` that is null where there is none. Each
line is read, spelled in one way and hashed; the sum of the hashes is the digest. None of this is timed.
"""

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.plan import Encoding
from bench.systems import Export

_NO_NODE: tuple[object, ...] = (None, {}, {"id": None, "name": None})


class Different(Exception):
    """A system exported other events than it was given."""


def compare(exports: Mapping[tuple[str, str, Encoding], Export], folder: Path, events: int) -> str:
    """Return the digest of what all export, which warms them up, too. Raises `Different` unless all agree."""
    path = folder / "compared"
    found: dict[str, str] = {}
    read: dict[str, str] = {}  # by the bytes of the lines: most spell them alike
    for name, export in exports.items():
        export(path)
        spelling = _digest_of_bytes(path, name[-1])
        if spelling not in read:
            read[spelling] = digests(path, name[-1])[0]
        found[" ".join(name)] = read[spelling]
        print(f"  {found[' '.join(name)]}  {' '.join(name)}", flush=True)
    digest = next(iter(found.values()))
    if any(other != digest for other in found.values()) or not digest.startswith(f"{events}:"):
        raise Different(f"not all systems exported the same {events} events: {found}")
    return digest


def compare_counts(found: Mapping[str, Mapping[str, int]]) -> None:
    """Raise `Different` unless all systems counted the same; what a system does not name, it counted as 0."""
    if not found:
        return
    first, *others = found
    for other in others:
        for name in sorted({*found[first], *found[other]}):
            counts = [found[system].get(name, 0) for system in (first, other)]
            if counts[0] != counts[1]:
                raise Different(f"{name}: {first} counted {counts[0]} events or messages, {other} {counts[1]}")


def _digest_of_bytes(path: Path, encoding: Encoding) -> str:
    with gzip.GzipFile(path) if encoding == "gzip" else path.open("rb") as lines:
        return hashlib.file_digest(lines, "sha256").hexdigest()


def digests(path: Path, encoding: Encoding) -> tuple[str, str]:
    """Return `count:digest` of a file of lines, and the digest of its bytes. Raises `Different` for bad lines."""
    total = count = 0
    before = -(2**63)
    spelling = hashlib.sha256()
    with gzip.GzipFile(path) if encoding == "gzip" else path.open("rb") as lines:
        for count, line in enumerate(lines, 1):
            spelling.update(line)
            event = msgspec.json.decode(line)
            source, date = event["source"], event["smsEvent"]["date"]
            if source.get("node") in _NO_NODE:
                source.pop("node", None)
            if (source["type"] == "flow") != ("node" in source):
                raise Different(f"line {count}: type and node do not go together: {line!r}")
            if date < before:
                raise Different(f"line {count} is earlier than the one before it")
            before = date
            spelled = msgspec.json.encode(event, order="sorted")
            total += int.from_bytes(hashlib.blake2b(spelled, digest_size=16).digest())
    return f"{count}:{total % 2**128:032x}", spelling.hexdigest()
