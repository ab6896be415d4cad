"""Sessions: a browser signs in with a key once, and then holds a random id instead of the key.

A session may read what its key may read, and nothing else. It ends when the person signs out, after SESSION_MAX_HOURS,
or with its key. Only the SHA-256 digest of an id is stored; 256 random bits need no slow hash.

A **ticket** opens a session without the key, once, and only from the machine of the server: `smsevents demo` prints an
address with one.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.catalog import sessions as statements
from smsevents.errors import Forbidden, Unauthorized
from smsevents.wire.limits import HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from smsevents.accounts.access import Access, Scope
    from smsevents.catalog import Database
    from smsevents.catalog.shops import Key

SESSION_MAX_HOURS = 12
TICKET_MAX_MINUTES = 10
READING: frozenset[Scope] = frozenset({"export", "stats"})  # the scopes of a key that its sessions have, too

_MINUTE_MS = 60_000
_ID_BYTES = 32
_ENDED = "You are not signed in, or the session has ended. Sign in with your API key."
_NO_TICKET = (
    "This address has been used already, or is older than ten minutes. Start the command again for a new one, or sign"
    " in with an API key."
)


@dataclass(frozen=True)
class Session:
    """A session: its key, and when it expires (Unix ms)."""

    key: Key
    expires_ms: int

    @property
    def scopes(self) -> list[Scope]:
        """The scopes that the session has, in alphabetical order."""
        return sorted(READING & self.key.scopes)


class Sessions:
    """The sessions of one database."""

    def __init__(self, database: Database, access: Access, clock: Callable[[], int] | None = None) -> None:
        """Use a database, its keys, and a clock in Unix milliseconds; by default the one that `access` judges by."""
        self._database = database
        self._access = access
        self._now = clock or access.now

    def open(self, key_text: str | None, replaced: str | None = None) -> tuple[str, Session]:
        """Open a session for a key, and return its id. The session `replaced` ends.

        Raises `Unauthorized` for a key that is not valid, and `Forbidden` for one that cannot read anything.
        """
        return self._open(self._access.authenticate(key_text), replaced)

    def open_by_ticket(self, ticket: str, replaced: str | None = None) -> tuple[str, Session]:
        """Open a session by a ticket, which then is used up. Raises `Unauthorized`."""
        digest = _digest(ticket)
        found = self._database.write(lambda connection: statements.take_ticket(connection, digest))
        if found is None or found[1] <= self._now():
            raise Unauthorized(_NO_TICKET)
        key = self._access.usable(found[0])
        if key is None:
            raise Unauthorized(_NO_TICKET)
        return self._open(key, replaced)

    def find(self, session_id: str) -> Session:
        """Return a session. Raises `Unauthorized` if it has ended, or its key may not be used any more."""
        digest = _digest(session_id)
        with self._database.read() as connection:
            found = statements.find_session(connection, digest)
        if found is None or found[1] <= self._now():
            raise Unauthorized(_ENDED)
        key = self._access.usable(found[0])
        if key is None:
            raise Unauthorized(_ENDED)
        return Session(key, found[1])

    def close(self, session_id: str) -> None:
        """End a session. Nothing happens if it has ended already."""
        digest = _digest(session_id)
        self._database.write(lambda connection: statements.delete_session(connection, digest))

    def issue_ticket(self, key_text: str) -> str:
        """Return a ticket that opens a session for a key, once, within TICKET_MAX_MINUTES. Raises `Unauthorized`."""
        key = self._access.authenticate(key_text)
        ticket = secrets.token_urlsafe(_ID_BYTES)
        now = self._now()
        expires = now + TICKET_MAX_MINUTES * _MINUTE_MS
        digest = _digest(ticket)
        self._database.write(lambda connection: statements.insert_ticket(connection, digest, key.id, expires, now))
        return ticket

    def _open(self, key: Key, replaced: str | None) -> tuple[str, Session]:
        if not READING & key.scopes:
            raise Forbidden(
                "This key cannot read anything: it has neither the scope `stats` nor `export`. Ask the operator of the"
                " server for a key with one of them."
            )
        now = self._now()
        expires = now + SESSION_MAX_HOURS * HOUR_MS
        session = Session(key, expires if key.expires_ms is None else min(expires, key.expires_ms))
        session_id = secrets.token_urlsafe(_ID_BYTES)
        ended = None if replaced is None else _digest(replaced)

        def write(connection: Connection) -> None:
            if ended is not None:
                statements.delete_session(connection, ended)
            statements.insert_session(connection, _digest(session_id), key.id, session.expires_ms, now)

        self._database.write(write)
        return session_id, session


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
