"""Erasure: every event of a user leaves the log (GDPR, Article 17), and later ones may be kept out.

Each segment and each pack that holds events of the user is rewritten without them, and what is kept for delivery
receipts of the user is deleted (`receipt_rows.py`). `wiping.py` then removes what is
left of them in the database's files and in the store.

**What is found.** An erasure has exclusive access to the shop (`catalog/dialects/base.py`): no other process compacts
it or erases from it meanwhile. So each event stays in its segment until it is rewritten or expires. The erasure reads
each segment once that existed when it began, and none that comes later: imports cannot keep it from ending.

Earlier exports are for the operator to erase. A backup that is restored finds out what was erased since, by the record
of erasures (`erasure_records.py`), and repeats it (`erasure_repeats.py`).

A blocked user is stored only as a digest, keyed by the shop: SHA-256 of the trackpoint and the user id.
"""

from __future__ import annotations

import secrets
from array import array
from typing import TYPE_CHECKING, Annotated

import msgspec

from smsevents.catalog.message_days import drop_outdated_days
from smsevents.catalog.objects import expedite
from smsevents.catalog.pack_store import check_replaced
from smsevents.catalog.packs import packs_of_ids
from smsevents.catalog.pending_scrubs import add_pending
from smsevents.catalog.quarantine import quarantined
from smsevents.catalog.replacement import replace_stored
from smsevents.catalog.segments import find_segment
from smsevents.catalog.shops import block_user, require_shop, unblock_user
from smsevents.catalog.stored import stored_headers
from smsevents.errors import InvalidRequest, ObjectGone, StoreUnavailable
from smsevents.segments.pack import load_run
from smsevents.segments.segment import inflate, pack
from smsevents.upkeep.collecting import reconcile
from smsevents.upkeep.distinct import Distinct
from smsevents.upkeep.erasure_records import Act, note
from smsevents.upkeep.erasure_users import USER, UsersNamed
from smsevents.upkeep.packing import write_stored
from smsevents.upkeep.receipt_rows import erase_receipts
from smsevents.upkeep.tallying import tallied
from smsevents.upkeep.tidying import Tidy
from smsevents.upkeep.wiping import DELETE_PACKS, seconds_to_wipe, wipe, wipe_what_left
from smsevents.wire.events import digest_of
from smsevents.wire.limits import TEXT_MAX_CHARACTERS
from smsevents.wire.lines import NotLines, join_lines, parse_entries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.catalog.replacement import StoredAs
    from smsevents.segments.pack import PackedSegment
    from smsevents.segments.segment import Segment
    from smsevents.upkeep.erasure_users import Users
    from smsevents.wire.lines import Entry

ERASURE_PATIENCE_SECONDS = 30
ERASURE_READ_BYTES = 2 * 1024 * 1024  # of a pack, in one request


