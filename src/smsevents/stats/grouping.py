"""Counts by bucket, status and source → rows, with the names of campaigns and nodes.

Events are grouped by ids. A name may change, so a group has the name of its newest events, to a quarter of an hour; if
they have several, the last one in the order of characters.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import msgspec

from smsevents.errors import InvalidRequest
from smsevents.segments.selection import source_of
from smsevents.wire.events import STATUSES

if TYPE_CHECKING:
    from smsevents.segments.selection import Selection
    from smsevents.stats.question import Question

ROWS_MAX = 10_000
CELLS_MAX = 200_000  # in memory, before the largest groups are chosen; some 100 bytes each
SOURCES_KNOWN_MAX = 20_000  # how they are grouped; forgotten when there are more


Type = Literal["flow", "one-off"]
TYPES: tuple[Type, ...] = get_args(Type)
OTHER = "True for all campaigns or nodes together that are beyond `top`."


class Named(msgspec.Struct, frozen=True, gc=False):
    """A campaign or a node."""

    id: str
    name: str


class Group(NamedTuple):
    """What a row is about, each None unless the question groups by it. `campaign` and `node` are ids."""

    type: str | None = None
    campaign: str | None = None
    node: str | None = None
    is_other: bool = False  # all groups beyond the largest, without their ids


class Names(NamedTuple):
    """The names of a group, with the quarter of the hour of their newest event, by which names compare."""

    quarter: int
    campaign: str
    node: str


class Groups:
    """Groups sources as a question asks for it, and remembers names. Memory is bounded."""

    def __init__(self, question: Question) -> None:
        """Group by what the question asks for."""
        self._by = question.by
        self._wanted: Selection = question.wanted
        self._known: dict[bytes, Group | None] = {}
        self.names: dict[Group, Names] = {}
        self._is_named = bool({"campaign", "node"} & set(question.by))

    def of(self, text: bytes) -> Group | None:
        """Return the group of a source, as tallies have it, or None if it is not wanted. Raises `NotLines`."""
        try:
            return self._known[text]
        except KeyError:
            if len(self._known) >= SOURCES_KNOWN_MAX:
                self._known.clear()
            found = self._known[text] = self._group_of(text)
            return found

    def _group_of(self, text: bytes) -> Group | None:
        if not self._wanted.takes_source(text):
            return None
        if not self._by or self._by == ("status",):
            return Group()
        source = source_of(text)
        return Group(
            source.type if "type" in self._by else None,
            source.campaign_id if "campaign" in self._by else None,
            source.node_id if "node" in self._by else None,
        )

    def name(self, group: Group, text: bytes, quarter: int) -> None:
        """Note that a source occurs in a group, last in a quarter of an hour of `date`."""
        if not self._is_named:
            return
        known = self.names.get(group)
        if known is None or known.quarter <= quarter:
            source = source_of(text)
            found = Names(quarter, source.campaign_name, source.node_name or "")
            self.names[group] = found if known is None else max(known, found)


def largest(counts: dict[Group, int], top: int | None) -> set[Group]:
    """Return the `top` groups with the highest counts, or all; of equal ones the first by type and ids.

    A group without an id, such as all events without a node, always has rows of its own, and takes no place here.
    """
    named = [group for group in counts if group.campaign is not None or group.node is not None]
    in_order = sorted(named, key=lambda group: (-counts[group], order_of(group)))
    return set(in_order if top is None else in_order[:top])


def shown_group(group: Group, kept: set[Group]) -> Group:
    """Return the group that a row shows: the group itself, or that of all others."""
    if group in kept or (group.campaign is None and group.node is None):
        return group
    return Group(group.type, is_other=True)


def members_of(group: Group, by: tuple[str, ...], names: dict[Group, Names]) -> dict[str, Any]:
    """Return the members of a row that describe a group. The node of a one-off campaign is None."""
    members: dict[str, Any] = {}
    if "type" in by:
        members["type"] = group.type
    if group.is_other:
        members["other"] = True
        return members
    if "campaign" in by:
        members["campaign"] = Named(group.campaign or "", names[group].campaign)
    if "node" in by:
        members["node"] = None if group.node is None else Named(group.node, names[group].node)
    return members


def order_of(group: Group) -> tuple[object, ...]:
    """Return by what rows of groups are in order: type, campaign, node; the others come last."""
    return (group.is_other, group.type or "", group.campaign or "", group.node or "")


def check_cells(cells: int) -> None:
    """Refuse counts that take too much memory. Raises `InvalidRequest`."""
    if cells > CELLS_MAX:
        raise InvalidRequest(
            f"There are more than {CELLS_MAX} counts by bucket, status and group. Send a longer step, a shorter"
            " interval, fewer members in `by`, or a filter."
        )


def check_rows(rows: int) -> None:
    """Refuse a response with too many rows. Raises `InvalidRequest`."""
    if rows > ROWS_MAX:
        raise InvalidRequest(
            f"The result has {rows} rows; at most {ROWS_MAX} are sent. Send a longer step, a shorter interval, fewer"
            " members in `by`, `top`, or a filter."
        )


_STATUS_ORDER: dict[str, int] = {status: number for number, status in enumerate(STATUSES)}


def status_order(status: str) -> int:
    """Return by what statuses are in order."""
    return _STATUS_ORDER.get(status, len(_STATUS_ORDER))


def total(counts: Counter[tuple[int, str, Group]]) -> dict[Group, int]:
    """Return how many events each group has."""
    found: Counter[Group] = Counter()
    for (_, _, group), count in counts.items():
        found[group] += count
    return found
