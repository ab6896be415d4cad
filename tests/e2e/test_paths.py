"""Paths and query parameters: what is routed is what is done, and nothing in a request is ignored silently."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx
import pytest

from smsevents.clock.system import now_ms
from smsevents.web.page import version
from tests.support.lines import line
from tests.support.servers import Server
from tests.support.wire import Wire, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Shop

USERS = ["u1", "u5", "a/users/u5", "users/u5", "a b", "100%", "/u1", "u1/", "ü"]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server for this file, and check afterwards that it responded with no 5xx."""
    running = Server(tmp_path_factory.mktemp("paths"))
    yield running
    rows = httpx.get(f"{running.base}/metrics").text.splitlines()
    assert not [row for row in rows if row.startswith("smsevents_requests_total") and 'status="5' in row]
    running.stop()


@pytest.fixture
def shop(own: Server) -> Shop:
    """Return a shop with one event of each user."""
    shop = own.shop(("export", "import", "admin"))
    now = now_ms()
    body = b"\n".join(line(shop.trackpoint, now - number, user=user) for number, user in enumerate(USERS))
    assert shop.send(body).status_code == 200
    return shop


def users_left(shop: Shop) -> set[str]:
    """Return the users whose events are exported."""
    return {json.loads(row)["smsEvent"]["userId"] for row in shop.export().content.splitlines()}


def asked(server: Server, method: str, path: str, shop: Shop, body: bytes | None = None) -> tuple[int, str]:
    """Send a path exactly as given; return the status and the body."""
    with Wire(server.port) as wire:
        wire.send(ask(method, path.replace("/7", f"/{shop.trackpoint}", 1), f"X-Api-Key: {shop.key}", body=body))
        reply = wire.reply()
    return reply.status, reply.body.decode()


@pytest.mark.parametrize(
    "path",
    [
        "/shop/7%2Fusers%2Fu1",
        "/shop/7/users%2Fu1",
        "/shop/7/users%2fa/users/u5",
        "/shop%2F7/users/u1",
        "/shop/7%2F/users/u1",
        "//shop/7/users/u1",
        "/shop//7/users/u1",
        "/shop/7//users/u1",
        "/x/../shop/7/users/u1",
        "/shop/7/./users/u1",
        "/shop/7/users",
        "/shop/7/%75sers%2Fu1",
        "/shop/7/users%252Fu1",
        "/SHOP/7/users/u1",
    ],
)
def test_a_confused_path_erases_nobody(own: Server, shop: Shop, path: str) -> None:
    """A path that only some parsers would read as the erasure of a user is a 404, and nobody is erased."""
    status, _ = asked(own, "DELETE", path, shop)

    assert status == 404
    assert users_left(shop) == set(USERS)


@pytest.mark.parametrize(
    ("path", "user"),
    [
        ("/shop/7/users/u1", "u1"),
        ("/shop/7/%75sers/u1", "u1"),
        ("/%73hop/7/users/u5", "u5"),
        ("/shop/7/users/a/users/u5", "a/users/u5"),
        ("/shop/7/users/a%2Fusers%2Fu5", "a/users/u5"),
        ("/shop/7/users/users/u5", "users/u5"),
        ("/shop/7/users//u1", "/u1"),
        ("/shop/7/users/u1/", "u1/"),
        ("/shop/7/users/u1%2f", "u1/"),
        ("/shop/7/users/a%20b", "a b"),
        ("/shop/7/users/100%25", "100%"),
        ("/shop/7/users/%C3%BC", "ü"),
    ],
)
def test_exactly_the_user_of_the_path_is_erased(own: Server, shop: Shop, path: str, user: str) -> None:
    """A user id may hold any characters, escaped or not: exactly that user is erased."""
    status, body = asked(own, "DELETE", path, shop)

    assert (status, json.loads(body)["events"]) == (200, 1)
    assert users_left(shop) == set(USERS) - {user}


@pytest.mark.parametrize("path", ["/shop/7/users/u1#x", "/shop/7/users/u1?x", "/shop/7/users/u1?block=true&a=b"])
def test_what_looks_like_the_end_of_a_user_id_erases_nobody(own: Server, shop: Shop, path: str) -> None:
    """An unescaped `#` or `?` is refused rather than taken for the end of the id."""
    status, _ = asked(own, "DELETE", path, shop)

    assert status == 400
    assert users_left(shop) == set(USERS)


@pytest.mark.parametrize("query", ["from=1", "to=", "a=b&from=2", "%66rom=1", "from"])
def test_members_of_the_body_are_refused_in_the_address_of_an_export(own: Server, shop: Shop, query: str) -> None:
    """An interval in the query, which would not be read, is a 400 that says where it belongs."""
    status, body = asked(own, "POST", f"/shop/7/export-sms-events?{query}", shop, b"{}")

    assert status == 400
    assert "in the body" in json.loads(body)["detail"]


