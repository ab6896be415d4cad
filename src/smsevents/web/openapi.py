"""The OpenAPI description, assembled from the description of each resource.

Its examples can be used as they are, because their times are recent.

Delivery receipts are not in it: gateways call them with fields of their own (docs/receipts.md).
"""

from __future__ import annotations

from typing import Any

from smsevents import __version__
from smsevents.web import downloads, exports, imports, sent_sms, stats_openapi, users
from smsevents.wire.limits import DAY_MS

_RESOURCES = {
    "/shop/{trackpointId}/export-sms-events": ("post", exports.operation),
    "/shop/{trackpointId}/import-sms-events": ("post", imports.operation),
    "/shop/{trackpointId}/users/{userId}": ("delete", users.operation),
    "/shop/{trackpointId}/sms-events": ("get", downloads.operation),
    "/shop/{trackpointId}/sms-stats": ("get", stats_openapi.events_operation),
    "/shop/{trackpointId}/sms-stats/delivery-time": ("get", stats_openapi.delivery_operation),
    "/shop/{trackpointId}/sms-stats/messages": ("get", stats_openapi.messages_operation),
    "/shop/{trackpointId}/sent-sms": ("post", sent_sms.operation),
}


def description(now: int) -> dict[str, Any]:
    """Return the description as JSON values. Its examples are of the day of `now` (Unix ms), the same all day."""
    now -= now % DAY_MS
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "smsevents",
            "version": __version__,
            "description": "The self-hosted log of SMS delivery events, with one streaming export.",
        },
        "servers": [{"url": "."}],  # relative to the address of the description, so it also works under a prefix
        "paths": {path: {method: operation(now)} for path, (method, operation) in _RESOURCES.items()},
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "name": "X-Api-Key",
                    "in": "header",
                    "description": (
                        "A key of the shop with a scope that the call needs: `export`, `import`, `admin`, `stats`."
                    ),
                }
            }
        },
        "security": [{"key": []}],
    }
