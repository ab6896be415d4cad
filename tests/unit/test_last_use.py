"""The last use of a key: noted in the database, seldom, and without anybody waiting."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from smsevents.accounts.access import Access
from smsevents.accounts.last_use import USE_NOTED_EVERY_SECONDS, Uses
from smsevents.catalog import open_catalog
from smsevents.errors import Forbidden, StoreUnavailable, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from smsevents.catalog import Database

NOW = 1_795_000_000_000


class Clocks:
    """A clock of the wall and one that only goes forward, moved by the test."""

    def __init__(self) -> None:
        """Begin."""
        self.ms = NOW
        self.seconds = 100.0

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self.ms += int(seconds * 1000)
        self.seconds += seconds


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Yield a new database."""
    with closing(open_catalog(url)) as opened:
        yield opened


@pytest.fixture
def clocks() -> Clocks:
    """Return clocks."""
    return Clocks()


@pytest.fixture
def access(database: Database, clocks: Clocks) -> Access:
    """Return the access to a database with two shops."""
    made = Access(database, lambda: clocks.ms, lambda: clocks.seconds)
    made.add_shop(1, "")
    made.add_shop(2, "")
    return made


def last_used(database: Database, access: Access, trackpoint: int = 1) -> list[int | None]:
    """Return when the keys of a shop were last used, after pending notes are written."""
    for _ in range(2):  # a use that comes while another is written is handed to the writer after that
        database.write(lambda _: None)
    return [key.last_used_ms for key in access.keys(trackpoint)]


def test_a_use_is_noted_once_a_minute(database: Database, access: Access, clocks: Clocks) -> None:
    """The first use is noted at once, further ones within a minute are not, and one after it is."""
    key = access.create_key(1, ("export",))
    assert last_used(database, access) == [None]
    access.authorize(key, 1, "export")
    assert last_used(database, access) == [NOW]
    clocks.go_on(USE_NOTED_EVERY_SECONDS - 1)
    access.authorize(key, 1, "export")
    assert access.authorize_remembered(key, 1, "export") is not None
    assert last_used(database, access) == [NOW]
    clocks.go_on(2)
    access.authorize(key, 1, "export")
    assert last_used(database, access) == [clocks.ms]


def test_each_key_has_its_own_use(database: Database, access: Access, clocks: Clocks) -> None:
    """The use of one key says nothing of another, which is how a rotation is seen to be finished."""
    keys = [access.create_key(1, ("export",), label=str(number)) for number in range(3)]
    access.authorize(keys[0], 1, "export")
    clocks.go_on(5)
    access.authorize(keys[2], 1, "export")
    assert sorted(last_used(database, access), key=lambda used: used or 0) == [None, NOW, NOW + 5000]


def test_a_key_that_may_not_do_it_is_still_in_use(database: Database, access: Access) -> None:
    """Somebody holds a key that asks for too much; a key that is wrong or revoked counts as nothing."""
    held, revoked = access.create_key(1, ("export",)), access.create_key(2, ("export",))
    access.revoke_key(revoked.split("_")[1])
    with pytest.raises(Forbidden):
        access.authorize(held, 1, "admin")
    for wrong in (revoked, revoked[:-1] + "_", f"sms_{'0' * 12}_{'x' * 43}", None):
        with pytest.raises(Unauthorized):
            access.authorize(wrong, 2, "export")
    assert last_used(database, access) == [NOW]
    assert last_used(database, access, 2) == [None]


class Failing:
    """A database that refuses writes on request, and counts the attempts."""

    def __init__(self, database: Database) -> None:
        """Go before a database."""
        self._database = database
        self.fails = True
        self.asked = 0

    def submit(self, run: Callable[[Connection], None]) -> Future[None]:
        """Do the write, or fail at it."""
        self.asked += 1

        def fail(_: Connection) -> None:
            raise StoreUnavailable("There is no room.")

        return self._database.submit(fail if self.fails else run)


def test_what_cannot_be_written_is_written_with_the_next_use(
    database: Database, access: Access, clocks: Clocks
) -> None:
    """A full disk stops nobody who uses a key, and what was not written then comes with the next key's use."""
    ids = [access.create_key(1, ("export",)).split("_")[1] for _ in range(2)]
    failing = Failing(database)
    uses = Uses(failing, lambda: clocks.ms, lambda: clocks.seconds)  # type: ignore[arg-type]  # it has what is used
    uses.note(ids[0])
    assert last_used(database, access) == [None, None]
    failing.fails = False
    clocks.go_on(1)
    uses.note(ids[1])
    assert sorted(last_used(database, access), key=lambda used: used or 0) == [NOW, NOW + 1000]
    assert failing.asked == 2


def test_a_use_while_the_database_closes_is_no_error(database: Database, access: Access) -> None:
    """What is used while the server stops is served, and the use is forgotten."""
    key_id = access.create_key(1, ("export",)).split("_")[1]
    uses = Uses(database)
    database.close()
    uses.note(key_id)


def test_made_up_ids_do_not_drive_out_keys(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten thousand wrong keys a good one is still remembered, so that it costs no look into the database."""
    key = access.create_key(1, ("export",))
    access.authorize(key, 1, "export")
    monkeypatch.setattr("smsevents.accounts.access.statements.find_key", lambda _connection, _key_id: None)
    for number in range(10_001):
        with pytest.raises(Unauthorized):
            access.authorize(f"sms_{number:012x}_{'x' * 43}", 1, "export")
    assert access.authorize_remembered(key, 1, "export") is not None
