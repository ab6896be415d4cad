"""The messages in a warehouse: a second table, made there from the table of events. Needs the extra `sync`.

The state of a message depends on all of its events, also on those that earlier syncs loaded. So the warehouse makes the
rows itself, with one query over the table of events, after each load of events. It reads the messages that have an
event in the time of that load, with all of their events, and merges them: dlt deletes the rows with the same key and
inserts the new ones, in one transaction where the destination has them.

The state of the source says up to which load of events the table is right. It is stored with each of the two loads.
After a sync that was killed in between, or one of an earlier version, it does not match, and all messages are made
again.

The query is standard SQL, with the names and the times as the destination writes them. dlt calls it a model.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import dlt
from dlt.common.destination.client import SqlModel
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from sqlglot import exp

from smsevents.client.dlt_source import COLUMNS, SOURCE, TABLE, messages_key, place_of
from smsevents.client.errors import ConfigurationError
from smsevents.client.messages import ACCEPTED, DELIVERED, MESSAGE_COLUMNS
from smsevents.wire.events import STATUSES
from smsevents.wire.times import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dlt.common.data_types import TDataType
    from dlt.common.schema.typing import TColumnSchema
    from dlt.destinations.sql_client import SqlClientBase
    from dlt.sources import DltSource

    from smsevents.client.account import Account

MESSAGES_TABLE = "sms_messages"
MODEL: Literal["model"] = "model"


def _column(data_type: TDataType, description: str) -> TColumnSchema:
    return {"data_type": data_type, "description": description}


_OWN = {
    "state": _column("text", "the status of the event that is the state of the message"),
    "state_date": _column("timestamp", "the date of that event; of several with this status, the newest"),
    "event_count": _column("bigint", "how many events the message has"),
    "first_date": _column("timestamp", "the date of its first event"),
    "accepted_date": _column("timestamp", "the date of its first ACCEPTED; NULL if there is none"),
    "delivered_date": _column("timestamp", "the date of its first DELIVERED; NULL if the state is another"),
}
MESSAGE_TABLE_COLUMNS: dict[str, TColumnSchema] = {name: _OWN.get(name) or COLUMNS[name] for name in MESSAGE_COLUMNS}
"""The columns of the table, in dlt's form. The first eight are those of the table of events."""

_SHARED = tuple(name for name in MESSAGE_COLUMNS if name in COLUMNS)  # by the events of a message
# a merge compares these; they are never NULL, and few messages have the same
_MERGED_BY = ("trackpoint", "user_id", "source_type", "campaign_id", "campaign_name")


def check_destination(pipeline: dlt.Pipeline) -> None:
    """Raise `ConfigurationError` if a destination cannot make a table from another one."""
    destination = pipeline.destination
    formats = destination.capabilities().supported_loader_file_formats if destination else None
    if MODEL not in (formats or ()):
        raise ConfigurationError(
            "The destination cannot make a table of messages from the table of events. Omit --messages, and make it"
            " with a query: docs/api.md has the rule for the state of a message."
        )


def load_messages(pipeline: dlt.Pipeline, account: Account, folder: Path, interval: tuple[int, int] | None) -> None:
    """Bring the table up to date with the events: all, or those of a closed interval in Unix milliseconds.

    A table without messages of the shop is made from all events.

    The query is kept in a folder until it has run. Raises the errors of dlt.
    """
    with pipeline.sql_client() as client:
        is_new = not _has_rows(client, account.trackpoint)
        # somebody may have emptied the table, so all of it is made again
        query = message_query(client, account.trackpoint, None if is_new else interval)
        model = SqlModel(query, client.capabilities.sqlglot_dialect)
    path = folder / f"{MESSAGES_TABLE}.{MODEL}"
    path.write_text(str(model), encoding="utf-8")
    place, key = place_of(account), messages_key(account)

    def found() -> Iterator[Any]:
        state = dlt.current.resource_state(TABLE)
        yield dlt.mark.with_file_import(str(path), MODEL, 1)
        state[key] = state[place]

    @dlt.source(name=SOURCE, max_table_nesting=0)
    def smsevents() -> Any:  # noqa: ANN401 -- dlt accepts nearly anything
        return dlt.resource(
            found,
            name=MESSAGES_TABLE,
            write_disposition="append" if is_new else {"disposition": "merge", "strategy": "delete-insert"},
            merge_key=_MERGED_BY,
            columns=MESSAGE_TABLE_COLUMNS,
            max_table_nesting=0,
        )

    source: DltSource = smsevents()
    pipeline.run(source)


def count_messages(pipeline: dlt.Pipeline, trackpoint: int) -> int:
    """Return how many messages of a shop the table has."""
    with pipeline.sql_client() as client:
        table, shop = client.make_qualified_table_name(MESSAGES_TABLE), client.escape_column_name("trackpoint")
        found = client.execute_sql(f"SELECT COUNT(*) FROM {table} WHERE {shop} = %s", trackpoint)  # noqa: S608 -- our names
    return int(found[0][0]) if found else 0


