"""What was acknowledged against what is exported."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """Of one export: its lines, and how many are missing, there twice, or were never acknowledged."""

    lines: int
    lost: int
    twice: int
    unknown: int

    def __add__(self, other: "Counts") -> "Counts":
        """Return the sums."""
        return Counts(
            self.lines + other.lines, self.lost + other.lost, self.twice + other.twice, self.unknown + other.unknown
        )

    @property
    def is_right(self) -> bool:
        """Whether each acknowledged event is there once, and nothing else."""
        return not (self.lost or self.twice or self.unknown)


def counts(acknowledged: Collection[bytes], exported: bytes) -> Counts:
    """Compare an export with the lines that were acknowledged. Neither may be changed meanwhile."""
    lines = exported.splitlines()
    there, expected = set(lines), set(acknowledged)
    return Counts(len(lines), len(expected - there), len(lines) - len(there), len(there - expected))
