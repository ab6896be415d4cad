"""Erasure: every event of a user leaves the log (GDPR, Article 17), and later ones may be kept out.

    erase   each segment that holds the user's events is rewritten without them
    wipe    no copy stays in the database's files: the file is rewritten, the write-ahead log emptied

**What is found.** An erasure has exclusive access to the shop (`catalog/dialects/base.py`): no other process compacts
it or erases from it meanwhile. So each event stays in its segment until it is rewritten or expires. The erasure reads
each segment once that existed when it began, and none that comes later: imports cannot keep it from ending.

**What is pending.** Each transaction that rewrites a segment makes a scrub pending, with a new token. A wipe marks
only the token done that was there before it began (`catalog/pending_scrubs.py`). So at every moment, even after a
kill, a scrub is pending if and only if something was erased since the last wipe began. Earlier backups and exports
are for the operator to erase: docs/upkeep.md.

**What it costs.** All imports wait while the file is rewritten. So one wipe serves all erasures that are done when it
begins. After the wipe of a large file, the next one that a shop requests waits WIPE_PAUSE_RATIO times as long as the
last one took.

A blocked user is stored only as a digest, keyed by the shop: SHA-256 of the trackpoint and the user id.
"""

from __future__ import annotations

import re
import secrets
import time
from array import array
from functools import partial
from typing import TYPE_CHECKING, Annotated

import msgspec

from smsevents.catalog.pending_scrubs import add_pending, drop_pending, mark_done, pending, pending_since
from smsevents.catalog.quarantine import quarantined
from smsevents.catalog.segments import find_segment, headers_of, replace_segments
from smsevents.catalog.shops import block_user, require_shop, unblock_user
from smsevents.errors import InvalidRequest, StoreUnavailable
from smsevents.segments.segment import inflate, pack
from smsevents.upkeep.distinct import Distinct
from smsevents.wire.events import digest_of, encode_text
from smsevents.wire.limits import TEXT_MAX_CHARACTERS
from smsevents.wire.lines import NotLines, parse_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.wire.lines import Entry

PAUSE = "pause after a wipe"  # not a chore: the duration of the last wipe of a large file, in milliseconds, and its end

ERASURE_PATIENCE_SECONDS = 30
WIPE_PATIENCE_SECONDS = 30
WIPE_PAUSE_RATIO = 100  # imports wait at most a hundredth of the time, however much shops erase

# A canonical line contains `"userId":` exactly once: within a string, its quotes would be escaped.
_KEY = b'"userId":'
_user = re.compile(_KEY + rb'("(?:[^"\\]|\\.)*")')


