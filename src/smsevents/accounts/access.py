"""Shops and keys: who may do what.

A key is `sms_<id>_<secret>`: the id finds its row, the secret is 256 random bits. Only the SHA-256 digest of
the complete key is stored; a random secret of that length needs no slow hash. A key that was looked up is cached for
KEY_CACHE_SECONDS, so every worker refuses a revoked key after at most that time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from typing import TYPE_CHECKING, Literal, get_args

from smsevents.accounts.last_use import Uses
from smsevents.catalog import sessions
from smsevents.catalog import shops as statements
from smsevents.catalog.shops import Key, Shop
from smsevents.errors import Forbidden, InvalidRequest, ShopExists, TimeInDoubt, Unauthorized, UnknownKey
from smsevents.wire.events import INT64_MAX
from smsevents.wire.limits import TEXT_MAX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.timekeeper import Timekeeper

KEY_CACHE_SECONDS = 2

Scope = Literal["export", "import", "admin", "stats"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_KEY_CACHE_MAX_KEYS = 10_000
_shape = re.compile(r"sms_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_trackpoint = re.compile(r"[1-9][0-9]{0,18}")
_NO_DIGEST = bytes(32)

WRONG_KEY = "Send a valid API key in the header X-Api-Key; the operator of the server gives you one."
_WRONG_SHOP = (
    "This key is not allowed to do that for this shop. Check the number of the shop in the path, and use a key of this"
    " shop with the scope `{scope}`; the operator of the server gives you one."
)


def parse_trackpoint(text: str) -> int | None:
    """Parse a trackpoint from a path. Return None unless it is a positive 64-bit integer."""
    if not _trackpoint.fullmatch(text) or int(text) > INT64_MAX:
        return None
    return int(text)


class Access:
    """The shops and keys of one database."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        timekeeper: Timekeeper | None = None,
    ) -> None:
        """Use a database, a wall clock in Unix milliseconds, and a monotonic clock in seconds.

        The default wall clock is that of the database. With a timekeeper, an expired key stays expired even if the
        clock is set back. A key that has expired only by a clock in doubt is refused with `TimeInDoubt`, which asks the
        client to try again.
        """
        self._database = database
        self._now = clock or database.dialect.now_ms
        self._monotonic = monotonic
        self._timekeeper = timekeeper
        self._cache: dict[str, tuple[float, Key]] = {}
        self._uses = Uses(database, self._now, monotonic)

    def add_shop(self, trackpoint: int, name: str) -> Shop:
        """Add a shop. Raises `ShopExists`."""
        if not 0 < trackpoint <= INT64_MAX:
            raise InvalidRequest(f"{trackpoint} is not a trackpoint; give an integer from 1 to {INT64_MAX}.")
        _check_text("name of the shop", name)
        shop = Shop(trackpoint, name, self._now())

        def add(connection: Connection) -> Shop:
            if statements.find_shop(connection, trackpoint) is not None:
                raise ShopExists(f"Shop {trackpoint} already exists.")
            statements.insert_shop(connection, shop)
            return shop

        return self._database.write(add)

    def shops(self) -> list[Shop]:
        """Return all shops, ordered by trackpoint."""
        with self._database.read() as connection:
            return statements.all_shops(connection)

    def shop(self, trackpoint: int) -> Shop:
        """Return a shop. Raises `UnknownShop`."""
        with self._database.read() as connection:
            return statements.require_shop(connection, trackpoint)

    def create_key(
        self, trackpoint: int, scopes: Iterable[Scope], *, label: str = "", expires_ms: int | None = None
    ) -> str:
        """Create a key for a shop and return it; it cannot be read again later. Raises `UnknownShop`."""
        _check_text("label", label)
        key_id = secrets.token_hex(6)
        text = f"sms_{key_id}_{secrets.token_urlsafe(32)}"
        key = Key(
            id=key_id,
            trackpoint=trackpoint,
            digest=_digest(text),
            scopes=frozenset(scopes),
            label=label,
            created_ms=self._now(),
            expires_ms=expires_ms,
            revoked_ms=None,
        )
        if not key.scopes or not key.scopes <= set(SCOPES):
            raise InvalidRequest(f"Name at least one scope of {', '.join(SCOPES)}.")

        def create(connection: Connection) -> None:
            statements.require_shop(connection, trackpoint)
            statements.insert_key(connection, key)

        self._database.write(create)
        return text

    def keys(self, trackpoint: int) -> list[Key]:
        """Return the keys of a shop, oldest first. Raises `UnknownShop`."""
        with self._database.read() as connection:
            statements.require_shop(connection, trackpoint)
            return statements.keys_of(connection, trackpoint)

    def revoke_key(self, key_id: str) -> bool:
        """Revoke a key permanently, and end its sessions. Return whether it was in use. Raises `UnknownKey`."""

        def revoke(connection: Connection) -> bool | None:
            sessions.delete_sessions_of_key(connection, key_id)
            return statements.revoke_key(connection, key_id, self._now())

        was_good = self._database.write(revoke)
        if was_good is None:
            raise UnknownKey(f"There is no key {key_id}. `smsevents key list TRACKPOINT` shows a shop's keys.")
        self._cache.clear()
        return was_good

    def authenticate(self, text: str | None) -> Key:
        """Return the key that was sent. Raises `Unauthorized` if it is missing or not valid.

        The digests are compared in constant time, even for an unknown id.
        """
        match = _shape.fullmatch(text or "")
        return self._good(text, self._find(match[1]) if match else None)

    def authorize(self, text: str | None, trackpoint: int, *scopes: Scope) -> Key:
        """Return the key that was sent, if it has one of `scopes` for the shop.

        Raises `Unauthorized` or `Forbidden`. The text of `Forbidden` does not reveal whether the shop exists.
        """
        return allowed(self.authenticate(text), trackpoint, scopes)

    def usable(self, key_id: str) -> Key | None:
        """Return the key with an id. None if it was removed. Raises `Unauthorized` if it may not be used any more."""
        key = self._find(key_id)
        if key is not None:
            self._check(key)
        return key

    def now(self) -> int:
        """Return the time by which expiries are judged (Unix ms): the wall clock, or trusted time if that is later."""
        judgement = None if self._timekeeper is None else self._timekeeper.judge_remembered()
        return max(self._now(), 0 if judgement is None else judgement.trusted_ms)

    def authorize_remembered(self, text: str | None, trackpoint: int, *scopes: Scope) -> Key | None:
        """Do what `authorize` does from the cache alone. Return None if the database must be read."""
        match = _shape.fullmatch(text or "")
        remembered = self._remembered(match[1]) if match else None
        if match and remembered is None:
            return None
        return allowed(self._good(text, remembered), trackpoint, scopes)

    def _good(self, text: str | None, key: Key | None) -> Key:
        """Return the stored key if the complete text matches it and it is still in use."""
        same = hmac.compare_digest(_digest(text or ""), _NO_DIGEST if key is None else key.digest)
        if key is None or not same:
            raise Unauthorized(WRONG_KEY)
        self._check(key)
        return key

    def _check(self, key: Key) -> None:
        """Refuse a key that was revoked or has expired, and note that it is used."""
        if key.revoked_ms is not None:
            raise Unauthorized(f"The API key {key.id} was revoked. {WRONG_KEY}")
        if key.expires_ms is not None:
            self._refuse_expired(key.id, key.expires_ms)
        self._uses.note(key.id)

    def _refuse_expired(self, key_id: str, expires_ms: int) -> None:
        """Refuse a key that has expired by the wall clock or by trusted time, whichever is later."""
        now = self._now()
        judgement = None if self._timekeeper is None else self._timekeeper.judge_remembered()
        if judgement is not None and judgement.doubt and judgement.trusted_ms < expires_ms <= now:
            raise TimeInDoubt(
                f"By the server's clock the API key {key_id} has expired, but that clock may be wrong."
                " Try again later; if it lasts, tell the operator of the server."
            )
        if expires_ms <= max(now, 0 if judgement is None else judgement.trusted_ms):
            raise Unauthorized(f"The API key {key_id} has expired. {WRONG_KEY}")

    def _find(self, key_id: str) -> Key | None:
        remembered = self._remembered(key_id)
        if remembered is not None:
            return remembered
        now = self._monotonic()
        with self._database.read() as connection:
            key = statements.find_key(connection, key_id)
        if key is None:
            return None  # not cached: made-up ids must not evict real keys
        if len(self._cache) >= _KEY_CACHE_MAX_KEYS:
            self._cache.clear()
        self._cache[key_id] = (now + KEY_CACHE_SECONDS, key)
        return key

    def _remembered(self, key_id: str) -> Key | None:
        """Return the cached key with an id, or None if there is none or the entry is too old."""
        found = self._cache.get(key_id)
        return found[1] if found is not None and self._monotonic() < found[0] else None


def allowed(key: Key, trackpoint: int, scopes: Sequence[Scope]) -> Key:
    """Return the key if it has one of `scopes` for the shop. Raises `Forbidden`."""
    if key.trackpoint != trackpoint or not key.scopes & set(scopes):
        raise Forbidden(_WRONG_SHOP.format(scope="` or `".join(scopes)))
    return key


def _check_text(what: str, text: str) -> None:
    """Refuse text that is not UTF-8 (a command line may contain any bytes) or is far too long to display."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidRequest(f"The {what} is not UTF-8.")
    if len(text) > TEXT_MAX_CHARACTERS:
        raise InvalidRequest(f"The {what} has {len(text)} characters; give at most {TEXT_MAX_CHARACTERS}.")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
