"""Where a bucket is, and how patiently to ask it: the URL in SMSEVENTS_SEGMENTS, and the `AWS_*` variables."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from smsevents.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME = "s3"

CONNECT_MAX_SECONDS = 5
READ_PAUSE_MAX_SECONDS = 10  # without a byte
READ_MAX_SECONDS = 60  # of one request; a longer read continues with another one
WRITE_MAX_SECONDS = 120  # of one request: the largest pack in this time is 140 kB/s
REPEATED_TRIES_MAX = 3
RETRY_MAX_SECONDS = 10  # after this time since the first try, there is no other
FIRST_PAUSE_MS = 50
PAUSE_MAX_MS = 1000

_bucket = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_prefix = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]*(/[0-9A-Za-z_-][0-9A-Za-z._-]*)*")


class Address(NamedTuple):
    """A bucket, and the prefix of the keys in it, without slashes at its ends. The prefix may be empty."""

    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """The URL that names them."""
        return f"{SCHEME}://{self.bucket}/{self.prefix}".rstrip("/")


def address_of(url: str) -> Address:
    """Return the bucket and the prefix that an `s3:` URL names. Raises `SettingError`."""
    if "@" in url or "?" in url:  # neither is shown: they may hold a secret
        raise SettingError(
            "SMSEVENTS_SEGMENTS has `@` or `?`. Name only a bucket and a prefix, such as s3://bucket/prefix, and give"
            " the credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    _, _, rest = url.partition(f"{SCHEME}://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not _bucket.fullmatch(bucket) or (prefix and not _prefix.fullmatch(prefix)):
        raise SettingError(
            f"SMSEVENTS_SEGMENTS is {url!r}. Use s3:// with the name of a bucket and a prefix: s3://bucket/prefix. The"
            " prefix may have ASCII letters, digits, `-`, `_`, `.` and `/`."
        )
    return Address(bucket, prefix)


def endpoint_in(environment: Mapping[str, str] = os.environ) -> str:
    """Return the endpoint that the environment names, or an empty string for that of AWS."""
    return environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""


def options_for(*, writing: bool, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the options of a client for requests that read, or that write. The client reads `AWS_*` by itself.

    A stalled store must not hold a request without limit, so each has a limit, and so have its repetitions.
    """
    client: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=CONNECT_MAX_SECONDS),
        "timeout": timedelta(seconds=WRITE_MAX_SECONDS if writing else READ_MAX_SECONDS),
    }
    if not writing:  # this would also limit how long the bytes of a large object may take to be sent
        client["read_timeout"] = timedelta(seconds=READ_PAUSE_MAX_SECONDS)
    if endpoint_in(environment).startswith("http://"):
        client["allow_http"] = True
    retries = {
        "max_retries": REPEATED_TRIES_MAX,
        "retry_timeout": timedelta(seconds=RETRY_MAX_SECONDS),
        "backoff": {
            "init_backoff": timedelta(milliseconds=FIRST_PAUSE_MS),
            "max_backoff": timedelta(milliseconds=PAUSE_MAX_MS),
            "base": 2,
        },
    }
    return {"client_options": client, "retry_config": retries}
