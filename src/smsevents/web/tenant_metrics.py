"""Metrics by shop, by reason of a refusal, and of waiting work.

A shop gets its own label after a request with a valid key of that shop, so clients cannot create labels. At most
SHOPS_MAX shops have one, because a scrape should not grow by more than a thousand series. The others share the label
`other`.
"""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

SHOPS_MAX = 1000
OTHER_SHOPS = "other"
_WAIT_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

shop_requests = Counter("smsevents_shop_requests", "Requests with a good key, by shop.", ["trackpoint", "status"])
shop_events_in = Counter("smsevents_shop_events_in", "Events stored by imports, by shop.", ["trackpoint"])
shop_events_out = Counter("smsevents_shop_events_out", "Events sent by exports, by shop.", ["trackpoint"])
refused = Counter("smsevents_refused", "Requests answered with an error, by reason.", ["reason"])
wait_seconds = Histogram(
    "smsevents_wait_seconds", "How long work waited for a thread, by kind.", ["kind"], buckets=_WAIT_SECONDS
)

# `labels` takes longer than counting
requests_of_shop = lru_cache(maxsize=SHOPS_MAX)(shop_requests.labels)
events_in_of_shop = lru_cache(maxsize=SHOPS_MAX)(shop_events_in.labels)
events_out_of_shop = lru_cache(maxsize=SHOPS_MAX)(shop_events_out.labels)
imports_running = Gauge("smsevents_imports_running", "Imports being taken now.", multiprocess_mode="livesum")

_shops: set[int] = set()


def shop_label(trackpoint: int) -> str:
    """Return the label of a shop whose key was valid: its trackpoint, or `other`."""
    if trackpoint not in _shops:
        if len(_shops) >= SHOPS_MAX:
            return OTHER_SHOPS
        _shops.add(trackpoint)
    return str(trackpoint)
