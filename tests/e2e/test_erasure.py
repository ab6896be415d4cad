"""Erasure: all events of one user leave the log, and nothing else does."""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import httpx
import pytest

from smsevents.catalog import Database
from smsevents.clock.system import now_ms
from smsevents.upkeep.erasure import erase as erase_events
from smsevents.upkeep.erasure import forget
from smsevents.upkeep.groups import Sizes
from smsevents.upkeep.wiping import wipe
from smsevents.web.problems import MEDIA_TYPE
from smsevents.worker.worker import UpkeepWorker
from tests.support.databases import old_view, query
from tests.support.lines import DAY_MS, HOUR_MS, body_of, line, model, random_lines
from tests.support.logs import Held
from tests.support.servers import PLAIN, STILL, Server, Shop, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

T = TypeVar("T")

USERS = [
    "1",
    "12",
    "2",
    'quo"te',
    "back\\slash",
    '1","x":"1',
    "Žluťoučký kůň",
    "line\u2028end",
    "a/b",
    "a/",
    "/a",
    "a//b",
    "50%",
    "%2F",
    "a b+c",
    "?block=true",
    "#1",
    "..",
    "x/users/y",
    "😀",
    "u" * 1024,
    " x ",
    "tab\tnew\nline",
]


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server whose database changes only when a test changes it."""
    running = Server(tmp_path_factory.mktemp("still"), settings=STILL)
    yield running
    running.stop()


@pytest.fixture
def shop(still: Server) -> Shop:
    """Return a new shop with a key that has every scope."""
    return still.shop(("export", "import", "admin"))


@pytest.fixture
def held(url: str) -> Iterator[Held]:
    """Yield an empty shop without a server."""
    made = Held(url)
    yield made
    made.database.close()


def erase(shop: Shop, user: str, parameters: str = "", *, headers: dict[str, str] | None = None) -> httpx.Response:
    """Request the erasure of a user, with the path escaped as any client would."""
    escaped = quote(user, safe="").replace(".", "%2E")  # clients resolve `..` to the parent folder
    url = f"{shop.base}/shop/{shop.trackpoint}/users/{escaped}{parameters}"
    return httpx.delete(url, headers=shop.headers if headers is None else headers, timeout=60)


def events_of(shop: Shop, users: list[str], count: int = 3) -> dict[str, list[bytes]]:
    """Return events of users, in mixed order, by user."""
    now = now_ms() - HOUR_MS
    return {
        user: [line(shop.trackpoint, now - 977 * index - 60_000 * turn, user) for turn in range(count)]
        for index, user in enumerate(users)
    }


def everything(lines: dict[str, list[bytes]]) -> bytes:
    """Return what an export of all lines must contain."""
    return model([one for some in lines.values() for one in some], 0, now_ms() + DAY_MS)


def send_overlapping(shop: Shop, lines: dict[str, list[bytes]]) -> None:
    """Send each round of events of all users as an import of its own, and the first round twice."""
    turns = list(zip(*lines.values(), strict=True))
    for turn in [*turns, turns[0][::2]]:
        assert shop.send(body_of(turn)).status_code == 200


@pytest.mark.parametrize("user", USERS, ids=ascii)
def test_exactly_one_user_is_erased(still: Server, shop: Shop, user: str) -> None:
    """All events of exactly this user are removed, whatever the id holds; the others stay, byte for byte."""
    other = still.shop(("export", "import", "admin"))
    lines, others = events_of(shop, USERS), events_of(other, USERS)
    send_overlapping(shop, lines)
    send_overlapping(other, others)

    got = erase(shop, user)

    assert got.status_code == 200
    assert got.json()["events"] == 3
    assert got.json()["segments"] >= 1  # small imports share segments
    assert got.json()["wiped"] is True
    assert got.json()["quarantined"] == 0
    assert shop.export().content == everything({name: some for name, some in lines.items() if name != user})
    assert other.export().content == everything(others)
    assert erase(shop, user).json() == {"events": 0, "segments": 0, "wiped": True, "quarantined": 0}


def test_an_unescaped_path_names_the_user_too(shop: Shop) -> None:
    """A slash in a user id may appear unescaped in the path."""
    lines = events_of(shop, ["a/b", "a", "b"])
    send_overlapping(shop, lines)

    got = httpx.delete(f"{shop.base}/shop/{shop.trackpoint}/users/a/b", headers=shop.headers, timeout=60)

    assert got.json()["events"] == 3
    assert shop.export().content == everything({name: some for name, some in lines.items() if name != "a/b"})


@pytest.mark.parametrize("user", ["nobody", "1 ", "01", "%31", "1,"])
def test_a_user_without_events(shop: Shop, user: str) -> None:
    """Erasing a user without events reports zeros, and nothing changes."""
    lines = events_of(shop, USERS)
    send_overlapping(shop, lines)

    assert erase(shop, user).json()["events"] == 0
    assert shop.export().content == everything(lines)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("users/", {400, 404}),
        ("users", {404}),
        ("users/" + "u" * 1025, {400}),
        ("users/%FF", {400}),
        ("users/1?block=maybe", {400}),
        ("users/1?block=1", {400}),
        ("users/1?blok=true", {400}),
        ("users/1?block=true&block=false", {400}),
    ],
)
def test_a_bad_request_erases_nothing(shop: Shop, path: str, status: set[int]) -> None:
    """An empty, overlong or undecodable user id and an unknown `block` are refused, and nothing changes."""
    lines = events_of(shop, ["1", "u" * 1024])
    send_overlapping(shop, lines)

    got = httpx.delete(f"{shop.base}/shop/{shop.trackpoint}/{path}", headers=shop.headers, timeout=60)

    assert got.status_code in status
    assert got.headers["Content-Type"] == MEDIA_TYPE
    assert shop.export().content == everything(lines)
    assert shop.send(line(shop.trackpoint, now_ms(), "1")).json() == {"received": 1, "expired": 0}


def test_the_log_never_names_a_user(still: Server, shop: Shop) -> None:
    """Neither an erasure nor a mistyped request for one leaves the user's id in the server's log."""
    send_overlapping(shop, events_of(shop, ["secret-user"]))

    assert erase(shop, "secret-user").json()["events"] == 3
    assert erase(shop, "secret-user", "?blok=true").status_code == 400
    assert httpx.get(f"{shop.base}/shop/{shop.trackpoint}/user/secret-user", verify=PLAIN).status_code == 404
    assert httpx.get(f"{shop.base}/shop/{shop.trackpoint}/users/secret-user", verify=PLAIN).status_code == 405

    assert eventually(lambda: still.log_path.read_text().count(f"/shop/{shop.trackpoint}/users/{{userId}}") >= 2)
    assert "secret-user" not in still.log_path.read_text()


def test_many_erasures_at_a_time(still: Server, shop: Shop) -> None:
    """Erasures requested at the same time are all completed, and all are wiped."""
    users = [f"many-{number}" for number in range(12)]
    lines = events_of(shop, [*users, "other"])
    send_overlapping(shop, lines)

    with ThreadPoolExecutor(len(users)) as pool:
        answers = list(pool.map(lambda user: erase(shop, user), users))

    assert [(got.status_code, got.json()["events"], got.json()["wiped"]) for got in answers] == [(200, 3, True)] * 12
    assert shop.export().content == everything({"other": lines["other"]})
    assert b'"many-' not in bytes_on_disk(still.path)


def test_several_users_by_one_command(still: Server, shop: Shop) -> None:
    """`smsevents forget` takes several users and rewrites the file once for all of them."""
    lines = events_of(shop, ["1", "12", "2"])
    send_overlapping(shop, lines)

    done = still.command("forget", str(shop.trackpoint), "1", "2", "nobody")

    assert (done.returncode, json.loads(done.stdout)["events"]) == (0, 6)
    assert shop.export().content == everything({"12": lines["12"]})


def test_erasure_needs_the_scope_admin(still: Server) -> None:
    """Without the scope the response is the same whether or not the shop exists; without a key it is 401."""
    shop, other = still.shop(), still.shop(("admin",))
    lines = events_of(shop, ["1"])
    send_overlapping(shop, lines)
    unknown = Shop(987_654_321, shop.key, shop.base, shop.headers)

    refused = [erase(shop, "1"), erase(other, "1", headers=shop.headers), erase(unknown, "1")]

    assert [got.status_code for got in refused] == [403] * 3
    assert len({got.content for got in refused}) == 1
    assert erase(shop, "1", headers=other.headers).status_code == 403
    assert erase(shop, "1", headers={}).status_code == 401
    assert shop.export().content == everything(lines)


def test_a_blocked_user_is_kept_out(still: Server, shop: Shop) -> None:
    """With `?block=true` later events of the user are dropped and counted; other users and shops are unaffected."""
    other = still.shop(("export", "import"))
    lines = events_of(shop, ["1", "12"])
    send_overlapping(shop, lines)

    assert erase(shop, "1", "?block=true").json()["events"] == 3
    received = shop.send(body_of([*lines["1"], *lines["12"]])).json()
    assert other.send(body_of(events_of(other, ["1"])["1"])).json() == {"received": 3, "expired": 0}

    assert received == {"received": 6, "expired": 0, "blocked": 3}
    assert shop.export().content == everything({"12": lines["12"]})
    assert other.export().content.count(b"\n") == 3
    assert still.command("forget", str(shop.trackpoint), "1", "--unblock").returncode == 0
    assert shop.send(body_of(lines["1"])).json() == {"received": 3, "expired": 0}
    assert shop.export().content == everything(lines)


@pytest.mark.parametrize("parameters", ["", "?block=false", "?block="])
def test_a_user_who_is_not_blocked_comes_in_again(shop: Shop, parameters: str) -> None:
    """Without `block`, the user's events are recorded again if they are sent again."""
    lines = events_of(shop, ["1"])
    send_overlapping(shop, lines)
    assert erase(shop, "1", parameters).json()["events"] == 3
    assert shop.export().content == b""

    assert shop.send(body_of(lines["1"])).json() == {"received": 3, "expired": 0}
    assert shop.export().content == everything(lines)


