"""Problem details (RFC 9457): the one place where an error becomes an answer.

Every error of every route has the same body: `type`, `title`, `status` and a `detail` that tells the user
what to change. `InvalidLines` adds `errors`, a list of `line` and `reason`, and `more`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from litestar import MediaType, Response
from litestar.exceptions import HTTPException

from smsevents import errors
from smsevents.web.request_info import info_of
from smsevents.web.request_log import shown_path

if TYPE_CHECKING:
    from litestar import Request

RETRY_AFTER_SECONDS = 2

logger = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
_RETRY = {"Retry-After": str(RETRY_AFTER_SECONDS)}
_RETRY_LATER = {"Retry-After": "60"}  # seconds: a person has to look at it

# The most telling class first: an error is what the first class that fits it says.
STATUSES: dict[type[errors.SmsEventsError], tuple[HTTPStatus, dict[str, str]]] = {
    errors.InvalidRequest: (HTTPStatus.BAD_REQUEST, {}),
    errors.ClientGone: (HTTPStatus.BAD_REQUEST, {}),
    errors.Unauthorized: (HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": 'ApiKey header="X-Api-Key"'}),
    errors.Forbidden: (HTTPStatus.FORBIDDEN, {}),
    errors.NoSuchPath: (HTTPStatus.NOT_FOUND, {}),
    errors.UnknownShop: (HTTPStatus.NOT_FOUND, {}),
    errors.BodyTimeout: (HTTPStatus.REQUEST_TIMEOUT, {}),
    errors.HeadTimeout: (HTTPStatus.REQUEST_TIMEOUT, {}),
    errors.BodyTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {}),
    errors.HeadTooLarge: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, {}),
    errors.TooManyConnections: (HTTPStatus.SERVICE_UNAVAILABLE, _RETRY),
    errors.UnsupportedEncoding: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {}),
    errors.TooManyAtOnce: (HTTPStatus.TOO_MANY_REQUESTS, _RETRY),
    errors.TimeInDoubt: (HTTPStatus.SERVICE_UNAVAILABLE, _RETRY_LATER),
    errors.StoreFull: (HTTPStatus.INSUFFICIENT_STORAGE, _RETRY),
    errors.StoreUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, _RETRY),
    errors.DamagedSegment: (HTTPStatus.INTERNAL_SERVER_ERROR, {}),
}


# Python before 3.13 has the older names of these two; ours are those of RFC 9110, whatever runs us.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


def title_of(status: HTTPStatus) -> str:
    """Give the name of a status (RFC 9110, section 15)."""
    return _TITLES.get(status, status.phrase)


class Problem(msgspec.Struct, omit_defaults=True):
    """The body of every error."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, int | str]] | None = None
    more: bool | None = None


def from_our_error(request: Request[Any, Any, Any], error: errors.SmsEventsError) -> Response[bytes]:
    """Answer an error that smsevents raised."""
    status, headers = status_of(error)
    info_of(request.scope).refused(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request failed", path=shown_path(request.scope), error=str(error))
    if isinstance(error, errors.UnsupportedEncoding):
        headers = {"Accept-Encoding": error.supported}  # RFC 9110, section 15.5.16
    if isinstance(error, errors.InvalidLines):
        return _invalid_lines(error)
    return answer(status, error.outside, headers)


def status_of(error: errors.SmsEventsError) -> tuple[HTTPStatus, dict[str, str]]:
    """Give the status of an error, and the headers that go with it."""
    return next(
        (answer for kind, answer in STATUSES.items() if isinstance(error, kind)),
        (HTTPStatus.INTERNAL_SERVER_ERROR, {}),
    )


def from_framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer an error that the framework raised: an unknown path, a wrong method."""
    status = HTTPStatus(error.status_code)
    info_of(request.scope).reason = status.name.lower()
    headers = {name.title(): value for name, value in (error.headers or {}).items()}
    if status == HTTPStatus.NOT_FOUND:
        detail = "There is nothing under this path; /docs shows what there is."
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"This path does not take {request.scope['method']}; use {headers.get('Allow', 'another method')}."
    else:
        detail = error.detail
    return answer(status, detail, headers)


def from_defect(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer an error that nobody foresaw: a defect of ours. The log has its traceback."""
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
    named: list[dict[str, int | str]] = [{"line": bad.line, "reason": bad.reason} for bad in error.bad_lines]
    return answer(status, str(error), {}, named=named, more=error.more)


def problem_body(
    status: HTTPStatus, detail: str, *, named: list[dict[str, int | str]] | None = None, more: bool | None = None
) -> bytes:
    """Build the body that every error has."""
    return msgspec.json.encode(
        Problem(type="about:blank", title=title_of(status), status=status, detail=detail, errors=named, more=more)
    )


def answer(
    status: HTTPStatus,
    detail: str,
    headers: dict[str, str],
    *,
    named: list[dict[str, int | str]] | None = None,
    more: bool | None = None,
) -> Response[bytes]:
    """Build the answer. It closes the connection, as the body may not have been read to its end."""
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
