"""Every error that smsevents raises on purpose.

    SmsEventsError
    ├── InvalidRequest           400  the request is not what the contract says
    │   ├── InvalidLines         400 or 422, with the numbers of the lines
    │   └── MalformedRequest     400  what HTTP does not allow; the connection is closed
    ├── Unauthorized             401  no key, or one that is unknown, revoked or expired
    ├── Forbidden                403  a key of another shop, or without the scope
    ├── ClientGone               (nobody is left to be told)
    ├── BodyTimeout              408  the client stopped sending
    ├── HeadTimeout              408  the headers of a request did not end in time
    ├── BodyTooLarge             413
    ├── HeadTooLarge             431
    ├── TooManyConnections       503  all of them are being served
    ├── UnsupportedEncoding      415
    ├── TooManyAtOnce            429
    ├── NoSuchPath               404  among them a trackpoint that is not a positive integer
    ├── UnknownShop              404 for a shop that was removed in between; commands say it too
    ├── UnknownKey               (commands only)
    ├── ShopExists               (commands only)
    ├── SettingError             a setting that cannot be used
    ├── TimeInDoubt              503  the clock may be wrong, and it would have the last word
    ├── CannotListen             (`serve` only) the address is taken, or none of this machine
    ├── StoreUnavailable         503  the database cannot be read or written just now
    │   ├── StoreFull            507  there is no room on its disk
    │   ├── NoDatabase                there is none where it was looked for (commands only)
    │   └── StoreVersionError         it was made by a newer smsevents
    └── DamagedSegment           500  stored bytes are not what was written

`web/problems.py` turns them into problem details (RFC 9457), `cli/console.py` into a line on standard
error and an exit code. The text of an error says what was wrong, where, and what to do next: it is shown
to the user as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass


class SmsEventsError(Exception):
    """The root of the tree.

    `outside` is what a client of the server is told instead of the text, where that is for who runs the server.
    """

    def __init__(self, text: str, outside: str | None = None) -> None:
        """Have a text, and another one for clients of the server if need be."""
        super().__init__(text)
        self.outside = text if outside is None else outside


class InvalidRequest(SmsEventsError):
    """The request is not what the contract says; the text names the place and what to change."""


@dataclass(frozen=True)
class BadLine:
    """What is wrong with one line of an import: its number, counted from 1, and why it was refused."""

    line: int
    reason: str


class InvalidLines(InvalidRequest):
    """Lines of an import that cannot be stored; nothing of the import was.

    `malformed` tells whether one of them is not JSON at all. `more` tells that reading stopped early, so
    there may be further bad lines after the ones named. `again` tells how to send the import again, and
    `named` where the other bad lines are named.
    """

    def __init__(
        self,
        bad_lines: list[BadLine],
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
    """The request is not what HTTP allows, so that where it ends cannot be told."""


class Unauthorized(SmsEventsError):
    """There is no key, or it is unknown, revoked or expired."""


class Forbidden(SmsEventsError):
    """The key is good, but not for this shop or not for this action."""


class ClientGone(SmsEventsError):
    """The connection ended before the request was whole."""


class BodyTimeout(SmsEventsError):
    """The client stopped sending its body."""


class HeadTimeout(SmsEventsError):
    """The headers of a request did not end in time."""


class HeadTooLarge(SmsEventsError):
    """The path, the headers or the trailers are over a limit."""


class TooManyConnections(SmsEventsError):
    """This process serves as many connections as it may."""


class CannotListen(SmsEventsError):
    """The address to serve on cannot be had; the text tells why."""


class BodyTooLarge(SmsEventsError):
    """The body is over a limit; the text names the limit and its setting."""


class UnsupportedEncoding(SmsEventsError):
    """The Content-Encoding of the body is not one that we read; `supported` names those that we do."""

    def __init__(self, text: str, supported: str) -> None:
        super().__init__(text)
        self.supported = supported


class TooManyAtOnce(SmsEventsError):
    """This process already serves as many requests of the kind as it may."""


class NoSuchPath(SmsEventsError):
    """Nothing is served under that path."""


class UnknownShop(SmsEventsError):
    """There is no shop with that trackpoint."""


class UnknownKey(SmsEventsError):
    """The shop has no key with that id."""


class ShopExists(SmsEventsError):
    """A shop with that trackpoint is there already."""


class SettingError(SmsEventsError):
    """A setting has a value that cannot be used."""


class TimeInDoubt(SmsEventsError):
    """The clock may be wrong, so nothing is deleted or refused for good on its word."""


class StoreUnavailable(SmsEventsError):
    """The database cannot be read or written just now."""


class StoreFull(StoreUnavailable):
    """There is no room left on the disk of the database, or of temporary files."""


class NoDatabase(StoreUnavailable):
    """There is no database where it was looked for, and it was not to be created."""


class StoreVersionError(StoreUnavailable):
    """The database was made by a newer smsevents than this one."""


class DamagedSegment(SmsEventsError):
    """Stored bytes are not what was written: a checksum, a length or a form is wrong."""
