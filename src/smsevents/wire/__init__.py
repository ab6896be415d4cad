"""The wire: the events, lines, streams and limits that client and server share.

limits.py        the limits of the contract
events.py        an event from a line, and the canonical line of an event
reasons.py       why a line is not an event, in words for its sender
reference.py     the reference of a message, for the address of its delivery receipts
times.py         Unix milliseconds: which can be times, in which unit a number probably is, and `datetime`
columns.py       an event as a flat row, and back
canonical.py     many canonical lines at once → columns
lines.py         many lines at once: entries, sorted, joined, bisected
blank_lines.py   blank lines between the lines of a body
deflate.py       deflate and gzip, with isal or without
gzip_stream.py   a gzip stream, inflated as it arrives
file_formats.py  the format of a file without lines of events, by its first bytes
event_filter.py  which events of an export are wanted
line_filter.py   such a filter on many canonical lines at once
window.py        the interval of an export
results.py       what the server returns for an import
"""
