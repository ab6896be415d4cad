"""Events of past days that hardly compress, so that few of them fill packs."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.support.lines import DAY_MS, body_of, line

if TYPE_CHECKING:
    from tests.support.servers import Shop

STORED_LINE_BYTES = 1_000  # of each event, about, after compression
_NAMES, _NAME_BITS = 2_000, 4_000
_LINES_IN_BODY = 4_000


class Settled:
    """Makes such events: each has two of many long random names, none of which comes again soon."""

    def __init__(self, seed: int = 3) -> None:
        """Choose the names."""
        self._chance = random.Random(seed)  # noqa: S311 -- invented data
        self._names = [f"{self._chance.getrandbits(_NAME_BITS):x}" for _ in range(_NAMES)]

    def lines(self, trackpoint: int, count: int, start: int, days: int, user: str = "settled") -> list[bytes]:
        """Return events of some days from a time (Unix ms) on. The id of each user begins with `user`."""
        return [
            line(
                trackpoint,
                start + number * days * DAY_MS // count,
                f"{user} {number}",
                campaign=self._chance.choice(self._names),
                node=self._chance.choice(self._names),
            )
            for number in range(count)
        ]


def send(shop: Shop, lines: list[bytes]) -> None:
    """Import lines, in bodies of a few MB. Each import must succeed."""
    for at in range(0, len(lines), _LINES_IN_BODY):
        assert shop.send(body_of(lines[at : at + _LINES_IN_BODY])).status_code == 200