class Erased(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of an erasure.

    `wiped` is false as long as a copy may be left in the database's files. `not_wiped` then says why. `quarantined`
    is the number of damaged segments of the shop in quarantine, which an erasure does not search.
    """

    events: Annotated[int, msgspec.Meta(description="Events that were removed.")]
    segments: Annotated[int, msgspec.Meta(description="Segments that were rewritten.")]
    wiped: Annotated[bool, msgspec.Meta(description="Whether no copy is left in the database's files either.")]
    quarantined: Annotated[int, msgspec.Meta(description="Damaged segments, not looked into.")]
    not_wiped: Annotated[str | None, msgspec.Meta(description="Why it is not wiped yet, where it is not.")] = None


def forget(database: Database, trackpoint: int, user_ids: Collection[str], now: int, *, block: bool) -> Erased:
    """Erase users from a shop's log and wipe the files at once: `erase`, then `wipe`."""
    erased = erase(database, trackpoint, user_ids, now, block=block)
    return _with_wipe(erased, wipe(database, now))


def wiped(erased: Erased, database: Database, now: int) -> Erased:
    """Wipe the files after an erasure, unless it is too soon. Return the erasure, completed by the result."""
    try:
        wait_seconds = seconds_to_wipe(database, now)
    except StoreUnavailable as error:
        return _with_wipe(erased, str(error))
    if wait_seconds:
        return _with_wipe(
            erased,
            "The files are rewritten once for several erasures, because imports wait meanwhile;"
            f" next time in about {wait_seconds:.0f} seconds.",
        )
    return _with_wipe(erased, wipe(database, now))


def _with_wipe(erased: Erased, not_wiped: str | None) -> Erased:
    return msgspec.structs.replace(erased, wiped=not_wiped is None, not_wiped=not_wiped)


def erase(database: Database, trackpoint: int, user_ids: Collection[str], now: int, *, block: bool) -> Erased:
    """Erase users' events from a shop's log. With `block`, keep later ones out, too.

    `wipe` must follow. Events that are imported while this runs may stay unless the users are blocked. Raises
    `UnknownShop`; `Busy` if another process erases from the shop for longer than ERASURE_PATIENCE_SECONDS;
    `StoreFull` if there is no room for temporary files; and `DamagedSegment` for a segment that cannot be read: set it
    aside first, with `verify --quarantine`.
    """

    def prepare(connection: Connection) -> None:
        require_shop(connection, trackpoint)
        for user_id in user_ids:
            block_user(connection, trackpoint, digest_of(trackpoint, user_id), now)

    if block:
        database.write(prepare)
    else:
        with database.read() as connection:
            require_shop(connection, trackpoint)
    marks = {encode_text(user_id) for user_id in user_ids}
    events = segments = 0
    with database.dialect.shop_alone(trackpoint, ERASURE_PATIENCE_SECONDS), Distinct() as shared:
        alone, overlapping = _segments_of(database, trackpoint)
        for segment_id in alone:
            removed = _erase_from(database, trackpoint, segment_id, marks, now)
            events += len(removed)
            segments += bool(removed)
        for segment_id in overlapping:
            removed = _erase_from(database, trackpoint, segment_id, marks, now)
            shared.add(removed)
            segments += bool(removed)
        events += shared.count()
    with database.read() as connection:
        quarantine_segment = quarantined(connection, trackpoint)
    return Erased(events, segments, wiped=False, quarantined=quarantine_segment)


def _segments_of(database: Database, trackpoint: int) -> tuple[array[int], array[int]]:
    """Return the ids of a shop's segments, by their first entries: those without overlap, and those that overlap.

    Segments that overlap may share an event, which is counted once.
    """
    alone, overlapping = array("q"), array("q")
    reach: Entry | None = None  # of all previous segments
    overlaps = False  # whether the previous segment overlaps another one
    before: int | None = None
    with database.read() as connection:
        for one in headers_of(connection, trackpoint):
            reaches_in = reach is not None and one.first <= reach
            if before is not None:
                (overlapping if overlaps or reaches_in else alone).append(before)
            before, overlaps = one.id, reaches_in
            reach = one.last if reach is None else max(reach, one.last)
    if before is not None:
        (overlapping if overlaps else alone).append(before)
    return alone, overlapping


def wipe(database: Database, now: int, monotonic: Callable[[], float] = time.monotonic) -> str | None:
    """Do the pending scrubs. Return None if none is left, else why some are. These stay pending.

    `now` is in Unix milliseconds. `monotonic` is a clock in seconds.
    """
    steps = database.dialect.scrub_steps
    try:
        if not _pending(database).keys() & set(steps):
            return None
        with database.dialect.scrub_alone(WIPE_PATIENCE_SECONDS):
            for number, step in enumerate(steps):
                # looked up only now: an earlier wipe may have served this erasure, too
                if token := _pending(database).get(step):
                    began = monotonic()
                    scrubbed = database.dialect.scrub(step)
                    took_ms = None if scrubbed.is_brief else int((monotonic() - began) * 1000)
                    if scrubbed.done:
                        database.write(partial(_step_done, steps=steps[number:], token=token, now=now, took_ms=took_ms))
            left = _pending(database).keys() & set(steps)
    except StoreUnavailable as error:
        return str(error)
    return "Somebody reads the database, or erases from it, at the same time." if left else None


def _step_done(connection: Connection, steps: Sequence[str], token: str, now: int, took_ms: int | None) -> None:
    """Record that the first of the remaining steps is done, and make the next one pending."""
    mark_done(connection, steps[0], token)
    if len(steps) == 1:
        return
    add_pending(connection, steps[1], token, now)
    if took_ms is None:
        drop_pending(connection, PAUSE)
    else:
        add_pending(connection, PAUSE, str(took_ms), now + took_ms)


def seconds_to_wipe(database: Database, now: int) -> float:
    """Return how long a pending wipe has to wait, so that wipes block imports for a small part of the time only.

    A clock that was set back ends the wait, so the wait is never longer than the full pause.
    """
    with database.read() as connection:
        found = pending_since(connection)
    if database.dialect.scrub_steps[0] not in found or PAUSE not in found:
        return 0
    took_ms, ended = found[PAUSE]
    passed = now - ended
    return 0 if passed < 0 else max(0, int(took_ms) * WIPE_PAUSE_RATIO - passed) / 1000


def _pending(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return pending(connection)


def check_user_id(user_id: str) -> str:
    """Return a user id unchanged if events can have it. Raises `InvalidRequest`."""
    if not 0 < len(user_id) <= TEXT_MAX_CHARACTERS:
        raise InvalidRequest(f"A user id has 1 to {TEXT_MAX_CHARACTERS} characters.")
    if any("\ud800" <= character <= "\udfff" for character in user_id):
        raise InvalidRequest("The user id is not UTF-8.")
    return user_id


def unblock(database: Database, trackpoint: int, user_id: str) -> bool:
    """Let a user's events be recorded again. Return whether the user was blocked. Raises `UnknownShop`."""

    def unblock_in(connection: Connection) -> bool:
        require_shop(connection, trackpoint)
        return unblock_user(connection, trackpoint, digest_of(trackpoint, user_id))

    return database.write(unblock_in)


def _erase_from(database: Database, trackpoint: int, segment_id: int, marks: set[bytes], now: int) -> Sequence[bytes]:
    """Rewrite a segment, unless it has expired, without the lines of the marked users. Return those lines."""
    with database.read() as connection:
        segment = find_segment(connection, segment_id)
    if segment is None:
        return ()
    lines = inflate(segment.check_stored())
    if not any(_KEY + mark in lines for mark in marks):  # far cheaper than parsing each line
        return ()
    users = _user.findall(lines)
    try:
        held = parse_entries(lines)
        if len(users) != len(held):
            raise NotLines
    except NotLines as error:
        raise segment.header.damaged(str(error)) from error
    packed = list(pack([entry for entry, user in zip(held, users, strict=True) if user not in marks]))

    def replace(connection: Connection) -> bool:
        if not replace_segments(connection, trackpoint, {segment_id}, {segment_id}, packed):
            return False
        add_pending(connection, database.dialect.scrub_steps[0], secrets.token_hex(8), now)
        return True

    if not database.write(replace):
        return ()
    return [line for (_, line), user in zip(held, users, strict=True) if user in marks]
