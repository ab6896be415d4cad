"""What a process counts, as values that can be sent to another process, and the sum of those of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from prometheus_client import REGISTRY, CollectorRegistry, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

How = Literal["sum", "max", "min"]

_OF_A_PROCESS = ("process_", "python_")  # what prometheus_client tells of the interpreter: it has no sum
_SUMMED_TYPES = {"counter", "histogram", "summary"}
_ADD: dict[How, Callable[[float, float], float]] = {"sum": lambda a, b: a + b, "max": max, "min": min}


class Value(msgspec.Struct, array_like=True, frozen=True):
    """One line of `/metrics`."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Family(msgspec.Struct, array_like=True, frozen=True):
    """A metric with all its lines, and how those of several processes are made one."""

    name: str
    help: str
    type: str
    how: How
    values: list[Value]

    @property
    def outlives(self) -> bool:
        """Whether what a process counted is still to be told once it is gone: a counter never goes down."""
        return self.type in _SUMMED_TYPES


_families = msgspec.msgpack.Decoder(list[Family])


def encode(families: list[Family]) -> bytes:
    """Give families as bytes."""
    return msgspec.msgpack.encode(families)


def decode(data: bytes) -> list[Family]:
    """Give the families that `encode` made bytes of."""
    return _families.decode(data)


def taken(registry: CollectorRegistry = REGISTRY) -> list[Family]:
    """Give what this process counts just now."""
    return [
        Family(metric.name, metric.documentation, metric.type, _how(registry, metric), _values_of(metric))
        for metric in registry.collect()
        if not metric.name.startswith(_OF_A_PROCESS)
    ]


def _how(registry: CollectorRegistry, metric: Metric) -> How:
    """Tell how a metric is added up: counters by their sum, gauges as their `multiprocess_mode` says.

    A gauge that says nothing tells the highest, as most are of what the processes share: a size, an age.
    """
    if metric.type in _SUMMED_TYPES:
        return "sum"
    declared = getattr(registry._names_to_collectors.get(metric.name), "_multiprocess_mode", "")  # noqa: SLF001 -- there is no other way to it
    mode = declared.removeprefix("live")
    return mode if mode in _ADD else "max"


def _values_of(metric: Metric) -> list[Value]:
    # when a metric was made differs between processes, and says nothing of what it counts
    return [
        Value(sample.name, tuple(sample.labels.items()), sample.value)
        for sample in metric.samples
        if not sample.name.endswith("_created")
    ]


def added(several: Iterable[list[Family]]) -> list[Family]:
    """Give one family for each metric, of what several processes tell."""
    sums: dict[str, tuple[Family, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}
    for families in several:
        for family in families:
            _, values = sums.setdefault(family.name, (family, {}))
            for one in family.values:
                key = (one.name, one.labels)
                values[key] = _ADD[family.how](values[key], one.value) if key in values else one.value
    return [
        Family(family.name, family.help, family.type, family.how, [Value(*key, value) for key, value in values.items()])
        for family, values in sums.values()
    ]


class Told:
    """A collector, as prometheus_client wants one, of families that are known already."""

    def __init__(self, families: list[Family]) -> None:
        """Tell of families."""
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Give them as metrics."""
        for family in self._families:
            metric = Metric(family.name, family.help, family.type)
            for one in family.values:
                metric.add_sample(one.name, dict(one.labels), one.value)
            yield metric
