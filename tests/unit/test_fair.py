"""Slots and turns that shops share: no shop can take them all, and none waits for all of another's work."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from concurrent.futures import CancelledError
from contextlib import ExitStack, closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.errors import StoreUnavailable, TooManyAtOnce
from smsevents.web.fair import ConcurrencyLimit, FairThreads, Turns

WAIT_MAX_SECONDS = 30


def fill(gate: ConcurrencyLimit, stack: ExitStack, tenant: str) -> int:
    """Enter a gate as often as a tenant may. Return how often that was."""
    count = 0
    with suppress(TooManyAtOnce):
        while True:
            stack.enter_context(gate.enter(tenant))
            count += 1
    return count


@pytest.mark.parametrize(("places", "greedy"), [(64, [52, 10, 1]), (256, [205, 41, 8]), (4, [3, 1]), (2, [1, 1])])
def test_a_greedy_shop_leaves_places_to_the_others(places: int, greedy: list[int]) -> None:
    """A shop that takes all it can leaves some slots free, and so does the next one, down to the last slot."""
    gate = ConcurrencyLimit("imports", places)
    with ExitStack() as stack:
        assert [fill(gate, stack, f"shop {number}") for number in range(len(greedy))] == greedy


def test_the_only_place_is_for_anybody() -> None:
    """A shop can have the only slot; the next one gets the name of the setting, and is admitted afterwards."""
    gate = ConcurrencyLimit("imports", 1, "SMSEVENTS_X")
    with gate.enter("a"), pytest.raises(TooManyAtOnce, match=r"busy with 1 imports already.*SMSEVENTS_X"):
        gate.enter("b").__enter__()
    with gate.enter("b"):
        assert gate.inside == 1
    assert gate.inside == 0


@given(
    places=st.integers(1, 40),
    calls=st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=200),
)
def test_a_gate_keeps_its_bounds(places: int, calls: list[tuple[str, bool]]) -> None:
    """Never are more inside than there are places, and a shop with nothing inside is refused only if all are taken."""
    gate = ConcurrencyLimit("imports", places)
    inside: dict[str, list[ExitStack]] = defaultdict(list)
    for tenant, enters in calls:
        if not enters:
            if inside[tenant]:
                inside[tenant].pop().close()
            continue
        before = sum(map(len, inside.values()))
        stack = ExitStack()
        try:
            stack.enter_context(gate.enter(tenant))
        except TooManyAtOnce:
            assert inside[tenant] or before == places
        else:
            inside[tenant].append(stack)
        assert gate.inside == sum(map(len, inside.values())) <= places
    for stacks in inside.values():
        for stack in stacks:
            stack.close()
    assert gate.inside == 0


works = st.lists(st.one_of(st.sampled_from("abcd"), st.just("take"), st.just("done")), max_size=200)


@given(steps=works, at_once_max=st.one_of(st.none(), st.integers(1, 3)))
def test_turns_are_fair(steps: list[str], at_once_max: int | None) -> None:
    """Work of a shop keeps its order, and while a shop waits that may run, no other has two turns."""
    turns: Turns[int] = Turns(at_once_max)
    waiting: dict[str, list[int]] = defaultdict(list)
    running: Counter[str] = Counter()
    passed_over: dict[str, Counter[str]] = defaultdict(Counter)  # whose turns a waiting shop has seen
    for number, step in enumerate(steps):
        if step == "done":
            for tenant in sorted(+running)[:1]:
                running[tenant] -= 1
                turns.done(tenant)
        elif step != "take":
            turns.put(step, number)
            waiting[step].append(number)
        else:
            may_run = {one for one, works in waiting.items() if works and running[one] < (at_once_max or len(steps))}
            taken = turns.take()
            if taken is None:
                assert not may_run
                continue
            tenant = str(taken[0])
            assert tenant in may_run
            assert waiting[tenant].pop(0) == taken[1]
            running[tenant] += 1
            passed_over.pop(tenant, None)
            for other in may_run - {tenant}:
                passed_over[other][tenant] += 1
                assert max(passed_over[other].values()) <= 1
        assert len(turns) == sum(map(len, waiting.values()))


@given(
    shops=st.dictionaries(st.sampled_from("abcde"), st.integers(1, 30), min_size=1),
    at_once_max=st.integers(1, 3),
)
def test_nobody_starves(shops: dict[str, int], at_once_max: int) -> None:
    """Whatever waits is given out in the end, each work once, and a shop with little is done after as many rounds."""
    turns: Turns[str] = Turns(at_once_max)
    for tenant, count in shops.items():
        for _ in range(count):
            turns.put(tenant, tenant)
    given_out: list[str] = []
    while (taken := turns.take()) is not None:
        given_out.append(taken[1])
        turns.done(taken[0])
    assert Counter(given_out) == Counter(shops)
    least = min(shops, key=lambda tenant: shops[tenant])
    assert max(place for place, tenant in enumerate(given_out) if tenant == least) < shops[least] * len(shops)


def test_a_small_work_waits_for_one_turn_and_not_for_all() -> None:
    """Of one thread and a shop with fifty works waiting, another shop's work is the next but one to run."""
    began, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        began.set()
        assert go_on.wait(WAIT_MAX_SECONDS)

    with closing(FairThreads("test", 1)) as workers:
        workers.submit("big", first)
        assert began.wait(WAIT_MAX_SECONDS)
        big = [workers.submit("big", lambda: order.append("big")) for _ in range(50)]
        small = workers.submit("small", lambda: order.append("small"))
        go_on.set()
        small.result(WAIT_MAX_SECONDS)
        assert order.index("small") <= 1
        for one in big:
            one.result(WAIT_MAX_SECONDS)
    assert Counter(order) == {"big": 50, "small": 1}


