"""The request log: who requested what, why it was refused, and nothing of keys, bodies and users."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import line
from tests.support.logs import opened_log, store
from tests.support.servers import PLAIN, Server, Shop, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARK = "SECRETMARK"
PROXY = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7", "X-Request-Id": "from-the-proxy-1"}


def started(folder: Path, **settings: str) -> Iterator[Server]:
    """Yield a server that logs JSON."""
    running = Server(folder, settings={"SMSEVENTS_LOG_FORMAT": "json", "SMSEVENTS_UPKEEP": "off", **settings})
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server that trusts no proxy."""
    yield from started(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server that trusts a proxy on this machine and logs everything."""
    folder = tmp_path_factory.mktemp("proxied")
    yield from started(folder, SMSEVENTS_TRUSTED_PROXIES="127.0.0.0/8", SMSEVENTS_LOG_LEVEL="debug")


def said(server: Server) -> list[dict[str, Any]]:
    """Return the lines that the server logged."""
    lines = server.log_path.read_text().splitlines()
    return [json.loads(one) for one in lines if one.startswith("{")]


def line_of(server: Server, response: httpx.Response) -> dict[str, Any]:
    """Return the line about a request, found as an operator would find it: by the id in its response."""
    request_id = response.headers["X-Request-Id"]

    def found() -> list[dict[str, Any]]:
        return [one for one in said(server) if one["event"] == "request" and one["request_id"] == request_id]

    assert eventually(lambda: bool(found()))
    (one,) = found()
    return one


def test_a_request_is_told_with_who_and_what(server: Server) -> None:
    """A valid import is logged with client, key, path, size and a numeric status; each request has its own id."""
    shop = server.shop()
    first, second = (shop.send(line(shop.trackpoint, now_ms())) for _ in range(2))
    told = line_of(server, first)
    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]
    assert (told["level"], told["status"], told["client"]) == ("info", 200, "127.0.0.1")
    assert (told["key_id"], told["method"]) == (shop.key.split("_")[1], "POST")
    assert told["path"] == f"/shop/{shop.trackpoint}/import-sms-events"
    assert told["sent_bytes"] == len(first.content)
    assert {"reason", "detail"}.isdisjoint(told)


def refusals(server: Server, shop: Shop) -> dict[str, httpx.Response]:
    """Have requests refused, each for another reason, with a marker in everything that a client can send."""
    event = line(shop.trackpoint, now_ms(), user=MARK, campaign=MARK)
    post: dict[str, Any] = {"timeout": 30, "verify": PLAIN}
    strange = {"X-Api-Key": f"sms_{'0' * 12}_{MARK:x<43}"}
    return {
        "unauthorized": httpx.post(shop.import_url, headers=strange, content=event, **post),
        "forbidden": httpx.delete(f"{server.base}/shop/{shop.trackpoint}/users/{MARK}", headers=shop.headers, **post),
        "invalid_lines": shop.send(event + b"\n" + event.replace(b"DELIVERED", MARK.encode()) + b"\n{" + event),
        "invalid_request": shop.export({f"{MARK}` {MARK}": 1}),
        "unsupported_encoding": shop.send(event, **{"Content-Encoding": MARK}),
        "no_such_path": httpx.post(f"{server.base}/shop/{MARK}/export-sms-events", headers=shop.headers, **post),
        "not_found": httpx.get(f"{server.base}/{MARK}?{MARK}={MARK}", headers={"User-Agent": MARK}, **post),
        "method_not_allowed": httpx.get(shop.export_url, **post),
    }


def test_a_refusal_is_told_with_its_reason(server: Server) -> None:
    """Each 4xx has its reason in the log, and nothing that the client sent, be it a key, a body, a user or a path."""
    before = server.metric("smsevents_refused_total")
    got = refusals(server, server.shop())
    for reason, response in got.items():
        told = line_of(server, response)
        assert (told["reason"], told["status"]) == (reason, response.status_code)
        assert isinstance(told["status"], int)
        assert response.status_code >= 400
    assert line_of(server, got["invalid_lines"])["detail"] == "lines 2, 3"
    assert "key_id" not in line_of(server, got["unauthorized"])
    assert MARK not in server.log_path.read_text()
    assert "HTTPStatus" not in server.log_path.read_text()
    assert server.metric("smsevents_refused_total") == before + len(got)


def test_a_proxy_that_is_trusted_is_believed(behind_proxy: Server, server: Server) -> None:
    """A trusted proxy identifies the client and the request; from anyone else both headers are ignored."""
    for asked, client, request_id in (
        (behind_proxy, "198.51.100.7", "from-the-proxy-1"),
        (server, "127.0.0.1", None),
    ):
        response = asked.shop().export({}, **PROXY)
        assert line_of(asked, response)["client"] == client
        assert (response.headers["X-Request-Id"] == "from-the-proxy-1") == (request_id is not None)


def test_monitors_do_not_fill_the_log(server: Server, behind_proxy: Server) -> None:
    """Requests for health checks and metrics are logged only at debug level."""
    paths = ["/health/live", "/health/ready", "/metrics"]
    for path in paths:
        assert httpx.get(server.base + path, timeout=30, verify=PLAIN).status_code == 200
        response = httpx.get(behind_proxy.base + path, timeout=30, verify=PLAIN)
        assert response.status_code == 200
        assert line_of(behind_proxy, response)["level"] == "debug"
    assert line_of(server, httpx.get(server.base + "/nowhere", timeout=30, verify=PLAIN))["path"] != paths[0]
    assert not {one["path"] for one in said(server) if one["event"] == "request"} & set(paths)


def test_an_error_of_the_server_can_be_found(tmp_path: Path) -> None:
    """A 503 is in the log under the id in its response, with the line that gives the cause."""
    for server in started(tmp_path):
        shop = server.shop()
        away = server.path.with_suffix(".away")
        server.path.rename(away)
        got = shop.export()
        away.rename(server.path)
        assert got.status_code == 503
        assert line_of(server, got)["reason"] == "store_unavailable"
        failed = [one for one in said(server) if one["event"] == "request failed"]
        assert [one["request_id"] for one in failed] == [got.headers["X-Request-Id"]]


def test_a_stop_that_truncates_an_export_is_one_line(tmp_path: Path) -> None:
    """A stop that cannot wait for an export logs one warning without a traceback."""
    for server in started(tmp_path, SMSEVENTS_SHUTDOWN_MAX_SECONDS="1"):
        shop = server.shop()
        wide = [line(shop.trackpoint, now_ms() - number, user=f"{number}-" + "x" * 900) for number in range(12_000)]
        with opened_log(server.url) as log:
            store(log, shop.trackpoint, wide)
        with closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(
                f"POST /shop/{shop.trackpoint}/export-sms-events HTTP/1.1\r\nHost: x\r\nX-Api-Key: {shop.key}\r\n"
                "Content-Length: 2\r\n\r\n{}".encode()
            )
            assert client.recv(12) == b"HTTP/1.1 200"
            server.stop()
        text = server.log_path.read_text()
        assert "Traceback" not in text
        assert [one["event"] for one in said(server) if one["level"] in {"warning", "error"}] == ["export cut"]
        (cut,) = [one for one in said(server) if one["event"] == "export cut"]
        (request,) = [one for one in said(server) if one["event"] == "request" and one["path"].startswith("/shop")]
        assert (cut["reason"], request["reason"], request["status"]) == ("shutdown", "cut_shutdown", 200)
        assert cut["request_id"] == request["request_id"]


def test_metrics_tell_the_house_and_the_shops(server: Server, tmp_path: Path) -> None:
    """Metrics report sizes, free space and the build, a shop's events by its number, and the age of the last backup."""
    shop, stranger, now = server.shop(), server.shop(), now_ms()  # read once: two events must not be the same
    bodies = [line(shop.trackpoint, now - number) for number in range(3)]
    shop.send(b"\n".join(bodies))
    shop.export()
    httpx.post(stranger.import_url, headers={"X-Api-Key": "sms_wrong"}, timeout=30, verify=PLAIN)
    sent = f'smsevents_shop_events_out_total{{trackpoint="{shop.trackpoint}"}} 3.0'
    # an export is counted after its client has received all of it
    assert eventually(lambda: sent in httpx.get(f"{server.base}/metrics", timeout=30, verify=PLAIN).text)
    text = httpx.get(f"{server.base}/metrics", timeout=30, verify=PLAIN).text
    assert f'smsevents_shop_events_in_total{{trackpoint="{shop.trackpoint}"}} 3.0' in text
    assert f'smsevents_shop_requests_total{{status="200",trackpoint="{shop.trackpoint}"}} 2.0' in text
    assert f'"{stranger.trackpoint}"' not in text  # a label cannot be made without a key
    assert 'smsevents_build_info{python="' in text
    assert server.metric("smsevents_database_bytes") == server.path.stat().st_size
    assert server.metric("smsevents_disk_free_bytes") > 0
    assert "\nsmsevents_backup_age_seconds " not in text
    assert server.command("backup", str(tmp_path / "copy.db")).returncode == 0
    assert 0 <= server.metric("smsevents_backup_age_seconds") < 300
    assert "\nsmsevents_backup_age_seconds " in httpx.get(f"{server.base}/metrics", timeout=30, verify=PLAIN).text
    assert server.metric("smsevents_wait_seconds_count") > 0


def test_a_client_cannot_write_lines_of_its_own(server: Server) -> None:
    """Line ends and escapes in a path, a method or a header do not reach the log."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)) as client:
        client.sendall(
            b"GET /shop/%0a%1b[31m{}/export-sms-events?\x7f HTTP/1.1\r\nHost: x\r\nX-Request-Id: a%0a\x1b\r\n\r\n"
        )
        client.recv(1000)
    line_of(server, server.shop().export())  # whatever was logged before it has arrived too
    text = server.log_path.read_text()
    assert "\x1b" not in text
    assert "[31m" not in text
    created, serves, *logged = text.splitlines()
    assert created.startswith("Created the database ")
    assert serves.startswith("smsevents serves ")
    assert logged
    assert all(one.startswith("{") for one in logged)
