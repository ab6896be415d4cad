"""`/session` over HTTP: what its cookie allows, and which requests with it are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest

from smsevents.accounts.access import Access
from smsevents.accounts.sessions import Sessions
from smsevents.catalog import open_catalog
from smsevents.web.attempts import WRONG_PER_MINUTE_MAX
from tests.support.docs_page import recent_lines
from tests.support.lines import body_of
from tests.support.servers import PLAIN, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import Shop

OWN = {"X-Smsevents": "1"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server that people reach over https if its proxy, this machine, says so."""
    running = Server(tmp_path_factory.mktemp("sessions"), settings={"SMSEVENTS_TRUSTED_PROXIES": "127.0.0.1"})
    yield running
    running.stop()


class Browser:
    """What a browser sends: the cookie by itself, and nothing that the page does not set."""

    opened: ClassVar[list[httpx.Client]] = []

    def __init__(self, shop: Shop) -> None:
        """Keep the cookies of one shop's server."""
        self.shop = shop
        self.http = httpx.Client(base_url=shop.base, verify=PLAIN, timeout=60)
        self.opened.append(self.http)

    def sign_in(self, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """Sign in with the shop's key."""
        return self.http.post("/session", json=body or {"key": self.shop.key}, headers=headers)

    def export(self, **headers: str) -> httpx.Response:
        """Export with the cookie."""
        return self.http.post(f"/shop/{self.shop.trackpoint}/export-sms-events", json={}, headers=headers)


@pytest.fixture(autouse=True)
def no_connection_is_left() -> Iterator[None]:
    """Close the connections of a test's browsers after it."""
    yield
    while Browser.opened:
        Browser.opened.pop().close()


@pytest.fixture
def signed_in(own: Server) -> Browser:
    """Return a browser that is signed in, with some events in its shop."""
    browser = Browser(own.shop(("export", "import", "stats", "admin")))
    browser.shop.send(body_of(recent_lines(browser.shop, 3))).raise_for_status()
    assert browser.sign_in().status_code == 200
    return browser


def detail(response: httpx.Response, status: int) -> str:
    """Check the status of a problem and return its text."""
    assert response.status_code == status, response.text
    text: str = response.json()["detail"]
    return text


def test_the_cookie_is_out_of_reach_of_scripts_and_sites(signed_in: Browser) -> None:
    """The cookie is a random id that scripts cannot read and other sites do not send; the response names the shop."""
    answer = signed_in.sign_in()
    name, _, rest = answer.headers["set-cookie"].partition("=")

    assert name == "smsevents"
    assert rest.split("; ")[1:] == ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"]
    assert signed_in.shop.key not in answer.headers["set-cookie"]
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body.keys() == {"trackpointId", "name", "scopes", "expires"}
    assert (body["trackpointId"], body["scopes"]) == (str(signed_in.shop.trackpoint), ["export", "stats"])
    assert signed_in.http.get("/session").json() | {"expires": 0} == body | {"expires": 0}


def test_over_https_the_cookie_stays_on_https(own: Server) -> None:
    """If the proxy says https, the cookie is `Secure` and of this host alone, and one of the other name is void."""
    browser = Browser(own.shop())
    cookie = browser.sign_in(None, **{"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    session_id = cookie.partition("=")[2].partition(";")[0]

    assert cookie.startswith("__Host-smsevents=")
    assert cookie.endswith("; Secure")
    for name, status in (("__Host-smsevents", 200), ("smsevents", 401)):
        headers = {"Cookie": f"{name}={session_id}", "X-Forwarded-Proto": "https"}
        assert httpx.get(f"{own.base}/session", headers=headers).status_code == status


def test_the_public_address_decides_about_https(tmp_path: Path) -> None:
    """With an https address in SMSEVENTS_PUBLIC_URL the cookie is `Secure`, and its origin may sign in."""
    server = Server(tmp_path, settings={"SMSEVENTS_PUBLIC_URL": "https://sms.example.com/x"})
    try:
        answer = Browser(server.shop()).sign_in(Origin="https://sms.example.com")
        assert answer.headers["set-cookie"].endswith("; Secure")
    finally:
        server.stop()


def test_the_cookie_exports_what_its_key_exports(signed_in: Browser) -> None:
    """An export with the cookie and the page's header returns the same bytes as one with the key."""
    for origin in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": signed_in.shop.base}, {}):
        answer = signed_in.export(**OWN, **origin)
        assert (answer.status_code, answer.content) == (200, signed_in.shop.export().content)
        assert answer.content.count(b"\n") == 3


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "needs the header `X-Smsevents: 1`"),
        ({"X-Smsevents": "0"}, "needs the header `X-Smsevents: 1`"),
        (OWN | {"Sec-Fetch-Site": "cross-site"}, "a page of another site"),
        (OWN | {"Sec-Fetch-Site": "same-site"}, "a page of another site"),
        (OWN | {"Origin": "https://evil.example"}, "a page of another site"),
        (OWN | {"Origin": "null"}, "a page of another site"),
    ],
)
def test_other_sites_cannot_use_the_cookie(signed_in: Browser, headers: dict[str, str], says: str) -> None:
    """Without the page's header, or from another site, the cookie neither exports nor signs out."""
    assert says in detail(signed_in.export(**headers), 403)
    assert says in detail(signed_in.http.delete("/session", headers=headers), 403)
    assert signed_in.http.get("/session").status_code == 200


