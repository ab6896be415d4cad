"""`to_arrow`, `to_pandas` and `to_polars` of both clients: complete or an error, and packages that are missing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from smsevents.client import AsyncClient, BadLine, Client, Filter, TruncatedStream
from tests.support.client_reads import LINES, START, TRACKPOINT, client_of
from tests.support.lines import line
from tests.support.servers import PLAIN
from tests.support.standin import Answer, StandIn

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

READS: dict[str, Callable[[Client], Any]] = {
    "arrow": lambda client: client.to_arrow().read_all(),
    "pandas": Client.to_pandas,
    "polars": Client.to_polars,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_an_export_is_complete_or_an_error(standin: StandIn, read: Callable[[Client], Any]) -> None:
    """A complete export has a row for each line; a truncated one and one with an error text are never a table."""
    standin.answers(Answer(lines=LINES, chunk_bytes=1000, gzip=True))
    with client_of(standin) as client:
        assert len(read(client)) == len(LINES)
    standin.answers(Answer(lines=LINES, chunk_bytes=1000, cut_at=-5))
    with client_of(standin) as client, pytest.raises(TruncatedStream):
        read(client)
    standin.answers(Answer(lines=LINES, tail=b"terminated early\n"))
    with client_of(standin) as client, pytest.raises(BadLine):
        read(client)


def test_the_interval_is_sent(standin: StandIn) -> None:
    """All three take the same times as an export."""
    with client_of(standin) as client:
        for call in (client.to_arrow, client.to_pandas, client.to_polars):
            found = call("2026-11-25", date(2026, 11, 26))
            assert len(found.read_all() if isinstance(found, pa.RecordBatchReader) else found) == 0
    intervals = [request.interval for request in standin.requests]
    assert intervals == [{"from": 1_795_564_800_000, "to": 1_795_737_599_999}] * 3


def test_the_asynchronous_client_reads_the_same(standin: StandIn) -> None:
    """`AsyncClient` has the same tables, and `to_arrow` yields their batches."""
    standin.answers(Answer(lines=LINES, chunk_bytes=1000))
    with client_of(standin) as client:
        wanted = client.to_arrow().read_all()

    async def read() -> tuple[pa.Table, Any, pl.DataFrame]:
        """Read all three ways."""
        async with AsyncClient(TRACKPOINT, "key", url=standin.url, ssl_context=PLAIN) as client:
            batches = [batch async for batch in client.to_arrow(START)]
            return pa.Table.from_batches(batches), await client.to_pandas(), await client.to_polars()

    table, pandas_frame, polars_frame = asyncio.run(read())
    assert table == wanted
    assert pandas_frame.equals(wanted.to_pandas())
    assert polars_frame.to_dicts() == wanted.to_pylist()


def test_a_filter_applies_to_tables(standin: StandIn) -> None:
    """With `where`, all tables of both clients have the rows of the matching events only."""
    lines = [line(TRACKPOINT, START + at, status="EXPIRED" if at % 3 else "DELIVERED") for at in range(100)]
    where = Filter(status="EXPIRED")
    standin.answers(Answer(lines=lines))

    with client_of(standin) as client:
        wanted = client.to_arrow(where=where).read_all()
        assert client.to_pandas(where=where).equals(wanted.to_pandas())
        assert client.to_polars(where=where).to_dicts() == wanted.to_pylist()
        assert client.to_arrow().read_all().filter(pc.field("status") == "EXPIRED").equals(wanted)

    async def read() -> tuple[pa.Table, Any, pl.DataFrame]:
        """Read all three ways."""
        async with AsyncClient(TRACKPOINT, "key", url=standin.url, ssl_context=PLAIN) as client:
            batches = [batch async for batch in client.to_arrow(where=where)]
            return (
                pa.Table.from_batches(batches),
                await client.to_pandas(where=where),
                await client.to_polars(where=where),
            )

    table, pandas_frame, polars_frame = asyncio.run(read())
    assert table == wanted
    assert table.num_rows == len([one for one in lines if b"EXPIRED" in one])
    assert pandas_frame.equals(wanted.to_pandas())
    assert polars_frame.to_dicts() == wanted.to_pylist()


@pytest.mark.parametrize(
    ("hidden", "call", "extra"),
    [("pyarrow", "to_arrow", "arrow"), ("pandas", "to_pandas", "pandas"), ("polars", "to_polars", "polars")],
)
@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_a_missing_package_is_named_with_its_command(hidden: str, call: str, extra: str, kind: str) -> None:
    """Without the package the call fails before anything is sent, and the error names the command that installs it."""
    script = (
        "import asyncio, inspect, sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {hidden!r}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        f"from smsevents.client import {kind}, MissingExtra\n"
        "try:\n"
        f"    found = {kind}(7, 'key', url='http://127.0.0.1:9').{call}()\n"
        "    inspect.iscoroutine(found) and asyncio.run(found)\n"
        "except MissingExtra as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert f"needs {hidden}" in run.stdout or f"need {hidden}" in run.stdout
    assert f"pip install '.[{extra}]'" in run.stdout
