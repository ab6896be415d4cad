"""What an object store reported → an error for the operator.

The text of the library is never passed on: it may quote the request, and with it a part of the credentials.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smsevents.errors import StoreFull, StoreUnavailable
from smsevents.storage.base import OUTSIDE

if TYPE_CHECKING:
    from smsevents.storage.s3_address import Address

_code = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")
_status = re.compile(r"status code: (\d{3})")

_FULL = {"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}
_REFUSED = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: the credentials are refused"
_ELSEWHERE = "set AWS_REGION: the bucket is in another region"
_ADVICE = {
    "InvalidAccessKeyId": _REFUSED,
    "SignatureDoesNotMatch": _REFUSED,
    "ExpiredToken": _REFUSED,
    "InvalidToken": _REFUSED,
    "TokenRefreshRequired": _REFUSED,
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "RequestTimeTooSkewed": "set the clock of this machine, which differs from that of the store",
}
_SYMPTOMS = (
    (re.compile(r"169\.254\.|metadata|(?i:credential)"), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."),
    (re.compile(r"TimedOut|Timeout|timed out"), "the store does not respond in time."),
    (re.compile(r"BadScheme|RelativeUrlWithoutBase|URL scheme"), "AWS_ENDPOINT_URL must be a URL, with https://."),
)
_NO_CONNECTION = "there is no connection to the store, or it broke off. Check AWS_ENDPOINT_URL and the network."


def code_of(error: Exception) -> str:
    """Return the code that a store reported, such as `NoSuchKey`, or an empty string."""
    found = _code.search(str(error))
    return (found[1] or found[2]) if found else ""


def status_of(error: Exception) -> int:
    """Return the HTTP status that a store responded with, or 0."""
    found = _status.search(str(error))
    return int(found[1]) if found else 0


def unavailable(address: Address, done: str, error: Exception) -> StoreUnavailable:
    """Return the error for a request that failed. `done` says what was tried: read, written and so on."""
    code, status = code_of(error), status_of(error)
    what = f"{address.url} of SMSEVENTS_SEGMENTS cannot be {done}: "
    if code in _FULL:
        return StoreFull(
            f"{what}there is no room for more ({code}).",
            "The storage of the server is full. Try again later, and tell its operator.",
        )
    return StoreUnavailable(what + _reason(address, code, status, str(error)), OUTSIDE)


def _reason(address: Address, code: str, status: int, text: str) -> str:
    named = f" ({code})" if code else ""
    if code == "NoSuchBucket":
        return f"there is no bucket {address.bucket}. Create it, or correct SMSEVENTS_SEGMENTS."
    if code in _ADVICE:
        return f"{_ADVICE[code]}{named}."
    if status in {401, 403} or code == "AccessDenied":
        return (
            f"access is denied{named}. smsevents needs s3:ListBucket for the bucket, and s3:GetObject, s3:PutObject and"
            " s3:DeleteObject for its objects."
        )
    if status or code:
        return f"the store responded with {status or 'an error'}{named}."
    return next((advice for pattern, advice in _SYMPTOMS if pattern.search(text)), _NO_CONNECTION)
