"""The result of a pull, in words: one line per cause."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smsevents.client.errors import IncompleteExport, Recovery, ServerFault
from smsevents.client.pull.errors import Stopped
from smsevents.client.pull.gaps import ranges_text
from smsevents.wire.limits import DAY_MS, HISTORY_MS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from smsevents.client.errors import ClientError
    from smsevents.client.pull.terms import MessagesSummary, Summary

_number = re.compile(r"[0-9][0-9,]*")
HISTORY_DAYS = HISTORY_MS // DAY_MS


def summary_text(summary: Summary) -> str:
    """Return the result of a pull in a few sentences: the interval, the days, the events, the files."""
    plan = summary.plan
    days = [*plan.fetch, *plan.final, *plan.expired]
    interval = f"{min(days)} to {max(days)}: " if days else ""
    text = (
        f"{interval}{len(summary.fetched)} of {len(plan.fetch)} days fetched, {summary.events_new:,} new events of"
        f" {summary.events_received:,}, {summary.files_written} files with {summary.bytes_written:,} bytes written."
    )
    if summary.messages:
        text += _messages_text(summary.messages)
    if summary.absent:
        text += f" {absent_text(summary)}"
    elif plan.expired:
        text += f" {_days_are(len(plan.expired))} older than the {HISTORY_DAYS} days that the server keeps."
    if summary.lost:
        text += (
            f" {_days_are(len(summary.lost))} lost, because the server keeps {HISTORY_DAYS} days and no pull fetched"
            f" them in time: {ranges_text(summary.lost)}. This is reported only once."
        )
    if summary.kept:
        text += (
            f" Merged but not replaced, because the server does not confirm that it sent all of their events:"
            f" {ranges_text(summary.kept)}."
        )
    if untried := len(summary.missing) - len(set(summary.failed) & set(summary.missing)):
        text += f" {untried} days were not attempted."
    return text + _what_next(summary)


def _messages_text(messages: MessagesSummary) -> str:
    if messages.error:
        return f" The files of messages are not up to date. {messages.error} A pull after that updates them."
    return f" Messages: {messages.files_written} files with {messages.messages_written:,} messages written."


def absent_text(summary: Summary) -> str:
    """Return a sentence that names the days held neither by the server nor by the directory."""
    return (
        f"{_days_are(len(summary.absent))} older than the {HISTORY_DAYS} days that the server keeps, and not in the"
        f" directory: {ranges_text(summary.absent)}."
    )


def _what_next(summary: Summary) -> str:
    if not summary.missing and not summary.failed:
        return ""
    if all(map(_passes, summary.failed.values())):
        return " The next pull fetches the missing days."
    return " The next pull fetches the missing days once this is fixed:"


def _passes(error: ClientError) -> bool:
    """Return whether an error may be gone by the next pull without any action."""
    return error.recovery is Recovery.NOW or isinstance(error, (IncompleteExport, ServerFault, Stopped))


def by_cause(failed: Mapping[date, ClientError]) -> list[tuple[str, str]]:
    """Return each cause exactly once, with the days that failed because of it, the oldest first.

    Texts that differ only in numbers, such as the progress of a day, count as one cause; the first text is shown.
    """
    days: dict[str, list[date]] = {}
    for day in sorted(failed):
        days.setdefault(_number.sub("#", str(failed[day])), []).append(day)
    return [(ranges_text(some), str(failed[some[0]])) for some in days.values()]


def _days_are(count: int) -> str:
    return "1 day is" if count == 1 else f"{count:,} days are"
