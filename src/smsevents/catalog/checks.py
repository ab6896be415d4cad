"""What a check of a database can find, for `smsevents doctor`."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class State(StrEnum):
    """What came of a check."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at: its name, what came of it, and what to do where that is not `ok`."""

    name: str
    state: State
    detail: str
