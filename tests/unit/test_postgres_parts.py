"""The parts of PostgreSQL as a catalog that need no server: URLs, errors, the clock, the keys of locks."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from smsevents.catalog import Database
from smsevents.catalog.checks import State
from smsevents.catalog.dialects import shown
from smsevents.catalog.dialects.base import Collided
from smsevents.catalog.dialects.postgres import provider
from smsevents.catalog.dialects.postgres.clock import EXACT_MAX_MS, KNOWN_MAX_MS, DatabaseClock
from smsevents.catalog.dialects.postgres.concerns import (
    CLOCK_AWAY_MAX_MS,
    CLOCK_WARNED_AWAY_MS,
    clock,
    judged_standbys,
)
from smsevents.catalog.dialects.postgres.failures import translated
from smsevents.catalog.dialects.postgres.keys import key_of
from smsevents.catalog.dialects.postgres.location import location_of
from smsevents.clock.system import now_ms
from smsevents.errors import SettingError, StoreFull, StoreUnavailable

WHERE = "postgresql://host/log"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://user:secret@host:port/name", "a port that is not a number"),
        ("postgresql://user:secret/more@host/name", "percent codes"),
        ("postgresql://user:p@secret@host/name", "percent codes, such as %40"),
        ("postgresql://user:12/secret@host/name", "percent codes, such as %40"),
        ("postgresql://user:secret@host/", "names no database"),
        ("postgresql://user:secret@host/name?no_such_word=1", "not a URL that PostgreSQL understands"),
        ("postgresql+psycopg://user:secret@host/name", "the driver cannot be chosen"),
    ],
)
def test_a_bad_url_is_refused_without_its_password(url: str, told: str) -> None:
    """A URL that cannot be used is refused with what is wrong and the right form, and never with the password."""
    with pytest.raises(SettingError, match="SMSEVENTS_DATABASE") as refused:
        Database(url).close()
    assert told in str(refused.value)
    assert "postgresql://user:password@host/database" in str(refused.value)
    assert "secret" not in str(refused.value) + shown(url)


def test_several_hosts_find_the_primary() -> None:
    """All hosts of a URL are tried for one that can be written, each for a limited time; a URL may choose otherwise."""
    found = location_of("postgresql://user:secret@one:5433,two/log?sslmode=require&connect_timeout=2")
    parts = psycopg.conninfo.conninfo_to_dict(found.conninfo)
    assert parts["host"] == "one,two"
    assert (parts["target_session_attrs"], parts["connect_timeout"]) == ("read-write", "2")
    assert found.where == "postgresql://one:5433,two/log"
    assert location_of("postgresql://one,two:5433/log").where == "postgresql://one,two:5433/log"


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the driver is not installed, the error names the extra."""
    monkeypatch.setattr(provider, "find_spec", lambda _: None)
    with pytest.raises(SettingError, match=r"extra `postgres`: `pip install 'smsevents\[postgres\]'`"):
        Database("postgresql://user@host/log")


class _Cancelled(psycopg.OperationalError):
    sqlstate = "57P01"


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (psycopg.errors.DiskFull("no space"), StoreFull, "no room left"),
        (psycopg.errors.DeadlockDetected("deadlock"), Collided, "Try again in a moment"),
        (psycopg.errors.SerializationFailure("collision"), Collided, "Try again in a moment"),
        (psycopg.errors.LockNotAvailable("timeout"), StoreUnavailable, "Another transaction holds a lock"),
        (psycopg.errors.ReadOnlySqlTransaction("read-only"), StoreUnavailable, "is a standby"),
        (psycopg.errors.InsufficientPrivilege("denied"), StoreUnavailable, "lists the rights"),
        (psycopg.errors.DataCorrupted("invalid page"), StoreUnavailable, "restore a backup"),
        (psycopg.OperationalError("server closed\n  the connection"), StoreUnavailable, "goes on when it is back"),
        (_Cancelled("shutdown"), StoreUnavailable, "goes on when it is back"),
        (PoolTimeoutError("pool"), StoreUnavailable, "all connections of this process are in use"),
    ],
)
def test_each_error_is_told_with_what_to_do(error: Exception, kind: type[StoreUnavailable], told: str) -> None:
    """Errors of PostgreSQL become errors of smsevents, for the operator; clients learn neither host nor details."""
    wrapped = error if isinstance(error, PoolTimeoutError) else OperationalError(None, None, error)
    for one in (error, wrapped):
        with pytest.raises(kind, match=told) as raised, translated("written", WHERE):
            raise one
        assert type(raised.value) is kind
        assert "host" not in raised.value.outside
        assert "\n" not in str(raised.value)


def test_the_clock_is_that_of_the_database() -> None:
    """The time is that of the database at the last quick transaction, continued by a clock that cannot be set."""
    since_start = 1_000

    clock = DatabaseClock(lambda: since_start)
    assert abs(clock.now_ms() - now_ms()) < 60_000  # nothing is known yet
    clock.measured(since_start - 10, 500_000)
    assert clock.now_ms() == 500_005
    since_start += 1_000
    assert clock.now_ms() == 501_005
    clock.measured(since_start - EXACT_MAX_MS - 1, 900_000)  # after a wait, it says too little
    assert clock.now_ms() == 501_005
    clock.measured(since_start, 400_000)  # the database's clock was set back
    assert clock.now_ms() == 400_000
    since_start += KNOWN_MAX_MS + 1
    clock.measured(since_start - EXACT_MAX_MS - 1, 900_000)  # better than one that is old
    assert clock.now_ms() == 900_000 + (EXACT_MAX_MS + 1) // 2 + 1


@given(st.integers(1, 2**63 - 1))
def test_keys_of_shops_fit(trackpoint: int) -> None:
    """Each trackpoint has a key that is a number of 32 bits; small ones have different keys."""
    assert -(2**31) <= key_of(trackpoint) < 2**31
    if trackpoint < 2**31:
        assert key_of(trackpoint) == trackpoint


@pytest.mark.parametrize(
    ("away_ms", "state"),
    [
        (0, State.OK),
        (-CLOCK_WARNED_AWAY_MS, State.OK),
        (CLOCK_WARNED_AWAY_MS + 1, State.WARNING),
        (-CLOCK_AWAY_MAX_MS, State.WARNING),
        (CLOCK_AWAY_MAX_MS + 1, State.WRONG),
        (-CLOCK_AWAY_MAX_MS - 1, State.WRONG),
    ],
)
def test_a_clock_that_is_off(away_ms: int, state: State) -> None:
    """A clock that is a minute off is a warning, whichever way, and one that is five minutes off is wrong."""
    found = clock(away_ms)
    assert found.state is state
    assert (f"{away_ms / 1000:+.0f} s" in found.detail) is (state is not State.OK)


@pytest.mark.parametrize(
    ("names", "following", "state", "told"),
    [
        ("", 0, State.WARNING, "There is no synchronous standby"),
        ("", None, State.WARNING, "There is no synchronous standby"),
        ("ANY 1 (a, b)", 0, State.WARNING, "imports wait until one does"),
        ("ANY 1 (a, b)", 1, State.OK, "commits wait for ANY 1 (a, b)"),
        ("ANY 1 (a, b)", None, State.OK, "commits wait for ANY 1 (a, b)"),
    ],
)
def test_standbys_that_are_missing(names: str, following: int | None, state: State, told: str) -> None:
    """No synchronous standby, or one that does not follow, is a warning; what is hidden from the user is not."""
    found = judged_standbys(names, following)
    assert found.state is state
    assert told in found.detail
