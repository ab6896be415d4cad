r"""Finds the parts of many canonical lines at once, with numpy: no line becomes a Python object.

If both times of a line have 13 digits, only its user, its status and its source vary in length. So each part is found
from the part before it or from the end of the line, and what stands between the parts is compared in **words** of
eight bytes. numpy does most of this outside the interpreter's lock.

What is accepted here is what `wire/canonical.py` accepts, if the users and the sources are canonical, too: this module
finds them and does not read them. What is not accepted is left to `wire/canonical.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from smsevents.wire.events import STATUSES

if TYPE_CHECKING:
    from collections.abc import Sequence

Words: TypeAlias = npt.NDArray[np.uint64]
Numbers: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]

_WORD_BYTES = 8
_WORD = np.dtype("<u8")  # the first byte of a word is its lowest, on any machine

# a user is looked for in so many bytes, and if one is longer, in so many; longer ones are left to the pattern
_USER_WINDOWS_BYTES = (32, 128)
_LINE_FEED, _QUOTE, _CONTROL_END = 0x0A, 0x22, 0x20

_TIME_DIGITS = 13
_TIME_MIN = 10 ** (_TIME_DIGITS - 1)  # a smaller number of as many digits begins with 0
_LOW_DIGITS = _TIME_DIGITS - _WORD_BYTES  # of a time, in its second word


def _words_of(text: bytes) -> Words:
    """Return a text as words, filled up with zero bytes."""
    return np.frombuffer(text.ljust(-(-len(text) // _WORD_BYTES) * _WORD_BYTES, b"\0"), _WORD)


def _bits_of(size: int, start: int = 0) -> Words:
    """Return words in which all bits of the bytes from `start` up to `size` are set."""
    return _words_of(b"\0" * start + b"\xff" * (size - start))


class _Constant:
    """A constant text, for comparison with words that begin `start` bytes before it."""

    def __init__(self, text: bytes, start: int = 0) -> None:
        self.words = _words_of(b"\0" * start + text)
        self.bits = _bits_of(start + len(text), start)
        self.size_bytes = self.words.nbytes

    def is_in_all(self, rows: Words) -> bool:
        """Return whether all rows of as many words have the text."""
        return not np.any((rows ^ self.words) & self.bits)


_status_texts = [b'","status":"%b","date":' % status.encode() for status in STATUSES]
_STATUS_BYTES = 40  # in whole words; the longest has 34
_STATUS_WORDS = np.stack([_words_of(text.ljust(_STATUS_BYTES, b"\0")) for text in _status_texts])
_STATUS_BITS = np.stack([_words_of(b"\xff" * len(text) + bytes(_STATUS_BYTES - len(text))) for text in _status_texts])
_STATUS_ENDS = np.array([len(text) for text in _status_texts])

# The first four letters of a status are the upper half of the second word, and a number. No two of these numbers have
# the same remainder by the divisor.
_LETTERS_BITS = 32
_letters = [int(words[1]) >> _LETTERS_BITS for words in _STATUS_WORDS]
_DIVISOR = next(n for n in range(len(STATUSES), 2**16) if len({one % n for one in _letters}) == len(STATUSES))
_CODES = np.zeros(_DIVISOR, np.int8)
_CODES[[one % _DIVISOR for one in _letters]] = range(len(STATUSES))

# after the first word of the date: five digits, and up to the first eight bytes of the source
_AFTER_DATE = _Constant(b'},"source":{"type":', _LOW_DIGITS)
_DATE_BYTES = _WORD_BYTES + _AFTER_DATE.size_bytes
_SOURCE_AT = _WORD_BYTES + _LOW_DIGITS + len(b'},"source":')  # from the start of the date

# up to the line feed: four bytes of the source, and from there on whole words
_BEFORE_SENT = _Constant(b',"sendDate":', 4)
_AFTER_SENT = _Constant(b"}}\n", _LOW_DIGITS)
_TAIL_BYTES = _BEFORE_SENT.size_bytes + _WORD_BYTES + _AFTER_SENT.size_bytes
_SOURCE_END = _TAIL_BYTES - 4  # before the start of the next line

SOURCE_START = b'{"type":'
"""What all sources that are found here begin with."""
_SOURCE_BYTES_MIN = 2 * len(SOURCE_START)  # a canonical one is longer

# of a line, after the window of its user: what is read beyond it at most
_BEYOND_BYTES = max(map(len, _status_texts)) + _DATE_BYTES


class LineParts(NamedTuple):
    """The parts of lines, one element for each line. Starts and ends are places in the block.

    `statuses` are indices of `STATUSES`, `dates` and `sent` are Unix milliseconds of 13 digits.
    """

    starts: Numbers
    user_starts: Numbers
    user_ends: Numbers
    statuses: npt.NDArray[np.int8]
    dates: Numbers
    source_starts: Numbers
    source_ends: Numbers
    sent: Numbers


class LineFinder:
    """Finds the parts of the canonical lines of one shop. Thread-safe."""

    def __init__(self, trackpoint: int) -> None:
        head = b'{"smsEvent":{"trackpoint":%d,"userId":"' % trackpoint
        self._head_bytes = len(head)
        self._head = _Constant(head)

    def find(self, block: bytes) -> LineParts | None:
        r"""Return the parts of complete lines, each ended by `\n`.

        Return None if any line is not canonical around its user and its source, or is unusual. A user that is found
        has no quote and no control character in it, a source no control character.
        """
        found = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(found < _CONTROL_END)
        # no other control character, and nothing after the last line feed
        if not block.endswith(b"\n") or bool((found[ends] != _LINE_FEED).any()):
            return None
        starts = np.concatenate(([0], ends[:-1] + 1))
        if int((ends - starts).min()) < self._head_bytes + _USER_WINDOWS_BYTES[0] + _BEYOND_BYTES:
            return None
        if not self._head.is_in_all(_rows(found, starts, self._head.size_bytes)):
            return None
        user_starts = starts + self._head_bytes
        for window_bytes in _USER_WINDOWS_BYTES:
            sizes = _sizes_of_users(found, user_starts, window_bytes)
            if sizes is not None:
                return _after_users(found, starts, user_starts, user_starts + sizes, ends + 1)
            found = np.concatenate((found, np.zeros(_USER_WINDOWS_BYTES[-1], np.uint8)))  # for the larger window
        return None


def _rows(found: Bytes, places: Numbers, size_bytes: int) -> Words:
    """Return what stands at places, as one row of words for each. All of it must lie within `found`."""
    windows: npt.NDArray[np.void] = np.ndarray(
        (len(found) - size_bytes + 1,), np.dtype((np.void, size_bytes)), buffer=found, strides=(1,)
    )
    return windows[places].view(_WORD).reshape(len(places), size_bytes // _WORD_BYTES)


def _sizes_of_users(found: Bytes, user_starts: Numbers, window_bytes: int) -> Numbers | None:
    """Return how many bytes come before the first quote of each user, or None if it is not in the window."""
    is_quote = _rows(found, user_starts, window_bytes).view(np.uint8) == _QUOTE
    sizes = is_quote.argmax(axis=1)
    has_end = is_quote[np.arange(len(sizes)), sizes]
    return sizes if bool(has_end.all()) else None


def _after_users(
    found: Bytes, starts: Numbers, user_starts: Numbers, user_ends: Numbers, line_ends: Numbers
) -> LineParts | None:
    """Find the other parts. `line_ends` are places after the line feeds."""
    rows = _rows(found, user_ends, _STATUS_BYTES)
    statuses = _CODES[(rows[:, 1] >> np.uint64(_LETTERS_BITS)) % np.uint64(_DIVISOR)]
    if np.any((rows ^ _STATUS_WORDS[statuses]) & _STATUS_BITS[statuses]):
        return None
    date_starts = user_ends + _STATUS_ENDS[statuses]
    date_rows = _rows(found, date_starts, _DATE_BYTES)
    tails = _rows(found, line_ends - _TAIL_BYTES, _TAIL_BYTES)
    source_starts, source_ends = date_starts + _SOURCE_AT, line_ends - _SOURCE_END
    if (
        not _AFTER_DATE.is_in_all(date_rows[:, 1:])
        or not _BEFORE_SENT.is_in_all(tails[:, :2])
        or not _AFTER_SENT.is_in_all(tails[:, 3:])
        or int((user_ends - user_starts).min()) == 0
        or int((source_ends - source_starts).min()) < _SOURCE_BYTES_MIN
    ):
        return None
    dates, sent = _times(date_rows[:, 0], date_rows[:, 1]), _times(tails[:, 2], tails[:, 3])
    if dates is None or sent is None:
        return None
    return LineParts(starts, user_starts, user_ends, statuses, dates, source_starts, source_ends, sent)


def _repeated(byte: int) -> np.uint64:
    return np.uint64(int.from_bytes(bytes([byte]) * _WORD_BYTES, "little"))


_ZEROS = _repeated(ord("0"))
_HIGH_HALVES, _SIXES, _THREES = _repeated(0xF0), _repeated(0x06), _repeated(0x33)
_LOW_SHIFT = np.uint64(8 * (_WORD_BYTES - _LOW_DIGITS))
_LOW_ZEROS = np.uint64(int.from_bytes(b"0" * (_WORD_BYTES - _LOW_DIGITS), "little"))
_LOW_FACTOR = np.uint64(10**_LOW_DIGITS)
# how two neighbours become one number: of single digits, of pairs, and of four digits; and which bits are then kept
_NEIGHBOURS: Sequence[tuple[np.uint64, np.uint64, np.uint64]] = [
    (np.uint64(10), np.uint64(8), np.uint64(0x00FF00FF00FF00FF)),
    (np.uint64(100), np.uint64(16), np.uint64(0x0000FFFF0000FFFF)),
    (np.uint64(10_000), np.uint64(32), np.uint64(0x00000000FFFFFFFF)),
]


def _times(first: Words, second: Words) -> Numbers | None:
    """Return numbers of 13 digits: eight of them in the first word, five at the start of the second word.

    Return None if any is not such a number, as JSON writes it.
    """
    second = (second << _LOW_SHIFT) | _LOW_ZEROS
    if not (_are_digits(first) and _are_digits(second)):
        return None
    numbers = (_number_of(first) * _LOW_FACTOR + _number_of(second)).astype(np.int64)
    return numbers if int(numbers.min()) >= _TIME_MIN else None


def _are_digits(words: Words) -> bool:
    """Return whether all bytes are digits: the upper half of each is 3, also after 6 was added."""
    halves = (words & _HIGH_HALVES) | (((words + _SIXES) & _HIGH_HALVES) >> np.uint64(4))
    return bool((halves == _THREES).all())


def _number_of(words: Words) -> Words:
    """Return the numbers that words of eight digits are."""
    numbers = words - _ZEROS
    for factor, shift, kept in _NEIGHBOURS:
        numbers = (numbers * factor + (numbers >> shift)) & kept
    return numbers
