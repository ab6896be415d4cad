"""What a better deflate would buy: how small each compressor makes segments, how fast, and how fast they inflate.

    make bench-deflate        # or: uv run --group bench python -m bench.deflate

A segment has to end on a byte boundary, with no final block, so that segments can be put one behind the other
(docs/architecture.md). zlib, zlib-ng and isal do that by themselves: a full flush. libdeflate and zopfli always end
with a final block; `spliceable` takes that mark away. Every result is checked: it must inflate to its lines, also when
it stands before another segment.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import time
import zlib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from isal import isal_zlib

from bench.measure import CommandFailed
from bench.results import Deflated, DeflateResult, about
from smsevents.generate import generate
from smsevents.settings import DEFLATE_LEVEL, SEGMENT_LINES_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.plan import Plan

SLOW_SEGMENTS = 4
SLOW_MB_PER_SECOND = 5.0
ROUNDS = 5
END_MS = 1_800_000_000_000
RAW = -15
_MB = 1e6


@dataclass(frozen=True)
class Codec:
    """A compressor at a level."""

    name: str
    compress: Callable[[bytes], bytes]


# --- taking the final mark away


class _ZStream(ctypes.Structure):
    """zlib's z_stream (zlib.h), to inflate block by block: Python's zlib does not offer that."""

    _fields_ = (
        ("next_in", ctypes.c_char_p),
        ("avail_in", ctypes.c_uint),
        ("total_in", ctypes.c_ulong),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint),
        ("total_out", ctypes.c_ulong),
        ("msg", ctypes.c_char_p),
        ("state", ctypes.c_void_p),
        ("zalloc", ctypes.c_void_p),
        ("zfree", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("data_type", ctypes.c_int),
        ("adler", ctypes.c_ulong),
        ("reserved", ctypes.c_ulong),
    )


_Z_BLOCK = 5
_Z_OK, _Z_STREAM_END = 0, 1
_UNUSED_BITS = 7
_AT_BLOCK_END = 128


def _libz() -> Any:  # noqa: ANN401 -- a C library has no types
    return ctypes.CDLL(ctypes.util.find_library("z") or "libz.so.1")


def block_ends(raw: bytes, lines_bytes: int) -> Iterator[int]:
    """Give the bit positions at which the blocks of a whole deflate stream end, in order."""
    libz = _libz()
    stream = _ZStream()
    out = ctypes.create_string_buffer(lines_bytes + 1)
    stream.next_in, stream.avail_in = raw, len(raw)
    stream.next_out, stream.avail_out = ctypes.addressof(out), len(out)
    if libz.inflateInit2_(ctypes.byref(stream), RAW, b"1.2.11", ctypes.sizeof(stream)) != _Z_OK:
        raise CommandFailed("libz does not know this z_stream")
    status = _Z_OK
    while status == _Z_OK:
        status = libz.inflate(ctypes.byref(stream), _Z_BLOCK)
        if stream.data_type & _AT_BLOCK_END:
            yield stream.total_in * 8 - (stream.data_type & _UNUSED_BITS)
    libz.inflateEnd(ctypes.byref(stream))
    if status != _Z_STREAM_END:
        raise CommandFailed(f"libz could not inflate the stream: {status}")


def spliceable(raw: bytes, lines_bytes: int) -> bytes:
    """Turn a whole deflate stream into a segment: no final block, and an end on a byte boundary.

    The first bit of the last block says that it is the last (RFC 1951, 3.2.3): it is cleared. Behind it an empty
    stored block is put, as a full flush does: three zero bits, zeros up to the byte, 00 00 FF FF.
    """
    # the start counts as an end at bit 0; the last position is the end of the last block itself
    ends = [0, *block_ends(raw, lines_bytes)]
    end = ends[-1]
    last = max(position for position in ends if position < end)
    data = bytearray(raw)
    data[last // 8] &= ~(1 << last % 8)
    free_bits = len(raw) * 8 - end
    if free_bits < 3:  # noqa: PLR2004 -- the bits of a block's header
        data.append(0)
    return bytes(data) + b"\x00\x00\xff\xff"


# --- the compressors


def _flushing(module: Any, level: int) -> Callable[[bytes], bytes]:  # noqa: ANN401 -- three modules alike
    def compress(lines: bytes) -> bytes:
        compressor = module.compressobj(level, zlib.DEFLATED, RAW)
        return bytes(compressor.compress(lines) + compressor.flush(zlib.Z_FULL_FLUSH))

    return compress


NOW = Codec(f"isal {DEFLATE_LEVEL}", _flushing(isal_zlib, DEFLATE_LEVEL))  # what segments are made by today


def codecs() -> list[Codec]:
    """Give all compressors that are compared."""
    import zopfli.zlib  # noqa: PLC0415
    from zlib_ng import zlib_ng  # noqa: PLC0415

    import deflate  # noqa: PLC0415 -- peers, which only `make bench` installs

    def libdeflate(level: int) -> Callable[[bytes], bytes]:
        return lambda lines: spliceable(bytes(deflate.deflate_compress(lines, level)), len(lines))

    def zopfli_(lines: bytes) -> bytes:
        packed: bytes = zopfli.zlib.compress(lines, numiterations=5)
        return spliceable(packed[2:-4], len(lines))  # without zlib's header and trailer

    return [
        *(Codec(f"isal {level}", _flushing(isal_zlib, level)) for level in (0, 1, 2, 3)),
        *(Codec(f"zlib-ng {level}", _flushing(zlib_ng, level)) for level in (3, 6, 9)),
        *(Codec(f"zlib {level}", _flushing(zlib, level)) for level in (1, 6, 9)),
        *(Codec(f"libdeflate {level}", libdeflate(level)) for level in (1, 6, 9, 12)),
        Codec("zopfli", zopfli_),
    ]


# --- measuring


def segments(count: int) -> list[bytes]:
    """Give the lines of so many segments, of one shop."""
    lines = generate(1, events=count * SEGMENT_LINES_BYTES // 200, days=30, seed=1, end_ms=END_MS)
    found: list[bytes] = []
    while len(found) < count:
        batch = b"".join(b"%b\n" % line for line in islice(lines, SEGMENT_LINES_BYTES // 250))
        if not batch:
            break
        found.append(batch)
    return found


def measure_codec(codec: Codec, plain: Sequence[bytes], rounds: int = ROUNDS) -> Deflated:
    """Compress each segment and inflate it again; of the rounds the fastest counts. Raises if lines got lost.

    Processor time is counted, so what else the machine does hardly matters. A very slow compressor gets only a few
    of the segments, from all over; its size is compared on the same ones.
    """
    started = time.process_time()
    codec.compress(plain[0])
    slow = len(plain[0]) / (time.process_time() - started) / _MB < SLOW_MB_PER_SECOND
    chosen = plain[:: max(1, len(plain) // SLOW_SEGMENTS)] if slow else plain
    fastest_deflate = fastest_inflate = float("inf")
    packed: list[bytes] = []
    for _ in range(1 if slow else rounds):
        started = time.process_time()
        packed = [codec.compress(lines) for lines in chosen]
        fastest_deflate = min(fastest_deflate, time.process_time() - started)
        started = time.process_time()
        back = [_inflate(one, len(lines)) for one, lines in zip(packed, chosen, strict=True)]
        fastest_inflate = min(fastest_inflate, time.process_time() - started)
        if back != list(chosen):
            raise CommandFailed(f"{codec.name} lost lines")
    whole = zlib.decompressobj(RAW).decompress(b"".join(packed) + b"\x03\x00")
    if whole != b"".join(chosen):
        raise CommandFailed(f"segments of {codec.name} cannot be put one behind the other")
    lines_bytes, packed_bytes = sum(map(len, chosen)), sum(map(len, packed))
    return Deflated(
        codec=codec.name,
        segments=len(chosen),
        ratio=round(lines_bytes / packed_bytes, 2),
        size_by_now=round(packed_bytes / sum(len(NOW.compress(lines)) for lines in chosen), 4),
        deflate_mb_per_second=round(lines_bytes / fastest_deflate / _MB, 1),
        inflate_mb_per_second=round(lines_bytes / fastest_inflate / _MB, 1),
    )


def _inflate(segment: bytes, lines_bytes: int) -> bytes:
    return isal_zlib.decompressobj(RAW).decompress(segment, lines_bytes + 1)


def measure(plan: Plan) -> DeflateResult:
    """Measure all compressors on the same segments."""
    plain = segments(plan.deflate_segments)
    found: list[Deflated] = []
    for codec in codecs():
        one = measure_codec(codec, plain)
        print(
            f"  {one.codec:14}{one.ratio:7.2f}x{one.deflate_mb_per_second:9.1f} MB/s"
            f"{one.inflate_mb_per_second:9.1f} MB/s back",
            flush=True,
        )
        found.append(one)
    return DeflateResult(about=about(), line_bytes=sum(map(len, plain)), segments=len(plain), codecs=found)
