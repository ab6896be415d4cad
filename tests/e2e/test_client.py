"""The client with complete responses from a real server and from a stand-in as careless as other servers are."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from smsevents import client as package
from smsevents.client import (
    ACCOUNTS,
    AsyncClient,
    Client,
    ClientError,
    ConfigurationError,
    Event,
    ImportResult,
    errors,
)
from smsevents.client.account import Account as Resolved
from smsevents.clock.system import now_ms
from smsevents.wire import events
from tests.support.lines import DAY_MS, HOUR_MS, body_of, line, model
from tests.support.servers import PLAIN, Server, eventually
from tests.support.standin import Account, Answer, StandIn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TRACKPOINT = 4541245641234564
START = 1_700_000_000_000
HOSTILE = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"


def some_lines(count: int, trackpoint: int = TRACKPOINT, start: int = START) -> list[bytes]:
    """Return lines of both sources, in order."""
    return [
        line(trackpoint, start + index * 1000, user=f"user {index}", node="VIP" if index % 3 else None)
        for index in range(count)
    ]


def raw(trackpoint: int, user: str) -> bytes:
    """Return a line that escapes only what JSON requires, as another server may write it."""
    return line(trackpoint, START, user="?").replace(b"?", user.encode())


def read_blocks(client: Client, *bounds: Any) -> bytes:
    """Read an export in blocks."""
    return b"".join(client.export_blocks(*bounds))


def read_lines(client: Client, *bounds: Any) -> bytes:
    """Read an export line by line."""
    return body_of(client.export_lines(*bounds))


def read_events(client: Client, *bounds: Any) -> bytes:
    """Read an export event by event."""
    return body_of(events.encode(event) for event in client.export(*bounds))


def read_batches(client: Client, *bounds: Any) -> bytes:
    """Read an export in batches, each of which holds the same lines in three forms."""
    read = b""
    for batch in client.export_batches(*bounds):
        assert batch.block == body_of(batch.lines)
        assert batch.lines == [events.encode(event) for event in batch.events]
        read += batch.block
    return read


READERS = [read_blocks, read_lines, read_events, read_batches]


async def read_on_a_loop(client: AsyncClient, *bounds: Any) -> list[bytes]:
    """Read an export on an event loop in each of the four ways."""
    batches = [batch async for batch in client.export_batches(*bounds)]
    return [
        b"".join([block async for block in client.export_blocks(*bounds)]),
        body_of([one async for one in client.export_lines(*bounds)]),
        body_of([events.encode(event) async for event in client.export(*bounds)]),
        b"".join(batch.block for batch in batches),
    ]


@pytest.fixture(scope="module")
def filled(server: Server) -> tuple[Any, list[bytes], int]:
    """Return a shop with 6000 events of one hour, some hostile, together with its lines and the time."""
    shop = server.shop()
    now = now_ms() // 1000 * 1000
    lines = some_lines(5000, shop.trackpoint, now - 5_000_000)
    lines += [line(shop.trackpoint, now - index, user=f"{HOSTILE}{index}") for index in range(1000)]
    assert shop.send(body_of(lines)).status_code == 200
    return shop, lines, now


@pytest.mark.parametrize("read", READERS)
def test_a_real_export_is_read(filled: tuple[Any, list[bytes], int], read: Callable[..., bytes]) -> None:
    """Each way of reading returns what the log holds in the closed interval, byte for byte."""
    shop, lines, now = filled
    start, end = now - 3_000_000, now - 500

    with Client(shop.trackpoint, shop.key, url=shop.base, ssl_context=PLAIN) as client:
        assert read(client) == model(lines, 0, now)
        assert read(client, start, end) == model(lines, start, end)
        assert read(client, start) == model(lines, start, now)
        assert read(client, datetime.fromtimestamp(start / 1000, UTC)) == model(lines, start, now)
        assert read(client, start - DAY_MS, start - DAY_MS) == b""


def test_a_real_export_is_read_on_an_event_loop(filled: tuple[Any, list[bytes], int]) -> None:
    """The asynchronous client returns the same in each of its ways of reading."""
    shop, lines, now = filled

    async def read() -> list[bytes]:
        """Collect the results of all four ways."""
        async with AsyncClient(shop.trackpoint, shop.key, url=shop.base, ssl_context=PLAIN) as client:
            return await read_on_a_loop(client, now - 3_000_000, now - 500)

    assert asyncio.run(read()) == [model(lines, now - 3_000_000, now - 500)] * 4


@pytest.mark.parametrize("form", [bytes, Event], ids=["lines", "events"])
def test_what_is_imported_is_exported(server: Server, form: type) -> None:
    """Lines and events import alike, are stored once however often they are sent, and are counted if too old."""
    shop = server.shop()
    now = now_ms()
    lines = some_lines(3000, shop.trackpoint, now - HOUR_MS)
    old = line(shop.trackpoint, now - 91 * DAY_MS)
    items = [one if form is bytes else events.decode(one)[0] for one in [*lines, old]]

    with Client(shop.trackpoint, shop.key, url=shop.base, ssl_context=PLAIN) as client:
        assert client.import_events(iter(items)) == ImportResult(3001, 1)
        assert client.import_events(items[:10]) == ImportResult(10, 0)
        assert client.import_events([]) == ImportResult(0, 0)
        assert read_lines(client) == body_of(lines)


def test_import_on_an_event_loop(server: Server) -> None:
    """The asynchronous client imports from synchronous and asynchronous iterables."""
    shop = server.shop()
    lines = some_lines(20, shop.trackpoint, now_ms() - HOUR_MS)

    async def arriving() -> AsyncIterator[bytes]:
        """Yield lines from an asynchronous source."""
        for one in lines[10:]:
            await asyncio.sleep(0)
            yield one

    async def run() -> list[bytes]:
        """Import one half from each kind of iterable, and read everything."""
        async with AsyncClient(shop.trackpoint, shop.key, url=shop.base, ssl_context=PLAIN) as client:
            assert await client.import_events(lines[:10]) == ImportResult(10, 0)
            assert await client.import_events(arriving()) == ImportResult(10, 0)
            return [one async for one in client.export_lines()]

    assert asyncio.run(run()) == lines


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("gzip", [True, False])
def test_any_order_and_any_copies_are_given_as_they_come(standin: StandIn, framing: str, *, gzip: bool) -> None:
    """Exports that are unsorted, have duplicates or lack gzip are read; each line is returned as often as it came."""
    lines = some_lines(500)
    account = Account(lines=lines, copies=3, options={"gzip": gzip, "framing": framing, "chunk_bytes": 999})
    standin.answers(account)

    with Client(TRACKPOINT, "key", url=standin.url, ssl_context=PLAIN) as client:
        got = list(client.export_lines(START, START + 200_000))

    sent = account(standin.requests[0]).lines
    assert got == sent
    assert set(got) == set(lines[:201])
    assert max(Counter(got).values()) == 3
    assert standin.requests[0].headers["accept-encoding"] == "gzip"


def test_lines_end_at_line_feeds_alone(standin: StandIn) -> None:
    """Unescaped Unicode separators within a value, and a CR before the LF, do not end a line."""
    lines = [raw(TRACKPOINT, "a\u2028b\u2029c\u0085d"), line(TRACKPOINT, START) + b"\r", raw(TRACKPOINT, "é\u2028")]
    standin.answers(*[Answer(lines=lines, chunk_bytes=size) for size in (1, 7, 10_000)])

    with Client(TRACKPOINT, "key", url=standin.url, ssl_context=PLAIN) as client:
        for _ in range(3):
            assert list(client.export_lines()) == lines


def test_record_separators_and_blank_lines_are_left_out(standin: StandIn) -> None:
    """RFC 7464 records are read, and blank lines, which some servers send as keep-alives, are skipped."""
    lines = some_lines(3)
    sent = [b"\x1e" + lines[0], b"", b"\x1e" + lines[1], b" \r", lines[2], b""]
    standin.answers(Answer(lines=sent))

    with Client(TRACKPOINT, "key", url=standin.url, ssl_context=PLAIN) as client:
        assert list(client.export_lines()) == lines
        assert read_blocks(client) == body_of(lines)


@pytest.mark.parametrize(
    "media_type",
    ["application/json-seq", "application/x-ndjson; charset=utf-8", "Application/JSON", "text/plain", None],
)
def test_media_types_of_lines(standin: StandIn, media_type: str | None) -> None:
    """The media types that servers use for JSON lines are accepted, with or without parameters, as is a missing one."""
    lines = some_lines(3)
    standin.answers(Answer(lines=lines, content_type=media_type))

    with Client(TRACKPOINT, "key", url=standin.url, ssl_context=PLAIN) as client:
        assert list(client.export_lines()) == lines


def test_what_is_asked(standin: StandIn) -> None:
    """The request follows the contract: path, key, and only the bounds that were given."""
    with Client(TRACKPOINT, "sms_key", url=f"{standin.url}/base/", ssl_context=PLAIN) as client:
        for bounds in ([], [1], [None, 2], [1, 2]):
            assert list(client.export(*bounds)) == []

    assert [request.interval for request in standin.requests] == [{}, {"from": 1}, {"to": 2}, {"from": 1, "to": 2}]
    assert {request.path for request in standin.requests} == {f"/base/shop/{TRACKPOINT}/export-sms-events"}
    assert {request.headers["x-api-key"] for request in standin.requests} == {"sms_key"}


def test_a_proxy_of_the_environment_is_used(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go through a proxy that the environment names."""
    monkeypatch.setenv("HTTP_PROXY", standin.url)
    with Client(7, "key", url="http://server.invalid", ssl_context=PLAIN) as client:
        assert list(client.export()) == []
    assert standin.requests[0].path == "http://server.invalid/shop/7/export-sms-events"


