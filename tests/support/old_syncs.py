"""The table and the state as `sync` made them before it loaded Arrow tables: dlt added two columns to each row."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tests.support.warehouses import expected

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt  # isort: skip -- after telemetry is off

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXTS = ("event_id", "user_id", "status", "source_type", "campaign_id", "campaign_name", "node_id", "node_name")
NAMES = (*TEXTS[:1], "trackpoint", *TEXTS[1:3], "date", *TEXTS[3:], "send_date")
TYPES = {"trackpoint": "bigint", "date": "timestamp", "send_date": "timestamp"}


def sync_as_before(  # noqa: PLR0913, PLR0917 -- what the earlier version had
    lines: list[bytes], url: str, trackpoint: int, synced_to: int, destination: str, folder: Path, dataset: str = "sms"
) -> None:
    """Load lines from a server, up to a time, as the earlier version did."""
    path = destination.removeprefix("duckdb:///")
    target = dlt.destinations.duckdb(path) if path != destination else dlt.destinations.postgres()

    def rows() -> Iterator[Any]:
        """Yield the rows, and keep the state."""
        yield dlt.mark.materialize_table_schema()
        yield [dict(zip(NAMES, row, strict=True)) for row in expected(lines)]
        dlt.current.resource_state()[f"{url} {trackpoint}"] = synced_to

    columns: Any = {name: {"data_type": TYPES.get(name, "text")} for name in NAMES}

    @dlt.source(name="smsevents", max_table_nesting=0)
    def smsevents() -> Any:
        """Return the one resource."""
        return dlt.resource(
            rows,
            name="sms_events",
            write_disposition="merge",
            primary_key="event_id",
            columns=columns,
            max_table_nesting=0,
        )

    name = f"smsevents_{trackpoint}"
    pipeline = dlt.pipeline(name, pipelines_dir=str(folder), destination=target, dataset_name=dataset)
    pipeline.sync_destination()
    pipeline.run(smsevents())
