"""Invented SMS delivery events that look like those of a real shop, for demos, tests and benchmarks.

A shop has **sources** of messages: one-off campaigns, each a burst of some minutes in the daytime, and one source with
a daily rhythm and quiet nights that stands for all automated flows. Campaigns differ in size, and in the quality of the
list that they are sent to. Every message has a **fate**: it is accepted and then delivered, expired and so on, or it is
refused at once. Some messages have one more event: a message of two parts has two receipts, and a message that was
reported as expired may be delivered after all. So a message makes one to three events.

Lines come in the order of the export, or in the order of **arrival**: a few percent of the events then arrive late, by
LATE_MEAN_MS on average. The lines are the same in both orders.

The window is divided into **slices** of equal length, short enough that the busiest has some ten thousand events. The
messages of a slice are made when its turn comes. An event that falls into a later slice waits there. So memory holds
one slice and the pending receipts, whatever the number of events.

Every source makes a fixed number of events. It counts an event when the message is made, even if the event waits, and
does not make an event that would fall after the window. So the counts are exact.

No line is repeated. The events of a message differ in their status or date. The messages of one campaign go to
different users, and so do the messages of flows within a slice. The messages of flows in two slices differ in their
`sendDate`.
"""

from __future__ import annotations

import math
import random
import uuid
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from smsevents.errors import InvalidRequest
from smsevents.wire.events import INT64_MAX, Campaign, Event, Flow, Node, OneOff, SmsEvent, encode
from smsevents.wire.limits import DAY_MS, HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smsevents.wire.events import Status

DAYS_MAX = 3650

_SECOND_MS = 1000
_MINUTE_MS = 60 * _SECOND_MS
LATE_RATIO = 0.03  # of the events; the gateway reports them late
LATE_MEAN_MS = 6 * HOUR_MS  # of an exponential distribution
_YEAR_MS = 31_556_952 * _SECOND_MS  # the mean year of the Gregorian calendar

_SLICE_EVENTS = 16_384  # in the busiest slice; a larger number takes more memory and is not faster
_SLICE_MAX_MS = HOUR_MS
_EVENTS_OF_USER = 10  # on average, so about five messages
_USERS_MIN = 50

_CAMPAIGN_SHARE = 0.7  # of the events; flows make the rest
_CAMPAIGNS_A_DAY = 3 / 7
_CAMPAIGN_EVENTS_MIN = 200  # a small log has fewer campaigns, not tiny ones
_CAMPAIGN_SIZES = (30, 400)  # relative to each other
_BURST_MINUTES = (10, 40)
_PARTS_OF_EVERY = 20  # one of so many delivered messages has a second part, with a receipt of its own
_CORRECTED_OF_EVERY = 10  # one of so many expired messages is delivered later
# Of ten thousand messages, how many are undeliverable and how many expire. One campaign in six goes to an old list.
_GOOD_LIST, _OLD_LIST = (180, 200), (900, 500)
_OLD_LIST_OF_EVERY = 6
_DAYTIME_HOURS = range(7, 18)  # UTC, for a shop one or two hours ahead of it

# The relative amount that the flows send in each hour of the day, UTC. At night they send little more than receipts of
# orders.
_RHYTHM = (2, 1, 1, 1, 1, 2, 20, 60, 88, 100, 104, 96, 88, 88, 96, 100, 108, 120, 128, 112, 40, 8, 4, 2)
_RHYTHM_BEFORE = tuple(sum(_RHYTHM[:hour]) for hour in range(24))

# By the month of the campaign, from January.
_CAMPAIGN_NAMES = (
    ("Novoroční výprodej", "Zimný výpredaj", 'January "Last Pieces"'),
    ("Valentýn ❤️", "Zimní doprodej -50 %", "Valentine's Gifts"),
    ("Jarní novinky", "Jar je tu 🌷", "Spring Sale"),
    ("Velikonoční sleva", "Veľká noc 🐣", "Easter Basket"),
    ("Den matek", "Deň matiek 💐", "May Days -15 %"),
    ("Den dětí", 'Letné "must have" kúsky', "Hello Summer"),
    ("Letní sleva -20 %", "Letný výpredaj", "Summer Sale ☀️"),
    ("Zpátky do školy", "Späť do školy ✏️", "Back to School"),
    ("Podzimní kolekce", "Jesenná akcia 1+1", "Autumn Picks"),
    ('Dny slev "jen pro vás"', "Jesenné zľavy", "Halloween 🎃"),
    ("Black Friday", "Čierny piatok", "Cyber Week"),
    ("Vánoční výprodej", "Vianočné darčeky 🎁", "Last-Minute Christmas"),
)