def test_forget_by_the_command(still: Server, shop: Shop) -> None:
    """`smsevents forget` prints JSON; `--block` and `--unblock` take effect on running servers."""
    lines = events_of(shop, ["12", "--block", "ž\u2028"])
    send_overlapping(shop, lines)
    words = ("forget", str(shop.trackpoint))

    done = still.command(*words, "--block", "ž\u2028")
    again = still.command(*words, "--", "--block")

    assert (done.returncode, done.stderr) == (0, b"")
    erased = json.loads(done.stdout)
    assert erased.pop("segments") >= 1  # small imports share segments
    assert erased == {"events": 3, "wiped": True, "quarantined": 0}
    assert json.loads(again.stdout)["events"] == 3
    assert shop.send(body_of(lines["ž\u2028"])).json()["blocked"] == 3
    assert shop.export().content == everything({"12": lines["12"]})
    assert still.command(*words, "--unblock", "ž\u2028").stderr == b"unblocked\n"
    assert still.command(*words, "--unblock", "ž\u2028").stderr == b"was not blocked\n"


@pytest.mark.parametrize("words", [("1", ""), ("1", "u" * 1025), ("987654321", "1"), ("1", "\udcff"), ("0", "1")])
def test_a_wrong_command_is_one_line(still: Server, shop: Shop, words: tuple[str, str]) -> None:
    """An invalid user id and an unknown shop fail with one line that says so, and nothing changes."""
    lines = events_of(shop, ["1"])
    send_overlapping(shop, lines)
    trackpoint = str(shop.trackpoint) if words[0] == "1" else words[0]

    done = still.command("forget", trackpoint, words[1])

    assert done.returncode in {1, 2}
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr
    assert shop.export().content == everything(lines)


