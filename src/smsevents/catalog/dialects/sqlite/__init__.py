"""SQLite: one file, one writer at a time.

dialect.py      what the catalog asks of it
connections.py  how connections are opened, and how transactions begin
location.py     what lies where a database should be, and why it cannot be opened or written
identity.py     whether the file is still the one that a server was started with
free_space.py   whether there is room for the next write
locks.py        locks between processes
files.py        the files as a whole: rewritten, copied, the write-ahead log emptied
failures.py     SQLite's errors → ours
diagnosis.py    a look at a file that is not opened for use
"""
