"""A shop's log in parts that can be counted, each event exactly once.

The plan is that of an export (`segments.merge.page`): it decides which segments are passed on complete, and opens those
that overlap or that the interval cuts. Where an export sends a complete segment, the tally of the segment may count. So
the numbers equal those of an export by construction.

As in `log.reader`, each page has a transaction of its own, and the position is an entry.
"""

from __future__ import annotations

from contextlib import closing
from enum import Enum
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, cast

import structlog

from smsevents.catalog.outlines import PackedOutline, PackOutline, with_packs
from smsevents.errors import DamagedSegment, ObjectGone
from smsevents.log.reader import READ_AGAIN_TRIES_MAX
from smsevents.segments.merge import page
from smsevents.segments.pack import UNLOADED_RATIO, follows, load_run, missing
from smsevents.segments.segment import Segment, inflate
from smsevents.segments.spill import Spill
from smsevents.segments.tally import UnreadableTally
from smsevents.stats.kept import KEPT
from smsevents.wire.lines import NotLines, end_of, last_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterator, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.catalog.outlines import AnyOutline
    from smsevents.segments.header import SegmentHeader
    from smsevents.segments.segment import StoredPiece
    from smsevents.segments.tally_sum import AnyTally
    from smsevents.wire.lines import Entry
    from smsevents.wire.window import Window

logger = structlog.get_logger()

PART_PAGE_BYTES = 1024 * 1024  # a page: about 1,000 tallies, or this many bytes of lines
TALLY_HELD_BYTES = 1024  # what a page holds for each
LOADED_MAX_BYTES = 4 * 1024 * 1024  # of stored segments whose lines are needed, in one transaction or one request


class Use(Enum):
    """How a segment counts of which the tally does not say all."""

    NOTHING = "it has nothing that is asked for"
    LINES = "its lines have to be looked at"


class Taken(Protocol):
    """What was taken from a tally. It is never changed."""

    @property
    def size_bytes(self) -> int:
        """How much memory it takes, about."""


T = TypeVar("T", bound=Taken)
Plan: TypeAlias = "Callable[[AnyOutline], T | Use]"
Check: TypeAlias = "Callable[[], None]"


def go_on() -> None:
    """Let a count go on. Another function in its place may raise an error, to end the count."""


class Counting(Protocol[T]):
    """Counts the parts of a log."""

    def scope(self, header: SegmentHeader) -> Hashable | None:
        """Return what the plan of a segment depends on besides its tally, or None if it will hardly recur."""

    def plan(self, tally: AnyTally) -> T | Use:
        """Return what a tally says if its segment counts as a whole, or how its segment is used.

        Raises `NotLines` and `UnreadableTally`.
        """

    def add(self, taken: T) -> None:
        """Count what a tally said. It may come from the plan of an earlier question with an equal scope."""

    def add_lines(self, lines: bytes) -> None:
        """Count lines. Raises `NotLines`."""


def count_parts(
    database: Database, trackpoint: int, window: Window, counting: Counting[T], check: Check = go_on
) -> None:
    """Count all parts of a shop's log in a window. `check` is called before each tally and each part.

    Raises `DamagedSegment` and `StoreUnavailable`, and what `check` does.
    """

    def plan(outline: AnyOutline) -> T | Use:
        check()
        return _planned(counting, trackpoint, outline)

    for taken, lines in Parts(database, trackpoint, window, plan):
        check()
        if lines is None:
            counting.add(cast("T", taken))
            continue
        try:
            counting.add_lines(lines)
        except NotLines as error:
            raise DamagedSegment(
                f"A segment of shop {trackpoint} is damaged: {error}. `smsevents verify` finds it."
            ) from error


def _planned(counting: Counting[T], trackpoint: int, outline: AnyOutline) -> T | Use:
    """Return the plan of a segment or a pack: the kept one, or one by its tally."""
    header, is_pack = outline.header, isinstance(outline, PackOutline)
    scope = counting.scope(header)
    # as `segment.cut` knows lines: the ids alone are those of one database
    place = header.place
    key = (scope, is_pack, place.kind, place.key, place.start, header.id, header.line_crc, header.stored_crc)
    if scope is not None and (known := KEPT.get(key)) is not None:
        return cast("T | Use", known)
    try:
        tally = outline.tally()
        planned = Use.LINES if tally is None else counting.plan(tally)
    except (UnreadableTally, NotLines) as error:
        # the lines say the same, only more slowly
        logger.warning("tally damaged", trackpoint=trackpoint, segment=header.name, error=str(error))
        return Use.LINES
    if scope is not None and tally is not None:
        KEPT.put(key, planned, 0 if isinstance(planned, Use) else planned.size_bytes)
    return planned


class _Candidate(Generic[T]):
    """A segment or a pack that may have something that is asked for, and what its tally says."""

    def __init__(self, outline: AnyOutline, taken: T | Use) -> None:
        self.header = outline.header
        self.taken = taken
        # a pack whose lines are needed has been replaced by its segments
        self.outline = None if isinstance(outline, PackOutline) else outline

    @property
    def held_bytes(self) -> int:
        """How much a page holds of it."""
        return self.header.stored_bytes // UNLOADED_RATIO if self.taken is Use.LINES else TALLY_HELD_BYTES

    def load(self) -> Segment:
        """Return the segment with its bytes."""
        if self.outline is None:
            raise self.header.damaged("another segment is within its bounds")
        return self.outline.load()


