"""Signatures of gateways, made by the gateways' own packages."""

from __future__ import annotations

from hashlib import md5, sha256
from typing import Any
from urllib.parse import urlencode

import jwt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator
from vonage_http_client.auth import Auth
from vonage_jwt.verify_jwt import verify_signature

from smsevents.receipts.gateways import gateway_of
from smsevents.receipts.gateways.twilio import Twilio
from smsevents.receipts.gateways.vonage import Vonage
from smsevents.receipts.gateways.vonage_messages import VonageMessages
from smsevents.receipts.signatures import SignedCall, jwt_claims, readable_query

URL = "https://sms.example.com/receipts/token/ref?x=%C5%BE&y=1"
SECRET = "s3cret-Žofie"  # noqa: S105 -- an example
FIELDS = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+420777123456", "Body": "Ahoj ž & =", "Empty": ""}


def twilio_call(fields: dict[str, str], signature: str, **more: Any) -> SignedCall:
    """Return a call of Twilio."""
    headers = {"x-twilio-signature": signature, **more.pop("headers", {})}
    return SignedCall(**({"urls": [URL], "headers": headers, "body": urlencode(fields).encode()} | more))


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=5))
def test_twilio(fields: dict[str, str]) -> None:
    """What Twilio's package signs is accepted; with any change to fields, address or secret it is not."""
    signature = RequestValidator(SECRET).compute_signature(URL, fields)
    call = twilio_call(fields, signature)

    assert Twilio().verify(call, SECRET.encode())
    assert not Twilio().verify(call, b"other")
    assert not Twilio().verify(twilio_call(fields | {"more": "1"}, signature), SECRET.encode())
    assert not Twilio().verify(twilio_call(fields, signature, urls=[URL + "1"]), SECRET.encode())
    assert not Twilio().verify(twilio_call(fields, ""), SECRET.encode())


@pytest.mark.parametrize("signed", [URL, URL.replace(".com", ".com:443")])
@pytest.mark.parametrize("called", [URL, URL.replace(".com", ".com:443")])
def test_twilio_with_and_without_port(signed: str, called: str) -> None:
    """The address may have been signed with or without its port."""
    signature = RequestValidator(SECRET).compute_signature(signed, FIELDS)

    assert Twilio().verify(twilio_call(FIELDS, signature, urls=[called]), SECRET.encode())


def test_twilio_with_a_port_that_is_none() -> None:
    """Without SMSEVENTS_PUBLIC_URL the address has the Host header, which may have any port."""
    signature = RequestValidator(SECRET).compute_signature(URL, FIELDS)

    assert not Twilio().verify(
        twilio_call(FIELDS, signature, urls=[URL.replace(".com", ".com:99999")]), SECRET.encode()
    )


def test_twilio_with_a_shared_key() -> None:
    """A shared key signs with SHA-256, which a header says; an unknown algorithm is refused."""
    signature = RequestValidator(SECRET).compute_signature(URL, FIELDS, "HMAC_SHA256")
    name = "x-twilio-webhooks-signature-settings"

    for settings, is_good in (("key=k,algorithm=HMAC_SHA256", True), ("", False), ("algorithm=NONE", False)):
        call = twilio_call(FIELDS, signature, headers={name: settings})
        assert Twilio().verify(call, SECRET.encode()) is is_good


def test_twilio_with_json() -> None:
    """A body that is not a form is signed by its digest in the query."""
    body = b'{"MessageStatus":"delivered"}'
    url = f"{URL}&bodySHA256={sha256(body).hexdigest()}"
    signature = RequestValidator(SECRET).compute_signature(url, {})
    assert RequestValidator(SECRET).validate(url, body.decode(), signature)

    for sent, is_good in ((body, True), (body + b" ", False)):
        call = twilio_call({}, signature, urls=[url], query=url.partition("?")[2].encode(), body=sent)
        assert Twilio().verify(call, SECRET.encode()) is is_good


VONAGE = {
    "messageId": "1",
    "status": "delivered",
    "scts": "2611252344",
    "client-ref": "a&b=c",
    "timestamp": "1795650284",
}


def vonage_signed(method: Any) -> dict[str, str]:
    """Return fields of a receipt as Vonage's package signs them."""
    auth = Auth(api_key="k", api_secret="s", signature_secret="secret", signature_method=method)  # noqa: S106 -- an example
    return VONAGE | {"sig": auth.sign_params(dict(VONAGE))}