class Erased(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of an erasure.

    `wiped` is false as long as a copy may be left in the database's files or in old packs. `not_wiped` then says why.
    `quarantined` is the number of damaged segments of the shop in quarantine, which an erasure does not search.
    """

    events: Annotated[int, msgspec.Meta(description="Events that were removed.")]
    segments: Annotated[int, msgspec.Meta(description="Segments that were rewritten.")]
    wiped: Annotated[bool, msgspec.Meta(description="Whether no copy is left in the server's files either.")]
    quarantined: Annotated[int, msgspec.Meta(description="Damaged segments, not looked into.")]
    not_wiped: Annotated[str | None, msgspec.Meta(description="Why it is not wiped yet, where it is not.")] = None


def erase(database: Database, trackpoint: int, user_ids: Collection[str], now: int, *, block: bool) -> Erased:
    """Erase users' events from a shop's log. With `block`, keep later ones out, too.

    `wipe` must follow. Events that are imported while this runs may stay unless the users are blocked. Raises
    `UnknownShop`; `Busy` if another process erases from the shop for longer than ERASURE_PATIENCE_SECONDS;
    `StoreFull` if there is no room for temporary files; `StoreUnavailable`; and `DamagedSegment` for a segment that
    cannot be read: set it aside first, with `verify --quarantine`.
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
    named = UsersNamed(trackpoint, user_ids)
    erase_receipts(database, trackpoint, named, now)  # first, so that no later receipt finds the users there
    with database.dialect.shop_alone(trackpoint, ERASURE_PATIENCE_SECONDS):
        erased = erase_alone(database, trackpoint, named, now)
    note(database, trackpoint, named.digests, Act.BLOCK if block else Act.ERASE, now)
    return erased


def erase_alone(database: Database, trackpoint: int, users: Users, now: int) -> Erased:
    """Erase users' events from a shop that this process has alone (`Dialect.shop_alone`). See `erase`."""
    events = segments = 0
    with Distinct() as shared:
        for stored, overlaps in _segments_of(database, trackpoint):
            removed, rewritten = _erase_from(database, trackpoint, stored, users, now)
            segments += rewritten
            if overlaps:
                shared.add(removed)
            else:
                events += len(removed)
        events += shared.count()
        drop_outdated_days(database, trackpoint)
        reconcile(database, now, trackpoint)
        database.write(lambda connection: _expedite(connection, trackpoint, now))
    wipe_what_left(database, now)  # last: until here, the users' rows may have expired instead of being erased
    with database.read() as connection:
        quarantine_segment = quarantined(connection, trackpoint)
    return Erased(events, segments, wiped=False, quarantined=quarantine_segment)


def _segments_of(database: Database, trackpoint: int) -> Iterator[tuple[StoredAs, bool]]:
    """Go through a shop's segments and packs that exist now, and whether each overlaps another one.

    Segments that overlap may share an event, which is counted once.
    """
    # few bytes each: the ids of packs are negative here
    ids, overlap = array("q"), bytearray()
    reach: Entry | None = None  # of all previous segments
    with database.read() as connection:
        for one in stored_headers(connection, trackpoint):
            reaches_in = reach is not None and one.first <= reach
            if overlap:
                overlap[-1] |= reaches_in
            ids.append(-one.id if one.place.kind == "pack" else one.id)
            overlap.append(reaches_in)
            reach = one.last if reach is None else max(reach, one.last)
    return (
        (("pack", -one) if one < 0 else ("row", one), bool(overlaps))
        for one, overlaps in zip(ids, overlap, strict=True)
    )


def check_user_id(user_id: str) -> str:
    """Return a user id unchanged if events can have it. Raises `InvalidRequest`."""
    if not 0 < len(user_id) <= TEXT_MAX_CHARACTERS:
        raise InvalidRequest(f"A user id has 1 to {TEXT_MAX_CHARACTERS} characters.")
    if any("\ud800" <= character <= "\udfff" for character in user_id):
        raise InvalidRequest("The user id is not UTF-8.")
    return user_id


def unblock(database: Database, trackpoint: int, user_id: str) -> bool:
    """Let a user's events be recorded again. Return whether the user was blocked.

    Raises `UnknownShop`, and `StoreUnavailable` also if this could not be recorded.
    """
    digest = digest_of(trackpoint, user_id)

    def unblock_in(connection: Connection) -> bool:
        require_shop(connection, trackpoint)
        return unblock_user(connection, trackpoint, digest)

    now = database.dialect.now_ms()
    was_blocked = database.write(unblock_in)
    note(database, trackpoint, [digest], Act.ALLOW, now)  # else a restored backup would block the user again
    return was_blocked


def _expedite(connection: Connection, trackpoint: int, now: int) -> None:
    """Let the objects of packs that were replaced before be deleted at once: they may hold the users' events, too."""
    if expedite(connection, trackpoint, now):
        add_pending(connection, DELETE_PACKS, secrets.token_hex(8), now)


def _erase_from(
    database: Database, trackpoint: int, stored: StoredAs, users: Users, now: int
) -> tuple[Sequence[bytes], int]:
    """Rewrite a segment or a pack, unless it has expired, without the lines of the marked users.

    Return those lines, and how many segments were rewritten.
    """
    kind, stored_id = stored
    return (_erase_from_pack if kind == "pack" else _erase_from_row)(database, trackpoint, stored_id, users, now)


def _erase_from_row(
    database: Database, trackpoint: int, segment_id: int, users: Users, now: int
) -> tuple[Sequence[bytes], int]:
    with database.read() as connection:
        segment = find_segment(connection, segment_id)
    if segment is None or (split := _split(segment.check_stored(), users)) is None:
        return (), 0
    kept, removed = split
    packed = tallied(database, list(pack(kept)))
    read = {segment.header.stored_as}

    def replace(connection: Connection) -> bool:
        if not replace_stored(connection, trackpoint, read, read, packed):
            return False
        add_pending(connection, database.dialect.scrub_steps[0], secrets.token_hex(8), now)
        return True

    return (removed, 1) if database.write(replace) else ((), 0)


def _erase_from_pack(
    database: Database, trackpoint: int, pack_id: int, users: Users, now: int
) -> tuple[Sequence[bytes], int]:
    """Rewrite a pack. `wipe` deletes the old object."""
    with database.read() as connection:
        found = next(packs_of_ids(connection, [pack_id]), None)
        if found is None:
            return (), 0
        try:
            inner = list(database.packs(connection).segments(connection, found))
        except ObjectGone:
            return (), 0
    try:
        segments, removed, rewritten = _without(inner, users)
    except ObjectGone as error:
        check_replaced(database, error)
        return (), 0  # it expired meanwhile
    if not rewritten:
        return (), 0

    def also(connection: Connection) -> None:
        add_pending(connection, DELETE_PACKS, secrets.token_hex(8), now)
        # the database's files may still have the rows that were packed, and the bounds of the old pack
        add_pending(connection, database.dialect.scrub_steps[0], secrets.token_hex(8), now)

    read = {found.stored_as}
    if write_stored(database, trackpoint, segments, read, read, kept_ms=0, also=also):
        return removed, rewritten
    with database.read() as connection:
        if next(packs_of_ids(connection, [pack_id]), None) is not None:
            # the collection gave up the new object, as if this process had stood still or the clock had jumped
            raise StoreUnavailable("The erasure was not completed, because writing a pack took too long. Try again.")
    return (), 0  # it expired


def _without(inner: list[PackedSegment], users: Users) -> tuple[list[Segment], list[bytes], int]:
    """Return the segments of a pack without the lines of the marked users, those lines, and how many were rewritten."""
    tidy = Tidy()
    segments: list[Segment] = []
    removed: list[bytes] = []
    rewritten = 0
    for segment in _loaded_in_runs(inner):
        split = _split(segment, users)
        if split is not None:
            rewritten += 1
            removed += split[1]
        segments += tidy.add(segment if split is None else join_lines(split[0]))
    return [*segments, *tidy.end()], removed, rewritten


def _loaded_in_runs(inner: list[PackedSegment]) -> Iterator[Segment]:
    """Go through the segments of a pack, several of which are read at once."""
    run: list[PackedSegment] = []
    held = 0
    for one in inner:
        run.append(one)
        held += one.header.stored_bytes
        if held >= ERASURE_READ_BYTES:
            yield from load_run(run).segments()
            run, held = [], 0
    if run:
        yield from load_run(run).segments()


def _split(segment: Segment, users: Users) -> tuple[list[Entry], list[bytes]] | None:
    """Return the entries of a segment that stay and the lines that go, or None if none goes."""
    lines = inflate(segment)
    marks = users.named_in(lines)
    if not marks:
        return None
    named = USER.findall(lines)
    try:
        held = parse_entries(lines)
        if len(named) != len(held):
            raise NotLines
    except NotLines as error:
        raise segment.header.damaged(str(error)) from error
    removed = [line for (_, line), user in zip(held, named, strict=True) if user in marks]
    if not removed:
        return None
    return [entry for entry, user in zip(held, named, strict=True) if user not in marks], removed


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
