"""The log of each shop: the way in and the way out.

log.py            the logs of all shops in one database
recorder.py       the one way in: feed lines, finish, durable
ingest.py         the body of an import → segments, while it arrives
small.py          small imports that wait for nothing but their commit
joining.py        small imports share segments
recent.py         events that are exported again and again, without the database
blocked.py        who is blocked in each shop, remembered for a moment
checked_lines.py  which lines are stored, dropped or refused
ready_lines.py    which lines can be stored as they are, without decoding them
held_lines.py     the good lines of an import until they are packed
plausible.py      which events cannot be true
refusals.py       why an import is refused, in words for its sender
reader.py         the one way out: the events of a window, page by page
pages.py          where a reader's pages come from
selected.py       pages without the segments that cannot have wanted events
filtered.py       the way out through a filter
long_reads.py     the requests of a reader to a store on the network
"""