# Each flow with its nodes, and how often each node sends in relation to the others. One name contains a U+2028, as
# pasted names sometimes do: canonical lines escape that character.
_FLOWS: dict[str, dict[str, int]] = {
    "Retention": {"Retention VIP SMS": 3, "Retention SMS": 5},
    "Abandoned cart": {"Abandoned cart 1 h": 8, "Abandoned cart 24 h": 5},
    "Narozeniny 🎂": {"Narozeniny\u2028dárek": 2},
    "Potvrzení objednávky": {"Objednávka přijata": 9, 'Stav "na cestě"': 8},
    "Späť na sklade": {"Späť na sklade SMS": 3},
    "Win-back": {"Win-back 90 dní": 2, "Win-back poslední šance": 1},
}

# Takes the head of the line, the user's number, the status, the date, the tail and the send date.
_LINE = b'%b%d","status":"%b","date":%d%b%d}}'


class _Fate(NamedTuple):
    """The fate of a message: up to three statuses, of which the first is the response of the gateway.

    The second comes `low_ms` to `low_ms + width_ms` after the first, and the third 1 ms to `third_ms` after the second.
    """

    first: bytes
    second: bytes  # empty where the first status is also the last
    low_ms: int
    width_ms: int
    third: bytes = b""
    third_ms: int = 0


@dataclass(slots=True, kw_only=True)
class _Source:
    """A campaign or all flows: it sends from `start` up to, not including, `stop` (both Unix ms).

    `events` is how many it makes in all, and `made` how many so far. `tails` are the ends of its lines, up to the value
    of `sendDate`. One is drawn for each message. `sent_before` returns how much it sends before a time (Unix ms), in a
    unit of its own. `fates` are the equally likely fates of its messages. `user` is the number of the next recipient.
    """

    start: int
    stop: int
    events: int
    tails: tuple[bytes, ...]
    sent_before: Callable[[int], int]
    fates: tuple[_Fate, ...]
    user: int = 0
    made: int = 0

    def due(self, until: int) -> int:
        """Return how many of its events belong to messages sent before `until` (Unix ms)."""
        if until >= self.stop:
            return self.events
        before = self.sent_before(self.start)
        return self.events * (self.sent_before(until) - before) // (self.sent_before(self.stop) - before)


def generate(  # noqa: PLR0913 -- all but the first are passed by name
    trackpoint: int, *, events: int, days: float, seed: int, end_ms: int, by_arrival: bool = False
) -> Iterator[bytes]:
    r"""Return exactly `events` different canonical lines, without `\n`, in the order of the export or of arrival.

    Their dates and send dates are in the closed interval from `days` (of 24 hours) before `end_ms` (Unix milliseconds)
    to `end_ms`. The same arguments always produce the same lines. `by_arrival` changes only their order: LATE_RATIO of
    the events arrive late, but none after `end_ms`.

    Raises `InvalidRequest`, before the first line, for an argument out of its range.
    """
    if not 1 <= trackpoint <= INT64_MAX:
        raise InvalidRequest(f"The trackpoint is {trackpoint}; give the number of a shop, 1 to {INT64_MAX}.")
    if events < 0:
        raise InvalidRequest(f"The number of events is {events}; give 0 or more.")
    if not 0 < days <= DAYS_MAX:
        raise InvalidRequest(f"The number of days is {days}; give more than 0 and at most {DAYS_MAX}.")
    start = end_ms - math.floor(days * DAY_MS)
    if start < -INT64_MAX - 1 or end_ms > INT64_MAX:
        raise InvalidRequest(f"The end is {end_ms}; give Unix ms so that all dates fit into 64 bits.")
    rng = random.Random(seed)  # noqa: S311 -- invented data that must be reproducible, nothing secret
    late = random.Random(f"late {seed}") if by_arrival else None  # noqa: S311 -- the same
    return _Shop(trackpoint, events, start, end_ms + 1, rng, late).lines()


