"""Fixtures: real databases and real servers."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support import postgres
from tests.support.logs import Held
from tests.support.pulling import Site
from tests.support.servers import Server
from tests.support.standin import StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKERS_BY_CORES_RATIO = 2  # most tests wait half of their time for other processes

# How long an example takes tells of the machine, which may be busy, and not of the code. `make test` tries the same
# examples each time, so that a failure comes from a change; `make test-all` tries new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let runs of the model be repeated, and be longer: see tests/contracts/test_model.py."""
    parser.addoption("--model-seed", type=int, help="the seed of all runs of the model")
    parser.addoption("--model-seconds", type=float, help="how long each run of the model lasts")


def pytest_configure() -> None:
    """Let Ctrl-C and SIGHUP reach the programs that tests start: a shell or `nohup` may have them ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes run the tests."""
    return len(os.sched_getaffinity(0)) * WORKERS_BY_CORES_RATIO


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a parameter of gzip bytes so in all processes: they may hold the time, and ids must not differ."""
    return "gzip" if isinstance(val, bytes) and val.startswith(b"\x1f\x8b") else None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a running server. Tests share it, each with its own shop (`server.shop()`)."""
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Yield the URL of a PostgreSQL server, for its superuser."""
    with postgres.open_folder() as folder:
        yield from postgres.running(folder)


@pytest.fixture(scope="session")
def pgbouncer_url(postgres_url: str) -> Iterator[str]:
    """Yield the URL of a pgbouncer in transaction mode before that server, for the same user."""
    with postgres.open_folder() as folder:
        yield from postgres.pooled(folder, postgres_url)


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a database that does not exist yet."""
    return f"sqlite:///{tmp_path_factory.mktemp('database') / 'log.db'}"


@pytest.fixture
def held(url: str) -> Iterator[Held]:
    """Yield an empty shop, used without a server."""
    made = Held(url)
    yield made
    made.database.close()


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """Yield a listening stand-in for a third-party server."""
    with StandIn() as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, standin: StandIn) -> Site:
    """Return a directory to pull into, which does not exist yet, with the stand-in to pull from."""
    return Site(tmp_path / "events", standin)
