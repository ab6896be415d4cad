"""Selections: which events are wanted, and which segments cannot have any of them, by their tallies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from smsevents.segments.tally import QUARTER_MS
from smsevents.wire.lines import NotLines

if TYPE_CHECKING:
    from smsevents.segments.tally import Tally

SOURCES_KEPT_MAX = 4096  # decoded; of several kB each in the worst case


class Source(NamedTuple):
    """What events have in common that were sent together. The node is None for a one-off campaign."""

    type: str
    campaign_id: str
    campaign_name: str
    node_id: str | None
    node_name: str | None


class _Named(msgspec.Struct, gc=False):
    id: str
    name: str


class _Source(msgspec.Struct, gc=False):
    type: str
    campaign: _Named
    node: _Named | None = None


_decoder = msgspec.json.Decoder(_Source)


@lru_cache(SOURCES_KEPT_MAX)
def source_of(text: bytes) -> Source:
    """Read a source: its canonical JSON up to the send date, as tallies have it. Raises `NotLines`."""
    try:
        found = _decoder.decode(text + b"}")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotLines from error
    node = (None, None) if found.node is None else (found.node.id, found.node.name)
    return Source(found.type, found.campaign.id, found.campaign.name, *node)


@dataclass(frozen=True)
class Selection:
    """Which events are wanted. An empty set stands for all; campaigns and nodes are ids.

    `sent_from` and `sent_to` are the ends of a closed interval of `sendDate`, in Unix milliseconds.
    """

    statuses: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    campaigns: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    sent_from: int | None = None
    sent_to: int | None = None

    def takes_status(self, status: str) -> bool:
        """Return whether events of a status are wanted."""
        return not self.statuses or status in self.statuses

    def takes_source(self, text: bytes) -> bool:
        """Return whether events of a source, as tallies have it, are wanted. Raises `NotLines`."""
        if not (self.types or self.campaigns or self.nodes):
            return True
        source = source_of(text)
        return (
            (not self.types or source.type in self.types)
            and (not self.campaigns or source.campaign_id in self.campaigns)
            and (not self.nodes or source.node_id in self.nodes)
        )

    def takes_sent(self, sent_ms: int) -> bool:
        """Return whether events that were sent at a time (Unix ms) are wanted."""
        return (self.sent_from is None or self.sent_from <= sent_ms) and (
            self.sent_to is None or sent_ms <= self.sent_to
        )

    def may_match(self, tally: Tally) -> bool:
        """Return whether a segment with this tally may have wanted events. Raises `NotLines`."""
        wanted = [self.takes_source(text) for text in tally.sources]
        if not any(wanted):
            return False
        first = None if self.sent_from is None else self.sent_from // QUARTER_MS
        last = None if self.sent_to is None else self.sent_to // QUARTER_MS
        for cells in tally.cells:
            if not wanted[cells.source] or not self.takes_status(cells.status):
                continue
            if first is None and last is None:
                return True
            for date, lag in zip(cells.dates, cells.lags, strict=True):
                sent = tally.first + date - lag
                if (first is None or first <= sent) and (last is None or sent <= last):
                    return True
        return False