@pytest.mark.parametrize("origin", ["http://[", "http://]", "//[x", "null"])
def test_an_origin_that_is_none_is_another_site(own: Server, origin: str) -> None:
    """An Origin that cannot be read is refused, and is not a defect."""
    answer = Browser(own.shop()).sign_in(Origin=origin)

    assert "another site" in detail(answer, 403)


def test_other_sites_cannot_sign_somebody_in(own: Server) -> None:
    """A page of another site cannot sign a person in with its own key, and no cookie is set."""
    answer = Browser(own.shop()).sign_in(Origin="https://evil.example")
    assert "a page of another site" in detail(answer, 403)
    assert "set-cookie" not in answer.headers


def test_a_session_only_reads(signed_in: Browser) -> None:
    """Whatever the key may do, its session neither imports nor erases, and nothing is changed."""
    before = signed_in.shop.export().content
    path = f"/shop/{signed_in.shop.trackpoint}"
    sent = signed_in.http.post(f"{path}/import-sms-events", content=before, headers=OWN)
    erased = signed_in.http.delete(f"{path}/users/u1", headers=OWN)

    assert "A session only reads" in detail(sent, 403)
    assert "A session only reads" in detail(erased, 403)
    assert signed_in.shop.export().content == before


def test_a_session_sees_its_own_shop_alone(own: Server, signed_in: Browser) -> None:
    """The cookie of one shop is refused at another one, as a key is."""
    other = own.shop()
    answer = signed_in.http.post(f"/shop/{other.trackpoint}/export-sms-events", json={}, headers=OWN)
    assert "not allowed to do that for this shop" in detail(answer, 403)


def test_a_key_in_the_header_counts_before_the_cookie(signed_in: Browser) -> None:
    """With a key the cookie is ignored, so the key needs no other header and a wrong one is refused."""
    assert signed_in.export(**{"X-Api-Key": signed_in.shop.key}).status_code == 200
    assert signed_in.export(**OWN, **{"X-Api-Key": "wrong"}).status_code == 401


def test_signing_out_ends_the_session_on_the_server(signed_in: Browser) -> None:
    """After signing out the old cookie is worth nothing, even if it was kept. Signing out again changes nothing."""
    kept = signed_in.http.cookies["smsevents"]
    answer = signed_in.http.delete("/session", headers=OWN)

    assert (answer.status_code, answer.content) == (204, b"")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert "smsevents" not in signed_in.http.cookies
    kept_headers = OWN | {"Cookie": f"smsevents={kept}"}
    assert "has ended" in detail(httpx.get(f"{signed_in.shop.base}/session", headers=kept_headers), 401)
    assert signed_in.http.delete("/session", headers=OWN).status_code == 204
    assert "You are not signed in" in detail(signed_in.http.get("/session"), 401)


