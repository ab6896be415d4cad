"""What grows with the number of shops, and what must not: small exports and imports of shops picked by chance."""

import random

from bench.dataset import generated, now_ms
from bench.load import post, quantiles, send
from bench.measure import memory_bytes
from bench.peers.smsevents import Store, add_shops, served
from bench.plan import DAY_MS, TRACKPOINT, Plan
from bench.render import Case, Lines
from bench.results import Row, row

_SHOP_EVENTS, _SHOP_DAYS = 200, 2
_LATER_MS = 2 * 60 * 60 * 1000  # single events are later than what is exported, so that exports stay the same
_IMPORTERS, _WARM_UP_REQUESTS = 64, 50
_LINE = (
    b'{"smsEvent":{"trackpoint":%d,"userId":"1","status":"DELIVERED","date":%d},'
    b'"source":{"type":"one-off","campaign":{"id":"a","name":"A"},"sendDate":1700000000000}}\n'
)


def _measure(plan: Plan) -> list[Row]:
    end_ms = now_ms()
    interval = b'{"from":%d,"to":%d}' % (end_ms - DAY_MS, end_ms)
    lines = b"".join(generated(TRACKPOINT, _SHOP_EVENTS, end_ms, _SHOP_DAYS))
    picks = random.Random(1)  # noqa: S311 -- the same shops in every run
    keys: list[str] = []

    def request(action: str, shop: int, body: bytes) -> bytes:
        headers = {"X-Api-Key": keys[shop], "Accept-Encoding": "gzip"}
        return post(f"/shop/{TRACKPOINT + shop}/{action}-sms-events", headers, body)

    found = []
    with plan.workplace("shops") as folder:
        store = Store(folder / "log.db")
        for shops in sorted(plan.shops):
            new = range(len(keys), shops)
            keys += add_shops(store, [TRACKPOINT + shop for shop in new])
            with served(store) as server:
                of_shop = ((shop, lines.replace(b":%d," % TRACKPOINT, b":%d," % (TRACKPOINT + shop))) for shop in new)
                send(server.port, (request("import", shop, body) for shop, body in of_shop), _IMPORTERS)
            chosen = [picks.randrange(shops) for _ in range(plan.requests)]
            exports = [request("export", shop, interval) for shop in chosen]
            events = enumerate(chosen[::4], end_ms + _LATER_MS)
            imports = [request("import", shop, _LINE % (TRACKPOINT + shop, date)) for date, shop in events]
            with served(store) as server:  # a new process, whose memory is that of these requests alone
                send(server.port, iter(exports[:_WARM_UP_REQUESTS]), 1)
                figures = quantiles(send(server.port, iter(exports), 1))
                figures["import_p50_ms"] = quantiles(send(server.port, iter(imports), 1))["last_byte_p50_ms"]
                figures["memory_bytes"] = memory_bytes(server.pid)
            found.append(row({"shops": shops, "of_shop": _SHOP_EVENTS}, **figures))
            print(f"  {shops} shops", flush=True)
    return found


CASE = Case(
    _measure,
    "{of_shop} events in each shop.",
    ("shops", "first_byte_p50_ms", "first_byte_p99_ms", "import_p50_ms", "memory_bytes"),
    Lines(
        "As shops are added, {of_shop} events each: flat is good",
        "shops",
        ("first_byte_p50_ms first_byte_p99_ms", "import_p50_ms", "memory_bytes"),
    ),
    together="shops",
)
