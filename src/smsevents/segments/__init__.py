"""The stored form: pure functions on runs of lines.

header.py       the description of a segment, without its bytes
segment.py      lines packed into a segment and back
tally.py        how many events of which kind a segment holds
tally_sum.py    how many events of which kind many segments hold together
message_day.py  the messages of one day of sending, in numbers
selection.py    which events are wanted, and which segments cannot have any
pack.py         many segments in one object, with an index
splice.py       pieces → one gzip member, or plain lines
merge.py        segments that may overlap → the events in order, each exactly once
spill.py        segments that overlap too much for a page, merged once, on disk if necessary
spool.py        segments in memory, or in a temporary file once there are many
"""
