"""Signatures of calls, by gateways that sign them. The secret is the one that the gateway shows in its settings."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from smsevents.receipts.receipt import Gateway

GATEWAYS_KEPT_MAX_ENTRIES = 1000
_JWT_PARTS = 3


@dataclass(frozen=True, kw_only=True)
class SignedCall:
    """A call as it was signed.

    `urls` are the addresses that the gateway may have called: more than one if the server does not know its own.
    The names of `headers` are in lower case.
    """

    urls: Sequence[str]
    headers: Mapping[str, str] = field(default_factory=dict)
    query: bytes = b""
    body: bytes = b""
    content_type: str = ""


@runtime_checkable
class SignedGateway(Protocol):
    """A gateway whose calls have a signature. `signs_query` says whether that covers the query, too."""

    signs_query: bool

    def verify(self, call: SignedCall, secret: bytes) -> bool:
        """Return whether the call was signed with the secret. Comparisons take constant time."""


@lru_cache(
    maxsize=GATEWAYS_KEPT_MAX_ENTRIES
)  # few are needed, and looking for the method takes longer than reading a receipt
def signed_gateway(gateway: Gateway) -> SignedGateway | None:
    """Return the gateway if it signs its calls, or None."""
    return gateway if isinstance(gateway, SignedGateway) else None


def readable_query(gateway: Gateway, query: bytes) -> bytes:
    """Return the query of a call, or nothing if the gateway signs its calls but not their query."""
    signed = signed_gateway(gateway)
    return query if signed is None or signed.signs_query else b""


def jwt_claims(token: str, secret: bytes) -> dict[str, object] | None:
    """Return the claims of a JSON Web Token (RFC 7519) that was signed with HS256; None if it was not.

    The algorithm that the token itself names does not matter: no other one is tried.
    """
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return None
    try:
        _, claims, signature = (urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts)
        signed = f"{parts[0]}.{parts[1]}".encode("ascii")
        if not hmac.compare_digest(hmac.digest(secret, signed, sha256), signature):
            return None
        return msgspec.json.decode(claims, type=dict[str, object])
    except (ValueError, msgspec.MsgspecError):
        return None
