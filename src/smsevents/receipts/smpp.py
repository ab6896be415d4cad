"""Statuses as SMPP writes them in receipts: the `stat:` of a receipt's text (SMPP 3.4, appendix B; SMPP 5.0, 4.7.15).

Gateways pass them on, some in lower case or with a space after the colon.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smsevents.wire.events import Status

STATES: dict[str, Status | None] = {
    "DELIVRD": "DELIVERED",
    "EXPIRED": "EXPIRED",
    "DELETED": "DELETED",
    "UNDELIV": "UNDELIVERABLE",
    "ACCEPTD": "ACCEPTED",
    "REJECTD": "REJECTED",
    "SKIPPED": "SKIPPED",
    "ENROUTE": "ACCEPTED",
    # not in the specification, but sent: taken over, and not final
    "ACKED": "ACCEPTED",
    "BUFFRED": "ACCEPTED",
    "BUFFERD": "ACCEPTED",
    # neither tells what happened to the message
    "UNKNOWN": None,
    "SCHEDLD": None,
}

_stat = re.compile(r"\bstat:\s*([A-Za-z]+)", re.IGNORECASE)
_done = re.compile(r"\bdone date:\s*([0-9]{10}(?:[0-9]{2})?)(?![0-9])", re.IGNORECASE)
_text = re.compile(r"\btext:", re.IGNORECASE)


def stat_of(receipt: str) -> str | None:
    """Return the `stat` of a receipt's text in upper case, or None. What follows `text:` is of the message itself."""
    found = _stat.search(_before_text(receipt))
    return found[1].upper() if found else None


def done_date_of(receipt: str) -> str | None:
    """Return the digits of the `done date` of a receipt's text, or None."""
    found = _done.search(_before_text(receipt))
    return found[1] if found else None


def _before_text(receipt: str) -> str:
    return _text.split(receipt, maxsplit=1)[0]
