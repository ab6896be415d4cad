"""Kannel: it calls the `dlr-url` of a message with GET, and replaces escape codes in it.

The address that docs/receipts.md recommends ends in `?d=%d&A=%A&F=%F&T=%T`:

    d  the type of the receipt
    A  the text of the SMSC, for receipts of SMPP: `id:… stat:DELIVRD … text:…`
    F  the id of the message at the SMSC
    T  when Kannel received the receipt, Unix seconds; a retry has the same

Kannel's own default knows one type, 2, for all that failed, and the text says which. Other builds also have 34 and 66.
Source: the user guide, "Parameters (Escape Codes)", and a run of Kannel 1.4.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.receipts import smpp, times
from smsevents.receipts.receipt import DeliveryReceipt, NotAReceipt, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.wire.events import Status

_FAILED: tuple[Status | None, ...] = ("UNDELIVERABLE", "EXPIRED", "DELETED", "REJECTED", "SKIPPED")


class Kannel:
    """Kannel 1.4, with the SMSC of SMPP or others."""

    name = "kannel"
    done = b"OK"
    statuses: Mapping[str, Status | None] = {
        "1": "DELIVERED",
        "2": "UNDELIVERABLE",  # without a text of the SMSC
        **{f"2 {stat}": status for stat, status in smpp.STATES.items() if status in _FAILED},
        "2 UNKNOWN": None,
        "2 *": "UNDELIVERABLE",  # any other text of the SMSC that does not contradict
        "4": "ACCEPTED",
        "8": "ACCEPTED",
        "16": "REJECTED",
        "34": "EXPIRED",
        "66": None,
        # older builds count these as delivered
        **{f"1 {stat}": status for stat, status in smpp.STATES.items() if status == "ACCEPTED"},
    }

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt]:
        """Read the receipt of a call."""
        kind = text_of(fields, "d")
        if kind is None:
            raise NotAReceipt("the field `d` is missing; the `dlr-url` needs d=%d")
        answer = text_of(fields, "A") or ""
        value = self._value(kind, smpp.stat_of(answer))
        time = times.unix(text_of(fields, "T") or "", times.SECOND_MS)
        yield DeliveryReceipt(
            value=value,
            status=self.statuses.get(value),
            message_id=text_of(fields, "F"),
            time=time or times.digits(smpp.done_date_of(answer) or "", zone),
        )

    @staticmethod
    def _value(kind: str, stat: str | None) -> str:
        """Return the type, with the `stat` where it says more or contradicts."""
        if stat is None or kind not in {"1", "2"} or (kind == "1" and stat == "DELIVRD"):
            return kind
        return f"{kind} {stat}" if kind == "1" or stat in smpp.STATES else "2 *"
