"""The messages that events make, by a plain model, and the rows of files and tables of messages to compare with."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEARS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))

Row = dict[str, Any]


def message_line(  # noqa: PLR0913, PLR0917 -- an event has that many parts
    trackpoint: int, user: str, status: str, date: int, sent: int, node: str | None = None, campaign: str = "Sale"
) -> bytes:
    """Return the canonical line of an event of a message that was sent at some time."""
    source: Row = {"type": "flow" if node is not None else "one-off", "campaign": {"id": "b2c8", "name": campaign}}
    if node is not None:
        source["node"] = {"id": node, "name": f"Node {node}"}
    source["sendDate"] = sent
    sms = {"trackpoint": trackpoint, "userId": user, "status": status, "date": date}
    return json.dumps({"smsEvent": sms, "source": source}, ensure_ascii=False, separators=(",", ":")).encode()


def time_of(milliseconds: int | None) -> datetime | None:
    """Return a time as tables have it: None if it is impossible."""
    if milliseconds is None:
        return None
    try:
        time = EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
    return time if YEARS[0] <= time < YEARS[1] else None


def messages_of(lines: Iterable[bytes], *, as_table: bool) -> list[Row]:
    """Return the messages of events, each a row: a dictionary over all events ever, by the rule of docs/api.md.

    In a table, an impossible send date is NULL; so messages that differ only in it are one, and so are such events.
    """
    events: dict[tuple[Any, ...], dict[Any, tuple[bytes, tuple[str, int]]]] = {}
    for one in lines:
        event = json.loads(one)
        sms, source = event["smsEvent"], event["source"]
        node = source.get("node", {"id": None, "name": None})
        sent = source["sendDate"]
        key = (
            sms["trackpoint"],
            sms["userId"],
            source["type"],
            source["campaign"]["id"],
            source["campaign"]["name"],
            node["id"],
            node["name"],
            time_of(sent) if as_table else sent,
        )
        what = (sms["status"], sms["date"])
        events.setdefault(key, {})[what if as_table else one] = (one, what)
    return ordered_rows([_row(key, list(own.values()), as_table=as_table) for key, own in events.items()])


def _row(key: tuple[Any, ...], events: list[tuple[bytes, tuple[str, int]]], *, as_table: bool) -> Row:
    """Return the row of a message, by the four rules one after the other."""
    rest = [one for one in events if one[1][0] != "ACCEPTED"] or events
    newest = max(date for _, (_, date) in rest)
    rest = [one for one in rest if one[1][1] == newest]
    rest = [one for one in rest if one[1][0] == "DELIVERED"] or rest
    state, state_date = max(rest)[1]
    accepted = min((date for _, (status, date) in events if status == "ACCEPTED"), default=None)
    delivered = min((date for _, (status, date) in events if status == "DELIVERED"), default=None)
    at: Any = time_of if as_table else lambda ms: ms
    return dict(zip(NAMES[:8], key, strict=True)) | {
        "state": state,
        "state_date": at(state_date),
        "event_count": len(events),
        "first_date": at(min(date for _, (_, date) in events)),
        "accepted_date": at(accepted),
        "delivered_date": at(delivered if state == "DELIVERED" else None),
    }


NAMES = (
    "trackpoint",
    "user_id",
    "source_type",
    "campaign_id",
    "campaign_name",
    "node_id",
    "node_name",
    "send_date",
    "state",
    "state_date",
    "event_count",
    "first_date",
    "accepted_date",
    "delivered_date",
)
TIMES = ("send_date", "state_date", "first_date", "accepted_date", "delivered_date")


def ordered_rows(rows: Iterable[Row]) -> list[Row]:
    """Return rows in one order, whatever order they came in."""
    return sorted(rows, key=lambda row: [str(row[name]) for name in NAMES])


def message_rows(path: Path) -> list[Row]:
    """Return the rows of a file of messages, in its order. It is read without the code that is tested."""
    if path.suffix == ".parquet":
        table = pq.read_table(path, partitioning=None)
        assert tuple(table.column_names) == NAMES
        return [dict(row) for row in table.to_pylist()]
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if ".jsonl" in path.name:
        return [_json_row(json.loads(one)) for one in data.decode().split("\n")[:-1]]
    is_excel = data.startswith("\ufeff".encode())
    text = io.StringIO(data.decode("utf-8-sig"), newline="")
    rows = list(csv.DictReader(text, delimiter=";" if is_excel else ","))
    return [_csv_row(row, is_excel=is_excel) for row in rows]


def _json_row(row: Row) -> Row:
    source = row["source"]
    node = source.get("node", {"id": None, "name": None})
    assert list(row) == [
        *("trackpoint", "userId", "source", "state", "stateDate", "eventCount"),
        *("firstDate", "acceptedDate", "deliveredDate"),
    ]
    values = (
        *(row["trackpoint"], row["userId"], source["type"], source["campaign"]["id"], source["campaign"]["name"]),
        *(node["id"], node["name"], source["sendDate"], row["state"], row["stateDate"], row["eventCount"]),
        *(row["firstDate"], row["acceptedDate"], row["deliveredDate"]),
    )
    return dict(zip(NAMES, values, strict=True))


def _csv_row(row: dict[str, str], *, is_excel: bool) -> Row:
    assert tuple(row) == NAMES
    found: Row = {name: cell.removeprefix("'") if is_excel else cell for name, cell in row.items()}
    for name in TIMES:
        found[name] = datetime.fromisoformat(found[name]) if found[name] else None
    if found["source_type"] == "one-off":
        found["node_id"] = found["node_name"] = None
    return found | {"trackpoint": int(found["trackpoint"]), "event_count": int(found["event_count"])}