def bytes_on_disk(path: Path) -> bytes:
    """Return all bytes of a database's files."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))


def put_singly(held: Held, user: str, *, compact: bool) -> set[bytes]:
    """Import events one by one, about half of them the user's, so that many pages hold the id; return the user's."""
    chance = random.Random(user)  # noqa: S311 -- invented data
    theirs: set[bytes] = set()
    for turn in range(300):
        date = held.now - chance.randrange(80 * DAY_MS)
        one = line(held.trackpoint, date, user if chance.random() < 0.5 else f"other-{date}" * chance.randrange(1, 40))
        held.put([one])
        theirs |= {one} if user.encode() in one else set()
        if compact and turn % 100 == 90:
            held.compact(Sizes(5000, 20_000))
    assert user.encode() in bytes_on_disk(held.path)
    return theirs


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("length", [20, 200])
def test_nothing_of_the_user_stays_in_the_files(held: Held, length: int, compact: bool) -> None:
    """After an erasure no file of the database contains the user's id, not even in unused parts of pages."""
    user = "erase-me-" + "x" * length
    theirs = put_singly(held, user, compact=compact)

    erased = forget(held.database, held.trackpoint, [user], held.now, block=True)

    held.lines -= theirs
    assert (erased.events, erased.wiped) == (len(theirs), True)
    assert held.exported() == held.expected()
    assert bytes_on_disk(held.path).count(b"erase-me-") == 0
    assert bytes_on_disk(held.path).count(b"x" * 20) == 0


