"""What every gateway must do, held against each of them. Run with `-v` to see which gateways ran."""

from __future__ import annotations

import re
import tracemalloc
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.cli.receiver import GatewayName
from smsevents.errors import BodyTooLarge, InvalidRequest
from smsevents.receipts.call import RECEIPTS_IN_CALL_MAX, read_call, read_receipts
from smsevents.receipts.gateways import GATEWAYS, gateway_of
from smsevents.receipts.mapping import parse_mapping
from smsevents.receipts.receipt import NotAReceipt, shown
from smsevents.receipts.times import MINUTE_MS, Reported, zone_of
from smsevents.wire.events import STATUSES
from tests.support.documents import ROOT, bare

if TYPE_CHECKING:
    from smsevents.receipts.receipt import DeliveryReceipt, Gateway

MAPPING = b"""{
    "status": "/result", "statuses": {"ok": "DELIVERED", "bad": "UNDELIVERABLE", "?": null},
    "messageId": "/id", "time": "/at", "timeFormat": "%Y%m%d%H%M"
}"""
PRAGUE = zone_of("Europe/Prague")
AT_MS = 1_795_650_240_000  # 2026-11-25T23:44Z, a whole minute
LOCAL = "2611260044"  # the same in Prague
MEANINGS: dict[str, dict[str, str | None]] = msgspec.json.decode(
    (ROOT / "tests" / "data" / "receipts" / "meanings.json").read_bytes()
)
PAGE = (ROOT / "docs" / "receipts.md").read_text("utf-8")


def mapping_of(name: str) -> bytes | None:
    """Return the mapping that a gateway needs."""
    return MAPPING if name == "generic" else None


@pytest.fixture(params=GATEWAYS)
def gateway(request: pytest.FixtureRequest) -> Gateway:
    """Return each gateway in turn."""
    return gateway_of(request.param, mapping_of(request.param))


