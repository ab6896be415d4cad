"""The result of one check of a database, for `smsevents doctor`."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class State(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


class Check(msgspec.Struct, frozen=True):
    """One check: its name, its outcome, and what to do if the outcome is not `ok`."""

    name: str
    state: State
    detail: str
