"""Filters of the client: sent to a server that takes them, applied to every event, and to nobody's harm elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import random
from typing import TYPE_CHECKING, Any

import duckdb
import httpx
import pytest

from smsevents.client import ACCOUNTS, NEVER, AsyncClient, BadLine, BadRequest, Client, Filter, Retry, Unreachable
from smsevents.client.account import Account as Resolved
from smsevents.client.core import Core, Options
from smsevents.client.retry import Timeouts
from smsevents.client.sync import sync
from smsevents.client.transport import iterated
from smsevents.clock.system import now_ms
from tests.support.filters import some_filters, varied_lines, wanted_of
from tests.support.lines import DAY_MS, MINUTE_MS, body_of, line, model
from tests.support.servers import PLAIN, Server, Shop, free_port, run_command
from tests.support.standin import Account, Answer, Request, StandIn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import httpx2

TRACKPOINT = 7
ALL = "status, campaign, node, type, userId, sentFrom, sentTo"
EXPIRED = Filter(status="EXPIRED", userId=["u1", "u2", "u3"])
MEMBERS = {"status": ["EXPIRED"], "userId": ["u1", "u2", "u3"]}
OUT = "smsevents_events_out_total"


def lines_of(trackpoint: int = TRACKPOINT, count: int = 300) -> list[bytes]:
    """Return distinct lines of the last days in order."""
    now = now_ms() - MINUTE_MS
    chance = random.Random(2)  # noqa: S311 -- invented data
    return model(varied_lines(chance, trackpoint, count, now - 3 * DAY_MS, now), 0, now).splitlines()


def client_of(standin: StandIn, retry: Retry = NEVER) -> Client:
    """Return a client of the stand-in."""
    return Client(TRACKPOINT, "key", url=standin.url, retry=retry, ssl_context=PLAIN, sleep=lambda _: None)


def members_of(request: Request) -> dict[str, Any]:
    """Return what a request says beside the interval."""
    body: dict[str, Any] = json.loads(request.body)
    return {name: value for name, value in body.items() if name not in {"from", "to"}}


def filled(server: Server) -> tuple[Shop, list[bytes]]:
    """Return a shop of the server, and its lines in order."""
    shop = server.shop()
    lines = lines_of(shop.trackpoint)
    assert shop.send(body_of(lines)).status_code == 200
    return shop, lines


def test_a_server_that_takes_filters_sends_only_what_matches(server: Server) -> None:
    """Both clients get the events that match, and the server has sent no others."""
    shop, lines = filled(server)
    chance = random.Random(3)  # noqa: S311 -- invented data

    async def read(where: Filter) -> list[bytes]:
        """Return the lines of the asynchronous client."""
        client = AsyncClient(shop.trackpoint, shop.key, url=shop.base, ssl_context=PLAIN)
        try:
            return [one async for one in client.export_lines(where=where)]
        finally:
            await client.close()

    for chosen in some_filters(chance, lines, 6):
        chosen |= {"status": [one for one in chosen.get("status", []) if one != "SENT"]}
        wanted: dict[str, Any] = {name: value for name, value in chosen.items() if value != []}
        where, expected = Filter(**wanted), wanted_of(lines, wanted)
        before = server.metric(OUT)
        with Client(shop.trackpoint, shop.key, url=shop.base, ssl_context=PLAIN) as client:
            assert list(client.export_lines(where=where)) == expected
        assert asyncio.run(read(where)) == expected
        assert server.metric(OUT) - before == 2 * len(expected)


def test_a_server_that_says_nothing_gets_the_interval_alone(standin: StandIn) -> None:
    """A server that does not say which filters it takes gets the documented request, and the client filters."""
    lines = lines_of()
    standin.answers(Account(lines=lines, copies=1))

    with client_of(standin) as client:
        found = [sorted(client.export_lines(where=EXPIRED)) for _ in range(3)]

    assert found == [sorted(wanted_of(lines, MEMBERS))] * 3
    assert found[0]
    assert [members_of(request) for request in standin.requests] == [{}] * 3
    assert standin.asked == 1


def test_without_a_filter_nothing_is_asked(standin: StandIn) -> None:
    """An export without a filter is one request, as it always was."""
    standin.filters = ALL
    standin.answers(Account(lines=lines_of(), copies=1))

    with client_of(standin) as client:
        list(client.export_lines())

    assert (len(standin.requests), standin.asked) == (1, 0)
    assert standin.requests[0].body == b"{}"


@pytest.mark.parametrize(
    ("claimed", "sent"),
    [
        (ALL, MEMBERS),
        ("userId", {"userId": MEMBERS["userId"]}),
        (" status ,x", {"status": ["EXPIRED"]}),
        ("x", {}),
        ("", {}),
    ],
)
def test_only_known_members_are_sent_and_all_are_applied(standin: StandIn, claimed: str, sent: dict[str, Any]) -> None:
    """The client sends the members that the server claims to take, and trusts none of that: it filters what comes."""
    lines = lines_of()
    standin.filters = claimed
    standin.answers(Account(lines=lines, copies=1))

    with client_of(standin) as client:
        found = sorted(client.export_lines("2026-01-01", None, where=EXPIRED))

    assert found == sorted(wanted_of(lines, MEMBERS))
    assert [members_of(request) for request in standin.requests] == [sent]
    assert "from" in standin.requests[0].interval


def test_a_server_that_refuses_the_filter_is_asked_without_it(standin: StandIn) -> None:
    """If the server refuses the members after all, the client sends the interval alone, now and from then on."""
    lines = lines_of()
    standin.filters = ALL
    account = Account(lines=lines, copies=1)

    def answer(request: Request) -> Answer:
        return Answer(status=400) if members_of(request) else account(request)

    standin.answers(answer)

    with client_of(standin) as client:
        found = [sorted(client.export_lines(where=EXPIRED)) for _ in range(2)]

    assert found == [sorted(wanted_of(lines, MEMBERS))] * 2
    assert [members_of(request) for request in standin.requests] == [MEMBERS, {}, {}]
    assert standin.asked == 1


def test_a_request_that_is_wrong_in_itself_is_still_an_error(standin: StandIn) -> None:
    """A refusal that has nothing to do with the filter is raised, after one more try without it."""
    standin.filters = ALL
    standin.answers(Answer(status=400, lines=[b'{"detail":"no"}'], content_type="application/problem+json"))

    with client_of(standin) as client, pytest.raises(BadRequest, match="no"):
        list(client.export_lines(where=EXPIRED))

    assert [members_of(request) for request in standin.requests] == [MEMBERS, {}]


def test_a_filter_that_is_too_large_is_not_sent(standin: StandIn) -> None:
    """A filter that does not fit into a request is applied by the client alone."""
    lines = lines_of()
    users = ["u1", *(f"nobody {number}" for number in range(3000))]
    standin.filters = ALL
    standin.answers(Account(lines=lines, copies=1))

    with client_of(standin) as client:
        found = sorted(client.export_lines(where=Filter(userId=users)))

    assert found == sorted(wanted_of(lines, {"userId": users}))
    assert [members_of(request) for request in standin.requests] == [{}]


def test_a_server_that_is_down_is_an_error_of_the_export() -> None:
    """If nothing listens, the export says so, with a filter as without one."""
    url = f"http://127.0.0.1:{free_port()}"
    with (
        Client(TRACKPOINT, "key", url=url, retry=NEVER, ssl_context=PLAIN) as client,
        pytest.raises(Unreachable, match="No response from"),
    ):
        list(client.export_lines(where=EXPIRED))


@pytest.mark.parametrize("url", ACCOUNTS.values())
def test_an_account_of_samba_is_not_asked(url: str) -> None:
    """The addresses of Samba accounts get the documented request and no other one."""
    sent: list[tuple[str, bytes]] = []

    class Nowhere:
        """A transport that reaches nothing, and notes what it was to send."""

        async def send(self, request: httpx2.Request, _pace: object) -> httpx2.Response:
            sent.append((request.method, request.content))
            raise Unreachable("nothing is there", permanent=True)

        def chunks(self, _response: object, _pace: object) -> AsyncGenerator[bytes]:
            raise NotImplementedError

        async def close(self, _response: object) -> None:
            raise NotImplementedError

        async def sleep(self, _seconds: float) -> None:
            raise NotImplementedError

    options = Options(retry=NEVER, timeouts=Timeouts(), jitter=lambda: 0.0, now_ms=now_ms, accept_unframed=False)
    core = Core(Resolved.resolve(TRACKPOINT, "key", url), Nowhere(), options)

    with pytest.raises(Unreachable):
        list(iterated(core.batches(b'{"from":1}', None, EXPIRED)))

    assert sent == [("POST", b'{"from":1}')]


def test_pull_has_the_server_filter(server: Server, tmp_path: Path) -> None:
    """`pull` with a filter writes the events that match, and the server sends no others."""
    shop, lines = filled(server)
    environment = os.environ | {"SMSEVENTS_API_KEY": shop.key, "SMSEVENTS_URL": shop.base, "HOME": str(tmp_path)}
    file = tmp_path / "events.jsonl"
    before = server.metric(OUT)

    done = run_command(
        *("pull", str(shop.trackpoint), "-o", str(file), "--days", "5", "--status", "expired"),
        *("--campaign", "c1", "--campaign", "Black Friday"),
        environment=environment,
        stdin=b"",
    )

    expected = wanted_of(lines, {"status": "EXPIRED", "campaign": ["c1", "Black Friday"]})
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == body_of(expected)
    assert server.metric(OUT) - before == len(expected) > 0


def test_sync_sends_its_filter(standin: StandIn, tmp_path: Path) -> None:
    """`sync` with a filter sends it with each request to a server that takes it, and loads what matches."""
    lines = lines_of()
    standin.filters = ALL
    standin.answers(Account(lines=lines, copies=1))
    destination = f"duckdb:///{tmp_path / 'warehouse.duckdb'}"

    report = sync(TRACKPOINT, "key", url=standin.url, destination=destination, step_days=5, where=EXPIRED, retry=NEVER)

    expected = wanted_of(lines, MEMBERS)
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        assert connection.execute("SELECT count(*) FROM sms.sms_events").fetchall() == [(len(expected),)]
    assert report.received == len(expected) > 0
    assert {json.dumps(members_of(request)) for request in standin.requests} == {json.dumps(MEMBERS)}


def test_the_command_export_filters(url: str, tmp_path: Path) -> None:
    """`export` has the options of `pull`, by the same rules, and its last line says what was left."""
    environment = os.environ | {"SMSEVENTS_DATABASE": url, "HOME": str(tmp_path)}
    lines = lines_of()
    for words, stdin in ((("shop", "add", str(TRACKPOINT)), None), (("import", str(TRACKPOINT), "-"), body_of(lines))):
        assert run_command(*words, environment=environment, stdin=stdin).returncode == 0

    done = run_command("export", str(TRACKPOINT), "--status", "expired", "--user-id", "u1", environment=environment)
    packed = run_command(
        "export", str(TRACKPOINT), "--node", "n1", "-o", str(tmp_path / "e.jsonl.gz"), environment=environment
    )
    wrong = run_command("export", str(TRACKPOINT), "--status", "delivred", environment=environment)
    nothing = run_command("export", str(TRACKPOINT), "--campaign", "none", environment=environment)

    expected = wanted_of(lines, {"status": "EXPIRED", "userId": "u1"})
    assert (done.returncode, done.stdout) == (0, body_of(expected))
    assert f"exported {len(expected)} events with status EXPIRED, userId u1, ".encode() in done.stderr
    assert packed.returncode == 0
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    assert b"Did you mean DELIVERED?" in wrong.stderr
    assert (nothing.returncode, nothing.stdout) == (0, b"")
    assert b"exported 0 events with campaign none" in nothing.stderr


def test_options_say_which_filters_the_export_takes(server: Server) -> None:
    """OPTIONS names the filters without a key, and says the same for every path of a shop."""
    got = httpx.options(f"{server.base}/shop/1/export-sms-events", timeout=60, verify=PLAIN)

    assert (got.status_code, got.content) == (204, b"")
    assert set(got.headers["X-Export-Filters"].split(", ")) == set(ALL.split(", "))
    assert {method.strip() for method in got.headers["Allow"].split(",")} == {"OPTIONS", "POST"}


def test_a_line_that_is_no_event_is_an_error_with_a_filter(standin: StandIn) -> None:
    """A server that takes filters must still send events only."""
    standin.filters = ALL
    standin.answers(Answer(lines=[line(TRACKPOINT, now_ms()), b"garbage"]))

    with client_of(standin) as client, pytest.raises(BadLine, match="Line 2"):
        list(client.export_lines(where=EXPIRED))
