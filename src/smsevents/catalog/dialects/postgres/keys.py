"""The keys of advisory locks. Each ends with its transaction, so they also work through a pool of connections.

Locks of shops and of the database have keys of two numbers, announcements of ids have one of 64 bits. PostgreSQL keeps
the two kinds apart. Two shops that share a key only wait for each other.
"""

from __future__ import annotations

from enum import IntEnum

_MARK = 0x534D  # the first 16 bits of all keys, so that they are not those of another program


class Key(IntEnum):
    """The first numbers of keys. The second one is that of a shop, or zero."""

    ALONE = (_MARK << 16) + 1  # writes that nothing else protects: one at a time
    APPEND = (_MARK << 16) + 2  # of a shop: imports share it, and who blocks a user has it alone
    WORK = (_MARK << 16) + 3  # of a shop: steps of the upkeep share it, and an erasure has it alone
    SCRUB = (_MARK << 16) + 4  # rewriting the tables
    KEPT = (_MARK << 16) + 5  # of a shop: one process does its upkeep


# An announcement is a shared lock on the highest id that was given out before. Higher ones may be in use.
ANNOUNCED_ID_SQL = f"({_MARK}::bigint << 48) | (last_value - 1 + is_called::int)"
UNFINISHED_ID_SQL = f"""
    SELECT min(((classid::bigint & 65535) << 32) | objid::bigint) FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = {_MARK}
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608 -- a constant


def key_of(trackpoint: int) -> int:
    """Return the key of a shop: a signed number of 32 bits."""
    folded = (trackpoint ^ trackpoint >> 32) & 0xFFFF_FFFF
    return folded - (1 << 32) if folded >> 31 else folded