def test_a_revoked_key_ends_its_sessions(own: Server, signed_in: Browser) -> None:
    """When the operator revokes a key, the browsers that signed in with it are signed out at once."""
    assert own.command("key", "revoke", signed_in.shop.key.split("_")[1]).returncode == 0
    assert "has ended" in detail(signed_in.http.get("/session"), 401)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, 'Send {"key": "…"}'),
        (b"[]", 400, 'Send {"key": "…"}'),
        (b'{"key": 7}', 400, 'Send {"key": "…"}'),
        (b'{"key": "x", "more": 1}', 400, 'Send {"key": "…"}'),
        (b"{}", 400, "either `key` or `ticket`"),
        (b'{"key": "x", "ticket": "x"}', 400, "either `key` or `ticket`"),
        (b'{"key": "sms_secret"}', 401, "Send a valid API key"),
        (b'{"ticket": "made up"}', 401, "used already"),
        (b'{"key": "' + b"x" * 1100 + b'"}', 413, "at most 1024 bytes"),
    ],
)
def test_a_wrong_sign_in_says_what_to_send(own: Server, body: bytes, status: int, says: str) -> None:
    """A sign-in that cannot work is a problem that says what to send, never repeats the key, and sets no cookie."""
    answer = httpx.post(f"{own.base}/session", content=body)
    text = detail(answer, status)
    assert says in text
    assert "sms_secret" not in text
    assert "set-cookie" not in answer.headers
    assert "sms_secret" not in own.log_path.read_text()


def test_wrong_keys_are_limited(own: Server) -> None:
    """After WRONG_PER_MINUTE_MAX wrong keys further ones of the address get 429. Right keys sign in as before."""
    shop = own.shop()
    browser = Browser(shop)
    here, elsewhere = {"X-Forwarded-For": "192.0.2.9"}, {"X-Forwarded-For": "192.0.2.10"}
    wrong = [browser.sign_in({"key": "wrong"}, **here).status_code for _ in range(WRONG_PER_MINUTE_MAX)]
    limited = browser.sign_in({"key": "wrong"}, **here)

    assert set(wrong) == {401}
    assert "more than 30 wrong keys" in detail(limited, 429)
    assert limited.headers["retry-after"] == "60"
    assert "set-cookie" not in limited.headers
    assert browser.sign_in({"key": "wrong"}, **elsewhere).status_code == 401
    assert shop.export(None, **here).status_code == 200
    assert browser.sign_in(None, **here).status_code == 200


def test_a_ticket_signs_in_once_and_from_this_machine_alone(own: Server) -> None:
    """A ticket opens a session once; a client elsewhere is refused, and the ticket is still good afterwards."""
    shop = own.shop(("stats",))
    database = open_catalog(own.url)
    ticket = Sessions(database, Access(database)).issue_ticket(shop.key)
    database.close()
    browser = Browser(shop)

    elsewhere = browser.sign_in({"ticket": ticket}, **{"X-Forwarded-For": "192.0.2.7"})
    assert "only in a browser on the server's own machine" in detail(elsewhere, 403)
    assert browser.sign_in({"ticket": ticket}).json()["scopes"] == ["stats"]
    assert "used already" in detail(browser.sign_in({"ticket": ticket}), 401)
    assert browser.http.get("/session").status_code == 200


def test_a_query_is_refused(own: Server) -> None:
    """A key in the address would be in logs, so `/session` takes no parameters."""
    assert "Unknown parameter 'key'" in detail(httpx.post(f"{own.base}/session?key=x", json={"key": "x"}), 400)
