"""Commands that give way to an erasure say so, and an erasure that is killed is in nobody's way."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, line
from tests.support.servers import STILL, Server

if TYPE_CHECKING:
    from pathlib import Path

from tests.support.processes import WAIT_MAX_SECONDS

ERASER = """
import sys, time
from smsevents.upkeep import erasure
from smsevents.cli import app
def slow(*_):
    print("alone", flush=True)
    time.sleep(600)
erasure._segments_of = slow
app(["forget", *sys.argv[1:]])
"""


def test_an_erasure_that_is_killed_leaves_its_shop_free(folder: Path) -> None:
    """A killed erasure blocks nobody: the next compaction and the next erasure of its shop proceed at once."""
    running = Server(folder, settings=STILL)
    shop = running.shop(("import", "admin"))
    for number in range(10):  # of several days, which share no segment
        event = line(shop.trackpoint, now_ms() - number * DAY_MS, f"u{number}")
        assert shop.send(event).status_code == 200
    eraser = subprocess.Popen(
        [sys.executable, "-c", ERASER, str(shop.trackpoint), "u1"], env=running.environment, stdout=subprocess.PIPE
    )
    assert eraser.stdout is not None
    assert eraser.stdout.readline() == b"alone\n"
    refused = running.command("compact")
    assert (refused.returncode, refused.stderr.count(b"\n")) == (1, 1)
    assert b"are being erased, and compaction yields to erasure" in refused.stderr

    eraser.kill()
    eraser.wait(WAIT_MAX_SECONDS)
    eraser.stdout.close()
    assert running.command("compact").returncode == 0
    assert b'"events":1,' in running.command("forget", str(shop.trackpoint), "u1").stdout
    running.stop()


YIELDING = """
import sys
from smsevents.cli import app, packs
from smsevents.upkeep.groups import Compacted
packs.compact_shop = lambda *_: Compacted(whole=False, gave_way=True)
app(["move", "packs"])
"""


def test_a_move_that_could_not_merge_is_not_reported_as_complete(folder: Path) -> None:
    """If merging yields to an erasure that ends before packing begins, `move packs` fails; repeated, it succeeds."""
    packs = folder / "packs"
    packs.mkdir()
    running = Server(folder, settings=STILL | {"SMSEVENTS_SEGMENTS": packs.as_uri()})
    shop = running.shop(("import",))
    assert shop.send(line(shop.trackpoint, now_ms() - 5 * DAY_MS, "u1")).status_code == 200
    refused = subprocess.run(
        [sys.executable, "-c", YIELDING], env=running.environment, capture_output=True, check=False
    )
    assert refused.returncode == 1
    assert b"Run the same command again to move the rest." in refused.stderr

    assert running.command("move", "packs").returncode == 0
    running.stop()
