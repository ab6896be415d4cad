"""The metrics of a process as values that can be sent to another process, and their sum over several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from prometheus_client import REGISTRY, CollectorRegistry, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

How = Literal["sum", "max", "min"]

_OF_A_PROCESS = ("process_", "python_")  # metrics of the interpreter from prometheus_client: their sum has no meaning
_SUMMED_TYPES = {"counter", "histogram", "summary"}
_ADD: dict[How, Callable[[float, float], float]] = {"sum": lambda a, b: a + b, "max": max, "min": min}


class Value(msgspec.Struct, array_like=True, frozen=True):
    """One line of `/metrics`."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Family(msgspec.Struct, array_like=True, frozen=True):
    """A metric with all its lines, and how to combine the values of several processes."""

    name: str
    help: str
    type: str
    how: How
    values: list[Value]

    @property
    def outlives(self) -> bool:
        """Whether the values of a process that is gone still count: they do in counters, which never go down."""
        return self.type in _SUMMED_TYPES


_families = msgspec.msgpack.Decoder(list[Family])


def encode(families: list[Family]) -> bytes:
    """Encode families as bytes, for `decode`."""
    return msgspec.msgpack.encode(families)


def decode(data: bytes) -> list[Family]:
    """Decode the families that `encode` encoded."""
    return _families.decode(data)


def taken(registry: CollectorRegistry = REGISTRY) -> list[Family]:
    """Return the current metrics of this process."""
    return [
        Family(metric.name, metric.documentation, metric.type, _how(registry, metric), _values_of(metric))
        for metric in registry.collect()
        if not metric.name.startswith(_OF_A_PROCESS)
    ]


def _how(registry: CollectorRegistry, metric: Metric) -> How:
    """Return how to combine a metric: counters by their sum, gauges as their `multiprocess_mode` says.

    A gauge without a mode uses the highest value, because most gauges describe something shared: a size, an age.
    """
    if metric.type in _SUMMED_TYPES:
        return "sum"
    declared = getattr(registry._names_to_collectors.get(metric.name), "_multiprocess_mode", "")  # noqa: SLF001 -- no public way
    mode = declared.removeprefix("live")
    return mode if mode in _ADD else "max"


def _values_of(metric: Metric) -> list[Value]:
    # the time a metric was created differs between processes and is not part of its value
    return [
        Value(sample.name, tuple(sample.labels.items()), sample.value)
        for sample in metric.samples
        if not sample.name.endswith("_created")
    ]


def added(several: Iterable[list[Family]]) -> list[Family]:
    """Combine the families of several processes into one family for each metric."""
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
    """A custom collector of prometheus_client for given families."""

    def __init__(self, families: list[Family]) -> None:
        """Use the given families."""
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield the families as metrics of prometheus_client."""
        for family in self._families:
            metric = Metric(family.name, family.help, family.type)
            for one in family.values:
                metric.add_sample(one.name, dict(one.labels), one.value)
            yield metric
