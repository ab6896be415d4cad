"""The OpenAPI description: its examples work on the day on which they are read, and it says what a call needs."""

from __future__ import annotations

from typing import Any

from smsevents.web.openapi import description
from smsevents.wire import events
from smsevents.wire.limits import DAY_MS, HISTORY_MS
from smsevents.wire.window import resolve

NOW = 1_795_478_423_456
PATHS = description(NOW)["paths"]


def example(media: dict[str, Any], name: str) -> Any:
    """Give the value of one of the examples of a media type."""
    return media["examples"][name]["value"]


def test_interval_has_events_today() -> None:
    """The interval that is shown reaches to now and lies in the history."""
    [body] = PATHS["/shop/{trackpointId}/export-sms-events"]["post"]["requestBody"]["content"].values()
    interval = example(body, "lastWeek")

    assert resolve(interval["from"], interval["to"], NOW) == (interval["from"], interval["to"])
    assert 0 <= NOW - interval["to"] < DAY_MS


def test_lines_would_be_stored_today() -> None:
    """The lines that are shown are canonical, and none of them is older than the history or in the future."""
    [body] = PATHS["/shop/{trackpointId}/import-sms-events"]["post"]["requestBody"]["content"].values()
    lines = example(body, "events").encode().splitlines()

    decoded = [events.decode(line) for line in lines]

    assert [canonical for _, canonical in decoded] == lines
    assert all(NOW - HISTORY_MS < event.smsEvent.date <= NOW for event, _ in decoded)
    assert len(lines) == 2


def test_each_call_names_its_scope() -> None:
    """Each call says which scope its key needs, and the description of the key names them all."""
    needed = {path: scope for path in PATHS for scope in ["export", "import", "users"] if scope in path}
    scopes = {"export": "export", "import": "import", "users": "admin"}
    key = description(NOW)["components"]["securitySchemes"]["key"]["description"]

    for path, word in needed.items():
        [operation] = PATHS[path].values()
        assert f"`{scopes[word]}`" in operation["description"]
        assert f"`{scopes[word]}`" in key
    assert len(needed) == 3


def test_import_counts_what_was_blocked() -> None:
    """The response to an import is described with all its counts."""
    responses = PATHS["/shop/{trackpointId}/import-sms-events"]["post"]["responses"]
    counts = responses["200"]["content"]["application/json"]

    assert set(counts["schema"]["properties"]) == {"received", "expired", "blocked"}
    assert counts["schema"]["required"] == ["received", "expired"]
