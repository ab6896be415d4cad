"""The systems that are measured, one file each: it opens the system, with the events in it, and gives a `Peer`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.measure import Figures

Encoding = Literal["gzip", "plain"]
ENCODINGS: tuple[Encoding, ...] = ("gzip", "plain")


@dataclass(frozen=True)
class Peer:
    """A system that holds the events.

    `exports` write the whole shop into a file, by variant and encoding, `imports` load all events into an empty store,
    by the same, and `sizes` returns what the events take on the disk, by variant. Both are measured.
    """

    system: str
    exports: Mapping[tuple[str, Encoding], Callable[[Path], Figures]]
    imports: Mapping[tuple[str, Encoding], Callable[[], Figures]] = field(default_factory=dict)
    sizes: Callable[[], dict[str, int]] = dict
