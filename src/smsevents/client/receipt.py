"""What the server answers to an import."""

from __future__ import annotations

from msgspec import Struct


class Receipt(Struct, frozen=True):
    """What an import held: lines received, and those of them that were older than the history and dropped."""

    received: int
    expired: int
