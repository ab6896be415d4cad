"""How statements reach PostgreSQL: values come back as bytes, and nothing is kept open on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import ExecStatus, Format

from smsevents.wire.reference import encode_reference
from tests.contracts.dialects.harness import harness_of
from tests.support.receipts import START_MS, ReceiptSite, one_off, sent_line

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SENT = one_off(START_MS - 1000)
TABLES = ("segments", "packs", "sent", "waiting_receipts", "first_arrivals", "blocked_users", "receivers")


def test_hot_statements_are_binary_and_without_server_side_cursors(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registrations, receipts, imports and exports get all values in binary, and declare no cursor on the server."""
    asked: list[tuple[str, set[int]]] = []
    execute = psycopg.Cursor.execute

    def noted(cursor: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        found = execute(cursor, query, *arguments, **options)
        result = cursor.pgresult
        if result is not None and result.status == ExecStatus.TUPLES_OK:
            asked.append((str(query), {result.fformat(column) for column in range(result.nfields)}))
        return found

    monkeypatch.setattr(psycopg.Cursor, "execute", noted)
    declared: list[str] = []
    monkeypatch.setattr(psycopg.ServerCursor, "__init__", lambda _, *__, **___: declared.append("a cursor"))
    harness = harness_of("postgres", request, tmp_path)
    try:
        site = ReceiptSite(harness.opened())
        receiver = site.receiver()
        asked.clear()
        site.sent(sent_line({"receiver": receiver.id}, "abc", "u1", SENT))
        fields = {"d": 1, "A": "", "F": "abc", "T": START_MS // 1000}
        assert site.receive(receiver, fields) == ["recorded"]
        assert site.receive(receiver, fields, encode_reference("u2", SENT)) == ["recorded"]
        assert len(site.lines()) == 2
    finally:
        harness.close()

    of_tables = [(query, formats) for query, formats in asked if any(f"FROM {name}" in query for name in TABLES)]
    assert {name for name in TABLES if any(f"FROM {name}" in query for query, _ in of_tables)} >= {"segments", "sent"}
    assert [query for query, formats in of_tables if formats != {Format.BINARY}] == []
    assert declared == []
    assert [query for query, _ in asked if "DECLARE" in query.upper()] == []