def test_lines_are_given_while_the_export_still_comes(standin: StandIn) -> None:
    """Lines are returned as they arrive: the first are available while the server is still silent."""
    lines = some_lines(200)
    standin.answers(Answer(lines=lines, chunk_bytes=1000, silent_at=5000))

    with Client(TRACKPOINT, "key", url=standin.url, ssl_context=PLAIN) as client:
        export = client.export_lines()
        assert [next(export) for _ in range(10)] == lines[:10]
        export.close()


def test_leaving_an_export_early_closes_its_connection(standin: StandIn) -> None:
    """With either client, leaving an export early closes its connection."""
    standin.answers(Answer(lines=some_lines(200), chunk_bytes=1000, silent_at=5000))

    async def leave(client: AsyncClient) -> None:
        """Read one line on an event loop, then let the server see that the reader has left."""
        async with aclosing(client.export_lines()) as export:
            assert await anext(export)

    async def run() -> None:
        """Leave the export while the client is still open."""
        async with AsyncClient(TRACKPOINT, "key", url=standin.url, ssl_context=PLAIN) as client:
            await leave(client)
            assert await asyncio.to_thread(eventually, lambda: standin.left == 2)

    with Client(TRACKPOINT, "key", url=standin.url, ssl_context=PLAIN) as client:
        for _ in client.export():
            break
        assert eventually(lambda: standin.left == 1)
        asyncio.run(run())


