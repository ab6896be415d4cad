"""The second process that receives days for a pull: as good as the first, in order or not, truncated or killed."""

from __future__ import annotations

import os
import random
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from smsevents.client import Timeouts, TruncatedStream
from smsevents.client.account import Account as ClientAccount
from smsevents.client.filters import NO_FILTER
from smsevents.client.pull.directory import NEW
from smsevents.client.pull.drafts import digest_of
from smsevents.client.pull.errors import HelperGone, Stopped
from smsevents.client.pull.formats import FormatName, format_named
from smsevents.client.pull.helper import HELPED_DAYS_MIN, Helper, Task
from smsevents.client.pull.receive import Heard, Receiver, Wanted
from tests.support.campaigns import few_or_many
from tests.support.lines import date_of
from tests.support.pulling import DAYS, NOW, TRACKPOINT, Site, some_lines
from tests.support.servers import eventually
from tests.support.standin import Account, Answer, StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import date
    from pathlib import Path
    from typing import Any

    from smsevents.client.pull.clocks import Fetch
    from smsevents.client.pull.formats import Format
    from smsevents.client.pull.receive import Arrived

DAY = DAYS[3]
FORMATS = [format_named(name, compressed=True) for name in (FormatName.JSONL, FormatName.CSV, FormatName.PARQUET)]


class Nobody(Receiver):
    """Receives nothing; counts how often it was asked to."""

    def __init__(self) -> None:
        self.asked = 0

    def receive(self, day: date, format_: Format, sent_ms: int) -> AbstractContextManager[tuple[Fetch, Arrived]]:
        """Count, and stop."""
        self.asked += 1
        raise Stopped(f"Nobody receives {day} at {sent_ms} as {format_.suffix}.")


def helper_of(
    standin: StandIn,
    folder: Path,
    format_: Format = FORMATS[0],
    *,
    heard: Callable[[Heard], None] = lambda _: None,
    otherwise: Receiver | None = None,
) -> Helper:
    """Return a helper that asks the stand-in."""
    return Helper(task_of(standin, folder, format_), heard, otherwise or Nobody())


def task_of(standin: StandIn, folder: Path, format_: Format) -> Task:
    """Return what such a helper needs to know."""
    return Task(
        ClientAccount(TRACKPOINT, standin.url, "key"),
        Timeouts(),
        Wanted(TRACKPOINT, NO_FILTER, format_.has_columns),
        folder,
        f"{NEW}helper-",
        format_,
    )


@pytest.mark.parametrize("format_", FORMATS, ids=lambda one: one.suffix)
def test_a_day_is_received_as_here(standin: StandIn, tmp_path: Path, format_: Format) -> None:
    """The helper makes the file of a day that comes in order, and has its events; afterwards nothing is left of it."""
    lines = some_lines(300, DAY, DAY)
    standin.answers(Answer(lines=lines, gzip=True))
    reports: list[Heard] = []

    with helper_of(standin, tmp_path, format_, heard=reports.append) as helper:
        helper.start()
        with helper.receive(DAY, format_, NOW) as (fetch, arrived):
            new = arrived.file()
            assert new is not None
            assert new.record.events == len(lines)
            assert new.record.sha256 == digest_of(new.path)
            assert [line for batch in arrived.batches() for _, line in batch] == lines
            assert arrived.has_events
            assert (fetch.day, fetch.sent_ms, fetch.head is not None) == (DAY, NOW, True)
            new.path.unlink()
    assert sum(one.events for one in reports) == len(lines)
    assert reports[-1].newest_ms == date_of(lines[-1])
    assert list(tmp_path.iterdir()) == []


def test_a_day_out_of_order_is_sorted(standin: StandIn, tmp_path: Path) -> None:
    """Of a day that does not come in order there is no file yet, but all events, sorted, each once."""
    lines = some_lines(300, DAY, DAY)
    standin.answers(Account(lines=lines))

    with helper_of(standin, tmp_path) as helper:
        helper.start()
        with helper.receive(DAY, FORMATS[0], NOW) as (_, arrived):
            assert arrived.file() is None
            assert [line for batch in arrived.batches() for _, line in batch] == lines


@pytest.mark.parametrize("cuts", few_or_many(12, 200))
def test_truncated_days_are_errors(standin: StandIn, tmp_path: Path, cuts: int) -> None:
    """A day that is truncated anywhere is the error of the client, and the same helper receives the next try."""
    lines = some_lines(200, DAY, DAY)
    size = sum(map(len, lines))
    chance = random.Random(7)  # noqa: S311 -- test data, not a secret

    with helper_of(standin, tmp_path) as helper:
        helper.start()
        for _ in range(cuts):
            standin.answers(Answer(lines=lines, cut_at=chance.randrange(1, size)))
            with pytest.raises(TruncatedStream) as caught, helper.receive(DAY, FORMATS[0], NOW):
                pass
            assert 0 <= caught.value.lines < len(lines) + 1
            assert list(tmp_path.iterdir()) == []
        standin.answers(Answer(lines=lines))
        with helper.receive(DAY, FORMATS[0], NOW) as (_, arrived):
            assert [line for batch in arrived.batches() for _, line in batch] == lines


