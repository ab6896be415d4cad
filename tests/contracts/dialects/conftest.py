"""The databases of the contract suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.dialects.harness import HARNESSES, harness_of
from tests.support.receipts import ReceiptSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contracts.dialects.harness import Harness


@pytest.fixture(params=HARNESSES)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """Make a database of each dialect, and of PostgreSQL also through pgbouncer."""
    made = harness_of(request.param, request, tmp_path)
    yield made
    made.close()


@pytest.fixture(params=HARNESSES[:2])
def direct(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """Make a database of each dialect."""
    made = harness_of(request.param, request, tmp_path)
    yield made
    made.close()


@pytest.fixture
def site(direct: Harness) -> ReceiptSite:
    """Return a shop that receives receipts, in a database of each dialect."""
    return ReceiptSite(direct.opened())