def has_messages(pipeline: dlt.Pipeline, trackpoint: int) -> bool:
    """Return whether the table has a message of a shop. Somebody may have emptied it."""
    with pipeline.sql_client() as client:
        return _has_rows(client, trackpoint)


def _has_rows(client: SqlClientBase[object], trackpoint: int) -> bool:
    table, shop = client.make_qualified_table_name(MESSAGES_TABLE), client.escape_column_name("trackpoint")
    try:
        return bool(client.execute_sql(f"SELECT 1 FROM {table} WHERE {shop} = %s LIMIT 1", trackpoint))  # noqa: S608 -- our names
    except DatabaseUndefinedRelation:
        return False


def message_query(client: SqlClientBase[object], trackpoint: int, interval: tuple[int, int] | None) -> str:
    """Return the query for the messages of a shop that have an event in a closed interval, or for all messages."""
    names = {name: client.escape_column_name(name) for name in (*MESSAGE_TABLE_COLUMNS, "status", "date")}
    table = client.make_qualified_table_name(TABLE)
    status, date = f"e.{names['status']}", f"e.{names['date']}"
    measures = [f"COUNT(*) AS n_all, MIN({date}) AS f_all"]
    for one in map(str, STATUSES):
        is_one = f"CASE WHEN {status} = '{one}' THEN"
        measures.append(f"COUNT({is_one} 1 END) AS n_{one.lower()}, MAX({is_one} {date} END) AS d_{one.lower()}")
    measures += [
        f"MIN(CASE WHEN {status} = '{one}' THEN {date} END) AS f_{one.lower()}" for one in (ACCEPTED, DELIVERED)
    ]
    is_final = f"CASE WHEN {status} <> '{ACCEPTED}' THEN"
    measures.append(f"COUNT({is_final} 1 END) AS n_final, MAX({is_final} {date} END) AS d_final")
    shared = [names[name] for name in _SHARED]
    changed = "" if interval is None else _changed(client, names, trackpoint, interval)
    messages = (
        f"SELECT {', '.join(f'e.{name} AS {name}' for name in shared)}, {', '.join(measures)}"  # noqa: S608 -- our names
        f" FROM {table} AS e{changed} WHERE e.{names['trackpoint']} = {trackpoint:d}"
        f" GROUP BY {', '.join(f'e.{name}' for name in shared)}"
    )
    values = {
        "state": f"CASE {_state_cases()} END",
        "state_date": f"CASE WHEN m.n_final = 0 THEN m.d_{ACCEPTED.lower()} ELSE m.d_final END",
        "event_count": "m.n_all",
        "first_date": "m.f_all",
        "accepted_date": f"m.f_{ACCEPTED.lower()}",
        "delivered_date": f"CASE WHEN {_is_state(DELIVERED)} THEN m.f_{DELIVERED.lower()} END",
    }
    columns = [f"{values.get(name, f'm.{names[name]}')} AS {names[name]}" for name in MESSAGE_COLUMNS]
    return f"SELECT {', '.join(columns)} FROM ({messages}) AS m"  # noqa: S608 -- our names


def _changed(client: SqlClientBase[object], names: dict[str, str], trackpoint: int, interval: tuple[int, int]) -> str:
    """Return the join that leaves only messages with an event in an interval, or with one at an impossible time."""
    first, last = (_time_literal(client, one) for one in interval)
    table, date, key = client.make_qualified_table_name(TABLE), names["date"], [names[name] for name in _MERGED_BY]
    return (
        f" INNER JOIN (SELECT DISTINCT {', '.join(key)} FROM {table} WHERE {names['trackpoint']} = {trackpoint:d}"  # noqa: S608 -- our names
        f" AND ({date} BETWEEN {first} AND {last} OR {date} IS NULL)) AS c"
        f" ON {' AND '.join(f'c.{name} = e.{name}' for name in key)}"
    )


def _time_literal(client: SqlClientBase[object], time_ms: int) -> str:
    text = (EPOCH + timedelta(milliseconds=time_ms)).isoformat(" ", timespec="milliseconds")
    return exp.cast(exp.Literal.string(text), "timestamptz").sql(dialect=client.capabilities.sqlglot_dialect)


def _state_cases() -> str:
    """Return the cases of the state, in the order of the rule."""
    finals = sorted((one for one in STATUSES if one not in {ACCEPTED, DELIVERED}), reverse=True)
    cases = [f"WHEN {_is_state(one)} THEN '{one}'" for one in (DELIVERED, *finals)]
    return " ".join([*cases, f"ELSE '{ACCEPTED}'"])


def _is_state(status: str) -> str:
    """Return the condition that a final status has the newest date of all; one without a date is older than others."""
    name = status.lower()
    return f"m.n_{name} > 0 AND (m.d_{name} = m.d_final OR m.d_final IS NULL)"


def is_current(state: dict[str, Any], account: Account) -> bool:
    """Return whether the table has the messages of all events that were loaded, by the state of the source."""
    known = state.get(messages_key(account))
    return known is not None and bool(known == state.get(place_of(account)))