class _Shop:
    """The events of one shop from `start` up to, not including, `stop` (both Unix ms)."""

    def __init__(  # noqa: PLR0913, PLR0917 -- what `generate` was asked for
        self, trackpoint: int, events: int, start: int, stop: int, rng: random.Random, late: random.Random | None
    ) -> None:
        """Draw what happens from `rng`, and which events arrive late from `late`; without it none does."""
        self._start = start
        self._stop = stop
        self._rng = rng
        self._late = late
        self._head = b'{"smsEvent":{"trackpoint":%d,"userId":"' % trackpoint
        of_campaigns = round(events * _CAMPAIGN_SHARE)
        flows = _flows(events - of_campaigns, start, stop, rng)
        campaigns = _campaigns(of_campaigns, start, stop, rng)
        self._sources = sorted([flows, *campaigns], key=lambda source: source.start)

        flows_weight = flows.sent_before(stop) - flows.sent_before(start)
        flows_peak = flows.events * max(_RHYTHM) / flows_weight  # events per millisecond
        campaigns_peak = max(campaign.events / (campaign.stop - campaign.start) for campaign in campaigns)
        peak = flows_peak + campaigns_peak
        self._slice_ms = max(1, min(_SLICE_MAX_MS, int(_SLICE_EVENTS / peak) if peak else _SLICE_MAX_MS))

        # A campaign writes to each user only once, and so do the flows within a slice. So there must be enough users.
        most_of_flows = math.ceil(flows_peak * self._slice_ms) + 1
        most_of_campaigns = max(campaign.events for campaign in campaigns)
        self._users = max(_USERS_MIN, events // _EVENTS_OF_USER, most_of_flows, most_of_campaigns)
        self._first_user = rng.randrange(10_000, 1_000_000)
        self._stride = _coprime(self._users, rng)
        for source in self._sources:
            source.user = rng.randrange(self._users)

        # The events of future slices, by the number of the slice: (milliseconds into the slice, line).
        self._waiting: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)

    def lines(self) -> Iterator[bytes]:
        """Yield all lines, slice by slice."""
        to_start = self._sources[::-1]
        sending: list[_Source] = []
        for number, start in enumerate(range(self._start, self._stop, self._slice_ms)):
            stop = min(start + self._slice_ms, self._stop)
            while to_start and to_start[-1].start < stop:
                sending.append(to_start.pop())
            for source in sending:
                self._send(source, start, stop)
            sending = [source for source in sending if source.stop > stop]
            entries = self._waiting.pop(number, [])
            entries.sort()
            for _, line in entries:
                yield line

    def _send(self, source: _Source, start: int, stop: int) -> None:
        """Make the messages that a source sends from `start` up to `stop`, and put their events in slices."""
        due = source.due(stop)
        made = source.made
        if made >= due:
            return
        # Local names are faster, and this loop takes most of the time.
        window_stop = self._stop
        rand, fates, head, place = self._rng.random, source.fates, self._head, self._place
        first_user, users, stride, user = self._first_user, self._users, self._stride, source.user
        tails, all_events = source.tails, source.events
        start = max(start, source.start)
        length = min(stop, source.stop) - start
        fates_count, tails_count = len(fates), len(tails)
        while made < due:
            drawn = rand() * fates_count
            fate = int(drawn)
            first, second, low_ms, width_ms, third, third_ms = fates[fate]
            tail = tails[int(rand() * tails_count)]
            sent = start + int(rand() * length)
            pause = rand()
            date = sent + 20 + int(3000 * pause * pause * pause)  # the gateway's response, mostly within 1 s
            if date >= window_stop:
                date = sent + (date - sent) % (window_stop - sent)
            place(date, _LINE % (head, first_user + user, first, date, tail, sent))
            made += 1
            if second:
                date += low_ms + int((drawn - fate) * width_ms)
                # The message with the source's last event may have no room for another one.
                if date < window_stop and made < all_events:
                    place(date, _LINE % (head, first_user + user, second, date, tail, sent))
                    made += 1
                    if third:
                        date += 1 + int(pause * third_ms)
                        if date < window_stop and made < all_events:
                            place(date, _LINE % (head, first_user + user, third, date, tail, sent))
                            made += 1
            user = (user + stride) % users
        source.made = made
        source.user = user

    def _place(self, date: int, line: bytes) -> None:
        """Put an event into the slice in which its turn comes: that of its date, or of its arrival."""
        if self._late is not None and self._late.random() < LATE_RATIO:
            arrives = date + int(self._late.expovariate(1 / LATE_MEAN_MS))
            date = arrives if arrives < self._stop else date
        number, offset = divmod(date - self._start, self._slice_ms)
        self._waiting[number].append((offset, line))


def _coprime(users: int, rng: random.Random) -> int:
    """Return a step through the users that reaches every user before it reaches any user again."""
    while True:
        step = rng.randrange(1, users)
        if math.gcd(step, users) == 1:
            return step


@cache
def _fates(undeliverable: int, expired: int) -> tuple[_Fate, ...]:
    """Return ten thousand equally likely fates, that many of which end as undeliverable or expired."""
    delivered = 10_000 - undeliverable - expired - 220
    fates = [
        *_log_normal("DELIVERED", delivered, median_ms=8 * _SECOND_MS, sigma=2.0),
        *_log_normal("UNDELIVERABLE", undeliverable, median_ms=40 * _SECOND_MS, sigma=1.5),
        *_log_normal("DELETED", 10, median_ms=30 * _MINUTE_MS, sigma=1.0),
        *[_Fate(b"ACCEPTED", b"EXPIRED", 24 * HOUR_MS, 48 * HOUR_MS)] * expired,
        *[_Fate(b"REJECTED", b"", 0, 0)] * 90,
        *[_Fate(b"SKIPPED", b"", 0, 0)] * 120,
    ]
    for place, fate in enumerate(fates):
        if fate.second == b"DELIVERED" and place % _PARTS_OF_EVERY == 0:
            fates[place] = fate._replace(third=b"DELIVERED", third_ms=2 * _SECOND_MS)
        elif fate.second == b"EXPIRED" and place % _CORRECTED_OF_EVERY == 0:
            fates[place] = fate._replace(third=b"DELIVERED", third_ms=6 * HOUR_MS)
    return tuple(fates)


