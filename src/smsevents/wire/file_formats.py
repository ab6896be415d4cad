"""The format of data that should be lines of events and is not, recognized by its first bytes.

People send what a tool has made of their file: an archive, a spreadsheet, the UTF-16 of an older PowerShell, a form.
None of these begins like JSON in UTF-8, so the check runs only after the first line was refused.
"""

from __future__ import annotations

import re

START_MAX_BYTES = 512  # of a body: enough to recognize its format

GZIP = b"\x1f\x8b"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (GZIP, "gzip"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
    (b"x\x01", "compressed with zlib"),
    (b"x\x9c", "compressed with zlib"),
    (b"x\xda", "compressed with zlib"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\x00", "a SQLite database"),
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
)
_UTF_16 = "text in UTF-16, as PowerShell 5.1 writes it; save it as UTF-8 without a byte order mark"
_UTF_32 = "text in UTF-32; save it as UTF-8 without a byte order mark"

# The first line of a table: words with the same separator between them. A line of JSON has a brace or a bracket.
_header = re.compile(rb"""["\w .-]+([,;\t|])["\w .-]+(?:\1["\w .-]*)*\r?\n""")
_array_over_lines = re.compile(rb"\[[ \t\r]*\n")
_base64 = re.compile(rb"(?:H4sI|eyJ)[A-Za-z0-9+/=\r\n]*\Z")  # the beginnings of gzip and of `{"` in base64
_CSV = "CSV; send lines of JSON, as the export writes them"
_TEXTS = (
    (re.compile(rb'trackpoint[,;]|"trackpoint"'), _CSV),
    (_header, _CSV),
    (_array_over_lines, "a JSON array; give each object a line of its own, without an array around them"),
    (_base64, "text in base64; decode it first"),
)


def format_of(start: bytes) -> str | None:
    """Return the format of data by its first START_MAX_BYTES, in words that follow "is"; None if it is unknown."""
    if start.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return _UTF_32
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or (len(start) > 1 and (start[0] == 0) != (start[1] == 0)):
        return _UTF_16
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return name
    if start[257:262] == b"ustar":
        return "a tar archive"
    return _text_format_of(start.removeprefix(b"\xef\xbb\xbf").lstrip())


def _text_format_of(start: bytes) -> str | None:
    """Return the format of a text that is not lines of JSON, or None."""
    if start.startswith(b"--") and start[2:3].strip():  # the first line of a form is its boundary
        return "a form with a file in it (multipart/form-data); send the lines alone"
    if start[:3].upper() == b"%7B" or b"=%7B" in start[:64].upper():
        return "percent-encoded, as forms are; send the lines as they are"
    if start.startswith(b"<"):
        return "HTML or XML, perhaps the error page of a proxy"
    return next((name for pattern, name in _TEXTS if pattern.match(start)), None)