@pytest.mark.parametrize("by", ["upkeep worker", "next"])
def test_an_erasure_that_was_cut_is_finished(held: Held, by: str) -> None:
    """If an erasure ends before its last step, the next one, or the upkeep worker, leaves nothing in the files."""
    user = "erase-me-0-" + "x" * 20
    theirs = put_singly(held, user, compact=False)
    done = erase_events(held.database, held.trackpoint, [user], held.now, block=False)
    assert (done.events, done.wiped) == (len(theirs), False)

    if by == "upkeep worker":
        assert UpkeepWorker(held.database, lambda: held.now).round()
    else:
        assert forget(held.database, held.trackpoint, ["nobody"], held.now, block=False).wiped

    held.lines -= theirs
    assert held.exported() == held.expected()
    assert bytes_on_disk(held.path).count(b"erase-me-") == 0
    assert query(held.path, "SELECT * FROM chores") == []


def test_what_an_erasure_owes_outlives_a_wipe_beside_it(held: Held) -> None:
    """A wipe that began before an erasure completed does not count for it: the file is rewritten once more."""
    user = "erase-me-0-" + "x" * 20
    put_singly(held, user, compact=False)
    wipes: list[str | None] = []

    class Hasty(Database):
        """A database that another process wipes after the first write of an erasure."""

        def write(self, run: Callable[[Connection], T]) -> T:
            """Write, and wipe the database after the first write."""
            outcome = super().write(run)
            if not wipes:
                wipes.append(wipe(held.database, held.now))
            return outcome

    hasty = Hasty(held.url)
    erase_events(hasty, held.trackpoint, [user], held.now, block=False)
    hasty.close()

    assert wipes == [None]
    assert query(held.path, "SELECT name FROM chores") == [("vacuum",)]
    assert wipe(held.database, held.now) is None
    assert bytes_on_disk(held.path).count(b"erase-me-") == 0


def test_an_erasure_during_compactions_and_imports(held: Held) -> None:
    """While others import and compact, all previously stored events of erased users are removed for good."""
    chance = random.Random(5)  # noqa: S311 -- invented data
    theirs = [line(held.trackpoint, held.now - day * DAY_MS // 4, f"gone-{day % 8}") for day in range(320)]
    for start in range(8):
        held.put(theirs[start::8][:20] + theirs[start::5])
    stopping = threading.Event()

    def compact_until_stopped() -> None:
        while not stopping.is_set():
            held.compact(Sizes(chance.choice([900, 4000]), 9000))

    thread = threading.Thread(target=compact_until_stopped)
    thread.start()
    for user in range(8):
        held.put(random_lines(chance, held.trackpoint, 20, held.now - 80 * DAY_MS, held.now))
        forget(held.database, held.trackpoint, [f"gone-{user}"], held.now, block=False)
    stopping.set()
    thread.join()

    held.lines -= set(theirs)
    assert held.exported() == held.expected()
    assert held.damages() == []


def test_a_reader_in_the_way_is_told(held: Held) -> None:
    """A reader with an old snapshot is reported, and neither the reader nor the erasure blocks imports."""
    theirs = [line(held.trackpoint, held.now - 1 - index, "gone") for index in range(5)]
    held.put(theirs)
    answers: list[Any] = []
    with old_view(held.path):
        thread = threading.Thread(
            target=lambda: answers.append(forget(held.database, held.trackpoint, ["gone"], held.now, block=False))
        )
        thread.start()
        thread.join(30)
        told_in_time = not thread.is_alive()
    thread.join()

    held.lines -= set(theirs)
    assert told_in_time
    assert [(done.events, done.segments, done.wiped) for done in answers] == [(5, 1, False)]
    assert "reads the database" in answers[0].not_wiped
    held.put([line(held.trackpoint, held.now)])
    assert held.exported() == held.expected()
    assert forget(held.database, held.trackpoint, ["gone"], held.now, block=False).wiped
    assert b'"gone"' not in bytes_on_disk(held.path)


def test_an_import_that_began_before_the_block(still: Server, shop: Shop) -> None:
    """Events of a user who is blocked while an import is in progress are not stored by that import."""
    lines = events_of(shop, ["1", "12"])
    begun, blocked = threading.Event(), threading.Event()

    def body() -> Iterator[bytes]:
        yield body_of(lines["12"])
        begun.set()
        blocked.wait(60)
        yield body_of(lines["1"])

    answers: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: answers.append(httpx.post(shop.import_url, content=body(), headers=shop.headers, timeout=60))
    )
    thread.start()
    begun.wait(60)
    running = "SELECT count(*) FROM blocked_users WHERE trackpoint = ?"
    assert query(still.path, running, shop.trackpoint) == [(0,)]
    assert erase(shop, "1", "?block=true").status_code == 200
    blocked.set()
    thread.join()

    assert answers[0].status_code in {200, 503}
    assert set(shop.export().content.splitlines()) <= set(lines["12"])