def test_a_shop_has_no_more_threads_than_its_part() -> None:
    """Of four threads a shop with more work than that has two at a time; the others serve other shops at once."""
    barrier = threading.Barrier(3)  # two of the big shop's works, and this test
    go_on = threading.Event()
    running, most = 0, 0
    lock = threading.Lock()

    def hold() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if not go_on.is_set():
            barrier.wait(WAIT_MAX_SECONDS)
            assert go_on.wait(WAIT_MAX_SECONDS)
        with lock:
            running -= 1

    with closing(FairThreads("test", 4, tenant_threads_max=2)) as workers:
        held = [workers.submit("big", hold) for _ in range(20)]
        barrier.wait(WAIT_MAX_SECONDS)
        others = [workers.submit(name, lambda: "served") for name in ("b", "c", "d")]
        assert [one.result(WAIT_MAX_SECONDS) for one in others] == ["served"] * 3
        assert sum(one.running() for one in held) == 2
        go_on.set()
        for one in held:
            one.result(WAIT_MAX_SECONDS)
    assert most == 2


def test_the_outcome_of_a_work_is_its_caller_s() -> None:
    """A result and an error both reach the caller, and the thread keeps serving."""
    with closing(FairThreads("test", 1)) as workers:
        failing = workers.submit("a", lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            failing.result(WAIT_MAX_SECONDS)
        assert workers.submit("a", lambda: 7).result(WAIT_MAX_SECONDS) == 7


def test_closing_drops_what_waits_and_ends() -> None:
    """What runs at the end runs to its own end, what waits is cancelled, and nothing more is taken."""
    began, go_on = threading.Event(), threading.Event()

    def first() -> str:
        began.set()
        assert go_on.wait(WAIT_MAX_SECONDS)
        return "done"

    workers = FairThreads("test", 2, tenant_threads_max=1)
    running = workers.submit("a", first)
    assert began.wait(WAIT_MAX_SECONDS)
    waiting = [workers.submit("a", lambda: "never") for _ in range(5)]
    closer = threading.Thread(target=workers.close)
    closer.start()
    for one in waiting:
        with pytest.raises(CancelledError):
            one.result(WAIT_MAX_SECONDS)
    go_on.set()
    closer.join(WAIT_MAX_SECONDS)
    assert not closer.is_alive()
    assert running.result() == "done"
    with pytest.raises(StoreUnavailable):
        workers.submit("a", lambda: None)


def test_how_long_work_waited_is_told() -> None:
    """Each work that ran is reported once, with the seconds that it waited for its thread."""
    waits: list[float] = []
    with closing(FairThreads("test", 1, waits.append)) as workers:
        for one in [workers.submit("a", lambda: None) for _ in range(3)]:
            one.result(WAIT_MAX_SECONDS)
    assert len(waits) == 3
    assert min(waits) >= 0
