"""The spellings of a message id.

An SMSC may return an id in hexadecimal when it takes a message, and in decimal in the receipt, or the other way round.
Programs in between change its case, and drop or add leading zeros. So ids are compared as texts without these
differences, and then also in the other notation.

A number in the other notation is another number. Where ids are consecutive decimal numbers, it may be the id of another
message. So an id that consists of digits only is taken for hexadecimal only if it has HEX_DIGITS_MIN digits or more.
"""

from __future__ import annotations

import hashlib
import re
import string

MESSAGE_ID_MAX_CHARACTERS = 256
HEX_DIGITS_MIN = 8  # as of a number of 32 bits
_HEX_DIGITS_MAX = 32
_DECIMAL_DIGITS_MAX = 39  # of a number with so many hexadecimal digits
_DIGEST_BYTES = 16

_hex = re.compile(rf"[0-9a-f]{{1,{_HEX_DIGITS_MAX}}}")
_decimal = re.compile(rf"[0-9]{{1,{_DECIMAL_DIGITS_MAX}}}")


def normalized(message_id: str) -> str:
    """Return an id in lower case, without surrounding space, leading zeros and a leading `0x`."""
    text = message_id.strip().lower()
    if text.startswith("0x") and _hex.fullmatch(text[2:]):
        text = text[2:]
    return text.lstrip(f"0{string.whitespace}") or "0"


def other_spellings(message_id: str) -> list[str]:
    """Return the normalized ids that mean the same number in the other notation.

    An id is another spelling of a second one if and only if the second one is another spelling of it.
    """
    own = normalized(message_id)
    found = []
    if _decimal.fullmatch(own) and _is_hexadecimal(in_hex := f"{int(own):x}"):
        found.append(in_hex)
    if _hex.fullmatch(own) and _is_hexadecimal(own):
        found.append(str(int(own, 16)))
    return [text for text in found if text != own]


def _is_hexadecimal(text: str) -> bool:
    """Return whether hexadecimal digits are probably meant as such, and not as decimal ones."""
    return not text.isdecimal() or len(text) >= HEX_DIGITS_MIN


def digest_of_id(normalized_id: str) -> bytes:
    """Return the digest of a normalized id under which a message is registered."""
    return hashlib.sha256(normalized_id.encode(errors="surrogatepass")).digest()[:_DIGEST_BYTES]


def digests_of(message_id: str) -> list[bytes]:
    """Return the digests of an id: of its own spelling first, then of the others."""
    return [digest_of_id(text) for text in (normalized(message_id), *other_spellings(message_id))]
