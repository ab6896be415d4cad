"""Delivery receipts over HTTP: what gateways send, what they get back, and what a person may see of it."""

from __future__ import annotations

import re
import socket
import time
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import httpx
import jwt
import msgspec
import pytest
from twilio.request_validator import RequestValidator

from smsevents.catalog import open_catalog
from smsevents.client import encode_reference
from smsevents.receipts.call import RECEIPTS_IN_CALL_MAX
from smsevents.receipts.receivers import Receivers
from smsevents.web.attempts import WRONG_PER_MINUTE_MAX
from smsevents.web.receipts import RECEIPT_BODY_MAX_BYTES
from smsevents.wire.limits import DAY_MS
from tests.support.documents import ROOT
from tests.support.receipts import line_of, one_off, sent_line
from tests.support.servers import PLAIN, Server, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import Shop

pytestmark = pytest.mark.slow

DATA = ROOT / "tests" / "data" / "receipts"
CAPTURED_MS = 1_795_650_000_000  # the captured requests are a little later
MAPPING = {
    "status": "/state",
    "statuses": {"ok": "DELIVERED", "late": "EXPIRED", "?": None},
    "messageId": "/id",
    "reference": "/custom/ref",
    "time": "/at",
    "timeFormat": "unix-ms",
    "response": "TAKEN",
}


@pytest.fixture(scope="module")
def now_ms() -> int:
    """Return a time shortly before now, in Unix milliseconds and to the second."""
    return int(time.time()) * 1000 - 60_000


class Receiver:
    """A receiver of a shop, with the address that the command printed."""

    def __init__(
        self,
        server: Server,
        shop: Shop,
        gateway: str,
        mapping: dict[str, Any] | None = None,
        secret: bytes | None = None,
    ) -> None:
        """Create it."""
        with closing(open_catalog(server.url)) as database:
            encoded = None if mapping is None else msgspec.json.encode(mapping)
            self.path = "/receipts/" + Receivers(database).create(
                shop.trackpoint, gateway, mapping=encoded, secret=secret
            )
        self.id = self.path.split("/")[2].split("_")[0]
        self.url = server.base + self.path

    def get(self, query: bytes | str, reference: str | None = None) -> httpx.Response:
        """Call it with GET."""
        text = query if isinstance(query, str) else query.decode("latin-1")
        return httpx.get(self._at(reference) + "?" + text, verify=PLAIN, timeout=60)

    def post(self, body: bytes, content_type: str, reference: str | None = None) -> httpx.Response:
        """Call it with POST."""
        headers = {"Content-Type": content_type} if content_type else {}
        return httpx.post(self._at(reference), content=body, headers=headers, verify=PLAIN, timeout=60)

    def _at(self, reference: str | None) -> str:
        return self.url if reference is None else f"{self.url}/{reference}"


@pytest.fixture
def shop(server: Server) -> Shop:
    """Return a new shop."""
    return server.shop()


@pytest.fixture
def kannel(server: Server, shop: Shop) -> Receiver:
    """Return a receiver of Kannel."""
    return Receiver(server, shop, "kannel")


def lines(shop: Shop) -> list[bytes]:
    """Export the shop."""
    return shop.export().content.splitlines()


def is_done(response: httpx.Response, body: str) -> bool:
    """Return whether a response is one that ends the repetition of a gateway."""
    return (response.status_code, response.text) == (200, body)


def test_a_receipt_is_in_the_export_when_the_gateway_has_its_response(
    kannel: Receiver, shop: Shop, now_ms: int
) -> None:
    """The event of a receipt is exported as soon as the gateway got its response; a repeat does not change it."""
    reference = encode_reference("u1", one_off(now_ms))

    for _ in range(2):
        assert is_done(kannel.get(f"d=1&A=stat:DELIVRD&F=1&T={now_ms // 1000 + 5}", reference), "OK")
        assert lines(shop) == [line_of(shop.trackpoint, "u1", "DELIVERED", now_ms + 5000, one_off(now_ms))]


