"""Receivers: where gateways send delivery receipts to, and how a call is recognized.

The address of a receiver ends in its token, `<id>_<secret>`: the id finds the row, the secret is 256 random bits. Only
the SHA-256 digest of the complete token is stored. A receipt is trusted because its sender knows the token, so an
address that leaked is ended with `revoke`. A receiver that was looked up is cached for RECEIVER_CACHE_SECONDS.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from typing import TYPE_CHECKING

from smsevents.accounts.last_use import Uses
from smsevents.catalog import receivers as statements
from smsevents.catalog.receivers import Receiver
from smsevents.catalog.shops import require_shop
from smsevents.errors import InvalidRequest, UnknownReceiver
from smsevents.receipts.gateways import gateway_of
from smsevents.receipts.signatures import signed_gateway
from smsevents.receipts.times import zone_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from smsevents.catalog import Database

RECEIVER_CACHE_SECONDS = 2
_CACHE_MAX_RECEIVERS = 10_000
_shape = re.compile(r"([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NO_DIGEST = bytes(32)

NO_RECEIVER = (
    "There is no receiver under this address, or it was revoked. Check the address in the gateway's configuration;"
    " `smsevents receiver create` makes a new one."
)


class Receivers:
    """The receivers of one database. Thread-safe."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use a database, a wall clock in Unix milliseconds, and a monotonic clock in seconds.

        The default wall clock is that of the database.
        """
        self._database = database
        self._now = clock or database.dialect.now_ms
        self._monotonic = monotonic
        self._cache: dict[str, tuple[float, Receiver]] = {}
        self._uses = Uses(database, self._now, monotonic, statements.note_calls)

    def create(
        self,
        trackpoint: int,
        gateway: str,
        *,
        zone: str = "UTC",
        mapping: bytes | None = None,
        secret: bytes | None = None,
    ) -> str:
        """Create a receiver of a shop. Return its token, which cannot be read again later.

        Raises `UnknownShop`, and `InvalidRequest` for an unknown gateway or zone, a mapping that cannot be used, or a
        secret that is missing or not needed.
        """
        _check_secret(gateway, is_signed=signed_gateway(gateway_of(gateway, mapping)) is not None, secret=secret)
        zone_of(zone)
        receiver_id = secrets.token_hex(6)
        token = f"{receiver_id}_{secrets.token_urlsafe(32)}"
        receiver = Receiver(
            id=receiver_id,
            trackpoint=trackpoint,
            gateway=gateway,
            digest=_digest(token),
            zone=zone,
            mapping=mapping,
            secret=secret,
            created_ms=self._now(),
        )

        def create(connection: Connection) -> None:
            require_shop(connection, trackpoint)
            statements.insert_receiver(connection, receiver)

        self._database.write(create)
        return token

    def all_of(self, trackpoint: int) -> list[Receiver]:
        """Return the receivers of a shop, oldest first. Raises `UnknownShop`."""
        with self._database.read() as connection:
            require_shop(connection, trackpoint)
            return statements.receivers_of(connection, trackpoint)

    def get(self, receiver_id: str) -> Receiver:
        """Return a receiver by its id. Raises `UnknownReceiver`."""
        with self._database.read() as connection:
            found = statements.find_receiver(connection, receiver_id)
        if found is None:
            raise _unknown(receiver_id)
        return found

    def revoke(self, receiver_id: str) -> bool:
        """Revoke a receiver permanently. Return whether it was in use until now. Raises `UnknownReceiver`."""
        was_good = self._database.write(lambda c: statements.revoke_receiver(c, receiver_id, self._now()))
        if was_good is None:
            raise _unknown(receiver_id)
        self._cache.clear()
        return was_good

    def recognize(self, token: str) -> Receiver | None:
        """Return the receiver of a token, or None if there is none or it was revoked. Raises `StoreUnavailable`.

        The digests are compared in constant time, even for an unknown id.
        """
        match = _shape.fullmatch(token)
        return self._checked(token, self._find(match[1]) if match else None)

    def recognize_remembered(self, token: str) -> Receiver | None:
        """Do what `recognize` does from the cache alone. Return None also if the database must be read."""
        match = _shape.fullmatch(token)
        return self._checked(token, self._remembered(match[1]) if match else None)

    def _checked(self, token: str, receiver: Receiver | None) -> Receiver | None:
        same = hmac.compare_digest(_digest(token), _NO_DIGEST if receiver is None else receiver.digest)
        if receiver is None or not same or receiver.revoked_ms is not None:
            return None
        self._uses.note(receiver.id)
        return receiver

    def _find(self, receiver_id: str) -> Receiver | None:
        remembered = self._remembered(receiver_id)
        if remembered is not None:
            return remembered
        until = self._monotonic() + RECEIVER_CACHE_SECONDS
        with self._database.read() as connection:
            found = statements.find_receiver(connection, receiver_id)
        if found is not None:  # made-up ids must not evict others
            if len(self._cache) >= _CACHE_MAX_RECEIVERS:
                self._cache.clear()
            self._cache[receiver_id] = (until, found)
        return found

    def _remembered(self, receiver_id: str) -> Receiver | None:
        found = self._cache.get(receiver_id)
        return found[1] if found is not None and self._monotonic() < found[0] else None


def _check_secret(gateway: str, *, is_signed: bool, secret: bytes | None) -> None:
    if is_signed and not secret:
        raise InvalidRequest(
            f"The gateway `{gateway}` signs its calls: give the secret of its signatures, with --secret and a file, or"
            " - for standard input. docs/receipts.md says where the gateway shows it."
        )
    if secret and not is_signed:
        raise InvalidRequest(f"The gateway `{gateway}` does not sign its calls, so a secret would have no effect.")


def _unknown(receiver_id: str) -> UnknownReceiver:
    return UnknownReceiver(
        f"There is no receiver {receiver_id}. `smsevents receiver list TRACKPOINT` shows those of a shop."
    )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
