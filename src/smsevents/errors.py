"""Every error that smsevents raises on purpose.

    SmsEventsError
    ├── InvalidRequest           400  the request is not what the contract says
    │   ├── InvalidLines         400 or 422, with the numbers of the lines
    │   └── MalformedRequest     400  not valid HTTP; the connection is closed
    ├── Unauthorized             401  the key is missing, unknown, revoked or expired
    ├── BadSignature             401  a call of a gateway that signs its calls, without a valid signature
    ├── Forbidden                403  the key belongs to another shop or lacks the scope
    ├── ClientGone               (no client is left to receive a response)
    ├── BodyTimeout              408  the client stopped sending
    ├── HeadTimeout              408  the headers of a request did not end in time
    ├── BodyTooLarge             413
    ├── HeadTooLarge             431
    ├── TooManyConnections       503  the process is serving as many as it may
    ├── UnsupportedEncoding      415
    ├── TooManyAtOnce            429
    ├── TooManyAttempts          429  too many wrong keys or tokens from one address
    ├── NoSuchPath               404  also for a trackpoint that is not a positive integer
    ├── UnknownShop              404  a shop that was removed in the meantime; commands raise it too
    ├── UnknownKey               (commands only)
    ├── UnknownReceiver          404  the address of delivery receipts is wrong or was revoked; commands raise it too
    ├── ShopExists               (commands only)
    ├── SettingError             a setting that cannot be used
    ├── TimeInDoubt              503  the clock may be wrong, and the decision depends on it
    ├── CannotListen             (`serve` only) the address is in use or does not belong to this machine
    ├── StoreUnavailable         503  the database cannot be read or written at the moment
    │   ├── StoreFull            507  its disk is full
    │   ├── BlockedMeanwhile     503  a user was blocked or unblocked during an import
    │   ├── NoDatabase                no database exists at the location (commands only)
    │   └── StoreVersionError         a newer smsevents created the database
    ├── ObjectGone               (within the server) a pack was replaced; its reader looks at the catalog again
    └── DamagedSegment           500  stored bytes differ from what was written

`web/problems.py` turns them into problem details (RFC 9457), `cli/console.py` into a line on standard
error and an exit code. The text of an error says what was wrong, where, and what to do next. Users see it
unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass


class SmsEventsError(Exception):
    """The root of the tree.

    `outside` replaces the text in responses to clients when the text itself is meant for the operator of the server.
    """

    def __init__(self, text: str, outside: str | None = None) -> None:
        """Take a text, and optionally a different one for clients of the server."""
        super().__init__(text)
        self.outside = text if outside is None else outside


class InvalidRequest(SmsEventsError):
    """The request does not follow the contract; the text names the place and what to change."""


@dataclass(frozen=True)
class RefusedLine:
    """A line of an import that was refused: its number, counted from 1, and the reason."""

    line: int
    reason: str


class InvalidLines(InvalidRequest):
    """Lines of an import cannot be stored, so nothing of the import was stored.

    `malformed` is true if one of them is not JSON at all. `more` is true if reading stopped early, so there may be
    further bad lines after the ones listed. `again` explains how to send the import again, and `named` where the
    other bad lines are listed.
    """

    def __init__(
        self,
        bad_lines: list[RefusedLine],
        *,
        malformed: bool,
        more: bool,
        again: str = "send the complete body again",
        named: str = "in `errors`",
    ) -> None:
        first = bad_lines[0]
        rest = len(bad_lines) - 1
        others = f" ({rest} more {named})" if rest else ""
        stopped = " Reading stopped there, so later lines may be bad too." if more else ""
        super().__init__(
            f"Nothing was stored. Line {first.line}: {first.reason}{others}.{stopped}"
            f" Fix these lines and {again}; events already stored are not duplicated."
        )
        self.bad_lines = bad_lines
        self.malformed = malformed
        self.more = more


class MalformedRequest(InvalidRequest):
    """The request is not valid HTTP, so its end cannot be determined."""


class Unauthorized(SmsEventsError):
    """The key is missing, unknown, revoked or expired."""


class BadSignature(SmsEventsError):
    """The call of a gateway does not have a valid signature."""


class Forbidden(SmsEventsError):
    """The key is valid, but not for this shop or not for this action."""


class ClientGone(SmsEventsError):
    """The connection ended before the request was complete."""


class BodyTimeout(SmsEventsError):
    """The client stopped sending its body."""


class HeadTimeout(SmsEventsError):
    """The headers of a request did not end in time."""


class HeadTooLarge(SmsEventsError):
    """The path, the headers or the trailers are over a limit."""


class TooManyConnections(SmsEventsError):
    """This process already serves as many connections as it may."""


class CannotListen(SmsEventsError):
    """The server cannot listen on its address; the text says why."""


class BodyTooLarge(SmsEventsError):
    """The body is over a limit; the text names the limit and its setting."""


class UnsupportedEncoding(SmsEventsError):
    """The Content-Encoding of the body is not supported; `supported` names the ones that are."""

    def __init__(self, text: str, supported: str) -> None:
        super().__init__(text)
        self.supported = supported


class TooManyAtOnce(SmsEventsError):
    """This process already serves as many requests of the kind as it may."""


class TooManyAttempts(SmsEventsError):
    """One address has sent too many wrong keys within a short time."""


class NoSuchPath(SmsEventsError):
    """The path does not exist."""


class UnknownShop(SmsEventsError):
    """No shop has that trackpoint."""


class UnknownKey(SmsEventsError):
    """No key has that id."""


class UnknownReceiver(SmsEventsError):
    """No receiver has that id or token, or it was revoked."""


class ShopExists(SmsEventsError):
    """A shop with that trackpoint already exists."""


class SettingError(SmsEventsError):
    """A setting has a value that cannot be used."""


class TimeInDoubt(SmsEventsError):
    """The clock may be wrong, so nothing is deleted or permanently refused because of it."""


class StoreUnavailable(SmsEventsError):
    """The database cannot be read or written at the moment."""


class BlockedMeanwhile(StoreUnavailable):
    """A user of the shop was blocked or unblocked while an import was checked, so nothing of it was stored."""

    def __init__(self) -> None:
        super().__init__("A user of the shop was blocked or unblocked meanwhile. Send the import again.")


class StoreFull(StoreUnavailable):
    """The disk of the database or of temporary files is full."""


class NoDatabase(StoreUnavailable):
    """No database exists at the location, and the caller did not ask to create one."""


class StoreVersionError(StoreUnavailable):
    """The database was created by a newer smsevents than this one."""


class ObjectGone(SmsEventsError):
    """The store of packs has no object under the key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Pack {key} is not in its store.")
        self.key = key


class DamagedSegment(SmsEventsError):
    """Stored bytes differ from what was written: a checksum, a length or the format is wrong."""
