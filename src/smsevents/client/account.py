"""The server, the shop and the API key that a client uses."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from smsevents.client.errors import ConfigurationError
from smsevents.wire.events import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_VARIABLE = "SMSEVENTS_API_KEY"
URL_VARIABLE = "SMSEVENTS_URL"

Action = Literal["export", "import"]

ACCOUNTS = {"samba": "https://api.samba.ai", "enterprise": "https://api.yottly.com"}
"""The addresses that Samba.ai documents for its two kinds of accounts."""


@dataclass(frozen=True)
class Account:
    """A shop on a server. The key is left out of `repr`, so that it does not end up in logs."""

    trackpoint: int
    url: str
    key: str = field(repr=False)

    @classmethod
    def resolve(
        cls, trackpoint: int, key: str | None, url: str | None, environment: Mapping[str, str] = os.environ
    ) -> Account:
        """Check the arguments, and read missing ones from the environment. Raises `ConfigurationError`."""
        if isinstance(trackpoint, bool) or not isinstance(trackpoint, int) or not 1 <= trackpoint <= INT64_MAX:
            raise ConfigurationError(f"{trackpoint!r} is not a trackpoint; pass the number of the shop.")
        return cls(trackpoint, _url(url or environment.get(URL_VARIABLE, "")), _key(key, environment))

    def address(self, action: Action) -> str:
        """Return the URL of an action on the shop."""
        return f"{self.url}/shop/{self.trackpoint}/{action}-sms-events"


def _url(text: str) -> str:
    url = text.strip().rstrip("/")
    if not url:
        raise ConfigurationError(
            f"No server address is set. Pass `url`, for example {ACCOUNTS['samba']}, or set {URL_VARIABLE}."
        )
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ConfigurationError(f"{url!r} is not a server address; use one such as {ACCOUNTS['samba']}.")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            f"The server address contains a user name or password. Remove it; the key belongs in {KEY_VARIABLE}."
        )
    return url


def _key(given: str | None, environment: Mapping[str, str]) -> str:
    key = (given or environment.get(KEY_VARIABLE, "")).strip()
    if not key:
        raise ConfigurationError(f"No API key is set. Set {KEY_VARIABLE}, or pass `key`.")
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError(
            "The API key contains characters that no key has. Copy it again, without anything else."
        )
    return key
