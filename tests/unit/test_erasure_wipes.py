"""Wipes after an erasure: how far apart they are, and who does them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog.dialects.sqlite import dialect, files
from smsevents.upkeep.erasure import erase, forget, wiped
from smsevents.upkeep.wiping import seconds_to_wipe, wipe
from smsevents.worker.worker import UpkeepWorker
from tests.support.erasures import USER, files_of, fill, pending
from tests.support.lines import DAY_MS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.logs import Held


class Watch:
    """A clock that does not step back, in seconds, which a test sets."""

    def __init__(self) -> None:
        """Stand at zero."""
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time; a wipe takes ten seconds."""
        self.seconds += 10
        return self.seconds


def test_wipes_of_a_large_file_keep_a_distance(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a wipe of a large file that took 10 seconds, what shops ask for is wiped 1,000 seconds later."""
    fill(held, 3)
    monkeypatch.setattr(dialect, "SCRUB_BRIEF_MAX_BYTES", 0)
    now = held.now
    erase(held.database, held.trackpoint, [USER], now, block=False)
    assert wipe(held.database, now, Watch()) is None
    assert seconds_to_wipe(held.database, now) == 0  # nothing is pending

    second = erase(held.database, held.trackpoint, ["other"], now, block=False)
    ended = now + 10_000
    told = wiped(second, held.database, ended + 400_000)
    assert (told.wiped, pending(held)) == (False, {"vacuum"})
    assert told.not_wiped is not None
    assert "600 seconds" in told.not_wiped
    later = ended + 999_000
    worker = UpkeepWorker(held.database, lambda: later)
    assert worker.round()
    assert pending(held) == {"vacuum"}

    later = ended + 1_000_001
    assert worker.round()
    assert pending(held) == set()
    assert files_of(held.path).count(b'"other"') == 0


@pytest.mark.parametrize("off_ms", [-DAY_MS, -10_001, 10 * DAY_MS])
def test_a_wrong_clock_does_not_hold_a_wipe_up(held: Held, monkeypatch: pytest.MonkeyPatch, off_ms: int) -> None:
    """A clock that was set back or is ahead ends the distance between two wipes, rather than make it longer."""
    fill(held, 3)
    monkeypatch.setattr(dialect, "SCRUB_BRIEF_MAX_BYTES", 0)
    erase(held.database, held.trackpoint, [USER], held.now, block=False)
    assert wipe(held.database, held.now, Watch()) is None
    erase(held.database, held.trackpoint, ["other"], held.now, block=False)

    assert seconds_to_wipe(held.database, held.now + 10_000 + off_ms) == 0


def test_what_was_erased_is_told_though_the_database_is_gone(held: Held) -> None:
    """An erasure reports what it did even if the database can no longer be read for the wipe."""
    fill(held, 3)
    erased = erase(held.database, held.trackpoint, [USER], held.now, block=False)
    held.path.rename(held.path.with_name("moved.db"))
    told = wiped(erased, held.database, held.now)
    held.path.with_name("moved.db").rename(held.path)
    assert (told.events, told.wiped) == (erased.events, False)
    assert told.not_wiped is not None
    assert "moved or replaced" in told.not_wiped
    assert pending(held) == {"vacuum"}


def test_an_operator_wipes_at_once(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """`forget`, as the command does it, waits for no distance between wipes."""
    fill(held, 3)
    monkeypatch.setattr(dialect, "SCRUB_BRIEF_MAX_BYTES", 0)
    for user in (USER, "other"):
        assert forget(held.database, held.trackpoint, [user], held.now, block=False).wiped
    assert pending(held) == set()


def test_erasures_of_several_processes_share_a_wipe(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another erasure's wipe began after an erasure completed, that erasure does not rewrite the file again."""
    fill(held, 3)
    erase(held.database, held.trackpoint, [USER], held.now, block=False)
    wipes: list[object] = []
    begun, go_on = threading.Event(), threading.Event()

    vacuum = files.vacuum

    def slow(path: Path) -> None:
        wipes.append(path)
        begun.set()
        assert go_on.wait(60)
        vacuum(path)

    monkeypatch.setattr(files, "vacuum", slow)
    outcomes: list[str | None] = []
    threads = [threading.Thread(target=lambda: outcomes.append(wipe(held.database, held.now))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    go_on.set()
    for thread in threads:
        thread.join(60)

    assert outcomes == [None] * 3
    assert len(wipes) == 1
