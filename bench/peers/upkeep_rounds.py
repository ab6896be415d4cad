"""A process that does three rounds of the upkeep, as the upkeep worker does, and prints what each took.

    python -m bench.peers.upkeep_rounds DATABASE SHOPS

The first round looks at all shops, as after a start and after midnight. Before the third one, an event arrives in each
of SHOPS shops. Settings of the store come from the environment.
"""

import resource
import sys
from contextlib import closing

import msgspec

from bench.dataset import now_ms
from bench.measure import timed
from smsevents.accounts.access import Access
from smsevents.catalog import open_existing
from smsevents.log.log import Log
from smsevents.worker.worker import UpkeepWorker

ROUNDS = ("first_round", "idle_round", "busy_round")
_LINE = (
    b'{"smsEvent":{"trackpoint":%d,"userId":"1","status":"DELIVERED","date":%d},'
    b'"source":{"type":"one-off","campaign":{"id":"a","name":"A"},"sendDate":1700000000000}}\n'
)


def main(url: str, shops: int) -> None:
    """Do the rounds with a database, and print their seconds, processor time, and the peak of memory as JSON."""
    figures: dict[str, float] = {}
    with closing(open_existing(url)) as database:
        worker = UpkeepWorker(database, packs=True)
        log = Log(database)
        for name in ROUNDS:
            if name == "busy_round":
                for shop in Access(database).shops()[:shops]:
                    with log.recording(shop.trackpoint, gzip=False) as recorder:
                        recorder.feed(_LINE % (shop.trackpoint, now_ms()))
                        recorder.finish()[1].result()
            completed, took = timed(worker.round)
            if not completed:
                raise RuntimeError("Another process has the lease of the upkeep.")
            figures |= {f"{name}_seconds": took["seconds"], f"{name}_cpu_seconds": took["cpu_seconds"]}
        worker.release_lease()
    figures["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(msgspec.json.encode(figures).decode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