def test_a_killed_helper_is_missed_only_once(standin: StandIn, tmp_path: Path) -> None:
    """A helper killed within a day is an error of that day and leaves nothing; later days are received here."""
    standin.answers(Answer(lines=some_lines(2000, DAY, DAY), chunk_bytes=2000, pause_seconds=0.02))
    otherwise = Nobody()
    helpers: list[Helper] = []

    def kill(_: Heard) -> None:
        helpers[0].interrupt()

    with helper_of(standin, tmp_path, heard=kill, otherwise=otherwise) as helper:
        helpers.append(helper)
        helper.start()
        with pytest.raises(HelperGone), helper.receive(DAY, FORMATS[0], NOW):
            pass
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(Stopped), helper.receive(DAY, FORMATS[0], NOW):
            pass
    assert otherwise.asked == 1


def test_a_pull_that_stops_does_not_wait_for_the_server(standin: StandIn, tmp_path: Path) -> None:
    """What stops a pull is raised out of the day, and ends the helper, although the server is still sending."""
    standin.answers(Answer(lines=some_lines(2000, DAY, DAY), silent_at=100_000))

    def stop(_: Heard) -> None:
        raise Stopped("The pull was stopped.")

    with helper_of(standin, tmp_path, heard=stop) as helper:
        helper.start()
        with pytest.raises(Stopped), helper.receive(DAY, FORMATS[0], NOW):
            pass
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("python", ["/nonexistent/python", "/bin/false"])
def test_without_a_helper_days_are_received_here(
    standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    """If the helper cannot be started, or ends at once, nobody notices but the processor."""
    monkeypatch.setattr("sys.executable", python)
    otherwise = Nobody()
    with helper_of(standin, tmp_path, otherwise=otherwise) as helper:
        helper.start()
        with pytest.raises(Stopped), helper.receive(DAY, FORMATS[0], NOW):
            pass
    assert otherwise.asked == 1


def test_a_helper_that_ends_after_its_day_does_not_fail_it(standin: StandIn, tmp_path: Path) -> None:
    """A day that was handed on is not received again if the helper is killed then; the next one is received here."""
    lines = some_lines(300, DAY, DAY)
    standin.answers(Answer(lines=lines))
    otherwise = Nobody()
    with helper_of(standin, tmp_path, otherwise=otherwise) as helper:
        helper.start()
        with helper.receive(DAY, FORMATS[0], NOW) as (_, arrived):
            assert [line for batch in arrived.batches() for _, line in batch] == lines
            helper.interrupt()
        assert otherwise.asked == 0
        with pytest.raises(Stopped), helper.receive(DAY, FORMATS[0], NOW):
            pass
    assert otherwise.asked == 1


def test_what_python_prints_at_its_start_is_no_reply(
    standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python that is set up to print something when it starts is a helper like any other."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("print('coverage\\nis measured', end='', flush=True)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    lines = some_lines(300, DAY, DAY)
    standin.answers(Answer(lines=lines))
    with helper_of(standin, tmp_path) as helper:
        helper.start()
        with helper.receive(DAY, FORMATS[0], NOW) as (_, arrived):
            assert [line for batch in arrived.batches() for _, line in batch] == lines


def test_a_helper_ends_with_its_pull_although_the_server_is_silent(standin: StandIn, tmp_path: Path) -> None:
    """The pipe of a killed pull ends, and with it the helper, which was waiting for the rest of a day."""
    standin.answers(Answer(lines=some_lines(2000, DAY, DAY), silent_at=100_000))

    class LeftAlone(Helper):
        """A helper whose pull is gone."""

        def leave(self) -> None:
            """Close the pipe, as the system does for a killed process."""
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.close()

    with LeftAlone(task_of(standin, tmp_path, FORMATS[0]), lambda _: helper.leave(), Nobody()) as helper:
        helper.start()
        with pytest.raises(HelperGone), helper.receive(DAY, FORMATS[0], NOW):
            pass


@pytest.mark.parametrize("killed", [False, True])
def test_a_pull_with_a_helper(site: Site, monkeypatch: pytest.MonkeyPatch, *, killed: bool) -> None:
    """A pull of many days has each event once, whether a helper receives some of them or is killed at its first."""
    assert len(DAYS) >= HELPED_DAYS_MIN
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    lines = some_lines(600)
    account = Account(lines=lines)
    helped: list[int] = []

    class Watched(Helper):
        """A helper that is used, before all others, and killed if that is wanted."""

        @contextmanager
        def receive(self, day: date, format_: Format, sent_ms: int) -> Iterator[tuple[Fetch, Arrived]]:
            """Receive a day, and count it."""
            helped.append(os.getpid())
            if killed and self._process:
                os.kill(self._process.pid, signal.SIGKILL)
            with super().receive(day, format_, sent_ms) as received:
                yield received

    def answer(request: Any) -> Answer:
        """Hold up the threads of the pull until the helper has begun."""
        assert eventually(lambda: bool(helped))
        return account(request)

    monkeypatch.setattr("smsevents.client.pull.pull.Helper", Watched)
    site.standin.answers(answer)

    summary = site.pull(helped=True)

    assert helped
    assert summary.missing == []
    assert site.lines() == lines
    assert site.state() == []
