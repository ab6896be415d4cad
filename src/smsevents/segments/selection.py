"""Selections: which events are wanted, and which segments cannot have any of them, by their tallies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from smsevents.segments.tally import QUARTER_MS
from smsevents.wire.events import encode_text
from smsevents.wire.lines import NotLines

if TYPE_CHECKING:
    from smsevents.segments.tally_sum import AnyTally

NAMES_SEARCHED_MAX = 32  # of more texts, searching for each takes longer than decoding
SOURCES_KEPT_MAX = 4096  # decoded
SOURCE_KEPT_MAX_BYTES = 1024  # a longer one is decoded each time, or long ones would take many megabytes


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


def source_of(text: bytes) -> Source:
    """Read a source: its canonical JSON up to the send date, as tallies have it. Raises `NotLines`."""
    return _kept_source_of(text) if len(text) <= SOURCE_KEPT_MAX_BYTES else _source_of(text)


def _source_of(text: bytes) -> Source:
    try:
        found = _decoder.decode(text + b"}")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotLines from error
    node = (None, None) if found.node is None else (found.node.id, found.node.name)
    return Source(found.type, found.campaign.id, found.campaign.name, *node)


_kept_source_of = lru_cache(SOURCES_KEPT_MAX)(_source_of)


@dataclass(frozen=True)
class Selection:
    """Which events are wanted. An empty set stands for all. A campaign or node is wanted by its id or by its name.

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
            and (not self.campaigns or not self.campaigns.isdisjoint((source.campaign_id, source.campaign_name)))
            and (not self.nodes or not self.nodes.isdisjoint((source.node_id, source.node_name)))
        )

    def takes_sent(self, sent_ms: int) -> bool:
        """Return whether events that were sent at a time (Unix ms) are wanted."""
        return (self.sent_from is None or self.sent_from <= sent_ms) and (
            self.sent_to is None or sent_ms <= self.sent_to
        )

    @cached_property
    def _names(self) -> list[list[bytes]]:
        """For types, campaigns and nodes: texts of which the source of each wanted event has one, as id or as name."""
        found = [[encode_text(one) for one in wanted] for wanted in (self.types, self.campaigns, self.nodes)]
        return [some for some in found if 0 < len(some) <= NAMES_SEARCHED_MAX]

    @property
    def has_names(self) -> bool:
        """Whether `may_name` can leave out any segment."""
        return bool(self._names)

    def may_name(self, raw: bytes) -> bool:
        """Return whether a tally, as MessagePack, may name wanted sources. This is a search, faster than decoding."""
        for some in self._names:  # a loop takes half as long here as `all` and `any`
            for text in some:
                if text in raw:
                    break
            else:
                return False
        return True

    def may_match(self, tally: AnyTally) -> bool:
        """Return whether a segment with this tally may have wanted events. Raises `NotLines` and `UnreadableTally`."""
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
            sent = (tally.first + quarter for quarter in cells.sent_quarters())
            if any((first is None or first <= one) and (last is None or one <= last) for one in sent):
                return True
        return False


EVERYTHING = Selection()
