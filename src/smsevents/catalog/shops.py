"""The statements on shops and keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, text, update

from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.hot import Hot
from smsevents.catalog.tables import blocked_users, keys, shops
from smsevents.errors import UnknownShop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

# Every import and many exports use these statements. Building one takes longer than running it, so each is built once.
_FIND_SHOP = Hot(
    select(shops.c.trackpoint, shops.c.name, shops.c.created_ms).where(shops.c.trackpoint == bindparam("trackpoint"))
)
_FIND_KEY = Hot(select(*keys.c).where(keys.c.id == bindparam("id")))
_NOTE_USE = update(keys).where(keys.c.id == bindparam("key_id")).values(last_used_ms=bindparam("used_ms"))
_FIND_BLOCKED = Hot(select(blocked_users.c.digest).where(blocked_users.c.trackpoint == bindparam("trackpoint")))
_BLOCK = text("""
    INSERT INTO blocked_users (trackpoint, digest, blocked_ms) VALUES (:trackpoint, :digest, :now)
    ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True)
class Shop:
    """A tenant, named by its trackpoint."""

    trackpoint: int
    name: str
    created_ms: int


@dataclass(frozen=True)
class Key:
    """The stored data of an API key: everything except the key itself. Times are Unix milliseconds."""

    id: str
    trackpoint: int
    digest: bytes
    scopes: frozenset[str]
    label: str
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    last_used_ms: int | None = None


def insert_shop(connection: Connection, shop: Shop) -> None:
    """Store a new shop."""
    connection.execute(insert(shops).values(trackpoint=shop.trackpoint, name=shop.name, created_ms=shop.created_ms))


def find_shop(connection: Connection, trackpoint: int) -> Shop | None:
    """Return the shop with a trackpoint, or None."""
    rows = _FIND_SHOP.all(connection, {"trackpoint": trackpoint})
    return Shop(*rows[0]) if rows else None


def require_shop(connection: Connection, trackpoint: int) -> Shop:
    """Return the shop with a trackpoint. Raises `UnknownShop`."""
    shop = find_shop(connection, trackpoint)
    if shop is None:
        raise unknown_shop(trackpoint)
    return shop


def unknown_shop(trackpoint: int) -> UnknownShop:
    """Return the error for a trackpoint without a shop."""
    return UnknownShop(
        f"There is no shop {trackpoint}. Add it with `smsevents shop add {trackpoint}`.",
        f"There is no shop {trackpoint} any more. Ask the operator of the server.",
    )


def all_shops(connection: Connection) -> list[Shop]:
    """Return all shops in the order of their trackpoints."""
    rows = connection.execute(select(shops).order_by(shops.c.trackpoint))
    return [Shop(row.trackpoint, row.name, row.created_ms) for row in rows]


def insert_key(connection: Connection, key: Key) -> None:
    """Store a new key."""
    connection.execute(
        insert(keys).values(
            id=key.id,
            trackpoint=key.trackpoint,
            digest=key.digest,
            scopes=" ".join(sorted(key.scopes)),
            label=key.label,
            created_ms=key.created_ms,
            expires_ms=key.expires_ms,
            revoked_ms=key.revoked_ms,
        )
    )


def find_key(connection: Connection, key_id: str) -> Key | None:
    """Return the key with an id, or None."""
    rows = _FIND_KEY.all(connection, {"id": key_id})
    return _key_of(rows[0]) if rows else None


def keys_of(connection: Connection, trackpoint: int) -> list[Key]:
    """Return the keys of a shop, the oldest first."""
    statement = select(*keys.c).where(keys.c.trackpoint == trackpoint).order_by(keys.c.created_ms, keys.c.id)
    return [_key_of(row) for row in connection.execute(statement)]


def revoke_key(connection: Connection, key_id: str, now: int) -> bool | None:
    """Revoke a key. Return True, False if it was revoked before (its time stays), or None if there is no such key."""
    statement = update(keys).where(keys.c.id == key_id, keys.c.revoked_ms.is_(None)).values(revoked_ms=now)
    if connection.execute(statement).rowcount:
        return True
    return None if find_key(connection, key_id) is None else False


def note_uses(connection: Connection, uses: dict[str, int]) -> None:
    """Record when keys were last used: Unix milliseconds by the key's id."""
    for key_id, used_ms in uses.items():
        connection.execute(_NOTE_USE, {"key_id": key_id, "used_ms": used_ms})


def block_user(connection: Connection, trackpoint: int, digest: bytes, now: int) -> None:
    """Block a user, by digest: the user's events are not recorded any more.

    Imports that were checked before have then been stored, or are refused.
    """
    dialect_of(connection).begin_block(connection, trackpoint)
    connection.execute(_BLOCK, {"trackpoint": trackpoint, "digest": digest, "now": now})


def unblock_user(connection: Connection, trackpoint: int, digest: bytes) -> bool:
    """Let a user's events be recorded again. Return whether the user was blocked."""
    dialect_of(connection).begin_block(connection, trackpoint)
    return bool(
        connection.execute(
            delete(blocked_users).where(blocked_users.c.trackpoint == trackpoint, blocked_users.c.digest == digest)
        ).rowcount
    )


def blocked_digests(connection: Connection, trackpoint: int) -> frozenset[bytes]:
    """Return the digests of the blocked users of a shop."""
    return frozenset(digest for (digest,) in _FIND_BLOCKED.all(connection, {"trackpoint": trackpoint}))


def all_blocked(connection: Connection) -> Iterator[tuple[int, bytes, int]]:
    """Go through the blocked users of all shops: the shop, the digest, and since when they are blocked (Unix ms)."""
    c = blocked_users.c
    for trackpoint, digest, blocked_ms in connection.execute(select(c.trackpoint, c.digest, c.blocked_ms)):
        yield trackpoint, bytes(digest), blocked_ms


def blocked_sql(trackpoints: Iterable[int]) -> str:
    """Return the statement whose rows `blocked_in` reads: which of these shops exist, and who is blocked there."""
    some = ", ".join(map(str, trackpoints))
    return (
        f"SELECT trackpoint, NULL FROM shops WHERE trackpoint IN ({some}) UNION ALL"  # noqa: S608 -- numbers
        f" SELECT trackpoint, digest FROM blocked_users WHERE trackpoint IN ({some})"
    )


def blocked_in(rows: Iterable[Sequence[Any]]) -> dict[int, frozenset[bytes]]:
    """Return the digests of the blocked users of each shop that exists, from the rows of `blocked_sql`."""
    found: dict[int, list[bytes]] = {}
    for trackpoint, digest in rows:
        digests = found.setdefault(trackpoint, [])
        if digest is not None:
            digests.append(digest)
    return {trackpoint: frozenset(digests) for trackpoint, digests in found.items()}


def _key_of(row: Sequence[Any]) -> Key:
    """Return the key in a row, whose columns are those of the table."""
    key_id, trackpoint, digest, scopes, *others = row
    return Key(key_id, trackpoint, bytes(digest), frozenset(scopes.split()), *others)