def _log_normal(last: Status, count: int, *, median_ms: int, sigma: float) -> list[_Fate]:
    """Return `count` equally likely fates with log-normal delays. `sigma` is that of the delay's logarithm."""
    normal = NormalDist(math.log(median_ms), sigma)
    # Evenly spaced quantiles, without the outermost half steps, because the distribution has no ends.
    bounds = [int(math.exp(normal.inv_cdf((place + 0.5) / (count + 1)))) for place in range(count + 1)]
    # At least 1 ms, so that a receipt comes after the response that the message was accepted.
    return [_Fate(b"ACCEPTED", last.encode(), max(1, low), high - low) for low, high in pairwise(bounds)]


def _flows(events: int, start: int, stop: int, rng: random.Random) -> _Source:
    """Return the source that stands for all flows."""
    tails: list[bytes] = []
    for name, nodes in _FLOWS.items():
        campaign = Campaign(_id(rng), name)
        for node, weight in nodes.items():
            tails += [_tail(Flow(campaign, Node(_id(rng), node), 0))] * weight
    fates = _fates(*_GOOD_LIST)
    return _Source(start=start, stop=stop, events=events, tails=tuple(tails), sent_before=_rhythm_before, fates=fates)


def _rhythm_before(time: int) -> int:
    """Return how much flows send from 1970 up to a time (Unix ms), in units of `_RHYTHM` times milliseconds."""
    days, in_day = divmod(time, DAY_MS)
    hour, in_hour = divmod(in_day, HOUR_MS)
    return (days * sum(_RHYTHM) + _RHYTHM_BEFORE[hour]) * HOUR_MS + _RHYTHM[hour] * in_hour


def _campaigns(events: int, start: int, stop: int, rng: random.Random) -> list[_Source]:
    """Return one or more campaigns, spread over the window, with `events` events together."""
    days = (stop - start) / DAY_MS
    count = max(1, min(round(days * _CAMPAIGNS_A_DAY), events // _CAMPAIGN_EVENTS_MIN))
    low, high = _CAMPAIGN_SIZES
    weights = [round(low * (high / low) ** (rng.random() ** 2)) for _ in range(count)]  # more small ones than large
    good_list, old_list = _fates(*_GOOD_LIST), _fates(*_OLD_LIST)
    campaigns: list[_Source] = []
    weight_before = 0
    for index, weight in enumerate(weights):
        earliest = start + (stop - start) * index // count
        latest = start + (stop - start) * (index + 1) // count
        length = min(rng.randint(*_BURST_MINUTES) * _MINUTE_MS, max(1, (latest - earliest) // 2))
        burst = _daytime(earliest, latest - length, rng)
        names = _CAMPAIGN_NAMES[burst % _YEAR_MS * 12 // _YEAR_MS]
        source = OneOff(Campaign(_id(rng), names[index % len(names)]), 0)
        share = events * (weight_before + weight) // sum(weights) - events * weight_before // sum(weights)
        weight_before += weight
        campaigns.append(
            _Source(
                start=burst,
                stop=burst + length,
                events=share,
                tails=(_tail(source),),
                sent_before=int,  # the time itself, because a burst sends at a constant rate
                fates=old_list if index % _OLD_LIST_OF_EVERY == _OLD_LIST_OF_EVERY - 1 else good_list,
            )
        )
    return campaigns


def _daytime(earliest: int, latest: int, rng: random.Random) -> int:
    """Return a time (Unix ms) in the closed interval, in the daytime if the interval has such a time."""
    time = earliest
    for _ in range(50):
        time = rng.randint(earliest, latest)
        if time % DAY_MS // HOUR_MS in _DAYTIME_HOURS:
            break
    return time


def _id(rng: random.Random) -> str:
    """Return an invented id of 32 hex digits."""
    return uuid.UUID(int=rng.getrandbits(128), version=4).hex


def _tail(source: Flow | OneOff) -> bytes:
    """Return the part of the source's lines between the values of `date` and `sendDate`."""
    line = encode(Event(SmsEvent(1, "1", "DELIVERED", 0), source))
    return line[line.index(b'},"source":') : -len(b"0}}")]
