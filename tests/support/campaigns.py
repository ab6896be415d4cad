"""How often a test repeats what it does at random: a few times in `make test`, many in `make test-all`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

FEW_MAX_SECONDS = 600
CAMPAIGN_MAX_SECONDS = 3600


def few_or_many(few: int, many: int) -> list[ParameterSet]:
    """Return the two values of a test's parameter; the second is marked as a campaign.

    A mark of the test itself would win over these time limits, so such a test has none.
    """
    return [
        pytest.param(few, id=str(few), marks=pytest.mark.timeout(FEW_MAX_SECONDS)),
        pytest.param(many, id=str(many), marks=[pytest.mark.campaign, pytest.mark.timeout(CAMPAIGN_MAX_SECONDS)]),
    ]