def test_bytes_that_are_not_utf8(kannel: Receiver, shop: Shop, now_ms: int) -> None:
    """The first characters of a message may be any bytes, and do not keep the receipt from being read."""
    reference = encode_reference("Žofie 🙂", one_off(now_ms, "Výprodej"))

    query = f"d=1&A=id%3A1+stat%3ADELIVRD+text%3A%E1%11%FF%00&F=1&T={now_ms // 1000}"
    raw = b"&x=\xe1\xff"
    with socket.create_connection(("127.0.0.1", int(kannel.url.split(":")[2].split("/")[0]))) as connection:
        target = f"{kannel.path}/{reference}?{query}".encode() + raw
        connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        response = b"".join(iter(lambda: connection.recv(65536), b""))

    assert response.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    assert is_done(kannel.get(query, reference), "OK")
    assert lines(shop) == [line_of(shop.trackpoint, "Žofie 🙂", "DELIVERED", now_ms, one_off(now_ms, "Výprodej"))]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"state=ok&at=%d&new=1", "application/x-www-form-urlencoded"),
        (b"state=ok&at=%d", ""),
        (b'{"state":"ok","at":%d,"new":{"a":[]}}', "application/json"),
        (b'{"state":"ok","at":"%d"}', "text/plain"),
        (b' [{"state":"ok","at":%d},{"state":"?"}]', "application/json; charset=utf-8"),
    ],
)
def test_every_way_of_sending(server: Server, shop: Shop, now_ms: int, body: bytes, content_type: str) -> None:
    """Forms, JSON objects and JSON arrays are read, whatever their type says, and unknown fields are fine."""
    receiver = Receiver(server, shop, "generic", MAPPING)

    response = receiver.post(body % now_ms, content_type, encode_reference("u1", one_off(now_ms)))

    assert is_done(response, "TAKEN")
    assert lines(shop) == [line_of(shop.trackpoint, "u1", "DELIVERED", now_ms, one_off(now_ms))]


def test_a_reference_within_the_receipt(server: Server, shop: Shop, now_ms: int) -> None:
    """A generic gateway may return the reference in a field, several receipts in one call, and in a nested array."""
    receiver = Receiver(server, shop, "generic", MAPPING | {"receipts": "/data/results"})
    results = [
        {"state": state, "at": now_ms, "custom": {"ref": encode_reference(user, one_off(now_ms))}}
        for user, state in (("u1", "ok"), ("u2", "late"), ("u3", "?"), ("u4", "new"))
    ]

    body = msgspec.json.encode({"data": {"results": [*results, {"state": "ok", "custom": {"ref": "x"}}]}})

    assert is_done(receiver.post(body, "application/json"), "TAKEN")
    assert lines(shop) == sorted(
        line_of(shop.trackpoint, user, status, now_ms, one_off(now_ms))  # type: ignore[arg-type]  # one of the statuses
        for user, status in (("u1", "DELIVERED"), ("u2", "EXPIRED"))
    )


def test_the_register_over_http(server: Server, shop: Shop, kannel: Receiver, now_ms: int) -> None:
    """An early receipt waits, is counted, and is an event once the message is registered; so is a later one."""
    assert is_done(kannel.get(f"d=1&F=00AB&T={now_ms // 1000}"), "OK")
    assert lines(shop) == []
    line = sent_line({"receiver": kannel.id}, "ab", "u1", one_off(now_ms), accepted=now_ms)
    address = f"{server.base}/shop/{shop.trackpoint}/sent-sms"

    response = httpx.post(address, content=line, headers=shop.headers, verify=PLAIN)

    assert (response.status_code, response.json()) == (200, {"received": 1, "matched": 1})
    assert lines(shop) == [
        line_of(shop.trackpoint, "u1", status, now_ms, one_off(now_ms)) for status in ("ACCEPTED", "DELIVERED")
    ]
    refused = httpx.post(address, content=b"{}\n", headers=shop.headers, verify=PLAIN)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["line"] == 1
    assert httpx.post(address, content=line, verify=PLAIN).status_code == 401
    wrong = server.shop(("export",))
    assert httpx.post(address, content=line, headers=wrong.headers, verify=PLAIN).status_code == 403


@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        ("", "unreadable"),
        ("x=1", "unreadable"),
        ("d=66", "not_recorded"),
        ("d=2&A=stat:UNKNOWN", "not_recorded"),
        ("d=77&A=+420777123456", "not_recorded"),
        ("d=1", "no_message"),
    ],
)
def test_what_cannot_be_recorded_is_done_and_counted(
    server: Server, shop: Shop, kannel: Receiver, query: str, outcome: str
) -> None:
    """What no repetition can help gets the response that ends it, is counted, and leaves the log as it is."""
    assert is_done(kannel.get(query), "OK")

    assert f'smsevents_receipts_total{{outcome="{outcome}",receiver="{kannel.id}"}} 1.0' in _metrics(server)
    assert lines(shop) == []


