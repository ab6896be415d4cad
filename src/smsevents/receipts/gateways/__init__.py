"""The gateways, by name: one file and one table of statuses each.

kannel.py           Kannel
jasmin.py           Jasmin
twilio.py           Twilio
vonage.py           Vonage, SMS API
vonage_messages.py  Vonage, Messages API
infobip.py          Infobip
bulkgate.py         BulkGate
smsmanager.py       SMSManager
smsgate.py          smsgate.sk
text421.py          text421
viamobile.py        viamobile
brevo.py            Brevo
generic.py          any other, by a mapping
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from smsevents.errors import InvalidRequest
from smsevents.receipts.gateways.brevo import Brevo
from smsevents.receipts.gateways.bulkgate import BulkGate
from smsevents.receipts.gateways.generic import Generic
from smsevents.receipts.gateways.infobip import Infobip
from smsevents.receipts.gateways.jasmin import Jasmin
from smsevents.receipts.gateways.kannel import Kannel
from smsevents.receipts.gateways.smsgate import Smsgate
from smsevents.receipts.gateways.smsmanager import SmsManager
from smsevents.receipts.gateways.text421 import Text421
from smsevents.receipts.gateways.twilio import Twilio
from smsevents.receipts.gateways.viamobile import Viamobile
from smsevents.receipts.gateways.vonage import Vonage
from smsevents.receipts.gateways.vonage_messages import VonageMessages
from smsevents.receipts.mapping import parse_mapping

if TYPE_CHECKING:
    from smsevents.receipts.receipt import Gateway

_ALL: tuple[Gateway, ...] = (
    Kannel(),
    Jasmin(),
    Twilio(),
    Vonage(),
    VonageMessages(),
    Infobip(),
    BulkGate(),
    SmsManager(),
    Smsgate(),
    Text421(),
    Viamobile(),
    Brevo(),
)
_KNOWN = {gateway.name: gateway for gateway in _ALL}
_MAPPINGS_KEPT_MAX_ENTRIES = 1000  # parsed; a call would take longer otherwise
GATEWAYS = (*_KNOWN, Generic.name)


@lru_cache(maxsize=_MAPPINGS_KEPT_MAX_ENTRIES)
def gateway_of(name: str, mapping: bytes | None = None) -> Gateway:
    """Return a gateway by its name and, for `generic`, its mapping. Raises `InvalidRequest`."""
    if name == Generic.name:
        if mapping is None:
            raise InvalidRequest(f"The gateway `{name}` needs a mapping; docs/receipts.md has an example.")
        return Generic(parse_mapping(mapping))
    if name not in _KNOWN:
        raise InvalidRequest(f"There is no gateway {name!r}. Use one of {', '.join(GATEWAYS)}.")
    if mapping is not None:
        raise InvalidRequest(f"The gateway `{name}` has its own fields; a mapping is for `{Generic.name}` only.")
    return _KNOWN[name]
