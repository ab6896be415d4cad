"""A gateway that has no file here: a mapping says where its fields are and what its statuses mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.receipts.receipt import DeliveryReceipt, NotAReceipt, as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from smsevents.receipts.mapping import Mapping as FieldMapping
    from smsevents.wire.events import Status


class Generic:
    """A gateway by its mapping."""

    name = "generic"

    def __init__(self, mapping: FieldMapping) -> None:
        """Read receipts as a mapping says."""
        self._mapping = mapping
        self.statuses: Mapping[str, Status | None] = mapping.statuses
        self.done = mapping.response.encode()

    def receipts(self, fields: Mapping[str, Any], zone: tzinfo) -> Iterable[DeliveryReceipt | NotAReceipt]:
        """Read the receipts of a call: those of the array that the mapping names, or the one of the call itself."""
        for document in self._mapping.documents(fields):
            value = as_text(self._mapping.value_at(self._mapping.status, document))
            if value is None:
                yield NotAReceipt("there is no status at the place that the mapping names")
                continue
            time = as_text(self._mapping.value_at(self._mapping.time, document))
            yield DeliveryReceipt(
                value=value,
                status=self.statuses.get(value),
                message_id=as_text(self._mapping.value_at(self._mapping.message_id, document)),
                time=None if time is None else self._mapping.read_time(time, zone),
                reference=as_text(self._mapping.value_at(self._mapping.reference, document)),
            )
