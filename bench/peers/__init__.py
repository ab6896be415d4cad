"""The systems that are measured: each gives its contenders, that is, itself in one variant with one encoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.measure import Run

Encoding = Literal["identity", "gzip"]
ENCODINGS: tuple[Encoding, ...] = ("identity", "gzip")


@dataclass(frozen=True)
class Contender:
    """Takes turns with the others.

    `export` gives the whole shop away once, measured; `save` writes the same into a file, to be compared.
    """

    system: str
    variant: str
    encoding: Encoding
    export: Callable[[], Run]
    save: Callable[[Path], None]

    @property
    def name(self) -> str:
        """Name it for people."""
        return ", ".join(part for part in (self.system, self.variant, self.encoding) if part)
