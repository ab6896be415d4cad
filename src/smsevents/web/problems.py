"""Problem details (RFC 9457): the only place where an error becomes a response.

Every error of every route has the same body: `type`, `title`, `status` and a `detail` that tells the user
what to change. `InvalidLines` adds `errors`, a list of objects with `line` and `reason`, and `more`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import structlog
from litestar import MediaType, Response
from litestar.exceptions import HTTPException
from msgspec import Meta

from smsevents import errors
from smsevents.accounts.access import WRONG_KEY
from smsevents.web.request_info import info_of
from smsevents.web.request_log import shown_path

if TYPE_CHECKING:
    from litestar import Request

RETRY_AFTER_SECONDS = 2

logger = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
_RETRY = {"Retry-After": str(RETRY_AFTER_SECONDS)}
_RETRY_LATER = {"Retry-After": "60"}  # seconds: a person has to fix it


class Outcome(NamedTuple):
    """The response to an error: its status and headers. For OpenAPI, also when it occurs, and an example.

    In the texts, `{scope}` stands for the scope that the key needs.
    """

    status: HTTPStatus
    headers: dict[str, str]
    when: str
    example: str


# The most specific class first: the first class that matches an error determines its response.
STATUSES: dict[type[errors.SmsEventsError], Outcome] = {
    errors.InvalidRequest: Outcome(
        HTTPStatus.BAD_REQUEST,
        {},
        "The request is not what it should be.",
        "The body is empty. Send {{}} for the last 90 days, or an object with `from` and `to`.",
    ),
    errors.ClientGone: Outcome(HTTPStatus.BAD_REQUEST, {}, "The connection ended before the request did.", ""),
    errors.Unauthorized: Outcome(
        HTTPStatus.UNAUTHORIZED,
        {"WWW-Authenticate": 'ApiKey header="X-Api-Key"'},
        "No key, or one that is unknown, revoked or expired.",
        WRONG_KEY,
    ),
    errors.BadSignature: Outcome(
        HTTPStatus.UNAUTHORIZED,
        {"WWW-Authenticate": "Signature"},
        "The gateway signs its calls, and this one does not have a valid signature.",
        "The signature of this call is missing or not valid. Check the secret of the receiver, and"
        " SMSEVENTS_PUBLIC_URL, which is part of what some gateways sign.",
    ),
    errors.Forbidden: Outcome(
        HTTPStatus.FORBIDDEN,
        {},
        "The key is for another shop or lacks the scope `{scope}`.",
        "This key is not allowed to do that for this shop. Check the number of the shop in the path, and use a key"
        " of this shop with the scope `{scope}`; the operator of the server gives you one.",
    ),
    errors.NoSuchPath: Outcome(
        HTTPStatus.NOT_FOUND,
        {},
        "The trackpointId is not a positive integer.",
        "'abc' is not a trackpoint. A trackpoint is the number of a shop, a positive integer.",
    ),
    errors.UnknownReceiver: Outcome(
        HTTPStatus.NOT_FOUND,
        {},
        "The token is wrong, or the receiver was revoked.",
        "There is no receiver under this address, or it was revoked. Check the address in the gateway's configuration;"
        " `smsevents receiver create` makes a new one.",
    ),
    errors.UnknownShop: Outcome(HTTPStatus.NOT_FOUND, {}, "The shop was removed meanwhile.", ""),
    errors.BodyTimeout: Outcome(
        HTTPStatus.REQUEST_TIMEOUT,
        {},
        "The request body timed out.",
        "No data of the body arrived for 60 seconds. Nothing was done; send it again.",
    ),
    errors.HeadTimeout: Outcome(HTTPStatus.REQUEST_TIMEOUT, {}, "The headers did not end in time.", ""),
    errors.BodyTooLarge: Outcome(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        {},
        "The body is over a limit.",
        "The lines are more than 1024 MiB. Send them in several imports.",
    ),
    errors.HeadTooLarge: Outcome(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        {},
        "The path and the headers are over a limit.",
        "The path and the headers are more than 65536 bytes. Send fewer or shorter ones.",
    ),
    errors.TooManyConnections: Outcome(
        HTTPStatus.SERVICE_UNAVAILABLE, _RETRY, "The process serves as many connections as it may.", ""
    ),
    errors.UnsupportedEncoding: Outcome(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        {},
        "The Content-Encoding is unknown.",
        "Content-Encoding 'br' cannot be read. Send the lines with gzip or as they are.",
    ),
    errors.TooManyAtOnce: Outcome(
        HTTPStatus.TOO_MANY_REQUESTS,
        _RETRY,
        "Too many concurrent requests.",
        "The server is busy with 256 exports already. Try again in a moment.",
    ),
    errors.TooManyAttempts: Outcome(
        HTTPStatus.TOO_MANY_REQUESTS,
        _RETRY_LATER,
        "Too many wrong keys or tokens from this address.",
        "There were more than 30 wrong keys from this address within a minute. Check the key, wait a minute, then try"
        " again.",
    ),
    errors.TimeInDoubt: Outcome(
        HTTPStatus.SERVICE_UNAVAILABLE,
        _RETRY_LATER,
        "The server's clock may be wrong, and would have the last word.",
        "",
    ),
    errors.StoreFull: Outcome(
        HTTPStatus.INSUFFICIENT_STORAGE,
        _RETRY,
        "There is no room on the server's disk.",
        "There is no room left on the disk of the database. Nothing of this was stored; free some room and try again.",
    ),
    errors.StoreUnavailable: Outcome(
        HTTPStatus.SERVICE_UNAVAILABLE,
        _RETRY,
        "The store is unavailable.",
        "The database cannot be read: unable to open database file. Try again in a moment.",
    ),
    errors.DamagedSegment: Outcome(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        {},
        "Stored bytes are damaged, or a defect.",
        "Segment 17 is damaged: its stored bytes do not match their checksum.",
    ),
}

# Errors that the framework raises, or that determine their own status.
WRONG_METHOD = Outcome(
    HTTPStatus.METHOD_NOT_ALLOWED,
    {},
    "The method is not allowed; see `Allow`.",
    "This path does not take GET; use POST, OPTIONS.",
)
INVALID_LINES = Outcome(
    HTTPStatus.UNPROCESSABLE_ENTITY,
    {},
    "A line is JSON but not a valid event. Nothing was stored.",
    "Nothing was stored. Line 3: invalid enum value 'SENT' - at `$.smsEvent.status`.",
)


# Python before 3.13 has older names for these two. The names here are those of RFC 9110 on every version.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


def title_of(status: HTTPStatus) -> str:
    """Return the name of a status (RFC 9110, section 15)."""
    return _TITLES.get(status, status.phrase)


class ProblemLine(msgspec.Struct):
    """A line of an import that was refused."""

    line: int
    reason: str


class Problem(msgspec.Struct, omit_defaults=True):
    """The body of every error."""

    type: Annotated[str, Meta(description="Always about:blank: the status says which.")]
    title: str
    status: int
    detail: Annotated[str, Meta(description="What to change.")]
    errors: list[ProblemLine] | None = None
    more: Annotated[bool | None, Meta(description="Reading stopped at the last line named.")] = None


def from_our_error(request: Request[Any, Any, Any], error: errors.SmsEventsError) -> Response[bytes]:
    """Build the response to an error that smsevents raised."""
    outcome = outcome_of(error)
    status, headers = outcome.status, outcome.headers
    info_of(request.scope).refused(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request failed", path=shown_path(request.scope), error=str(error))
    if isinstance(error, errors.UnsupportedEncoding):
        headers = {"Accept-Encoding": error.supported}  # RFC 9110, section 15.5.16
    if isinstance(error, errors.InvalidLines):
        return _invalid_lines(error)
    return answer(status, error.outside, headers)


_UNFORESEEN = STATUSES[errors.DamagedSegment]


def outcome_of(error: errors.SmsEventsError) -> Outcome:
    """Return the outcome of the first class that matches an error."""
    return next((outcome for kind, outcome in STATUSES.items() if isinstance(error, kind)), _UNFORESEEN)


def from_framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Build the response to an error that the framework raised: an unknown path, a wrong method."""
    status = HTTPStatus(error.status_code)
    info_of(request.scope).reason = status.name.lower()
    headers = {name.title(): value for name, value in (error.headers or {}).items()}
    if status == HTTPStatus.NOT_FOUND:
        detail = "There is nothing under this path; /docs shows what there is."
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        if "Allow" in headers:  # the framework has them in any order
            methods = headers["Allow"].split(", ")
            headers["Allow"] = ", ".join(sorted(methods, key=lambda method: (method == "OPTIONS", method)))
        detail = f"This path does not take {request.scope['method']}; use {headers.get('Allow', 'another method')}."
    else:
        detail = error.detail
    return answer(status, detail, headers)


