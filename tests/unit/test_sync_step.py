"""The rows of a step of a sync: what is known about them, and that none is lost on the way into files."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.client.lines import Batch, BatchChecker
from smsevents.client.sync_step import StepRows
from tests.support.lines import body_of, date_of, line

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACKPOINT = 7
START = 1_700_000_000_000

# few dates and users, so that equal dates and repeated lines are frequent
some = st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abcd")), min_size=1, max_size=8)


def batch_of(lines: list[bytes]) -> Batch:
    """Return lines as the client receives them."""
    batch, bad = BatchChecker(TRACKPOINT).check(body_of(lines))
    assert bad is None
    return batch


@given(st.lists(some, min_size=1, max_size=4), st.booleans())
def test_order_and_times_are_those_of_the_rows(parts: list[list[tuple[int, str]]], in_order: bool) -> None:
    """Rows are in order if and only if each is later than the one before, or equally late with a greater line."""
    if in_order:
        found = sorted({one for part in parts for one in part})
        parts = [found[at : at + 3] for at in range(0, len(found), 3)]
    received = [[line(TRACKPOINT, START + after, user=user) for after, user in part] for part in parts]
    lines = [one for part in received for one in part]
    with tempfile.TemporaryDirectory() as folder:
        rows = StepRows(Path(folder) / "step", None)
        rows.add_all([batch_of(part)] for part in received)
        users = [one for file in sorted(Path(folder).rglob("*.parquet")) for one in pq.read_table(file)["user_id"]]

    entries = [(date_of(one), one) for one in lines]
    assert rows.is_ordered == all(before < after for before, after in pairwise(entries))
    assert (rows.rows, rows.first_ms, rows.last_ms) == (len(lines), entries[0][0], entries[-1][0])
    assert (rows.oldest_ms, rows.newest_ms) == (min(entries)[0], max(entries)[0])
    assert [user.as_py() for user in users] == [user for part in parts for _, user in part]


def test_a_failure_to_write_ends_the_step(tmp_path: Path) -> None:
    """If the rows of a list cannot be written, the error is raised, and not much more is received."""
    rows = StepRows(tmp_path / "step", None)
    rows.remove()
    asked = 0

    def received() -> Iterator[list[Batch]]:
        """Yield lists, and count them."""
        nonlocal asked
        for asked in range(1, 100):
            yield [batch_of([line(TRACKPOINT, START + asked)])]

    with pytest.raises(FileNotFoundError):
        rows.add_all(received())
    assert asked == 2
    last = StepRows(tmp_path / "last", None)
    last.remove()
    with pytest.raises(FileNotFoundError):
        last.add_all([[batch_of([line(TRACKPOINT, START)])]])