class _Part(NamedTuple):
    """Something to be counted, the last entry of it, and whether it was taken from a tally."""

    content: object  # of the type T if it was taken; else lines, a segment, or the outline of one in a pack
    last: Entry
    is_taken: bool = False


class _Page(NamedTuple):
    parts: list[_Part]
    after: Entry | None  # the entry after which the next page begins, or None at the end


class Parts(Generic[T]):
    """The parts of a log in a window. Iterate over it once."""

    def __init__(self, database: Database, trackpoint: int, window: Window, plan: Plan[T]) -> None:
        """Read the log of a shop.

        `plan` returns for a segment or a pack what its tally says if it counts as a whole, or how it is used instead.
        """
        self._database = database
        self._trackpoint = trackpoint
        self._window = window
        self._plan = plan
        self._until = end_of(window.end)
        self._spill: Spill | None = None

    def __iter__(self) -> Iterator[tuple[T, None] | tuple[None, bytes]]:
        """Go through what was taken from tallies, and lines. Raises `DamagedSegment` and `StoreUnavailable`."""
        position: Entry | None = None if self._window.is_empty else (self._window.start, b"")
        gone: set[str] = set()
        while position is not None:
            try:
                found = self._next(position)
                for part in _loaded(found.parts):
                    if part.is_taken:
                        yield cast("T", part.content), None
                    else:
                        lines = (
                            part.content if isinstance(part.content, bytes) else inflate(cast("Segment", part.content))
                        )
                        yield None, lines
                    position = part.last
                    gone.clear()  # as for an export, the tries are those of one position
            except ObjectGone as error:  # another pack has these events now
                if error.key in gone or len(gone) >= READ_AGAIN_TRIES_MAX:
                    raise missing(error.key) from error
                gone.add(error.key)
                self._spill = None
            else:
                position = found.after

    def _next(self, after: Entry) -> _Page:
        """Return the next parts. What has to be read is read here if it is in a row: a pack may be slow to read."""
        with self._database.read() as connection:
            pieces, following = self._pieces(connection, after)
            parts: list[_Part] = []
            held = 0
            for piece in pieces:
                if held >= LOADED_MAX_BYTES:
                    return _Page(parts, parts[-1].last)
                part = _part_of(piece)
                held += len(part.content.data) if isinstance(part.content, Segment) else 0
                parts.append(part)
        return _Page(parts, following)

    def _pieces(self, connection: Connection, after: Entry) -> tuple[Sequence[StoredPiece], Entry | None]:
        """Return the pieces of the next page, and the entry after which the page after it begins, or None."""
        if self._spill is None:
            with closing(self._candidates(connection, after)) as candidates:
                found = page(candidates, after, self._until, page_max_bytes=PART_PAGE_BYTES)
            if not found.deep:
                return found.pieces, found.after
            with closing(self._candidates(connection, after)) as candidates:
                self._spill = Spill(candidates, after, self._until)
        spill = self._spill
        found = page(spill.after(after), after, spill.reach, page_max_bytes=PART_PAGE_BYTES)
        if found.after is not None:
            return found.pieces, found.after
        self._spill = None
        return found.pieces, spill.reach if spill.reach < self._until else None

    def _candidates(self, connection: Connection, after: Entry) -> Generator[_Candidate[T], None, None]:
        """Go through the segments after an entry that may have something that is asked for.

        The others have no event that equals one of these, so the merge need not see them.
        """
        with closing(with_packs(self._database, connection, self._trackpoint, after, self._window.end)) as outlines:
            yield from self._chosen(outlines)

    def _chosen(self, outlines: Iterator[AnyOutline]) -> Iterator[_Candidate[T]]:
        for outline in outlines:
            taken = self._plan(outline)
            if taken is Use.LINES and isinstance(outline, PackOutline):
                yield from self._chosen(outline.segments())
            elif taken is not Use.NOTHING:
                yield _Candidate(outline, taken)


def _part_of(piece: StoredPiece) -> _Part:
    if isinstance(piece, bytes):
        return _Part(piece, last_entry(piece))
    last = piece.header.last
    if not isinstance(piece, _Candidate):  # of a spill
        return _Part(piece, last)
    if piece.taken is not Use.LINES:
        return _Part(piece.taken, last, is_taken=True)
    return _Part(piece.outline if isinstance(piece.outline, PackedOutline) else piece.load(), last)


def _loaded(parts: Sequence[_Part]) -> Iterator[_Part]:
    """Go through parts. Segments of a pack that follow one another are read together."""
    run: list[PackedOutline] = []
    held = 0
    for part in parts:
        outline = part.content
        if run and not (
            isinstance(outline, PackedOutline) and held < LOADED_MAX_BYTES and follows(outline.header, run[-1].header)
        ):
            yield from _loaded_run(run)
            run, held = [], 0
        if isinstance(outline, PackedOutline):
            run.append(outline)
            held += outline.header.stored_bytes
        else:
            yield part
    if run:
        yield from _loaded_run(run)


def _loaded_run(run: Sequence[PackedOutline]) -> Iterator[_Part]:
    for segment in load_run([one.packed for one in run]).segments():
        yield _Part(segment, segment.header.last)
