"""The filter of an export: which events are wanted. The names of the members are those of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from smsevents.wire.columns import FLOW, ONE_OFF
from smsevents.wire.events import Flow

if TYPE_CHECKING:
    from smsevents.wire.events import Event, OneOff

TEXT_MEMBERS = ("status", "campaign", "node", "type", "userId")
TIME_MEMBERS = ("sentFrom", "sentTo")
MEMBERS = (*TEXT_MEMBERS, *TIME_MEMBERS)

# The response to OPTIONS has this header if the export of a server takes filters; its value is their names.
FILTERS_HEADER = "X-Export-Filters"
REQUEST_MAX_BYTES = 16 * 1024  # of an export's request, unless the operator of the server raised the limit

ANY: frozenset[str] = frozenset()


class EventFilter(Struct, frozen=True, kw_only=True):
    """The events that match each member that is not empty. Without members, all events.

    A set of texts is matched by each of them. A campaign or node matches by its id or its name, exactly; an event of a
    one-off campaign has no node. `sentFrom` and `sentTo` are a closed interval for `sendDate`, in Unix milliseconds.
    """

    status: frozenset[str] = ANY
    campaign: frozenset[str] = ANY
    node: frozenset[str] = ANY
    type: frozenset[str] = ANY
    userId: frozenset[str] = ANY  # noqa: N815 -- the name on the wire
    sentFrom: int | None = None  # noqa: N815 -- the name on the wire
    sentTo: int | None = None  # noqa: N815 -- the name on the wire

    def __bool__(self) -> bool:
        """Return whether the filter leaves out any event."""
        return self != EVERYTHING

    def matches(self, event: Event) -> bool:
        """Return whether an event is wanted."""
        sms = event.smsEvent
        return (
            (not self.status or sms.status in self.status)
            and (not self.userId or sms.userId in self.userId)
            and self.matches_source(event.source)
            and self.matches_sent(event.source.sendDate)
        )

    def matches_source(self, source: Flow | OneOff) -> bool:
        """Return whether events of a source are wanted, whatever their `sendDate` is."""
        node = source.node if isinstance(source, Flow) else None
        return (
            (not self.type or (ONE_OFF if node is None else FLOW) in self.type)
            and (not self.campaign or not self.campaign.isdisjoint((source.campaign.id, source.campaign.name)))
            and (not self.node or (node is not None and not self.node.isdisjoint((node.id, node.name))))
        )

    def matches_sent(self, time_ms: int) -> bool:
        """Return whether messages that were sent at a time (Unix ms) are wanted."""
        return (self.sentFrom is None or time_ms >= self.sentFrom) and (self.sentTo is None or time_ms <= self.sentTo)


EVERYTHING = EventFilter()
