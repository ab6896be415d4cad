"""The counts of several workers are added up correctly, whichever of them come, go or hang, without a file."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from smsevents.errors import StoreUnavailable
from smsevents.web import gathering
from smsevents.web.gathering import Hub, gather, reported
from smsevents.web.samples import Family, Told, added, decode, encode, taken

if TYPE_CHECKING:
    from collections.abc import Iterator


class Counts:
    """What a worker counts, in a registry of its own."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.registry = CollectorRegistry()
        self.done = Counter("test_done", "Done.", ["way"], registry=self.registry)
        self.running = Gauge("test_running", "Running.", multiprocess_mode="livesum", registry=self.registry)
        self.size = Gauge("test_size", "Size of what all share.", registry=self.registry)
        self.youngest = Gauge("test_youngest", "The least.", multiprocess_mode="min", registry=self.registry)
        self.seconds = Histogram("test_seconds", "Took.", buckets=[1, 2], registry=self.registry)

    def take(self) -> list[Family]:
        """Return the current counts."""
        return taken(self.registry)


def shown(families: list[Family]) -> dict[str, float]:
    """Return the lines of `/metrics` by their names and labels."""
    text = generate_latest(Told(families)).decode()
    return {name: float(value) for name, value in (row.rsplit(" ", 1) for row in text.splitlines() if row[0] != "#")}


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Yield a hub that listens."""
    made = Hub()
    yield made
    made.close()


def eventually(hub: Hub, name: str, value: float | None) -> None:
    """Wait until the sum has a value, as a hub learns of a worker's end when the system tells it."""
    deadline = time.monotonic() + 30
    while (found := shown(gather(hub.address)).get(name)) != value:
        assert time.monotonic() < deadline, f"{name} is {found}, not {value}"


def test_one_process_is_told_as_prometheus_client_tells_it() -> None:
    """What is taken of a registry gives the same lines as the registry itself, but for when metrics were made."""
    counts = Counts()
    counts.done.labels("a").inc(3)
    counts.seconds.observe(1.5)
    rows = generate_latest(counts.registry).decode().splitlines()
    told = generate_latest(Told(decode(encode(counts.take())))).decode().splitlines()
    assert told == [row for row in rows if "_created" not in row]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.floats(0, 3)), max_size=12), st.data())
def test_counters_are_added_and_gauges_as_they_say(events: list[tuple[str, int, float]], data: st.DataObject) -> None:
    """However events are spread over workers, counters and histograms tell their sums, gauges sum, highest or least."""
    workers = [Counts() for _ in range(3)]
    one = Counts()
    for way, count, seconds in events:
        worker = data.draw(st.sampled_from(workers))
        for counts in (worker, one):
            counts.done.labels(way).inc(count)
            counts.running.inc(count)
            counts.seconds.observe(seconds)
            counts.size.set(max(count, counts.size._value.get()))  # noqa: SLF001 -- there is no other way to read one
    got, expected = shown(added(worker.take() for worker in workers)), shown(one.take())
    assert got.keys() == expected.keys()
    assert got == pytest.approx(expected)


def test_the_least_is_told_where_a_gauge_says_so() -> None:
    """A gauge whose mode is `min` tells the least of all workers."""
    workers = [Counts() for _ in range(3)]
    for number, worker in enumerate(workers, 4):
        worker.youngest.set(number)
    assert shown(added(worker.take() for worker in workers))["test_youngest"] == 4


def test_the_sum_is_as_new_as_the_question(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker counted right before the question is in the answer."""
    monkeypatch.setattr(gathering, "GATHER_MAX_SECONDS", 60)
    workers = [Counts() for _ in range(3)]
    with ExitStack() as stack:
        for worker in workers:
            worker.running.inc()
            stack.enter_context(reported(hub.address, worker.take))
        eventually(hub, "test_running", 3)
        for turn in range(1, 20):
            workers[turn % 3].done.labels("a").inc()
            assert shown(gather(hub.address))['test_done_total{way="a"}'] == turn
    eventually(hub, 'test_done_total{way="a"}', 19)


def test_what_ended_workers_counted_stays_and_what_they_did_does_not(hub: Hub) -> None:
    """Counters never go down when workers end; a gauge of what runs forgets those that are gone."""
    for turn in range(1, 6):
        worker = Counts()
        with reported(hub.address, worker.take):
            worker.done.labels("a").inc(2)
            worker.seconds.observe(1)
            worker.running.set(7)
            eventually(hub, "test_running", 7)
        eventually(hub, "test_running", None)
        assert shown(gather(hub.address))['test_done_total{way="a"}'] == 2 * turn
        assert shown(gather(hub.address))["test_seconds_count"] == turn


def test_a_worker_that_hangs_does_not_hold_the_others_up(hub: Hub) -> None:
    """For a worker that does not report when asked, its previous numbers are used, again and again."""
    hanging, other = Counts(), Counts()
    hanging.done.labels("a").inc(1)
    go_on = threading.Event()

    def take() -> list[Family]:
        told = hanging.take()
        if asked.is_set():
            go_on.wait(60)
        return told

    asked = threading.Event()
    with reported(hub.address, take), reported(hub.address, other.take):
        eventually(hub, 'test_done_total{way="a"}', 1)
        asked.set()
        for turn in range(3):
            other.done.labels("a").inc()
            assert shown(gather(hub.address))['test_done_total{way="a"}'] == 2 + turn
        go_on.set()


def test_a_collector_that_fails_ends_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose numbers are temporarily unavailable reports the next ones."""
    monkeypatch.setattr(gathering, "REPORT_SECONDS", 0.01)
    counts = Counts()
    failing = [True, True]

    def take() -> list[Family]:
        if failing:
            failing.pop()
            raise StoreUnavailable("The database cannot be read.")
        return counts.take()

    counts.done.labels("a").inc(4)
    with reported(hub.address, take):
        eventually(hub, 'test_done_total{way="a"}', 4)


def test_others_who_connect_change_nothing(hub: Hub) -> None:
    """Bytes that are not a report, and connections that send nothing, change neither the sums nor the hub."""
    worker = Counts()
    worker.done.labels("a").inc(4)
    with reported(hub.address, worker.take), ExitStack() as stack:
        eventually(hub, 'test_done_total{way="a"}', 4)
        for message in (b"", b"\x00\x00\x00\x03abc", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"):
            other = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            other.connect(f"\0{hub.address}")
            other.sendall(message)
        eventually(hub, 'test_done_total{way="a"}', 4)


def test_without_a_hub_it_is_told() -> None:
    """If the process that sums up is gone, the request fails with a clear error rather than a partial result."""
    hub = Hub()
    hub.close()
    with pytest.raises(StoreUnavailable, match="adds up the workers' numbers"):
        gather(hub.address)


def test_a_process_without_siblings_reports_to_nobody() -> None:
    """Without an address nothing is reported and nothing asked for."""
    with reported(None, lambda: pytest.fail("nobody asked")):
        pass
