"""The upkeep of the log: it stays small, sorted, legal and checkable while it is in use.

groups.py        segments that overlap or are small neighbours, and what to merge of them
compaction.py    small and overlapping segments → sorted, disjoint ones
settling.py      what has come to rest is merged completely
packing.py       settled segments → packs in the store, and back
tidying.py       pieces of a log → segments of about the target size
tallying.py      segments get their tallies, which statistics add
collecting.py    objects that no pack names leave the store
receipt_rows.py  what is kept for delivery receipts leaves the disk
retention.py     events older than the history leave the disk
space.py         unused space is returned to the file system
erasure.py       a user's events leave the disk, and may be kept out
erasure_users.py whose events an erasure removes
erasure_records.py  what was erased, outside of the database
erasure_repeats.py  a restored database repeats what was erased since its backup
wiping.py        no copy of erased events stays in the files
verification.py  every segment is checked
quarantining.py  damaged segments are set aside
backup.py        a copy of the database while it is in use
pack_copies.py   copies of the packs, for a backup
relocation.py    a database moves into another one
comparing.py     two logs are compared, event by event
statistics.py    the contents of a log in numbers
distinct.py      counts distinct events in bounded memory
"""