@pytest.mark.parametrize(
    "query", ["", "a=b", "_=1699999999", "limit=5&&=", "utm_source=x", "%ff=%00", "From=1", "=from"]
)
def test_other_parameters_of_an_export_are_tolerated(own: Server, shop: Shop, query: str) -> None:
    """An export tolerates other query parameters, because others documented that call."""
    status, body = asked(own, "POST", f"/shop/7/export-sms-events?{query}", shop, b"{}")

    assert (status, len(body.splitlines())) == (200, len(USERS))


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/shop/7/import-sms-events?dry_run=true"), ("DELETE", "/shop/7/users/u1?force=1")]
)
def test_unknown_parameters_of_our_own_calls_are_refused(own: Server, shop: Shop, method: str, path: str) -> None:
    """A parameter that an import or an erasure does not know is a 400 that names it, and nothing is done."""
    one = line(shop.trackpoint, now_ms(), user="new")

    status, body = asked(own, method, path, shop, one)

    assert status == 400
    assert re.search("'(dry_run|force)'", json.loads(body)["detail"])
    assert users_left(shop) == set(USERS)


@pytest.mark.parametrize(
    "path", ["/docs", "/openapi.json", "/metrics", "/health/live", "/health/ready", "/page/icon.svg"]
)
def test_pages_take_any_parameter(own: Server, path: str) -> None:
    """Pages, health checks and metrics are served with any query parameters."""
    assert httpx.get(f"{own.base}{path}?from=1&cachebuster=x").status_code == 200


def test_a_wrong_key_comes_before_a_wrong_parameter(own: Server, shop: Shop) -> None:
    """A request with a wrong key gets no response about its parameters."""
    for action in ("export", "import"):
        answer = httpx.post(f"{own.base}/shop/{shop.trackpoint}/{action}-sms-events?from=1", headers={"X-Api-Key": "x"})
        assert answer.status_code == 401


@pytest.mark.parametrize("root", ["http://h/", "http://h/sms/"])
def test_addresses_of_the_pages_are_relative(own: Server, root: str) -> None:
    """Under any prefix each page leads to its files, and the one at the root to the API."""
    front = httpx.get(f"{own.base}/").text
    slash = httpx.get(f"{own.base}/docs/")
    page = httpx.get(f"{own.base}/docs").text
    found = [urljoin(f"{root}docs", link) for link in re.findall(r'(?:href|src)="([^#"]+)"', page)]

    assert {urljoin(root, link) for link in re.findall(r'(?:href|src)="([^#"]+)"', front)} >= {
        f"{root}docs",
        f"{root}page/{version()}/bundle/page.js",
        f"{root}page/{version()}/bundle/page.css",
    }
    assert urljoin(f"{root}docs/", slash.headers["location"]) == f"{root}docs"
    assert {*found} >= {f"{root}page/{version()}/bundle/docs.js", f"{root}openapi.json", f"{root}docs?lang=cs"}
    assert all(address.startswith(root) for address in found)
    assert urljoin(f"{root}openapi.json", httpx.get(f"{own.base}/openapi.json").json()["servers"][0]["url"]) == root


@pytest.mark.parametrize(
    ("headers", "status", "is_gzip"),
    [
        (["Accept-Encoding: identity", "Accept-Encoding: gzip"], 200, True),
        (["Accept-Encoding: gzip;q=0", "Accept-Encoding: *;q=0.5"], 200, False),
        (["Accept-Encoding:\tGZIP \t;\tQ=1.000"], 200, True),
        (["Accept-Encoding: gzip;q=1e0"], 200, False),
        (["Accept-Encoding: ,, gzip ,"], 200, True),
        (["Content-Encoding: identity", "Content-Encoding: identity"], 200, False),
        (["Content-Encoding: gzip", "Content-Encoding: identity"], 415, False),
        (["Content-Type: a/b", "Content-Type: c/d"], 200, False),
        (["Content-Type: \xff;;;="], 200, False),
        (['Accept: text/x;a="application/json-seq;q=0,", application/json-seq'], 200, False),
    ],
)
def test_header_values_are_read_as_lists(
    own: Server, shop: Shop, headers: list[str], status: int, is_gzip: bool
) -> None:
    """Whitespace, case, empty members and repeated lines of a header are read as RFC 9110, section 5.6 specifies."""
    path = f"/shop/{shop.trackpoint}/export-sms-events"
    with Wire(own.port) as wire:
        wire.send(ask("POST", path, f"X-Api-Key: {shop.key}", *headers, body=b"{}"))
        reply = wire.reply()

    assert reply.status == status
    assert (reply.headers.get("content-encoding") == "gzip") == is_gzip
