"""The model: processes of every kind on one log, with slow steps and kills, on PostgreSQL with files and with S3.

Importers, packers, compactors, an erasure, the retention, two collectors and exporters work at the same time, each in
processes that are killed at random steps. During the run, each export has all that was acknowledged before it began,
nothing twice, and nobody who was erased. After it, the log equals the plain model, and the objects are the packs.

Seeds are recorded here. A run with another one, or a longer one:

    pytest tests/contracts/test_model.py -m "slow or campaign" --model-seed 7 --model-seconds 60

A failure names its seed and the last steps of all processes.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog import tallies
from smsevents.segments import tally
from smsevents.storage import open_store
from smsevents.upkeep import erasure
from smsevents.upkeep.packing import write_stored
from tests.contracts.dialects.harness import PostgresHarness, harness_of
from tests.support.actors import SIZES
from tests.support.model_run import Place, Run
from tests.support.seaweed import environment, seaweedfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.mark import ParameterSet

SECONDS = 6.0  # of a run in `make test`
CAMPAIGN_SECONDS = 60.0  # of each run in `make test-all`
SEED = 1  # in `make test`
SEEDS = {"files": (2, 3, 11, 12, 13), "s3": (4, 5, 14, 15, 16)}  # in `make test-all`: ten minutes


def _runs() -> list[ParameterSet]:
    short = [pytest.param(store, SEED, SECONDS, id=f"{store} {SEED}", marks=pytest.mark.slow) for store in SEEDS]
    campaign = [
        pytest.param(store, seed, CAMPAIGN_SECONDS, id=f"{store} {seed}", marks=pytest.mark.campaign)
        for store, seeds in SEEDS.items()
        for seed in seeds
    ]
    return short + campaign


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Make an empty database and an empty store of the kind that the test is given. Small segments have tallies."""
    monkeypatch.setattr(erasure, "write_stored", partial(write_stored, sizes=SIZES.packs))
    monkeypatch.setattr(tally, "TALLY_LINES_MIN_BYTES", 400)
    monkeypatch.setattr(tallies, "TALLY_LINES_MIN_BYTES", 400)
    harness = harness_of("postgres", request, tmp_path)
    assert isinstance(harness, PostgresHarness)
    with ExitStack() as variables:
        if request.getfixturevalue("store") == "s3":
            server = seaweedfs()
            variables.enter_context(environment(server.environment()))
            url = server.place()
        else:
            (tmp_path / "packs").mkdir()
            url = (tmp_path / "packs").as_uri()
        yield Place(harness.url, url, open_store)
    harness.close()


@pytest.mark.parametrize(("store", "seed", "seconds"), _runs())
def test_the_model(place: Place, store: str, seed: int, seconds: float, pytestconfig: pytest.Config) -> None:  # noqa: ARG001 -- chooses the place
    """Whatever comes together, and wherever processes are killed: nothing is lost, twice, back or left over."""
    run = Run(place, pytestconfig.getoption("model_seed") or seed)
    run.play(pytestconfig.getoption("model_seconds") or seconds)
    run.settle()
    happened = run.journal.counts
    assert all(happened[what] for what in ("imports", "exports", "segments merged", "packs written")), str(run)
    assert len(run.journal.kills) >= 3, str(run)
