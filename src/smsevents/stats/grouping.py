"""Counts by bucket, status and source → rows, with the names of campaigns and nodes.

Events are grouped by ids. A name may change, so a group has the name of its newest events, to a quarter of an hour; if
they have several, the last one in the order of characters.
"""

from __future__ import annotations

from sys import getsizeof
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import msgspec

from smsevents.errors import InvalidRequest
from smsevents.segments.selection import source_of
from smsevents.wire.events import STATUSES

if TYPE_CHECKING:
    from collections import Counter

    from smsevents.segments.selection import Selection
    from smsevents.stats.question import Question

ROWS_MAX = 10_000
ROWS_TEXT_MAX_BYTES = 8 * 1024 * 1024  # of ids and names in a response, which repeats them in each row
COUNT_MEMORY_MAX_BYTES = 64 * 1024 * 1024  # of one count, before the largest groups are chosen: its texts and numbers
GROUP_BYTES = 700  # a group and its names, without their texts: measured
KNOWN_MAX_BYTES = 4 * 1024 * 1024  # of sources and how they are grouped; forgotten when there are more
KNOWN_BYTES = 200  # a source among these, without its text


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


def names_of(text: bytes, quarter: int) -> Names:
    """Return the names in a source, as tallies have it, whose newest event is in a quarter. Raises `NotLines`."""
    source = source_of(text)
    return Names(quarter, source.campaign_name, source.node_name or "")


class _Texts:
    """Texts in use, each kept once, and how many bytes they take."""

    def __init__(self) -> None:
        self._uses: dict[str, tuple[str, int]] = {}
        self.size_bytes = 0

    def keep(self, text: str) -> str:
        """Use a text once more. Return the kept one that equals it."""
        kept, uses = self._uses.get(text, (text, 0))
        if not uses:
            self.size_bytes += getsizeof(kept)
        self._uses[kept] = kept, uses + 1
        return kept

    def drop(self, text: str) -> None:
        """Use a text once less, and forget it after its last use."""
        kept, uses = self._uses[text]
        if uses > 1:
            self._uses[kept] = kept, uses - 1
        else:
            del self._uses[kept]
            self.size_bytes -= getsizeof(kept)


class Groups:
    """Groups sources as a question asks for it, and remembers names. Each group and each text is kept once."""

    def __init__(self, question: Question) -> None:
        """Group by what the question asks for."""
        self._by = question.by
        self._wanted: Selection = question.wanted
        self._known: dict[bytes, Group | None] = {}
        self._known_bytes = 0
        self._groups: dict[Group, Group] = {}
        self._texts = _Texts()
        self.names: dict[Group, Names] = {}
        self.is_named = bool({"campaign", "node"} & set(question.by))

    def of(self, text: bytes) -> Group | None:
        """Return the group of a source, as tallies have it, or None if it is not wanted. Raises `NotLines`."""
        try:
            return self._known[text]
        except KeyError:
            self._known_bytes += len(text) + KNOWN_BYTES
            if self._known_bytes > KNOWN_MAX_BYTES:
                self._known.clear()
                self._known_bytes = len(text) + KNOWN_BYTES
            found = self._known[text] = self._group_of(text)
            return found

    def _group_of(self, text: bytes) -> Group | None:
        if not self._wanted.takes_source(text):
            return None
        if not self._by or self._by == ("status",):
            return self.keep(Group())
        source = source_of(text)
        return self.keep(
            Group(
                source.type if "type" in self._by else None,
                source.campaign_id if "campaign" in self._by else None,
                source.node_id if "node" in self._by else None,
            )
        )

    def keep(self, group: Group) -> Group:
        """Return the group that equals one. Raises `InvalidRequest` if a new one takes too much memory."""
        kept = self._groups.get(group)
        if kept is None:
            campaign, node = (None if one is None else self._texts.keep(one) for one in (group.campaign, group.node))
            kept = Group(group.type, campaign, node)
            self._groups[kept] = kept
            self.check()
        return kept

    def name(self, group: Group, text: bytes, quarter: int) -> None:
        """Note that a source occurs in a group, last in a quarter of an hour of `date`. Raises what `note` does."""
        if not self.is_named:
            return
        known = self.names.get(group)
        if known is None or known.quarter <= quarter:
            self.note(group, names_of(text, quarter))

    def note(self, group: Group, found: Names) -> None:
        """Note names of a group. Raises `InvalidRequest` if the names take too much memory."""
        known = self.names.get(group)
        if known is None or found > known:
            keep = self._texts.keep
            self.names[group] = Names(found.quarter, keep(found.campaign), keep(found.node))
            if known is not None:
                self._texts.drop(known.campaign)
                self._texts.drop(known.node)
            self.check()

    def check(self, other_bytes: int = 0) -> None:
        """Refuse a count that takes too much memory, `other_bytes` besides groups. Raises `InvalidRequest`."""
        if self._texts.size_bytes + len(self._groups) * GROUP_BYTES + other_bytes > COUNT_MEMORY_MAX_BYTES:
            raise InvalidRequest(
                f"There are too many different groups: their counts, ids and names take more than"
                f" {COUNT_MEMORY_MAX_BYTES // 1024**2} MiB. Send a longer step, a shorter interval, fewer members in"
                " `by`, or a filter."
            )


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


def check_rows(rows_of: Counter[Group], names: dict[Group, Names]) -> None:
    """Refuse a response with too many or too long rows; it has so many of each group. Raises `InvalidRequest`."""
    rows = rows_of.total()
    if rows > ROWS_MAX:
        raise InvalidRequest(
            f"The result has {rows} rows; at most {ROWS_MAX} are sent. Send a longer step, a shorter interval, fewer"
            " members in `by`, `top`, or a filter."
        )
    text_bytes = sum(
        len(text.encode()) * rows_of_group
        for group, rows_of_group in rows_of.items()
        for text in (group.campaign, group.node, *(names[group][1:] if group in names else ()))
        if text
    )
    if text_bytes > ROWS_TEXT_MAX_BYTES:
        raise InvalidRequest(
            f"The ids and names in the {rows} rows take more than {ROWS_TEXT_MAX_BYTES // 1024**2} MiB. Send a longer"
            " step, a shorter interval, fewer members in `by`, `top`, or a filter."
        )


_STATUS_ORDER: dict[str, int] = {status: number for number, status in enumerate(STATUSES)}


def status_order(status: str) -> int:
    """Return by what statuses are in order."""
    return _STATUS_ORDER.get(status, len(_STATUS_ORDER))