@pytest.mark.parametrize("reference", ["e30", "WyJ1MSJd", "a.b", "x" * 5000])
def test_a_bad_reference_is_done_and_counted(
    server: Server, shop: Shop, kannel: Receiver, reference: str, now_ms: int
) -> None:
    """A reference that cannot be read is a mistake of the sender: the gateway is not made to repeat it."""
    assert is_done(kannel.get(f"d=1&T={now_ms // 1000}", reference), "OK")

    assert f'smsevents_receipts_total{{outcome="bad_reference",receiver="{kannel.id}"}} 1.0' in _metrics(server)
    assert lines(shop) == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"[1]", {"Content-Type": "application/json"}),
        (b"{", {}),
        (b"\xff\xfe", {"Content-Type": "application/json"}),
        (b"[" * 100_000, {}),
        (b"d=1", {"Content-Encoding": "gzip"}),
        (b"&".join(b"a%d=1" % at for at in range(2000)), {}),
    ],
)
def test_a_body_that_is_not_a_receipt(shop: Shop, kannel: Receiver, body: bytes, headers: dict[str, str]) -> None:
    """A body that cannot be read gets the response that ends the repetition."""
    response = httpx.post(kannel.url, content=body, headers=headers, verify=PLAIN)

    assert is_done(response, "OK")
    assert lines(shop) == []


@pytest.mark.parametrize(
    ("gateway", "objects"),
    [
        ("smsmanager", '{"result":"delivered","message_id":"1"},{"type":"incoming"}'),
        ("smsmanager", '{"type":"incoming"},{"result":"delivered","message_id":"1"}'),
        ("smsmanager", '5,{"result":"delivered","message_id":"1"},null'),
        ("infobip", '{"results":[{},{"status":{"id":5}},{}]}'),
    ],
)
def test_one_object_that_is_none_does_not_spoil_the_rest(
    server: Server, shop: Shop, now_ms: int, gateway: str, objects: str
) -> None:
    """Of several objects in a call, those that are receipts are recorded; the others are counted."""
    receiver = Receiver(server, shop, gateway)
    reference = encode_reference("u1", one_off(now_ms))

    assert is_done(receiver.post(f"[{objects}]".encode(), "application/json", reference), "OK")

    assert len(lines(shop)) == 1
    assert f'outcome="unreadable",receiver="{receiver.id}"' in _metrics(server)


def test_a_body_that_is_too_large(shop: Shop, kannel: Receiver) -> None:
    """A body over the limit gets 413."""
    response = kannel.post(b"d=1&A=" + b"x" * RECEIPT_BODY_MAX_BYTES, "")

    assert response.status_code == 413
    assert response.json()["title"] == "Content Too Large"
    assert lines(shop) == []


def test_a_call_with_too_many_receipts(server: Server, shop: Shop, now_ms: int) -> None:
    """More receipts than a call may have get 413 with the limit, and none of them is stored."""
    receiver = Receiver(server, shop, "smsmanager")
    body = b"[" + b",".join([b'{"result":"sent"}'] * (RECEIPTS_IN_CALL_MAX + 1)) + b"]"

    response = receiver.post(body, "application/json", encode_reference("u1", one_off(now_ms)))

    assert response.status_code == 413
    assert "at most 1000 delivery receipts" in response.json()["detail"]
    assert lines(shop) == []


def test_what_a_query_adds_to_a_signed_body_is_not_read(server: Server, shop: Shop, now_ms: int) -> None:
    """A query that Vonage's token does not cover cannot name another message or status."""
    receiver = Receiver(server, shop, "vonage-messages", secret=b"x" * 40)
    body = b'{"message_uuid":"1"}'
    token = jwt.encode({"payload_hash": sha256(body).hexdigest()}, "x" * 40, "HS256")
    reference = encode_reference("u1", one_off(now_ms))

    response = httpx.post(
        f"{receiver.url}/{reference}?status=delivered",
        content=body,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        verify=PLAIN,
    )

    assert is_done(response, "OK")
    assert lines(shop) == []
    assert f'outcome="unreadable",receiver="{receiver.id}"' in _metrics(server)


