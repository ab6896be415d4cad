"""The upkeep of the log: it stays small, sorted, legal and checkable while it is in use.

compaction.py    small and overlapping segments → sorted, disjoint ones
settling.py      what has come to rest is merged completely
retention.py     events older than the history leave the disk
space.py         unused space is returned to the file system
erasure.py       a user's events leave the disk, and may be kept out
verification.py  every segment is checked; damaged ones can be set aside
backup.py        a copy of the database while it is in use
statistics.py    the contents of a log in numbers
distinct.py      counts distinct events in bounded memory
"""
