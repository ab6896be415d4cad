"""What the server returns, as client and server both know it."""

from __future__ import annotations

from msgspec import Struct


class ImportResult(Struct, frozen=True, omit_defaults=True):
    """What an import held: lines received, and those of them that were dropped.

    `expired` lines were older than the history, `blocked` ones were of users who must not be recorded, and
    `impossible` ones could not be true. The last two are left out of the response where they are 0.
    """

    received: int
    expired: int
    blocked: int = 0
    impossible: int = 0