@pytest.mark.parametrize("method", ["md5", "sha1", "sha256", "sha512"])
def test_vonage(method: str) -> None:
    """What Vonage's package signs is accepted in a query, a form and JSON; with a change it is not."""
    fields = vonage_signed(method)

    assert Vonage().verify(SignedCall(urls=[], query=urlencode(fields).encode()), b"secret")
    assert Vonage().verify(SignedCall(urls=[], body=urlencode(fields).encode()), b"secret")
    assert not Vonage().verify(SignedCall(urls=[], body=urlencode(fields).encode()), b"other")
    changed = fields | {"status": "failed"}
    assert not Vonage().verify(SignedCall(urls=[], body=urlencode(changed).encode()), b"secret")
    assert not Vonage().verify(SignedCall(urls=[], body=urlencode(VONAGE).encode()), b"secret")
    assert not Vonage().verify(SignedCall(urls=[], body=b"[{}, {}]"), b"secret")


@pytest.mark.parametrize("more", [{"client-ref": ""}, {"client-ref": " ž "}, {"client-ref": "café"}, {"price": 0.0333}])
def test_vonage_with_any_text(more: dict[str, Any]) -> None:
    """Empty texts, spaces, other letters and numbers are signed as they are, in a form and in JSON."""
    auth = Auth(api_key="k", api_secret="s", signature_secret="secret", signature_method="sha256")  # noqa: S106 -- an example
    fields = VONAGE | more | {"sig": auth.sign_params(VONAGE | more)}
    json = msgspec.json.encode(fields)

    assert Vonage().verify(SignedCall(urls=[], body=urlencode(fields).encode()), b"secret")
    assert Vonage().verify(SignedCall(urls=[], body=json, content_type="application/json"), b"secret")


def test_vonage_signs_names_too() -> None:
    """A field cannot be hidden in the name of another one."""
    fields = vonage_signed("sha256")
    hidden = {"client-ref=a_b_c&messageId": fields.pop("messageId"), **fields}
    del hidden["client-ref"]

    assert not Vonage().verify(SignedCall(urls=[], body=urlencode(hidden).encode()), b"secret")


def test_vonage_with_a_plain_hash() -> None:
    """Vonage's default is MD5 of the fields and the secret, as its documentation describes it."""
    text = "".join(f"&{name}={value}" for name, value in sorted((VONAGE | {"client-ref": "a_b_c"}).items()))
    fields = VONAGE | {"sig": md5(text.encode() + b"secret", usedforsecurity=False).hexdigest()}

    assert Vonage().verify(SignedCall(urls=[], query=urlencode(fields).encode()), b"secret")


BODY = b'{"status":"delivered","message_uuid":"1"}'
LONG_SECRET = "x" * 40


def messages_call(token: str, body: bytes = BODY) -> SignedCall:
    """Return a call of Vonage's Messages API."""
    return SignedCall(urls=[], headers={"authorization": f"Bearer {token}"}, body=body)


def test_vonage_messages() -> None:
    """A token that Vonage's package verifies is accepted for its own body only."""
    claims = {"payload_hash": sha256(BODY).hexdigest(), "iat": 1}
    token = jwt.encode(claims, LONG_SECRET, "HS256")
    assert verify_signature(token, LONG_SECRET)

    assert VonageMessages().verify(messages_call(token), LONG_SECRET.encode())
    assert not VonageMessages().verify(messages_call(token, BODY + b" "), LONG_SECRET.encode())
    assert not VonageMessages().verify(messages_call(token), b"y" * 40)
    assert not VonageMessages().verify(SignedCall(urls=[], body=BODY), LONG_SECRET.encode())


def test_fields_that_are_not_signed_are_not_read() -> None:
    """Vonage's token covers only the body, so a query adds nothing. The signatures of the others cover it."""
    query = b"client_ref=x"

    assert readable_query(gateway_of("vonage-messages"), query) == b""
    assert [readable_query(gateway_of(name), query) for name in ("twilio", "vonage", "kannel")] == [query] * 3


def test_other_tokens_are_refused() -> None:
    """A token without a signature, by another algorithm, without the digest of the body, or broken, is refused."""
    good = {"payload_hash": sha256(BODY).hexdigest()}
    signed = jwt.encode(good, LONG_SECRET, "HS256")
    header, claims, _ = signed.split(".")
    tokens = [
        jwt.encode(good, "", "none"),
        jwt.encode(good, LONG_SECRET * 2, "HS512"),
        jwt.encode({}, LONG_SECRET, "HS256"),
        f"{header}.{claims}.",
        f"{header}.{claims}",
        signed + "x",
        "...",
        "ž.ž.ž",
        "",
    ]

    for token in tokens:
        assert not VonageMessages().verify(messages_call(token), LONG_SECRET.encode()), token


@given(st.text(max_size=30))
def test_any_text_is_no_token(text: str) -> None:
    """Any text that was not signed has no claims."""
    assert jwt_claims(text, b"secret") is None