def test_the_blocking_client_works_within_an_event_loop(standin: StandIn) -> None:
    """A blocking call inside a coroutine works, and blocks."""
    lines = some_lines(300)
    standin.answers(Answer(lines=lines, chunk_bytes=1000))

    async def read() -> list[bytes]:
        """Read without awaiting."""
        with Client(TRACKPOINT, "key", url=standin.url, ssl_context=PLAIN) as client:
            assert next(client.export_lines()) == lines[0]
            return list(client.export_lines())

    assert asyncio.run(read()) == lines


def test_threads_share_a_client(standin: StandIn) -> None:
    """Eight threads read 40 days concurrently with one client, and each gets its own lines."""
    lines = [line(TRACKPOINT, START + day * DAY_MS + index) for day in range(40) for index in range(50)]
    standin.answers(Account(lines=lines, copies=1, options={"chunk_bytes": 700, "pause_seconds": 0.001}))

    with Client(TRACKPOINT, "key", url=standin.url, ssl_context=PLAIN) as client:

        def day(number: int) -> set[bytes]:
            """Read one day."""
            start = START + number * DAY_MS
            return set(client.export_lines(start, start + DAY_MS - 1))

        with ThreadPoolExecutor(8) as pool:
            days = list(pool.map(day, range(40)))

    assert days == [set(lines[number * 50 : number * 50 + 50]) for number in range(40)]


