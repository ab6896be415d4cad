"""Results that the server returns, as client and server share them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class ImportResult(Struct, frozen=True, omit_defaults=True):
    """What an import held: lines received, and those of them that were dropped.

    `expired` lines were older than the history, `blocked` ones were of users who must not be recorded, and
    `impossible` ones could not be true. The last two are left out of the response where they are 0.
    """

    received: Annotated[int, Meta(description="Lines that were received.")]
    expired: Annotated[int, Meta(description="Those older than 90 days, which were dropped.")]
    blocked: Annotated[
        int, Meta(description="Those of users that are blocked, which were dropped; left out where there are none.")
    ] = 0
    impossible: Annotated[int, Meta(extra={"sent": False})] = 0  # the command only: a server refuses them


class SentResult(Struct, frozen=True, omit_defaults=True):
    """What a call to the register of sent messages held, and what it led to."""

    received: Annotated[int, Meta(description="Messages that were received.")]
    matched: Annotated[
        int, Meta(description="Receipts that had waited for these messages; left out where there are none.")
    ] = 0
    blocked: Annotated[
        int, Meta(description="Messages to users that are blocked, which were dropped; left out where there are none.")
    ] = 0
