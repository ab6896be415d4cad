"""Every error of the contract over HTTP: one shape, the right status, and no details before the key is accepted."""

from __future__ import annotations

import gzip
import shutil
import socket
import time
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from smsevents.accounts.access import KEY_CACHE_SECONDS, Access
from smsevents.catalog import open_catalog
from smsevents.clock.system import now_ms
from tests.support.databases import query
from tests.support.lines import DAY_MS, line
from tests.support.logs import opened_log, store
from tests.support.servers import Server, Shop, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from smsevents.accounts.access import Scope

MIB = 1024 * 1024
WRONG_KEY = "the operator of the server gives you one"
EXPORT, IMPORT = "export-sms-events", "import-sms-events"
GZIP = {"Content-Encoding": "gzip"}
BROTLI = {"Content-Encoding": "br"}

# the names of RFC 9110; Python before 3.13 has older ones
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


class Call(NamedTuple):
    """A request that must be refused: the status, what its `detail` says, and what is sent."""

    status: int
    told: str
    body: bytes | Iterable[bytes] = b"{}"
    action: str = EXPORT
    headers: dict[str, str] = {}  # noqa: RUF012 -- never changed, and a NamedTuple has no default factory


def problem_of(got: httpx.Response, status: int) -> dict[str, Any]:
    """Check that a response is a problem of the one shape and return it."""
    problem: dict[str, Any] = got.json()
    assert got.status_code == status
    assert got.headers["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= set(problem)
    assert set(problem) <= {"type", "title", "status", "detail", "errors", "more"}
    assert problem["type"] == "about:blank"
    assert problem["title"] == TITLES.get(status, HTTPStatus(status).phrase)
    assert problem["status"] == status
    assert problem["detail"].endswith(".")
    assert "Traceback" not in problem["detail"]
    return problem


def send(shop: Shop, call: Call) -> httpx.Response:
    """Send a call with the key of a shop."""
    url = f"{shop.base}/shop/{shop.trackpoint}/{call.action}"
    return httpx.post(url, content=call.body, headers=shop.headers | call.headers, timeout=60)


@contextmanager
def opened_access(url: str) -> Iterator[Access]:
    """Open the shops and keys of a database in a process other than the server."""
    database = open_catalog(url)
    try:
        yield Access(database)
    finally:
        database.close()


BAD_INTERVALS = [
    Call(400, "Send {}", b""),
    Call(400, "Send {}", b" \r\n"),
    Call(400, "not valid JSON", b"{"),
    Call(400, "not valid JSON", b"from=1&to=2"),
    Call(400, "not valid JSON", b"{} {}"),
    Call(400, "not valid JSON", b"\xff"),
    Call(400, "not valid JSON", b'{"\xff":1}'),
    Call(400, "not valid JSON: it starts with a byte order mark", b"\xef\xbb\xbf{}"),
    Call(400, "got `array`", b"[" * 5000),
    Call(400, "got `null`", b"null"),
    Call(400, "unknown field `since`", b'{"since":1}'),
    Call(400, "unknown field `From`", b'{"From":1}'),
    Call(400, "at `$.from`", b'{"from":"1673617501000"}'),
    Call(400, "at `$.from`", b'{"from":1673617501000.5}'),
    Call(400, "at `$.to`", b'{"to":true}'),
    Call(400, "at `$.to`", b'{"to":[]}'),
    Call(400, "at `$.to`", b'{"to":9223372036854775808}'),
    Call(400, "at `$.to`", b'{"to":1e400}'),
    Call(400, "`from` (2) is after `to` (1)", b'{"from":2,"to":1}'),
    Call(400, "twice", b'{"from":1,"from":1}'),
    Call(400, "twice", b'{"to":1,"from":null,"t\\u006f":2}'),
]
OTHERS = [
    Call(415, "without Content-Encoding", headers=GZIP),
    Call(415, "'br'", b"", IMPORT, BROTLI),
    Call(415, "'gzip, gzip'", b"", IMPORT, {"Content-Encoding": "gzip, gzip"}),
    Call(400, "is not gzip", b"no gzip at all", IMPORT, GZIP),
    Call(400, "is truncated", b"", IMPORT, GZIP),
    Call(400, "Line 1", b"{", IMPORT),
    Call(422, "Line 1", b"{}", IMPORT),
    Call(404, "/docs", action="export"),
    Call(404, "/docs", action=f"{EXPORT}/more"),
]


def name_of(value: object) -> str:
    """Return a short name for a test."""
    return f"{value.status}-{value.action[:6]}-{str(value.body)[:24]}" if isinstance(value, Call) else str(value)


@pytest.fixture(scope="module")
def kept(server: Server) -> tuple[Shop, bytes]:
    """Return a shop and the lines that its export must keep containing."""
    shop = server.shop()
    one = line(shop.trackpoint, now_ms())
    assert shop.send(one).status_code == 200
    return shop, one + b"\n"


@pytest.mark.parametrize("call", BAD_INTERVALS + OTHERS, ids=name_of)
def test_refused_requests(kept: tuple[Shop, bytes], call: Call) -> None:
    """A request that the contract refuses gets its status and a problem that names the place and the fix."""
    shop, lines = kept

    got = send(shop, call)

    assert call.told in problem_of(got, call.status)["detail"]
    assert shop.export().content == lines


@pytest.mark.parametrize("trackpoint", f"0 -1 01 abc 1.0 +1 %20 %D9%A1 1e3 {2**63} {'9' * 500}".split())
@pytest.mark.parametrize("action", [EXPORT, IMPORT])
def test_no_trackpoint(server: Server, trackpoint: str, action: str) -> None:
    """Anything in the path but a positive 64-bit integer is a 404 that says so, even without a key."""
    got = httpx.post(f"{server.base}/shop/{trackpoint}/{action}", content=b"{}")

    assert "positive integer" in problem_of(got, 404)["detail"]


@pytest.mark.parametrize("path", ["/x", "/shop", "/shop/1", "/metrics/x", f"/shop//{EXPORT}", "/%00", "/docs/../x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_paths(server: Server, path: str, method: str) -> None:
    """An unknown path is a problem like any other, whatever the method."""
    problem_of(httpx.request(method, server.base + path), 404)


@pytest.fixture(scope="module")
def bad_keys(server: Server, kept: tuple[Shop, bytes]) -> dict[str, str]:
    """Return invalid keys by the reason why they are invalid."""
    shop, _ = kept
    with opened_access(server.url) as access:
        expired = access.create_key(shop.trackpoint, ["export", "import"], expires_ms=now_ms() - 1)
        revoked = access.create_key(shop.trackpoint, ["export", "import"])
        access.revoke_key(revoked.split("_")[1])
    return {
        "empty": "",
        "garbage": "garbage",
        "unknown": f"sms_{'0' * 12}_{'A' * 43}",
        "another secret": shop.key[:-43] + "A" * 43,
        "longer": shop.key + "A",
        "upper": shop.key.upper(),
        "expired": expired,
        "revoked": revoked,
    }


@pytest.mark.parametrize(
    "why", ["none", "empty", "garbage", "unknown", "another secret", "longer", "upper", "expired", "revoked"]
)
@pytest.mark.parametrize("action", [EXPORT, IMPORT])
def test_bad_keys(kept: tuple[Shop, bytes], bad_keys: dict[str, str], why: str, action: str) -> None:
    """Each invalid key is a 401 that says how to get one and does not repeat the key."""
    key = bad_keys.get(why)

    got = httpx.post(
        f"{kept[0].base}/shop/{kept[0].trackpoint}/{action}",
        content=b"{}",
        headers={} if key is None else {"X-Api-Key": key},
    )

    problem = problem_of(got, 401)
    assert WRONG_KEY in problem["detail"]
    assert "X-Api-Key" in got.headers["WWW-Authenticate"]
    if why in {"expired", "revoked"}:
        assert why in problem["detail"]
        assert str(key) not in got.text


@pytest.mark.parametrize("elsewhere", ["query", "bearer"])
def test_a_key_elsewhere_is_no_key(kept: tuple[Shop, bytes], elsewhere: str) -> None:
    """A key in the URL, which would end up in logs, or as a bearer token is not accepted."""
    shop, _ = kept
    params = {"X-Api-Key": shop.key} if elsewhere == "query" else {}
    headers = {"Authorization": f"Bearer {shop.key}"} if elsewhere == "bearer" else {}

    problem_of(httpx.post(shop.export_url, params=params, headers=headers, content=b"{}"), 401)


HOSTILE_CALLS = [
    Call(0, "", b""),
    Call(0, "", b"{"),
    Call(0, "", b"x" * 100_000),
    Call(0, "", headers=BROTLI),
    Call(0, "", b"{", IMPORT),
    Call(0, "", b"", IMPORT, BROTLI),
    Call(0, "", b"\x00", IMPORT, GZIP),
]


@pytest.fixture(scope="module")
def other(server: Server) -> Shop:
    """Return another shop whose key is valid only there."""
    return server.shop()


@pytest.mark.parametrize("call", HOSTILE_CALLS, ids=name_of)
@pytest.mark.parametrize("key", ["none", "wrong", "of another shop"])
def test_the_key_comes_first(kept: tuple[Shop, bytes], other: Shop, call: Call, key: str) -> None:
    """Without the right key the response is byte-identical whatever the body and whether or not the shop exists."""
    headers = {"none": {}, "wrong": {"X-Api-Key": "sms_x"}, "of another shop": other.headers}[key]
    shop = Shop(kept[0].trackpoint, "", other.base, headers)
    nowhere = Shop(8_000_000_000_000, "", other.base, headers)

    good = send(shop, Call(0, "", b"{}", call.action))
    bad = send(shop, call)
    none = send(nowhere, call)

    problem_of(good, 403 if key == "of another shop" else 401)
    assert good.content == bad.content == none.content
    own = {"date": "", "x-request-id": ""}  # of each response alone
    assert {**good.headers, **own} == {**bad.headers, **own} == {**none.headers, **own}


@pytest.mark.parametrize(("scope", "lacking"), [("export", IMPORT), ("import", EXPORT)])
def test_a_key_does_what_its_scopes_say(server: Server, scope: Scope, lacking: str) -> None:
    """A key without the scope gets 403 in its own shop, and the problem names the scope that is needed."""
    shop = server.shop((scope,))

    assert send(shop, Call(0, "", b"{}", f"{scope}-sms-events")).status_code in {200, 422}
    assert f"`{lacking[:6]}`" in problem_of(send(shop, Call(403, "", b"{}", lacking)), 403)["detail"]


def running(folder: Path, settings: dict[str, str] | None = None, workers: int = 1) -> Iterator[Server]:
    """Run a dedicated server with the given settings."""
    server = Server(folder, settings=settings, workers=workers)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server with small limits."""
    settings = {
        "SMSEVENTS_BODY_IDLE_MAX_SECONDS": "1",
        "SMSEVENTS_IMPORT_BODY_MAX_MIB": "1",
        "SMSEVENTS_IMPORT_LINES_MAX_MIB": "2",
        "SMSEVENTS_EXPORT_BODY_MAX_KIB": "1",
    }
    yield from running(tmp_path_factory.mktemp("limited"), settings)


BODY, LINES = "SMSEVENTS_IMPORT_BODY_MAX_MIB", "SMSEVENTS_IMPORT_LINES_MAX_MIB"
TOO_LARGE: dict[str, Callable[[], Call]] = {
    "announced": lambda: Call(413, BODY, b"\n" * (MIB + 1), IMPORT),
    "streamed": lambda: Call(413, BODY, iter([b"\n" * 1024] * 1100), IMPORT),
    "inflated": lambda: Call(413, LINES, gzip.compress(b"\n" * (2 * MIB + 1)), IMPORT, GZIP),
    "bomb": lambda: Call(413, LINES, gzip.compress(b" " * (200 * MIB), 1)[:MIB], IMPORT, GZIP),
    "bomb of members": lambda: Call(413, LINES, gzip.compress(b"\n" * 5000) * 5000, IMPORT, GZIP),
    "request announced": lambda: Call(413, "at most 1024 bytes", b" " * 1025),
    "request streamed": lambda: Call(413, "at most 1024 bytes", iter([b"\n"] * 2000)),
}


@pytest.mark.parametrize("how", TOO_LARGE)
def test_too_large(limited: Server, how: str) -> None:
    """A body over a limit, as sent or inflated, is a 413 that names the limit, and nothing is stored."""
    shop = limited.shop()
    kept = line(shop.trackpoint, now_ms())
    assert shop.send(kept).status_code == 200
    call = TOO_LARGE[how]()

    got = send(shop, call)

    assert call.told in problem_of(got, 413)["detail"]
    assert shop.export().content == kept + b"\n"


def test_limits_are_inclusive(limited: Server) -> None:
    """A body of exactly the limit is accepted, plain and inflated."""
    shop = limited.shop()

    assert shop.send(b"\n" * MIB).json() == {"received": 0, "expired": 0}
    assert shop.send(gzip.compress(b"\n" * 2 * MIB), **{"Content-Encoding": "gzip"}).status_code == 200
    assert httpx.post(shop.export_url, content=b"{}" + b" " * 1022, headers=shop.headers).status_code == 200


def raw(server: Server, shop: Shop, action: str, *lines: str) -> socket.socket:
    """Connect with a small receive buffer and send the head of a request."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect(("127.0.0.1", server.port))
    head = [f"POST /shop/{shop.trackpoint}/{action} HTTP/1.1", "Host: localhost", f"X-Api-Key: {shop.key}", *lines]
    client.sendall("\r\n".join([*head, "", ""]).encode())
    return client


def answer_on(client: socket.socket) -> httpx.Response:
    """Read the response to a request that was sent by hand."""
    answer = HTTPResponse(client)
    answer.begin()
    return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


@pytest.mark.parametrize("action", [EXPORT, IMPORT])
@pytest.mark.parametrize("sent", [b"", b"{"])
def test_a_body_that_stops_coming(limited: Server, action: str, sent: bytes) -> None:
    """A client that pauses too long within its body gets a 408 that says that nothing was done."""
    shop = limited.shop()
    client = raw(limited, shop, action, "Content-Length: 100")
    client.sendall(sent)

    got = answer_on(client)
    client.close()

    assert "Nothing was done; send it again" in problem_of(got, 408)["detail"]
    assert shop.export().content == b""


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server that takes one export and one import at a time."""
    settings = {"SMSEVENTS_EXPORTS_AT_ONCE_MAX": "1", "SMSEVENTS_IMPORTS_AT_ONCE_MAX": "1"}
    yield from running(tmp_path_factory.mktemp("narrow"), settings)


def test_too_many_exports(narrow: Server) -> None:
    """While a slow client holds the only slot, exports and downloads get 429 with Retry-After, later their lines."""
    shop = narrow.shop()
    wide = [line(shop.trackpoint, now_ms() - index, user=f"{index}-" + "x" * 900) for index in range(12_000)]
    with opened_log(narrow.url) as log:
        store(log, shop.trackpoint, wide)
    slow = raw(narrow, shop, EXPORT, "Content-Length: 2")
    slow.sendall(b"{}")
    assert eventually(lambda: narrow.metric("smsevents_exports_running") == 1)

    got = shop.export()
    filtered = shop.export({"status": "DELIVERED"})
    download = httpx.get(f"{shop.base}/shop/{shop.trackpoint}/sms-events", headers=shop.headers, timeout=60)
    slow.close()

    for one in (got, filtered, download):
        assert "SMSEVENTS_EXPORTS_AT_ONCE_MAX" in problem_of(one, 429)["detail"]
        assert int(one.headers["Retry-After"]) > 0
    assert eventually(lambda: narrow.metric("smsevents_exports_running") == 0)
    assert shop.export().content.count(b"\n") == len(wide)


def test_too_many_imports(narrow: Server) -> None:
    """While an import is being sent, another gets 429 with Retry-After and is stored only when sent again later."""
    shop, other = narrow.shop(), narrow.shop()
    one = line(other.trackpoint, now_ms())
    slow = raw(narrow, shop, IMPORT, "Content-Length: 100", "Expect: 100-continue")
    assert slow.recv(100).startswith(b"HTTP/1.1 100")  # it holds the slot once it gets `100 Continue`

    got = other.send(one)
    exported = other.export().content
    slow.close()

    assert "SMSEVENTS_IMPORTS_AT_ONCE_MAX" in problem_of(got, 429)["detail"]
    assert int(got.headers["Retry-After"]) > 0
    assert exported == b""
    assert eventually(lambda: other.send(one).status_code == 200)
    assert other.export().content == one + b"\n"


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server whose database tests remove and restore, even while its upkeep worker starts."""
    yield from running(tmp_path_factory.mktemp("breakable"))


@contextmanager
def moved_away(server: Server) -> Iterator[None]:
    """Move the database to another name for as long as the block runs."""
    away = server.path.with_suffix(".away")
    server.path.rename(away)
    try:
        yield
    finally:
        away.rename(server.path)


@contextmanager
def replaced(server: Server) -> Iterator[None]:
    """Replace the database by another file for as long as the block runs."""
    with moved_away(server):
        shutil.copy(server.path.with_suffix(".away"), server.path)
        yield


@contextmanager
def without(server: Server, table: str) -> Iterator[None]:
    """Remove a table from the database for as long as the block runs."""
    for old, new in ((table, f"{table}_away"), (f"{table}_away", table)):
        query(server.path, f"ALTER TABLE {old} RENAME TO {new}")
        if new != table:
            yield


BROKEN: dict[str, Callable[[Server], Any]] = {
    "moved away": moved_away,
    "replaced": replaced,
    "without segments": lambda server: without(server, "segments"),
    "without keys": lambda server: without(server, "keys"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_an_unavailable_store(breakable: Server, broken: str) -> None:
    """While the database cannot be used, imports and exports get 503; afterwards everything is as before."""
    shop = breakable.shop()
    kept = line(shop.trackpoint, now_ms() - DAY_MS)
    assert shop.send(kept).status_code == 200
    with opened_access(breakable.url) as access:
        unknown_yet = access.create_key(shop.trackpoint, ["export", "import"])
    fresh = Shop(shop.trackpoint, "", shop.base, {"X-Api-Key": unknown_yet})

    with BROKEN[broken](breakable):
        refused = [fresh.export(), fresh.send(line(shop.trackpoint, now_ms()))]
        ready = httpx.get(f"{breakable.base}/health/ready")
        live = httpx.get(f"{breakable.base}/health/live")

    for got in refused if broken.startswith("without") else [*refused, ready]:
        assert "database" in problem_of(got, 503)["detail"]
        assert int(got.headers["Retry-After"]) > 0
    assert live.status_code == 200
    assert eventually(lambda: shop.export().content == kept + b"\n")
    assert httpx.get(f"{breakable.base}/health/ready").status_code == 200


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[Server]:
    """Yield a server of two processes."""
    yield from running(tmp_path, workers=2)


def test_a_revoked_key_stops_on_every_worker(two_workers: Server) -> None:
    """A revoked key is refused by every worker that had accepted it once its cache entry has expired."""
    shop = two_workers.shop()
    with (
        httpx.Client(headers=shop.headers | {"Connection": "close"}) as client,
        opened_access(two_workers.url) as access,
    ):

        def statuses() -> set[int]:
            return {client.post(shop.export_url, content=b"{}").status_code for _ in range(20)}

        assert statuses() == {200}
        access.revoke_key(shop.key.split("_")[1])
        time.sleep(KEY_CACHE_SECONDS)

        assert eventually(lambda: statuses() == {401})
        assert statuses() == {401}
