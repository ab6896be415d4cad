"""What connections may use in total: which connections a new one displaces, and which never."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smsevents.web.connection.registry import CONNECTIONS_FOR_HEALTH, HELD_MAX_BYTES, Registry


class Connection:
    """A connection that notes when it was closed."""

    def __init__(self, registry: Registry) -> None:
        """Enter a registry."""
        self.registry = registry
        self.is_open = registry.add(self)

    def evict(self) -> None:
        """Close."""
        assert self.is_open
        self.is_open = False
        self.registry.remove(self)


def test_the_longest_idle_makes_room() -> None:
    """A new connection takes the place of the one that has been idle the longest."""
    registry = Registry(2, lambda: 0.0)
    first, second = Connection(registry), Connection(registry)
    registry.busy(first)
    registry.idle(first)

    third = Connection(registry)

    assert (first.is_open, second.is_open, third.is_open) == (True, False, True)


def test_who_is_served_is_not_closed() -> None:
    """If all are being served, a new one is accepted beyond the limit, for health checks, up to a second limit."""
    registry = Registry(2, lambda: 0.0)
    served: list[Connection] = []
    for _ in range(2 + CONNECTIONS_FOR_HEALTH):
        assert registry.is_over == (len(served) > 2)
        served.append(Connection(registry))
        registry.busy(served[-1])

    assert all(one.is_open for one in served)
    assert not Connection(registry).is_open


def test_bytes_that_wait_are_bounded() -> None:
    """If more bytes wait than allowed, the longest idle of the connections that hold some are closed."""
    registry = Registry(10, lambda: 0.0)
    empty, first, second = (Connection(registry) for _ in range(3))
    registry.hold(first, HELD_MAX_BYTES // 2)
    registry.hold(second, HELD_MAX_BYTES // 2)
    assert first.is_open

    registry.hold(second, HELD_MAX_BYTES // 2 + 1)

    assert (empty.is_open, first.is_open, second.is_open) == (True, False, True)


steps = st.lists(
    st.tuples(st.sampled_from(["add", "busy", "idle", "hold", "close"]), st.integers(0, 20), st.integers(0, 40)),
    max_size=60,
)


@given(steps, st.integers(1, 5))
def test_the_sums_are_right(moves: list[tuple[str, int, int]], limit: int) -> None:
    """Whatever happens, neither the number nor the bytes of idle connections are over the limits, nor is one lost."""
    registry = Registry(limit, lambda: 0.0)
    made: list[Connection] = []
    served: set[Connection] = set()
    for move, number, mib in moves:
        opened = [one for one in made if one.is_open]
        if move == "add":
            made.append(Connection(registry))
        elif opened:
            one = opened[number % len(opened)]
            if move == "busy":
                registry.busy(one)
                served.add(one)
            elif move == "idle":
                registry.idle(one, mib * 1024 * 1024)
                served.discard(one)
            elif move == "hold":
                registry.hold(one, mib * 1024 * 1024)
            else:
                one.evict()
                served.discard(one)
        opened = [one for one in made if one.is_open]
        assert served <= set(opened)
        assert registry.is_over == (len(opened) > limit)
        assert len(opened) <= max(limit, len(served) + 1) or len(opened) <= limit + CONNECTIONS_FOR_HEALTH
        assert registry.waiting_bytes <= HELD_MAX_BYTES
