"""Two source trees beside each other: what a change costs in processor time.

Each side runs in this environment with its own `src` first on PYTHONPATH, on databases that it made of the same lines.
Each thing is measured in pairs, the sides in turns, with servers that are restarted every few pairs, so that neither
the machine's moods nor the memory layout of one process counts.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import product, repeat
from pathlib import Path

from bench.dataset import Dataset, dataset
from bench.load import send
from bench.measure import cpu_seconds, run
from bench.peers.smsevents import COMMAND, Shop, Store, import_anew, served
from bench.plan import ENCODINGS, TRACKPOINT, Plan
from bench.render import table
from bench.results import Row, keep, row
from bench.same import Different, digests

EVENTS = 200_000
SLOWER_MAX_RATIO = 1.05
_PAIRS_OF_A_SERVER = 2
_SMALL_EXPORTS, _CONFIDENCE = 50, 0.95
_COLUMNS = ("what", "before_cpu_ms", "after_cpu_ms", "after_by_before_ratio", "least_ratio", "most_ratio", "slower")


@dataclass(frozen=True)
class Side:
    """A source tree, with a database that it made, and a shop in it with all events."""

    store: Store
    shop: Shop

    @contextmanager
    def ways(self, bodies: Sequence[bytes]) -> Iterator[dict[str, Callable[[], float]]]:
        """Run a server; yield all that is measured, each of which returns the seconds of the processor that it took."""
        empty = replace(self.store, path=self.store.path.with_suffix(".import.db"))
        pulled = self.store.path.with_suffix(".pulled")
        with served(self.store) as server:
            account = {"SMSEVENTS_URL": f"http://127.0.0.1:{server.port}", "SMSEVENTS_API_KEY": self.shop.key}

            def export_small() -> float:
                before = cpu_seconds(server.pid)
                send(server.port, repeat(self.shop.request("gzip"), _SMALL_EXPORTS), 1)
                return cpu_seconds(server.pid) - before

            def pull() -> float:
                shutil.rmtree(pulled, ignore_errors=True)
                command = [*COMMAND, "pull", str(TRACKPOINT), str(pulled)]
                return run(command, self.store.environment | account)[1]["cpu_seconds"]

            yield {
                "full export, gzip": lambda: server.export(self.shop, "gzip")["cpu_seconds"],
                "full export, plain": lambda: server.export(self.shop, "plain")["cpu_seconds"],
                f"{_SMALL_EXPORTS} small exports, gzip": export_small,
                "import": lambda: import_anew(empty, bodies)["cpu_seconds"],
                "pull": pull,
            }


def main(plan: Plan, before: Path, after: Path, events: int, pairs: int) -> int:
    """Compare two source trees and print a table. Return 0 if it is certain that nothing became slower by 5 %."""
    data = dataset(plan.folder, events)
    with plan.workplace("before") as folder:
        sides = [side_of(name, source, data, folder) for name, source in (("before", before), ("after", after))]
        check_same(sides, folder / "exported", events)
        rows = compare(sides, data.bodies(), pairs, plan.pair_min_seconds)
    keep(plan.folder / "before.json", rows, "")
    print(
        f"\n{events:,} events, {pairs} pairs; the ratios are a median and its 95 % interval.\n\n{table(rows, _COLUMNS)}"
    )
    return 0 if all(one.labels["slower"] == "no" for one in rows) else 1


def side_of(name: str, source: Path, data: Dataset, folder: Path) -> Side:
    """Make the database of a side. Raises `Different` if the program that would run is not that of the tree."""
    source = source.resolve()
    # bytecode is kept, or each command of a tree without it would compile the program first; beside neither tree
    python = {"PYTHONPATH": str(source), "PYTHONPYCACHEPREFIX": str(folder / name), "PYTHONDONTWRITEBYTECODE": ""}
    store = Store(folder / f"{name}.db", (*python.items(), ("SMSEVENTS_UPKEEP", "off")))
    found = run([COMMAND[0], "-c", "import smsevents; print(smsevents.__file__)"], store.environment)[0].strip()
    if not Path(found).is_relative_to(source):
        raise Different(f"{source} is not the src of a checkout: {found} would be measured instead")
    key = store.add_shop()
    store.command("import", str(TRACKPOINT), str(data.path))
    return Side(store, Shop(key, data.end_ms))


def check_same(sides: Sequence[Side], exported: Path, events: int) -> None:
    """Raise `Different` unless the sides export the same bytes, all events, in both encodings."""
    found = set()
    for side in sides:
        with served(side.store) as server:
            for encoding in ENCODINGS:
                server.export(side.shop, encoding, exported)
                found.add(digests(exported, encoding))
    if len(found) > 1 or not all(digest.startswith(f"{events}:") for digest, _ in found):
        raise Different(f"the sides do not export the same bytes, or not all {events} events: {found}")


def compare(sides: Sequence[Side], bodies: Sequence[bytes], pairs: int, min_seconds: float) -> list[Row]:
    """Measure all in pairs: a row for each thing, with the milliseconds of both sides and the ratios of the pairs."""
    taken: dict[str, list[list[float]]] = {}
    times: dict[str, int] = {}
    for start in range(0, pairs, _PAIRS_OF_A_SERVER):
        end = min(start + _PAIRS_OF_A_SERVER, pairs)
        with ExitStack() as stack:
            ways = [stack.enter_context(side.ways(bodies)) for side in sides]
            for what in ways[0]:
                warm = min(way[what]() for way in ways)
                times.setdefault(what, max(1, math.ceil(min_seconds / warm)))
            for number, (what, count) in product(range(start, end), times.items()):
                used = [0.0, 0.0]
                for turn, index in product(range(number, number + count), (0, 1)):
                    side = (turn + index) % 2
                    used[side] += ways[side][what]()
                taken.setdefault(what, []).append([round(value / count * 1000, 4) for value in used])
        print(f"  {end} of {pairs} pairs", flush=True)
    return [compared(what, *zip(*both, strict=True)) for what, both in taken.items()]


def compared(what: str, before: Sequence[float], after: Sequence[float]) -> Row:
    """Make the row of a thing, which says whether it became slower by more than is allowed.

    The interval holds the median of the ratios with 95 % confidence, whatever their distribution (sign test).
    """
    ratios = sorted(round(two / one, 4) for one, two in zip(before, after, strict=True))
    count, below, cut = len(ratios), 0.0, 0
    while (below := below + math.comb(count, cut) / 2**count) <= (1 - _CONFIDENCE) / 2:
        cut += 1
    least, most = ratios[max(0, cut - 1)], ratios[min(count - 1, count - cut)]
    slower = "no" if most <= SLOWER_MAX_RATIO else "yes" if least > SLOWER_MAX_RATIO else "unclear: more --pairs"
    figures = {"before_cpu_ms": before, "after_cpu_ms": after, "after_by_before_ratio": ratios}
    return row({"what": what, "slower": slower}, **figures, least_ratio=least, most_ratio=most)
