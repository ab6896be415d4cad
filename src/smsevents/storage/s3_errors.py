"""What an object store reported → an error for the operator.

The text of the library is never passed on: it may quote the request, and with it a part of the credentials.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smsevents.errors import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from smsevents.storage.s3_address import Address

_OUTSIDE = "The server cannot reach a part of its stored events. Try again later, and tell its operator."

_code = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")
_status = re.compile(r"status code: (\d{3})")

_FULL = {"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}
_REFUSED = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}


def code_of(error: Exception) -> str:
    """Return the code that a store reported, such as `NoSuchKey`, or an empty string."""
    found = _code.search(str(error))
    return (found[1] or found[2]) if found else ""


def status_of(error: Exception) -> int:
    """Return the HTTP status that a store responded with, or 0."""
    found = _status.search(str(error))
    return int(found[1]) if found else 0


def unavailable(address: Address, done: str, error: Exception) -> StoreUnavailable:
    """Return the error for a request that failed. `done` is what it should have done: read, written, …"""
    code, status = code_of(error), status_of(error)
    what = f"{address.url} of SMSEVENTS_SEGMENTS cannot be {done}: "
    if code in _FULL:
        return StoreFull(
            f"{what}there is no room for more ({code}).",
            "The storage of the server is full. Try again later, and tell its operator.",
        )
    return StoreUnavailable(what + _reason(address, code, status, str(error)), _OUTSIDE)


def _reason(address: Address, code: str, status: int, text: str) -> str:
    named = f" ({code})" if code else ""
    if code == "NoSuchBucket":
        return f"there is no bucket {address.bucket}. Create it, or correct SMSEVENTS_SEGMENTS."
    if code in _REFUSED:
        return f"the credentials are refused{named}. Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    if code in _ELSEWHERE:
        return f"the bucket is in another region{named}. Set AWS_REGION."
    if code == "RequestTimeTooSkewed":
        return "the clocks of this machine and of the store differ. Set the clock of this machine."
    if status in {401, 403} or code == "AccessDenied":
        return (
            f"access is denied{named}. smsevents needs s3:ListBucket for the bucket, and s3:GetObject, s3:PutObject and"
            " s3:DeleteObject for its objects."
        )
    if status or code:
        return f"the store responded with {status or 'an error'}{named}."
    if "169.254." in text or "metadata" in text or "credential" in text.lower():
        return "there are no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    if "TimedOut" in text or "Timeout" in text or "timed out" in text:
        return "the store does not respond in time."
    if "scheme" in text or "BadScheme" in text or "RelativeUrlWithoutBase" in text:
        return "AWS_ENDPOINT_URL is not a URL. Give one such as https://s3.example.com."
    return "there is no connection to the store, or it broke off. Check AWS_ENDPOINT_URL and the network."
