"""Metrics of delivery receipts.

A receiver gets its own label, because operators create receivers, not clients. At most RECEIVERS_LABELLED_MAX have one
in a process; the others share the label `other`. So do all values that a gateway does not document.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from smsevents.clock.system import now_ms
from smsevents.receipts.receipt import OTHER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smsevents.receipts.recording import Outcome

RECEIVERS_LABELLED_MAX = 1000

receipts = Counter("smsevents_receipts", "Delivery receipts, by what became of them.", ["receiver", "outcome"])
not_recorded = Counter(
    "smsevents_receipts_not_recorded", "Receipts whose status must not become an event.", ["gateway", "status"]
)
last_call = Gauge("smsevents_receiver_last_call_timestamp_seconds", "When a receiver was last called.", ["receiver"])

# `labels` takes longer than counting
_receipts_of = lru_cache(maxsize=4 * RECEIVERS_LABELLED_MAX)(receipts.labels)
_last_call_of = lru_cache(maxsize=RECEIVERS_LABELLED_MAX)(last_call.labels)
_receivers: set[str] = set()


def count(receiver_id: str, outcomes: Iterable[Outcome]) -> None:
    """Count the receipts of a call."""
    label = _label(receiver_id)
    _last_call_of(label).set(now_ms() / 1000)
    for outcome in outcomes:
        _receipts_of(label, outcome.value).inc()


def _label(receiver_id: str) -> str:
    if receiver_id not in _receivers:
        if len(_receivers) >= RECEIVERS_LABELLED_MAX:
            return OTHER
        _receivers.add(receiver_id)
    return receiver_id
