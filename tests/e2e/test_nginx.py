"""The nginx configuration of docs/operating.md in a real nginx: what it must pass on, and what it must not."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.clock.system import now_ms
from tests.support.documents import ROOT, Page
from tests.support.lines import body_of, line
from tests.support.servers import STILL, Server, add_shop, eventually, free_port
from tests.support.standin import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.standin import StandIn

NOW = 1_795_478_400_000
LINES = [line(1001, NOW + number, "u") for number in range(2000)]
MAIN = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {server}
}}
"""


@pytest.fixture
def through(tmp_path: Path) -> Iterator[Callable[..., httpx.Client]]:
    """Yield a function that starts nginx in front of a server's address and returns a client for it.

    It may get further blocks for nginx.
    """
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        assert "CI" not in os.environ, "CI must have nginx"
        pytest.skip("nginx is not installed; `make test` installs it where it may")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
    [documented] = [text for language, text in Page(ROOT / "docs" / "operating.md").blocks if language == "nginx"]
    running: list[subprocess.Popen[bytes]] = []
    clients: list[httpx.Client] = []

    def start(upstream: str, blocks: str = "") -> httpx.Client:
        port = free_port()
        replaced = {
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "/etc/ssl/certs/events.example.org.pem": str(certificate),
            "/etc/ssl/private/events.example.org.key": str(key),
            "http://127.0.0.1:8080": upstream,
        }
        server = blocks + documented
        for old, new in replaced.items():
            assert old in server
            server = server.replace(old, new)
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = tmp_path / "nginx.conf"
        configuration.write_text(MAIN.format(folder=tmp_path, user=user, server=server))
        errors = tmp_path / "error.log"
        running.append(subprocess.Popen([program, "-c", configuration, "-p", tmp_path, "-e", errors]))
        assert eventually(lambda: _listens(port)), errors.read_text()
        context = ssl.create_default_context(cafile=certificate)
        clients.append(httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context, timeout=60))
        return clients[-1]

    yield start
    for client in clients:
        client.close()
    for process in running:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_import_and_export(through: Callable[[str], httpx.Client], server: Server) -> None:
    """Imports and exports work through nginx, plain and as gzip, and health checks get through."""
    shop = server.shop()
    client = through(server.base)
    now = now_ms()
    lines = [line(shop.trackpoint, now - number, "u") for number in range(5000)]
    path = f"/shop/{shop.trackpoint}"

    imported = client.post(f"{path}/import-sms-events", content=body_of(lines), headers=shop.headers)
    exported = client.post(f"{path}/export-sms-events", json={}, headers=shop.headers)

    assert imported.json() == {"received": 5000, "expired": 0}
    assert exported.content == body_of(sorted(lines))
    assert exported.headers["Content-Encoding"] == "gzip"
    assert client.get("/health/ready").status_code == 200


def test_shops_of_several_installations(through: Callable[..., httpx.Client], server: Server, tmp_path: Path) -> None:
    """By the map of docs/scale.md, requests of each shop reach the installation that has it, and no other one."""
    blocks = [text for language, text in Page(ROOT / "docs" / "scale.md").blocks if language == "nginx"]
    [divided] = [text for text in blocks if text.startswith("map")]
    (tmp_path / "second").mkdir()
    second = Server(tmp_path / "second", settings=STILL)
    try:
        divided = divided.replace("app1.example.com:8080", server.base.removeprefix("http://"))
        divided = divided.replace("app3.example.com:8080", second.base.removeprefix("http://"))
        client = through("http://$installation", divided)
        elsewhere = add_shop(second.url, 4541245641234565)
        for shop in (server.shop(), elsewhere):
            one = line(shop.trackpoint, now_ms() - 1000)
            path = f"/shop/{shop.trackpoint}"
            assert client.post(f"{path}/import-sms-events", content=one, headers=shop.headers).status_code == 200
            assert client.post(f"{path}/export-sms-events", json={}, headers=shop.headers).content == body_of([one])
        assert second.metric("smsevents_events_in_total") == 1
    finally:
        second.stop()


def test_metrics_are_not_public(through: Callable[[str], httpx.Client], standin: StandIn) -> None:
    """A request for `/metrics` gets 404 from nginx, which does not ask the server."""
    assert through(standin.url).get("/metrics").status_code == 404
    assert standin.requests == []


def test_offers_of_an_upgrade_stay_at_the_proxy(through: Callable[[str], httpx.Client], standin: StandIn) -> None:
    """A client's `Upgrade` and `Connection` headers are not forwarded; the body is."""
    standin.answers(Answer(lines=LINES))
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}

    answer = through(standin.url).post("/shop/1001/export-sms-events", content=b"{}", headers=offer)

    [request] = standin.requests
    assert answer.content == body_of(LINES)
    assert request.body == b"{}"
    assert "upgrade" not in request.headers
    assert request.headers.get("connection", "") == ""
    assert request.headers["x-forwarded-for"] == "127.0.0.1"


def test_truncated_export_stays_truncated(through: Callable[[str], httpx.Client], standin: StandIn) -> None:
    """An export without its last chunk is still without it after passing through nginx."""
    standin.answers(Answer(lines=LINES, cut_at=-5))

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        through(standin.url).post("/shop/1001/export-sms-events", content=b"{}")


def test_http_1_0_is_refused(through: Callable[[str], httpx.Client], standin: StandIn) -> None:
    """A client that could not detect a truncated export gets 505, and the server is not asked."""
    client = through(standin.url)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = (client.base_url.host, client.base_url.port)
    with socket.create_connection(address, timeout=30) as plain, context.wrap_socket(plain) as connection:
        connection.sendall(b"POST /shop/1001/export-sms-events HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")

        assert b" 505 " in connection.recv(1000).split(b"\r\n")[0]

    assert standin.requests == []
