"""What an import holds while others have their turn."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest

from tests.support.ingests import ingesting
from tests.support.lines import line

MIB = 1024 * 1024
SHOP = 7
NOW = 1_676_380_261_000


@pytest.mark.parametrize(("is_short", "held_max_mib"), [(True, 2), (False, 16)])
def test_what_an_import_holds_between_its_turns(is_short: bool, held_max_mib: float) -> None:
    """Beside many others an import of gzip, which inflates far, holds little; alone it may hold more."""
    block = b"".join(line(SHOP, NOW - number, user=f"u{number}") + b"\n" for number in range(5_000))
    body = gzip.compress(block * 6)
    most = taken = 0
    tracemalloc.start()
    try:
        with ingesting(SHOP, NOW, gzip=True, lines_max_mib=64, is_short_of_memory=lambda: is_short) as ingest:
            for size in ingest.steps(body):
                taken += size
                most = max(most, tracemalloc.get_traced_memory()[0])
            result = ingest.finish()
    finally:
        tracemalloc.stop()
    assert result.received == 30_000
    assert taken == 6 * len(block) > 4 * MIB
    assert most < held_max_mib * MIB, f"{most / MIB:.1f} MiB"