def test_wrong_and_revoked_tokens(server: Server, shop: Shop, kannel: Receiver, now_ms: int) -> None:
    """A wrong token and a revoked one get the same 404, and nothing is stored."""
    call = f"?d=1&T={now_ms // 1000}"
    reference = encode_reference("u1", one_off(now_ms))
    revoked = Receiver(server, shop, "kannel")
    with closing(open_catalog(server.url)) as database:
        assert Receivers(database).revoke(revoked.id)
    wrong = [f"{server.base}/receipts/x", kannel.url + "x", kannel.url[:-43] + "A" * 43, revoked.url]

    answers = [httpx.get(f"{address}/{reference}{call}", verify=PLAIN) for address in wrong]

    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
    assert lines(shop) == []


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server that no other test uses."""
    running = Server(tmp_path_factory.mktemp("own"))
    yield running
    running.stop()


def test_only_wrong_tokens_are_limited(own_server: Server, now_ms: int) -> None:
    """A client with many wrong tokens gets 429 for further ones, while its valid calls are served as before."""
    shop = own_server.shop()
    receiver = Receiver(own_server, shop, "kannel")
    reference = encode_reference("u1", one_off(now_ms))
    with httpx.Client(verify=PLAIN) as client:
        statuses = [client.get(f"{own_server.base}/receipts/x").status_code for _ in range(WRONG_PER_MINUTE_MAX + 5)]

        assert statuses[-5:] == [429] * 5  # other tests may have had wrong tokens just before
        assert statuses == sorted(statuses)
        for at in range(50):
            answer = client.get(f"{receiver.url}/{reference}?d=4&T={now_ms // 1000 + at}")
            assert is_done(answer, "OK")
    assert len(lines(shop)) == 50


def test_nothing_personal_is_logged(own_server: Server, now_ms: int) -> None:
    """The log shows the receiver's id, and never a token, a reference, a query, a number or a text."""
    shop = own_server.shop()
    receiver = Receiver(own_server, shop, "kannel")
    reference = encode_reference("user-in-the-reference", one_off(now_ms))
    secrets = ["777123456", "TextOfAMessage", "VALUE777123456", reference, receiver.path.split("_", 1)[1], "user-in"]
    queries = [
        f"d=1&A=stat:DELIVRD+text:TextOfAMessage&p=777123456&T={now_ms // 1000}",
        "d=VALUE777123456&A=TextOfAMessage",
        "d=777123456",
        "p=777123456",
    ]
    for query in queries:
        assert receiver.get(query, reference).status_code == 200
    receiver.get("d=1&p=777123456", "TextOfAMessage")
    receiver.get("d=1&p=777123456&F=777123456")
    httpx.get(f"{receiver.url}/{reference}/777123456?d=1", verify=PLAIN)
    httpx.put(f"{receiver.url}/{reference}?p=777123456", verify=PLAIN)
    httpx.get(f"{receiver.url}x/{reference}?p=777123456", verify=PLAIN)

    def log() -> str:
        return own_server.log_path.read_text()

    assert eventually(lambda: log().count(f'"receiver_id":"{receiver.id}","event":"request"') == 6)
    assert [secret for secret in secrets if secret in log()] == []
    assert '"path":"/receipts/{token}/{ref}"' in log()
    assert '"status":"other","event":"receipt with an undocumented status"' in log()
    assert '"reason":"the field `d` is missing' in log()
    assert secrets[4] not in _metrics(own_server)


def test_the_last_call_is_shown(server: Server, shop: Shop, kannel: Receiver) -> None:
    """`receiver list` and the metrics show when a receiver was last called."""
    kannel.get("d=66")

    def last_call() -> Any:
        shown = server.command("receiver", "list", str(shop.trackpoint), "--json").stdout
        return msgspec.json.decode(shown)["last_call_ms"]

    assert eventually(lambda: last_call() is not None)
    assert f'smsevents_receiver_last_call_timestamp_seconds{{receiver="{kannel.id}"}}' in _metrics(server)


def test_while_the_store_is_away_the_gateway_is_to_repeat(tmp_path: Path, now_ms: int) -> None:
    """While the database is away, a receipt gets 503 and is not stored; its repetition is."""
    server = Server(tmp_path)
    try:
        shop = server.shop()
        receiver = Receiver(server, shop, "jasmin")
        reference = encode_reference("u1", one_off(now_ms))
        call = "id=1&level=1&message_status=ESME_ROK"
        assert is_done(receiver.get(call.replace("id=1", "id=0"), reference), "ACK/Jasmin")
        away = server.path.rename(tmp_path / "away")
        assert receiver.get(call, reference).status_code == 503
        away.rename(server.path)
        assert len(lines(shop)) == 1

        assert is_done(receiver.get(call, reference), "ACK/Jasmin")
        assert len(lines(shop)) == 2
    finally:
        server.stop()


