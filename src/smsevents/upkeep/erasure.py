"""Erasure: every event of a user leaves the log (GDPR, Article 17), and may be kept out from then on.

Each segment that holds the user is rewritten without, wherever it lies and whatever else goes on. Then the file is
written anew, as SQLite leaves parts of moved rows on pages that are in use, and the write-ahead log is emptied, so no
copy stays in the database's files. Backups and exports that were made before are the operator's to erase:
docs/upkeep.md.

A blocked user is remembered only as a digest, keyed by the shop: SHA-256 of the trackpoint and the user id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from smsevents.catalog.outline import find_segment, next_segment, quarantined, replace_segments
from smsevents.catalog.shops import block_user, require_shop, unblock_user
from smsevents.errors import InvalidRequest
from smsevents.events import digest_of, encode_text
from smsevents.segments import entries, inflate, pack
from smsevents.settings import TEXT_MAX_CHARACTERS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.segments import Entry


class Erased(msgspec.Struct, frozen=True):
    """What an erasure did. `wal_emptied` is false if a reader kept a copy in the write-ahead log for now.

    `quarantined` tells how many damaged segments of the shop lie in quarantine, where nothing was looked for.
    """

    events: int
    segments: int
    wal_emptied: bool
    quarantined: int


def forget(database: Database, trackpoint: int, user_id: str, now: int, *, block: bool) -> Erased:
    """Erase a user's events from a shop's log, and keep them out from now on if `block` says so.

    Events that are imported while this runs may stay unless the user is blocked. Raises `UnknownShop`, and
    `DamagedSegment` for a segment that cannot be read: set it aside first, with `verify --quarantine`.
    """

    def prepare(connection: Connection) -> int:
        require_shop(connection, trackpoint)
        if block:
            block_user(connection, trackpoint, digest_of(trackpoint, user_id), now)
        return quarantined(connection, trackpoint)

    set_aside = database.write(prepare)
    mark = b'"userId":' + encode_text(user_id) + b","
    erased: set[Entry] = set()  # an event may lie in several segments, and is counted once
    segments = 0
    behind = 0
    while (found := _next(database, behind, trackpoint)) is not None:
        removed = _erase_from(database, trackpoint, found, mark)
        if removed is None:
            continue  # it was replaced meanwhile; what replaced it has a higher id
        behind = found
        erased.update(removed)
        segments += bool(removed)
    if segments:
        database.rewrite()
    return Erased(len(erased), segments, database.empty_wal(), set_aside)


def check_user_id(user_id: str) -> str:
    """Give a user id back if events can have it. Raises `InvalidRequest`."""
    if not 0 < len(user_id) <= TEXT_MAX_CHARACTERS:
        raise InvalidRequest(f"A user id has 1 to {TEXT_MAX_CHARACTERS} characters.")
    if any("\ud800" <= character <= "\udfff" for character in user_id):
        raise InvalidRequest("The user id is not UTF-8.")
    return user_id


def unblock(database: Database, trackpoint: int, user_id: str) -> bool:
    """Let a user's events be recorded again; tell whether they were blocked."""
    return database.write(lambda c: unblock_user(c, trackpoint, digest_of(trackpoint, user_id)))


def _next(database: Database, behind: int, trackpoint: int) -> int | None:
    with database.read() as connection:
        found = next_segment(connection, behind, trackpoint)
    return None if found is None else found[0]


def _erase_from(database: Database, trackpoint: int, segment_id: int, mark: bytes) -> list[Entry] | None:
    """Rewrite a segment without the lines that hold the mark; give those, or None if the segment is gone."""
    with database.read() as connection:
        segment = find_segment(connection, segment_id)
    if segment is None:
        return None
    if mark not in inflate(segment.check_stored()):
        return []
    held = entries(segment)
    kept = [entry for entry in held if mark not in entry[1]]
    packed = list(pack(kept))
    replaced = database.write(lambda c: replace_segments(c, trackpoint, {segment_id}, {segment_id}, packed))
    return [entry for entry in held if mark in entry[1]] if replaced else None
