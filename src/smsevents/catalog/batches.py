"""Ids or keys in batches, for statements with a bounded number of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

ROWS_IN_STATEMENT_MAX = 500

T = TypeVar("T", int, str)


def batches(names: Collection[T]) -> Iterator[list[T]]:
    """Go through ids or keys in their order, in batches of ROWS_IN_STATEMENT_MAX."""
    in_order = sorted(names)
    for start in range(0, len(in_order), ROWS_IN_STATEMENT_MAX):
        yield in_order[start : start + ROWS_IN_STATEMENT_MAX]