def captured(name: str) -> list[tuple[str, bytes, bytes, bytes]]:
    """Return the captured requests of a gateway: method, path, query, body. The path says what the SMSC reported."""
    text = (DATA / f"{name}-requests.log").read_bytes()
    found = []
    for request in re.findall(rb"^((?:GET|POST) .*?)^---", text, flags=re.DOTALL | re.MULTILINE):
        head, _, body = request.replace(b"\r\n", b"\n").partition(b"\n\n")
        method, target, _ = head.split(b"\n", 1)[0].split(b" ")
        path, _, query = target.partition(b"?")
        found.append((method.decode(), path, query, body.strip()))
    return found


STATS = {"undeliv": "UNDELIVERABLE", "expired": "EXPIRED", "rejectd": "REJECTED", "deleted": "DELETED"}
KANNEL = {"8": "ACCEPTED", "4": "ACCEPTED", "1": "DELIVERED", "16": "REJECTED"}
JASMIN = {"ESME_ROK": "ACCEPTED", "DELIVRD": "DELIVERED", "ACCEPTD": "ACCEPTED"} | {
    name.upper(): status for name, status in STATS.items()
}


def expected(gateway: str, path: bytes, fields: dict[str, str]) -> str | None:
    """Return the status of the event that a captured request is to become, by the name of its path."""
    if gateway == "kannel":
        reported = (STATS | {"skipped": "SKIPPED", "unknown": None}).get(path.decode().removeprefix("/ok-"))
        return reported if fields["d"] == "2" else KANNEL[fields["d"]]
    status = fields["message_status"]
    return None if status == "UNKNOWN" else JASMIN.get(status, "REJECTED")


@pytest.mark.parametrize("gateway", ["kannel", "jasmin"])
def test_captured_requests(server: Server, shop: Shop, gateway: str) -> None:
    """Each request of a real gateway, sent twice, ends its repetition, and has the status that the SMSC reported."""
    receiver = Receiver(server, shop, gateway)
    wanted = set()
    requests = captured(gateway)
    for at, (method, path, query, body) in enumerate(requests * 2):
        user = f"u{at % len(requests)}"
        reference = encode_reference(user, one_off(CAPTURED_MS - DAY_MS))
        if method == "GET":
            response = receiver.get(query, reference)
        else:
            response = receiver.post(body or query, "application/x-www-form-urlencoded", reference)
        assert is_done(response, {"kannel": "OK", "jasmin": "ACK/Jasmin"}[gateway])
        wanted.add((user, expected(gateway, path, dict(parse_qsl((body or query).decode("latin-1"))))))

    found = [msgspec.json.decode(line)["smsEvent"] for line in lines(shop)]

    assert len(requests) > 20
    assert sorted((event["userId"], event["status"]) for event in found) == sorted(
        (user, status) for user, status in wanted if status is not None
    )


def test_signed_calls(server: Server, shop: Shop, now_ms: int) -> None:
    """A call that Twilio's package signed is recorded; without a valid signature it gets 401, and nothing is stored."""
    secret = "auth-token-of-the-account"  # noqa: S105 -- an example
    receiver = Receiver(server, shop, "twilio", secret=secret.encode())
    url = f"{receiver.url}/{encode_reference('u1', one_off(now_ms))}"
    fields = {"MessageStatus": "delivered", "MessageSid": "SM1", "To": "+420777123456", "Empty": ""}
    good = RequestValidator(secret).compute_signature(url, fields)
    for signature in ("", "x", good[::-1]):
        refused = httpx.post(url, data=fields, headers={"X-Twilio-Signature": signature}, verify=PLAIN)
        assert refused.status_code == 401
        assert refused.json()["detail"].startswith("The signature of this call is missing or not valid.")
        assert lines(shop) == []

    taken = httpx.post(url, data=fields, headers={"X-Twilio-Signature": good}, verify=PLAIN)

    assert is_done(taken, "OK")
    assert len(lines(shop)) == 1
    assert f'smsevents_receipts_total{{outcome="bad_signature",receiver="{receiver.id}"}} 3.0' in _metrics(server)
    assert secret not in server.log_path.read_text()


def _metrics(server: Server) -> str:
    return httpx.get(f"{server.base}/metrics", timeout=30, verify=PLAIN).text
