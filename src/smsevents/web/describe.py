"""The parts of an OpenAPI operation: schemas derived from structs, and problems derived from errors.

A resource names the struct that it returns and the errors that it raises, so no field and no status can be forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from smsevents.errors import (
    BodyTimeout,
    BodyTooLarge,
    DamagedSegment,
    Forbidden,
    HeadTooLarge,
    InvalidRequest,
    NoSuchPath,
    StoreFull,
    StoreUnavailable,
    TooManyAtOnce,
    Unauthorized,
    UnsupportedEncoding,
)
from smsevents.web.problems import MEDIA_TYPE, STATUSES, WRONG_METHOD, Problem, title_of
from smsevents.wire.events import INT64_MAX
from smsevents.wire.limits import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from http import HTTPStatus

    from smsevents.errors import SmsEventsError
    from smsevents.web.problems import Outcome

LINES = {
    "type": "string",
    "description": "One JSON object per line, each line ended by a line feed, also the last.",
}
TRACKPOINT = {
    "name": "trackpointId",
    "in": "path",
    "required": True,
    "description": "The number of the shop.",
    "schema": {"type": "integer", "minimum": 1, "maximum": INT64_MAX},
    "examples": {"shop": {"value": 4541245641234564}},
}
# What every operation may raise, in addition to its own errors.
ALWAYS: tuple[type[SmsEventsError], ...] = (
    Unauthorized,
    Forbidden,
    NoSuchPath,
    TooManyAtOnce,
    StoreUnavailable,
    StoreFull,
    DamagedSegment,  # an unexpected error has the same status
    HeadTooLarge,
)
# What operations that read a body may raise in addition.
WITH_BODY = (*ALWAYS, InvalidRequest, BodyTimeout, BodyTooLarge, UnsupportedEncoding)
RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer"}}


def schema_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema of a struct, without references.

    A field whose Meta has `extra={"sent": False}` is left out: no response has it.
    """
    described, components = msgspec.json.schema_components([struct], ref_template="{name}")
    schema: dict[str, Any] = _resolved(described[0], components)
    schema.pop("title", None)
    schema.pop("description", None)  # its docstring is for readers of the code
    hidden = {field.encode_name for field in msgspec.inspect.type_info(struct).fields if _is_hidden(field.type)}  # type: ignore[attr-defined]
    schema["properties"] = {
        name: _without_default(one) for name, one in schema["properties"].items() if name not in hidden
    }
    return schema


def _is_hidden(kind: msgspec.inspect.Type) -> bool:
    return isinstance(kind, msgspec.inspect.Metadata) and (kind.extra or {}).get("sent") is False


def _resolved(value: Any, components: dict[str, Any]) -> Any:  # noqa: ANN401 -- JSON
    if isinstance(value, dict):
        if "$ref" in value:
            return _resolved(components[value["$ref"]], components)
        return {name: _resolved(one, components) for name, one in value.items()}
    return [_resolved(one, components) for one in value] if isinstance(value, list) else value


def _without_default(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a response field. A field that has a default is then omitted, so it is never null."""
    has_default = "default" in schema
    schema = {name: one for name, one in schema.items() if name != "default"}
    kinds = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if len(kinds) == 1 and has_default:
        schema = {**kinds[0], **{name: one for name, one in schema.items() if name != "anyOf"}}
    return schema


def request_schema_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema of a struct in a request. Fields that are omitted or null have their default."""
    schema = schema_of(struct)
    required = schema.get("required", ())
    schema["properties"] = {
        name: one if name in required else _nullable(one) for name, one in schema["properties"].items()
    }
    return {name: one for name, one in schema.items() if name != "required" or one}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that may be null. The types that it may have come in one list, with their limits."""
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind != {"type": "null"}]
    limits = {name: value for kind in kinds for name, value in kind.items()}
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**limits, **rest, "type": [*(kind["type"] for kind in kinds), "null"]}


def json_response(description: str, struct: type[msgspec.Struct], example: msgspec.Struct) -> dict[str, Any]:
    """Describe a response whose body is a struct."""
    media = {"schema": schema_of(struct), "examples": {"counts": {"value": msgspec.to_builtins(example)}}}
    return {"description": description, "content": {"application/json": media}}


def problem(outcome: Outcome, *, when: str | None = None, detail: str | None = None, **more: object) -> dict[str, Any]:
    """Describe a problem: its status, when it occurs, and an example of its `detail` and other members."""
    status: HTTPStatus = outcome.status
    value = {"type": "about:blank", "title": title_of(status), "status": status, "detail": detail or outcome.example}
    described: dict[str, Any] = {
        "description": when or outcome.when,
        "content": {MEDIA_TYPE: {"schema": schema_of(Problem), "examples": {"problem": {"value": value | more}}}},
    }
    if "Retry-After" in outcome.headers:
        described["headers"] = {"Retry-After": RETRY_AFTER}
    return described


def problems(scope: str, raised: Iterable[type[SmsEventsError]]) -> dict[str, dict[str, Any]]:
    """Describe the errors of an operation, and those that every operation may raise, by status.

    `scope` is the scope that the key needs.
    """
    found = {str(WRONG_METHOD.status.value): problem(WRONG_METHOD)}
    for kind in raised:
        outcome = STATUSES[kind]
        found.setdefault(
            str(outcome.status.value),
            problem(outcome, when=outcome.when.format(scope=scope), detail=outcome.example.format(scope=scope)),
        )
    return dict(sorted(found.items()))


def example_lines(now: int) -> str:
    """Return two lines of events of the day before `now` (Unix ms), as an export sends them."""
    date = now - DAY_MS
    return (
        f'{{"smsEvent":{{"trackpoint":4541245641234564,"userId":"123456","status":"DELIVERED","date":{date + 300}}},'
        '"source":{"type":"flow","campaign":{"id":"cd43","name":"Retention"},'
        f'"node":{{"id":"3241","name":"Retention VIP SMS"}},"sendDate":{date}}}}}\n'
        f'{{"smsEvent":{{"trackpoint":4541245641234564,"userId":"123456","status":"DELIVERED","date":{date + 500}}},'
        f'"source":{{"type":"one-off","campaign":{{"id":"b2c8","name":"Black Friday"}},"sendDate":{date}}}}}\n'
    )