def from_defect(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Build the response to an unexpected error, a defect of smsevents. The log has its traceback."""
    info = info_of(request.scope)
    info.reason = "defect"
    logger.error("unforeseen error", path=shown_path(request.scope), exc_info=error)
    return answer(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The server met an error that it did not foresee. Its log has the details, under the request id"
        f" {info.request_id}; please report them.",
        {},
    )


def _invalid_lines(error: errors.InvalidLines) -> Response[bytes]:
    status = HTTPStatus.BAD_REQUEST if error.malformed else HTTPStatus.UNPROCESSABLE_ENTITY
    named = [ProblemLine(bad.line, bad.reason) for bad in error.bad_lines]
    return answer(status, str(error), {}, named=named, more=error.more)


def problem_body(
    status: HTTPStatus, detail: str, *, named: list[ProblemLine] | None = None, more: bool | None = None
) -> bytes:
    """Build the JSON body of an error."""
    return msgspec.json.encode(
        Problem(type="about:blank", title=title_of(status), status=status, detail=detail, errors=named, more=more)
    )


def answer(
    status: HTTPStatus,
    detail: str,
    headers: dict[str, str],
    *,
    named: list[ProblemLine] | None = None,
    more: bool | None = None,
) -> Response[bytes]:
    """Build the response. It closes the connection, because the body may not have been read to its end."""
    return Response(
        problem_body(status, detail, named=named, more=more),
        status_code=status,
        headers={**headers, "Content-Type": MEDIA_TYPE, "Connection": "close"},
        media_type=MediaType.JSON,
    )


HANDLERS: dict[type[Exception] | int, Any] = {
    errors.SmsEventsError: from_our_error,
    HTTPException: from_framework_error,
    Exception: from_defect,
}
