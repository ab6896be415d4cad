"""Why an import is refused, in words that fit the place that its lines come from.

The body of a request has headers, and the file of a command has options. A message names only those that apply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smsevents.errors import BodyTooLarge, InvalidLines, InvalidRequest
from smsevents.wire.file_formats import format_of
from smsevents.wire.gzip_stream import TruncatedGzip

if TYPE_CHECKING:
    from smsevents.errors import RefusedLine
    from smsevents.wire.gzip_stream import DamagedGzip


@dataclass(frozen=True)
class Origin:
    """A place that lines come from: its name, and advice to its user for each kind of refusal."""

    name: str
    again: str
    others_named: str
    for_gzip: str
    for_plain: str
    for_less: str
    for_impossible: str
    clock: str
    for_doubt: str


BODY = Origin(
    name="body",
    again="send the complete body again",
    others_named="in `errors`",
    for_gzip="send it with the header Content-Encoding: gzip",
    for_plain="send it as gzip wrote it, or without the header Content-Encoding",
    for_less="Send them in several imports; the operator of the server can raise SMSEVENTS_IMPORT_LINES_MAX_MIB.",
    for_impossible="",
    clock="the server's clock",
    for_doubt="Send the complete body again later; if it lasts, tell the operator of the server.",
)
FILE = Origin(
    name="file",
    again="import the complete file again",
    others_named="below",
    for_gzip="import it under another name, so that it is not taken for plain lines",
    for_plain="compress it again with gzip, or give the plain lines",
    for_less="Import them in several files.",
    for_impossible=" (or with --skip-impossible, which leaves out what cannot be true)",
    clock="this machine's clock",
    for_doubt="If it is wrong, set it right. If not, run `smsevents expire --force`. Then import the file again.",
)


def not_gzip(origin: Origin, start: bytes) -> InvalidRequest:
    """Return the error for data that was announced as gzip and is not; `start` is its first bytes."""
    found = format_of(start)
    what = f"it is {found}" if found else "it does not begin as gzip does"
    return InvalidRequest(f"Nothing was stored. The {origin.name} is not gzip: {what}. Please {origin.for_plain}.")


def damaged_gzip(origin: Origin, error: DamagedGzip) -> InvalidRequest:
    """Return the error for a gzip stream that is damaged or truncated; `error` says how."""
    what = "truncated" if isinstance(error, TruncatedGzip) else "damaged"
    return InvalidRequest(
        f"Nothing was stored. The gzip {origin.name} is {what}: {error}. Compress the lines again and {origin.again}."
    )


def foreign(origin: Origin, start: bytes, *, inflated: bool) -> InvalidRequest | None:
    """Return the error for data in another known format, which its first bytes show; None if it is unknown.

    `inflated` means that the data comes from a gzip stream.
    """
    found = format_of(start)
    if found is None:
        return None
    if found == "gzip":
        return InvalidRequest(
            f"Nothing was stored. The {origin.name} "
            + ("was compressed with gzip twice; compress it once." if inflated else f"is gzip; {origin.for_gzip}.")
        )
    what = f"holds, once it is decompressed, {found}" if inflated else f"is {found}"
    instead = "" if ";" in found else "; give lines of JSON, plain or compressed with gzip"
    return InvalidRequest(f"Nothing was stored. The {origin.name} {what}{instead}.")


def too_many_lines(origin: Origin, max_mib: int) -> BodyTooLarge:
    """Return the error for more lines than one import may have."""
    return BodyTooLarge(f"The lines are more than {max_mib} MiB. {origin.for_less}")


def inflates_too_far(max_ratio: int) -> BodyTooLarge:
    """Return the error for a gzip body that inflates further than events do."""
    return BodyTooLarge(
        f"The gzip body inflates to more than {max_ratio} times its size, which events do not."
        " Leave out blank and repeated lines, or send it without gzip."
    )


def bad_lines(origin: Origin, bad: list[RefusedLine], *, malformed: bool, impossible: bool, more: bool) -> InvalidLines:
    """Return the error that names the bad lines.

    `malformed` means that at least one of them is not an event, `impossible` that one is well-formed but cannot be
    true, and `more` that there may be further bad lines.
    """
    again = origin.again + (origin.for_impossible if impossible else "")
    return InvalidLines(bad, malformed=malformed, more=more, again=again, named=origin.others_named)
