"""What the server answers to an import."""

from __future__ import annotations

from msgspec import Struct


class Receipt(Struct, frozen=True):
    """What an import held: lines received, and those of them that were dropped.

    `expired` were older than the history, `blocked` were of users who must not be recorded.
    """

    received: int
    expired: int
    blocked: int = 0