MEMORY_SCRIPT = """
import resource, sys
from smsevents.client import Client
with Client(int(sys.argv[1]), "key", url=sys.argv[2]) as client:
    count = 0
    for batch in client.export_batches():
        count += len(batch.events)
        if count < 20_000:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("gzip", [True, False])
def test_memory_does_not_grow_with_an_export(standin: StandIn, *, gzip: bool) -> None:
    """Reading 50 MB of lines takes hardly more memory than the first 5 MB, even when they arrive as 1 MB of gzip."""
    standin.answers(Answer(lines=some_lines(1000) * 200, gzip=gzip, chunk_bytes=64 * 1024))

    command = [sys.executable, "-c", MEMORY_SCRIPT, str(TRACKPOINT), standin.url]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)

    count, grown_kib = map(int, done.stdout.split())
    assert count == 200_000
    assert grown_kib < 16 * 1024


def test_loading_the_client_loads_no_server() -> None:
    """`import smsevents.client` loads no server module, and no HTTP library before a client is created."""
    script = """
import sys
import smsevents.client
print(*sorted({name.split(".")[0] for name in sys.modules} & set(sys.argv[1].split())))
print(*sorted(name for name in sys.modules if name.startswith("smsevents.") and ".client" not in name))
"""
    heavy = "litestar sqlalchemy uvicorn alembic typer rich structlog prometheus_client httpx2 httpx anyio dlt"
    done = subprocess.run([sys.executable, "-c", script, heavy], check=True, capture_output=True, text=True, timeout=60)

    wire = ["canonical", "columns", "event_filter", "events", "limits", "reasons", "reference", "results", "times"]
    modules = ["clock", "clock.system", "errors", "wire", *(f"wire.{name}" for name in wire)]
    assert done.stdout.splitlines() == ["", " ".join(f"smsevents.{module}" for module in modules)]


def test_all_names_are_exported_and_documented() -> None:
    """The package exports all its errors and everything it lists, with docstrings and types."""
    tree = {kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, ClientError)}

    assert {kind.__name__ for kind in tree} <= set(package.__all__)
    assert set(errors.__all__) <= set(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is ACCOUNTS or inspect.getdoc(getattr(package, name)), name
    assert set(inspect.signature(AsyncClient).parameters) == set(inspect.signature(Client).parameters)
    for name, method in vars(Client).items():
        if not name.startswith("_"):
            assert (
                inspect.signature(method).parameters.keys()
                == inspect.signature(getattr(AsyncClient, name)).parameters.keys()
            ), name


def test_key_and_address_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, standin: StandIn) -> None:
    """A missing key or URL is taken from SMSEVENTS_API_KEY or SMSEVENTS_URL; arguments take precedence."""
    monkeypatch.setenv("SMSEVENTS_API_KEY", " of-environment\n")
    monkeypatch.setenv("SMSEVENTS_URL", standin.url)

    with Client(TRACKPOINT, ssl_context=PLAIN) as client, Client(TRACKPOINT, "given", ssl_context=PLAIN) as other:
        list(client.export())
        list(other.export())
        assert client.url == standin.url

    assert [request.headers["x-api-key"] for request in standin.requests] == ["of-environment", "given"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"trackpoint": 0}, "trackpoint"),
        ({"trackpoint": "7"}, "trackpoint"),
        ({"trackpoint": 2**63}, "trackpoint"),
        ({"trackpoint": True}, "trackpoint"),
        ({"url": ""}, "SMSEVENTS_URL"),
        ({"url": "api.samba.ai"}, "address"),
        ({"url": "ftp://api.samba.ai"}, "address"),
        ({"url": "http://"}, "address"),
        ({"url": "http://host:x"}, "address"),
        ({"url": "http://host/?a=1"}, "address"),
        ({"url": "http://user:secret@host"}, "password"),
        ({"key": ""}, "SMSEVENTS_API_KEY"),
        ({"key": "a\nb"}, "characters"),
        ({"key": "klíč"}, "characters"),
    ],
)
def test_what_cannot_be_used_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], said: str
) -> None:
    """A client that could not work is not created; the error names what is missing or wrong."""
    monkeypatch.delenv("SMSEVENTS_API_KEY", raising=False)
    monkeypatch.delenv("SMSEVENTS_URL", raising=False)
    good = {"trackpoint": 7, "key": "key", "url": "http://127.0.0.1:9"}

    for kind in (Client, AsyncClient):
        with pytest.raises(ConfigurationError, match=said) as caught:
            kind(**good | arguments)  # type: ignore[arg-type]
        assert "secret" not in str(caught.value)


def test_the_key_is_in_no_text() -> None:
    """Neither the client nor the account shows the key in its text representation."""
    with Client(7, "sms_hidden", url=ACCOUNTS["samba"], ssl_context=PLAIN) as client:
        assert repr(client) == "Client(7, url='https://api.samba.ai')"
    assert "sms_hidden" not in repr(Resolved.resolve(7, "sms_hidden", ACCOUNTS["enterprise"]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("CutStream", "TruncatedStream"),
        ("NotWhole", "IncompleteExport"),
        ("Receipt", "ImportResult"),
        ("UnexpectedAnswer", "UnexpectedResponse"),
    ],
)
def test_the_names_of_earlier_versions_still_work(old: str, new: str) -> None:
    """Renamed objects can be imported under their old names, with a warning that gives the new name."""
    with pytest.warns(DeprecationWarning, match=f"{old} is called {new} now"):
        assert getattr(package, old) is getattr(package, new)
    with pytest.raises(AttributeError):
        _ = package.Nothing


def test_errors_say_whether_and_when_to_try_again() -> None:
    """Calls are repeated after errors that may be temporary, and not after others."""
    again = {
        errors.Unreachable("x"): package.Recovery.NOW,
        errors.Unreachable("x", permanent=True): package.Recovery.NEVER,
        errors.RateLimited("x", status=429): package.Recovery.NOW,
        errors.ServerUnavailable("x", status=503): package.Recovery.NOW,
        errors.ServerFault("x", status=500): package.Recovery.LATER,
        errors.Unauthorized("x", status=401): package.Recovery.NEVER,
        errors.TruncatedStream("x", lines=0, body_bytes=0): package.Recovery.NOW,
        errors.TooSlow("x", lines=0, body_bytes=0): package.Recovery.NEVER,
        errors.BadLine(line=1, reason="x", text="x"): package.Recovery.LATER,
        errors.UnexpectedResponse("x"): package.Recovery.LATER,
        errors.ConfigurationError("x"): package.Recovery.NEVER,
    }
    for error, when in again.items():
        assert error.recovery is when
