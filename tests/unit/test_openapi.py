"""The OpenAPI description: its examples work on the day on which they are read, and it says what a call needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from smsevents.upkeep.erasure import Erased
from smsevents.web.describe import ALWAYS, WITH_BODY
from smsevents.web.export_request import ExportRequest
from smsevents.web.openapi import description
from smsevents.web.problems import STATUSES
from smsevents.web.stats_bodies import DeliveryTimes, EventStatistics, MessageStatistics
from smsevents.wire import events
from smsevents.wire.event_filter import MEMBERS, TEXT_MEMBERS, TIME_MEMBERS
from smsevents.wire.limits import DAY_MS, HISTORY_MS
from smsevents.wire.results import ImportResult
from smsevents.wire.window import resolve

if TYPE_CHECKING:
    from msgspec import Struct

NOW = 1_795_478_423_456
PATHS = description(NOW)["paths"]


def example(media: dict[str, Any], name: str) -> Any:
    """Return the value of one of the examples of a media type."""
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


# by a part of the path
SCOPES = {
    "export": "export",
    "import": "import",
    "users": "admin",
    "stats": "stats",
    "/sms-events": "export",
}


def test_each_call_names_its_scope() -> None:
    """Each call says which scope its key needs, and the description of the key names them all."""
    needed = {path: scope for path in PATHS for scope in SCOPES if scope in path}
    key = description(NOW)["components"]["securitySchemes"]["key"]["description"]

    for path, word in needed.items():
        [operation] = PATHS[path].values()
        assert f"`{SCOPES[word]}`" in operation["description"]
        assert f"`{SCOPES[word]}`" in key
    assert len(needed) == len(PATHS)


def test_import_counts_what_was_blocked() -> None:
    """The response to an import is described with all its counts."""
    responses = PATHS["/shop/{trackpointId}/import-sms-events"]["post"]["responses"]
    counts = responses["200"]["content"]["application/json"]

    assert set(counts["schema"]["properties"]) == {"received", "expired", "blocked"}
    assert counts["schema"]["required"] == ["received", "expired"]


@pytest.mark.parametrize(
    ("path", "struct", "unsent"),
    [
        ("/shop/{trackpointId}/import-sms-events", ImportResult, {"impossible"}),
        ("/shop/{trackpointId}/users/{userId}", Erased, set()),
        ("/shop/{trackpointId}/sms-stats", EventStatistics, set()),
        ("/shop/{trackpointId}/sms-stats/delivery-time", DeliveryTimes, set()),
        ("/shop/{trackpointId}/sms-stats/messages", MessageStatistics, set()),
    ],
)
def test_every_field_of_a_response_is_described(path: str, struct: type[Struct], unsent: set[str]) -> None:
    """The schema of a response has each field of the struct that is sent, and says of each what it means."""
    [operation] = PATHS[path].values()
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == set(struct.__struct_encode_fields__) - unsent
    for one in schema["properties"].values():
        assert one["description"]
        assert {"type", "anyOf", "enum"} & set(one)


def test_every_field_of_a_request_is_described() -> None:
    """The schema of an export's request has each member that it may have, and takes no other one."""
    [body] = PATHS["/shop/{trackpointId}/export-sms-events"]["post"]["requestBody"]["content"].values()
    properties = body["schema"]["properties"]
    assert set(properties) == set(ExportRequest.__struct_encode_fields__) == {"from", "to", *MEMBERS}
    assert body["schema"]["additionalProperties"] is False
    times = {name for name, one in properties.items() if one["type"] == ["integer", "null"]}
    texts = {name for name, one in properties.items() if one["type"] == ["string", "array", "null"]}
    assert times == {"from", "to", *TIME_MEMBERS}
    assert texts == set(TEXT_MEMBERS)
    assert all(one["description"] for one in properties.values())


def test_every_status_that_an_operation_can_have_is_described() -> None:
    """Each operation has the statuses of the errors that any of them can raise, each with an example."""
    for item in PATHS.values():
        [operation] = item.values()
        raised = WITH_BODY if "requestBody" in operation else ALWAYS
        statuses = {str(STATUSES[kind].status.value) for kind in raised}
        assert {"200", "400", "405"} | statuses <= set(operation["responses"])
        for status, response in operation["responses"].items():
            if status not in {"200", "304"}:
                value = response["content"]["application/problem+json"]["examples"]["problem"]["value"]
                assert str(value["status"]) == status
                assert value["detail"]
                assert "{" not in value["detail"].replace("{}", "")