def call_of(name: str, value: str) -> dict[str, Any]:
    """Return the fields of a call by a gateway that reports a value for the message 1a2b3c00 at AT_MS."""
    if name == "kannel":
        kind, _, stat = value.partition(" ")
        answer = f"id:1a2b3c00 sub:001 dlvrd:000 submit date:{LOCAL} done date:{LOCAL} stat:{stat} err:000 text:x"
        answer = answer.replace("*", "FAILED")
        return {"d": kind, "A": answer if stat else "ACK/", "F": "1a2b3c00", "T": str(AT_MS // 1000)}
    if name == "jasmin":
        status = value.replace("*", "RINVDSTADR")
        return {"id": "1a2b3c00", "level": "2", "message_status": status, "donedate": LOCAL}
    if name == "infobip":
        kind, _, number = value.rpartition(" ")
        status_of = {"id": 999, "groupId": 999, ("groupId" if kind == "group" else "id"): number}
        result = {"messageId": "1a2b3c00", "doneAt": "2026-11-25T23:44:00.000+0000", "status": status_of}
        return {"results": [result]}
    kind, _, code = value.partition(" ")
    calls: dict[str, dict[str, Any]] = {
        "twilio": {"MessageStatus": kind, "ErrorCode": code, "MessageSid": "1a2b3c00", "RawDlrDoneDate": LOCAL},
        "vonage": {"status": value, "messageId": "1a2b3c00", "scts": LOCAL, "to": "Shop", "msisdn": "420777123456"},
        "vonage-messages": {
            "status": kind,
            "error": {"title": code},
            "message_uuid": "1a2b3c00",
            "timestamp": "2026-11-26T00:44:00",
        },
        "bulkgate": {"status": value, "smsID": "1a2b3c00", "date": f"2611260043;{LOCAL}", "to": "420777123456"},
        "smsmanager": {"result": value, "message_id": "1a2b3c00", "timestamp": AT_MS // 1000, "type": "outgoing"},
        "smsgate": {"status": value, "message_id": "1a2b3c00", "addressTo": "420777123456"},
        "text421": {"status": value, "id": "1a2b3c00", "time": "x"},
        "viamobile": {"status": value, "id": "1a2b3c00", "received": "2026-11-26 00:44:00"},
        "brevo": {"msg_status": value, "messageId": "1a2b3c00", "ts_event": AT_MS // 1000, "id": 5},
        "generic": {"result": value, "id": "1a2b3c00", "at": f"20{LOCAL}"},
    }
    return calls[name]


TIMELESS = {"smsgate", "text421", "twilio"}  # gateways that report no time that can be used
STATUS_FIELDS = {"MessageStatus", "d", "message_status", "result", "status", "msg_status", "results"}


def read(gateway: Gateway, fields: dict[str, Any]) -> DeliveryReceipt:
    """Read the only receipt of a call."""
    [found], _ = read_receipts(gateway, [fields], PRAGUE)
    return found


def call_with(name: str, value: str) -> dict[str, Any]:
    """Return the fields of a call with a value as the table of meanings has it: Infobip's are an id and its group."""
    fields = call_of(name, value)
    if name == "infobip":
        number, _, group = value.partition("/")
        fields["results"][0]["status"] = {"id": int(number), "groupId": int(group)}
    return fields


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_each_value_means_what_the_documentation_of_the_gateway_says(name: str) -> None:
    """Each value has the meaning of a table that was written from the gateways' documentation, not from the code."""
    gateway = gateway_of(name)
    found = {value: read(gateway, call_with(name, value)).status for value in MEANINGS[name]}

    assert found == MEANINGS[name]


def test_the_table_of_meanings_is_complete() -> None:
    """The table has all gateways but the generic one, and each value that the code records."""
    assert set(MEANINGS) == set(GATEWAYS) - {"generic"}
    for name, meanings in MEANINGS.items():
        gateway = gateway_of(name)
        met = {read(gateway, call_with(name, value)).value for value in meanings}
        assert set(gateway.statuses) <= met


def test_a_value_of_infobip_is_reported_by_its_id() -> None:
    """What Infobip does not document is counted by the bare id of the status, which may be logged."""
    receipt = read(gateway_of("infobip"), call_with("infobip", "998/4"))

    assert (receipt.status, shown(receipt.value)) == (None, "998")


def test_the_command_knows_every_gateway() -> None:
    """`receiver create --gateway` takes exactly the gateways that there are."""
    assert {one.value for one in GatewayName} == set(GATEWAYS)


def test_every_documented_value_is_mapped(gateway: Gateway) -> None:
    """Each documented value becomes its status, or is known not to become an event; id and time are found."""
    for value, status in gateway.statuses.items():
        receipt = read(gateway, call_of(gateway.name, value))

        assert (receipt.value, receipt.status) == (value, status)
        assert status is None or status in STATUSES
        assert receipt.message_id == "1a2b3c00"
        if gateway.name in TIMELESS:
            assert receipt.time is None
            continue
        assert receipt.time is not None
        assert receipt.time.first_ms == AT_MS
        assert receipt.time.resolution_ms in {1000, MINUTE_MS}


@pytest.mark.parametrize("value", ["NEW", "99", "delivered?", "1 NEW", "-1"])
def test_an_undocumented_value_is_none(gateway: Gateway, value: str) -> None:
    """A value that is not documented never becomes an event."""
    receipt = read(gateway, call_of(gateway.name, value))

    assert receipt.status is None
    assert receipt.value not in gateway.statuses


def test_a_call_without_a_status_is_not_a_receipt(gateway: Gateway) -> None:
    """A call that lacks its status is refused with the reason, which has nothing of the call."""
    for fields in ({}, {"x": "777123456"}, dict.fromkeys(call_of(gateway.name, "1"), "")):
        found, [refused] = read_receipts(gateway, [fields], PRAGUE)
        assert found == []
        assert "777123456" not in str(refused)


def test_without_time_and_id(gateway: Gateway) -> None:
    """A time or an id that is missing, empty or nonsense is none; the status counts all the same."""
    value = next(iter(gateway.statuses))
    nonsenses: list[Any] = ["", "nonsense", "99999999999999999999999", None, [], {}]
    for nonsense in nonsenses:
        fields = {
            name: text if name in STATUS_FIELDS else nonsense for name, text in call_of(gateway.name, value).items()
        }
        for result in fields.get("results", ()):
            result.update(messageId=nonsense, doneAt=nonsense)

        receipt = read(gateway, fields)

        assert receipt.status == gateway.statuses[value]
        assert receipt.time is None


def test_the_response_is_short_and_printable(gateway: Gateway) -> None:
    """The body that ends the repetition is a line of text."""
    assert gateway.done.decode("ascii").isprintable()
    assert gateway.done


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("name", GATEWAYS)
@settings(max_examples=30)
@given(data=st.data())
def test_no_call_makes_it_fail(name: str, data: st.DataObject) -> None:
    """Whatever the values of its fields are, a gateway reads a receipt or refuses the call."""
    gateway = gateway_of(name, mapping_of(name))
    fields = data.draw(st.dictionaries(st.sampled_from(list(call_of(name, "1"))), _json))
    receipts, _ = read_receipts(gateway, [fields], PRAGUE)
    assert all(one.status is None or one.status in STATUSES for one in receipts)
    assert all(one.time is None or isinstance(one.time, Reported) for one in receipts)


@given(query=st.binary(max_size=60), body=st.binary(max_size=60), kind=st.sampled_from(["", "application/json", "x"]))
def test_any_bytes_are_a_call_or_refused(query: bytes, body: bytes, kind: str) -> None:
    """Any bytes are read as fields, or refused as no receipt."""
    try:
        found = read_call(query, body, kind)
    except NotAReceipt:
        return
    assert all(isinstance(name, str) for fields in found for name in fields)


def test_a_query_is_not_copied_for_each_object() -> None:
    """A call of a few kilobytes does not take gigabytes: the query is shared by all objects of the body."""
    query = "&".join(f"{number:x}" for number in range(1000)).encode()
    tracemalloc.start()
    found = read_call(query, b"[" + b",".join([b"{}"] * 5000) + b"]", "")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 10_000_000
    assert found[4999]["3e7"] == ""


def test_a_byte_order_mark_before_json_is_ignored() -> None:
    """A body of JSON may begin with the mark of UTF-8, with or without a Content-Type."""
    for content_type in ("application/json", ""):
        assert read_call(b"", b'\xef\xbb\xbf {"status": 1}', content_type) == [{"status": 1}]
    assert read_call(b"", b"\xef\xbb\xbfstatus=1", "") == [{"status": "1"}]


@pytest.mark.parametrize("is_good", [True, False])
def test_a_call_has_a_number_of_receipts(is_good: bool) -> None:
    """More than RECEIPTS_IN_CALL_MAX objects in a call are refused, whether they are receipts or not."""
    gateway = gateway_of("kannel")
    fields = call_of("kannel", "1") if is_good else {}
    found, refused = read_receipts(gateway, [fields] * RECEIPTS_IN_CALL_MAX, PRAGUE)
    assert len(found) + len(refused) == RECEIPTS_IN_CALL_MAX

    with pytest.raises(BodyTooLarge, match="at most 1000 delivery receipts"):
        read_receipts(gateway, [fields] * (RECEIPTS_IN_CALL_MAX + 1), PRAGUE)


def test_the_first_of_repeated_fields_counts() -> None:
    """A field that is there twice has its first value, so that nothing appended to an address changes it."""
    assert read_call(b"d=1&d=2&e=%E1", b"d=3", "")[0] == {"d": "1", "e": "\xe1"}


@pytest.mark.parametrize("name", [name for name in GATEWAYS if name != "generic"])
def test_the_page_has_the_table_of_the_gateway(name: str) -> None:
    """docs/receipts.md has each value of a gateway, and what it becomes, in the section of the gateway."""
    titles = {"smsgate": "smsgate.sk", "vonage": "Vonage, SMS API", "vonage-messages": "Vonage, Messages API"}
    title = titles.get(name, name)
    [section] = re.findall(rf"^## {title}\n(.*?)(?=^## )", PAGE, flags=re.DOTALL | re.MULTILINE | re.IGNORECASE)
    rows = re.findall(r"^\| (`[^|`]+`) \| ([A-Z]+|not recorded) \|$", section, flags=re.MULTILINE)

    shown = {bare(value): None if status == "not recorded" else status for value, status in rows}

    assert shown == dict(gateway_of(name).statuses)


def test_text_of_the_message_is_not_taken_for_a_status() -> None:
    """The text of a message that a receipt quotes may say anything: what counts comes before it."""
    fields = {"d": "2", "A": "id:1 stat:EXPIRED err:000 text:stat:REJECTD done date:2001010101"}

    receipt = read(gateway_of("kannel"), fields)

    assert receipt.status == "EXPIRED"
    assert receipt.time is None


@pytest.mark.parametrize("answer", ["stat:delivrd", "id:1 STAT: DELIVRD err: 000", "x stat:  Delivrd"])
def test_spellings_of_the_status_text(answer: str) -> None:
    """Case and space in the text of the SMSC do not matter (C38)."""
    assert read(gateway_of("kannel"), {"d": "1", "A": answer}).status == "DELIVERED"


BAD_MAPPINGS = {
    b"[]": "object",
    b"{": "truncated",
    b'{"statuses": {"a": "DELIVERED"}}': "status",
    b'{"status": "/a", "statuses": {}}': "no `statuses`",
    b'{"status": "/a", "statuses": {"a": "SENT"}}': "SENT",
    b'{"status": "a", "statuses": {"a": null}}': "`status` is 'a'",
    b'{"status": "/a~2", "statuses": {"a": null}}': "JSON pointer",
    b'{"status": "/a", "statuses": {"a": null}, "messageId": "x"}': "`messageId`",
    b'{"status": "/a", "statuses": {"a": null}, "other": 1}': "other",
    b'{"status": "/a", "statuses": {"a": null}, "timeFormat": "iso"}': "no `time`",
    b'{"status": "/a", "statuses": {"a": null}, "time": "/t", "timeFormat": "%Y"}': "such as",
    b'{"status": "/a", "statuses": {"a": null}, "time": "/t", "timeFormat": "seconds"}': "such as",
    b'{"status": "/a", "statuses": {"a": null}, "response": "a\\nb"}': "`response`",
    b"x" * 70_000: "70000 bytes",
}


@pytest.mark.parametrize("mapping", BAD_MAPPINGS, ids=range(len(BAD_MAPPINGS)))
def test_a_bad_mapping_is_refused(mapping: bytes) -> None:
    """A mapping that could not work is refused when it is created, with the member and what to write."""
    with pytest.raises(InvalidRequest, match=re.escape(BAD_MAPPINGS[mapping])):
        parse_mapping(mapping)


def test_the_mapping_on_the_page_works() -> None:
    """The example in docs/receipts.md reads what it describes."""
    [text] = re.findall(r"```json\n(\{\n.*?\})\n```", PAGE, flags=re.DOTALL)
    document = {"results": [{"result": "sent", "message_id": 7, "tag": "x", "timestamp": AT_MS // 1000}]}

    receipt = read(gateway_of("generic", text.encode()), msgspec.json.decode(msgspec.json.encode(document)))

    assert (receipt.status, receipt.message_id, receipt.reference) == ("ACCEPTED", "7", "x")
    assert receipt.time == Reported(AT_MS, 1000)


def test_a_mapping_is_for_generic_only() -> None:
    """Other gateways refuse a mapping, `generic` needs one, and an unknown gateway is named with those that exist."""
    with pytest.raises(InvalidRequest, match="needs a mapping"):
        gateway_of("generic")
    with pytest.raises(InvalidRequest, match="for `generic` only"):
        gateway_of("kannel", MAPPING)
    with pytest.raises(InvalidRequest, match="kannel, jasmin"):
        gateway_of("other")
