"""Servers, upkeep workers and commands under a wrong wall clock: nothing is lost, and they say what is wrong."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from smsevents.catalog.leases import LEASE_SECONDS
from smsevents.clock.system import now_ms
from tests.support.databases import query
from tests.support.faketime import WrongClock
from tests.support.lines import DAY_MS, body_of, line
from tests.support.servers import PLAIN, STILL, Server, add_shop, eventually, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import Shop

SHOP = 1001  # the first of a server
AGES = (89, 60, 30, 1)  # in days


def lines_of(trackpoint: int, ages: tuple[float, ...] = AGES) -> list[bytes]:
    """Return lines of events from some days ago."""
    now = now_ms()
    return [line(trackpoint, now - int(days * DAY_MS)) for days in ages]


def ready(server: Server) -> dict[str, Any]:
    """Return the readiness response of a server, which must be ready."""
    got = httpx.get(f"{server.base}/health/ready", timeout=30, verify=PLAIN)
    assert got.status_code == 200
    body: dict[str, Any] = got.json()
    return body


def exported(shop: Shop) -> set[bytes]:
    """Export the history."""
    got = shop.export()
    assert got.status_code == 200
    return set(got.content.splitlines())


def events_of(log: Path) -> list[str]:
    """Return the log records with a given `event`."""
    rows = [row for row in log.read_text().splitlines() if row.startswith("{")]
    return [json.loads(row)["event"] for row in rows]


@contextmanager
def served(
    folder: Path, clock: WrongClock, *, workers: int = 1, settings: dict[str, str] | None = None
) -> Iterator[Server]:
    """Run a server under a clock for as long as the block runs."""
    server = Server(folder, workers=workers, settings=clock.environment | (settings or {}))
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize(("offset", "workers"), [("+100d", 2), pytest.param("-100d", 1, marks=pytest.mark.campaign)])
def test_a_clock_that_jumps_loses_nothing(tmp_path: Path, offset: str, workers: int) -> None:
    """While the clock of a running server is wrong, nothing is deleted and everything reports it, until it is right."""
    clock = WrongClock(tmp_path)
    with served(tmp_path, clock, workers=workers) as server:
        shop = server.shop()
        lines = lines_of(shop.trackpoint)
        assert shop.send(body_of(lines)).json() == {"received": 4, "expired": 0}
        assert ready(server) == {"status": "ready"}
        assert server.metric("smsevents_time_in_doubt") == 0

        clock.set(offset)
        assert eventually(lambda: "time in doubt" in events_of(server.log_path))
        body = ready(server)
        assert (body["status"], body["time"]) == ("ready", "in doubt")
        # a process that had read the clock before the jump notices it; one that had not takes the new time
        assert body["reason"] in {"jumped", "ahead" if offset == "+100d" else "behind"}
        assert "smsevents expire --force" in body["what_to_do"]
        assert server.metric("smsevents_time_in_doubt") == 1
        more = lines_of(shop.trackpoint, (88.5, 0.5))
        if offset == "+100d":  # by that clock they are all expired
            assert shop.send(body_of(more)).json() == {"received": 2, "expired": 0}
        else:
            assert shop.send(body_of(more)).status_code == 503
            more = []
        assert server.command("compact").returncode == 0
        clock.set("+0")

        assert eventually(lambda: ready(server) == {"status": "ready"})
        assert server.metric("smsevents_time_in_doubt") == 0
        assert exported(shop) == {*lines, *more}


def test_a_server_that_starts_with_a_clock_ahead(tmp_path: Path) -> None:
    """A server that starts with its clock ahead says so and deletes nothing, and its lease delays nobody afterwards."""
    clock = WrongClock(tmp_path)
    with served(tmp_path, clock) as server:
        shop = server.shop()
        lines = lines_of(shop.trackpoint)
        assert shop.send(body_of(lines)).status_code == 200
        server.stop()
        clock.set("+100d")
        server.start()

        assert "smsevents: time is in doubt, so nothing is deleted. The clock says" in server.log_path.read_text()
        assert ready(server)["reason"] == "ahead"
        lease = "SELECT expires_ms FROM leases"
        assert eventually(lambda: query(server.path, lease) > [(now_ms() + 99 * DAY_MS,)])
        assert eventually(lambda: "time in doubt" in events_of(server.log_path))
        server.kill()
        clock.set("+0")
        server.start()

        assert ready(server) == {"status": "ready"}
        assert eventually(lambda: query(server.path, lease) <= [(now_ms() + LEASE_SECONDS * 1000,)])
        assert eventually(lambda: server.metric("smsevents_upkeep_idle_seconds") < 60)
        assert exported(shop) == set(lines)


def test_a_server_that_starts_with_a_clock_behind(tmp_path: Path) -> None:
    """A server that starts with its clock behind refuses new events with a 503 that says why, until it is right."""
    with served(tmp_path, WrongClock(tmp_path), settings=STILL) as server:
        shop = server.shop()
        lines = lines_of(shop.trackpoint)
        assert shop.send(body_of(lines)).status_code == 200
        server.stop()
        WrongClock(tmp_path, "-100d")
        server.start()

        assert ready(server)["reason"] == "behind"
        new = lines_of(shop.trackpoint, (0,))
        got = shop.send(body_of(new))
        assert got.status_code == 503
        assert got.headers["Content-Type"] == "application/problem+json"
        assert got.headers["Retry-After"] == "60"
        assert "24 hours ahead of the server's clock. But that clock may be wrong itself." in got.json()["detail"]
        server.stop()
        WrongClock(tmp_path, "+0")
        server.start()

        assert exported(shop) == set(lines)
        assert shop.send(body_of(new)).json() == {"received": 1, "expired": 0}
        assert exported(shop) == {*lines, *new}


@pytest.mark.parametrize("offset", [pytest.param("-30d", marks=pytest.mark.campaign), "-100d"])
def test_a_log_of_long_ago_is_not_emptied(tmp_path: Path, offset: str) -> None:
    """After a long downtime, or with an old backup restored, `serve` deletes nothing until a person confirms it."""
    clock = WrongClock(tmp_path, offset)
    with served(tmp_path, clock) as server:
        shop = server.shop()
        past = now_ms() - int(offset.strip("-d")) * DAY_MS
        lines = [line(shop.trackpoint, past - days * DAY_MS) for days in AGES]
        assert shop.send(body_of(lines)).json() == {"received": 4, "expired": 0}
        server.stop()
        clock.set("+0")
        server.start()

        assert ready(server)["reason"] == "ahead"
        assert eventually(lambda: "time in doubt" in events_of(server.log_path))
        assert query(server.path, "SELECT sum(events) FROM segments") == [(4,)]
        refused = server.command("expire")
        assert refused.returncode == 1
        assert b"smsevents: Nothing was deleted: time is in doubt." in refused.stderr
        assert query(server.path, "SELECT sum(events) FROM segments") == [(4,)]
        forced = server.command("expire", "--force")
        assert forced.returncode == 0
        assert b"the clock is trusted: " in forced.stderr
        assert eventually(lambda: ready(server) == {"status": "ready"})
        assert exported(shop) == {one for one, days in zip(lines, AGES, strict=True) if offset == "-30d" and days < 60}


@pytest.mark.parametrize("offset", ["+100d", pytest.param("-100d", marks=pytest.mark.campaign)])
def test_commands_under_a_wrong_clock(tmp_path: Path, offset: str) -> None:
    """Commands report that the time is in doubt, delete nothing and lose nothing; `expire` refuses with 1."""
    path = tmp_path / "log.db"
    clock = WrongClock(tmp_path)
    environment = os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{path}"} | clock.environment
    add_shop(f"sqlite:///{path}", SHOP)
    lines = lines_of(SHOP)
    for _ in range(2):
        assert run_command("import", str(SHOP), "-", environment=environment, stdin=body_of(lines)).returncode == 0
    clock.set(offset)

    refused = run_command("expire", environment=environment)
    assert refused.returncode == 1
    side = b"past" if offset == "+100d" else b"before"
    assert side + b" the time that is trusted" in refused.stderr
    merged = run_command("compact", environment=environment)
    assert merged.returncode == 0
    assert b"time is in doubt" in merged.stderr
    made = run_command("key", "create", str(SHOP), "--scope", "export", "--expires", "9d", environment=environment)
    assert made.stdout.startswith(b"sms_")
    assert b"time is in doubt" in made.stderr
    more = lines_of(SHOP, (88.5, 0.5))
    stored = run_command("import", str(SHOP), "-", environment=environment, stdin=body_of(more))
    assert b"time is in doubt" in stored.stderr
    if offset == "+100d":
        assert stored.stderr.endswith(b"received 2, expired 0\n")
    else:
        assert stored.returncode == 1
        assert b"Nothing was stored." in stored.stderr
        more = []
    clock.set("+0")

    assert run_command("expire", environment=environment).stderr == b"deleted 0 segments with 0 events\n"
    got = run_command("export", str(SHOP), environment=environment)
    assert set(got.stdout.splitlines()) == {*lines, *more}


def test_a_forced_expiry_believes_the_clock(tmp_path: Path) -> None:
    """`expire --force` accepts the clock as right, deletes by it, and ends the doubt."""
    path = tmp_path / "log.db"
    clock = WrongClock(tmp_path)
    environment = os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{path}"} | clock.environment
    add_shop(f"sqlite:///{path}", SHOP)
    assert run_command("import", str(SHOP), "-", environment=environment, stdin=body_of(lines_of(SHOP))).returncode == 0
    clock.set("+40d")

    assert run_command("expire", environment=environment).returncode == 1
    forced = run_command("expire", "--force", environment=environment)
    assert forced.stderr.endswith(b"deleted 2 segments with 2 events\n")
    assert run_command("expire", environment=environment).stderr == b"deleted 0 segments with 0 events\n"


def test_a_week_without_anybody_is_no_doubt(tmp_path: Path) -> None:
    """After six days `expire` deletes by the trusted time, and says what stays and until when."""
    path = tmp_path / "log.db"
    clock = WrongClock(tmp_path)
    environment = os.environ | {"SMSEVENTS_DATABASE": f"sqlite:///{path}"} | clock.environment
    add_shop(f"sqlite:///{path}", SHOP)
    assert run_command("import", str(SHOP), "-", environment=environment, stdin=body_of(lines_of(SHOP))).returncode == 0
    clock.set("+6d")

    done = run_command("expire", environment=environment)
    assert done.returncode == 0
    said = done.stderr.splitlines()
    assert said[0] == b"deleted 0 segments with 0 events"
    assert said[1].startswith(b"The clock is 6 days past the time that is trusted")
    assert query(path, "SELECT sum(events) FROM segments") == [(4,)]
