"""Erasure: every event of a user leaves the log (GDPR, Article 17), and may be kept out from then on.

    erase   each segment that holds the user is rewritten without, wherever it lies and whatever else goes on
    wipe    no copy stays in the database's files: the file is written anew, the write-ahead log emptied

The second is owed from before the first begins (`catalog/chores.py`), so if it is cut short the next erasure or
the keeper does it. Backups and exports that were made before are the operator's to erase: docs/upkeep.md.

A blocked user is remembered only as a digest, keyed by the shop: SHA-256 of the trackpoint and the user id.
"""

from __future__ import annotations

import re
import secrets
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from smsevents.catalog.chores import owe, owed, settle
from smsevents.catalog.files import empty_wal, vacuum
from smsevents.catalog.outline import next_ids, quarantined, replace_segments
from smsevents.catalog.shops import block_user, require_shop, unblock_user
from smsevents.catalog.stored import find_segment
from smsevents.errors import InvalidRequest, StoreUnavailable
from smsevents.events import digest_of, encode_text
from smsevents.segments import entries_of, inflate, pack
from smsevents.settings import TEXT_MAX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.segments import Entry

VACUUM = "vacuum"
EMPTY_WAL = "empty the write-ahead log"

# In a canonical line `"userId":` stands once: within a string its quotes would be escaped.
_user = re.compile(rb'"userId":("(?:[^"\\]|\\.)*")')


class Erased(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an erasure did.

    `wiped` is false as long as a copy may be left in the database's files, and `not_wiped` then says why.
    `quarantined` tells how many damaged segments of the shop lie in quarantine, where nothing was looked for.
    """

    events: int
    segments: int
    wiped: bool
    quarantined: int
    not_wiped: str | None = None


def forget(database: Database, trackpoint: int, user_ids: Collection[str], now: int, *, block: bool) -> Erased:
    """Erase users from a shop's log and wipe the files: `erase`, then `wipe`."""
    return wiped(erase(database, trackpoint, user_ids, now, block=block), database, now)


def wiped(erased: Erased, database: Database, now: int) -> Erased:
    """Wipe the files after an erasure, and note in what it did whether they are."""
    not_wiped = wipe(database, now)
    return msgspec.structs.replace(erased, wiped=not_wiped is None, not_wiped=not_wiped)


def erase(database: Database, trackpoint: int, user_ids: Collection[str], now: int, *, block: bool) -> Erased:
    """Erase users' events from a shop's log, and keep them out from now on if `block` says so.

    `wipe` must follow. Events that are imported while this runs may stay unless the users are blocked. Raises
    `UnknownShop`, and `DamagedSegment` for a segment that cannot be read: set it aside first, with
    `verify --quarantine`.
    """

    def prepare(connection: Connection) -> int:
        require_shop(connection, trackpoint)
        owe(connection, VACUUM, secrets.token_hex(8), now)
        for user_id in user_ids if block else ():
            block_user(connection, trackpoint, digest_of(trackpoint, user_id), now)
        return quarantined(connection, trackpoint)

    set_aside = database.write(prepare)
    marks = {encode_text(user_id) for user_id in user_ids}
    erased: set[Entry] = set()  # an event may lie in several segments, and is counted once
    segments = 0
    behind = 0
    while ids := _next(database, behind, trackpoint):
        for segment_id in ids:
            # one that was replaced meanwhile is passed over; what replaced it has a higher id
            removed = _erase_from(database, trackpoint, segment_id, marks)
            erased.update(removed)
            segments += bool(removed)
        behind = ids[-1]
    # owed once more: a wipe that ran meanwhile has not seen all of this
    database.write(lambda c: owe(c, VACUUM, secrets.token_hex(8), now))
    return Erased(len(erased), segments, wiped=False, quarantined=set_aside)


def wipe(database: Database, now: int) -> str | None:
    """Do what erasures owe; give None when nothing is owed any more, else the reason why. It stays owed then."""
    try:
        if token := _token_of(database, VACUUM):
            vacuum(database)
            database.write(partial(_vacuumed, token=token, now=now))
        if (token := _token_of(database, EMPTY_WAL)) and empty_wal(database):
            database.write(partial(settle, name=EMPTY_WAL, token=token))
        left = _token_of(database, VACUUM) or _token_of(database, EMPTY_WAL)
    except StoreUnavailable as error:
        return str(error)
    return "Somebody reads the database, or erases from it, at the same time." if left else None


def _vacuumed(connection: Connection, token: str, now: int) -> None:
    settle(connection, VACUUM, token)
    owe(connection, EMPTY_WAL, token, now)


def _token_of(database: Database, chore: str) -> str | None:
    with database.read() as connection:
        return owed(connection).get(chore)


def check_user_id(user_id: str) -> str:
    """Give a user id back if events can have it. Raises `InvalidRequest`."""
    if not 0 < len(user_id) <= TEXT_MAX_CHARACTERS:
        raise InvalidRequest(f"A user id has 1 to {TEXT_MAX_CHARACTERS} characters.")
    if any("\ud800" <= character <= "\udfff" for character in user_id):
        raise InvalidRequest("The user id is not UTF-8.")
    return user_id


def unblock(database: Database, trackpoint: int, user_id: str) -> bool:
    """Let a user's events be recorded again; tell whether they were blocked. Raises `UnknownShop`."""

    def unblock_in(connection: Connection) -> bool:
        require_shop(connection, trackpoint)
        return unblock_user(connection, trackpoint, digest_of(trackpoint, user_id))

    return database.write(unblock_in)


def _next(database: Database, behind: int, trackpoint: int) -> Sequence[int]:
    with database.read() as connection:
        return next_ids(connection, behind, trackpoint)


def _erase_from(database: Database, trackpoint: int, segment_id: int, marks: set[bytes]) -> Sequence[Entry]:
    """Rewrite a segment, if it is still there, without the lines of the users marked; give those lines."""
    with database.read() as connection:
        segment = find_segment(connection, segment_id)
    if segment is None:
        return ()
    lines = inflate(segment.check_stored())
    users = _user.findall(lines)
    if marks.isdisjoint(users):
        return ()
    held = entries_of(lines, segment.name)
    if len(users) != len(held):
        raise segment.damaged("its lines are no events")
    packed = list(pack([entry for entry, user in zip(held, users, strict=True) if user not in marks]))
    if not database.write(lambda c: replace_segments(c, trackpoint, {segment_id}, {segment_id}, packed)):
        return ()
    return [entry for entry, user in zip(held, users, strict=True) if user in marks]
