"""SQLite: one file, and one writer at any moment.

provider.py     how a URL leads to a file
dialect.py      the dialect: everything that the catalog requires
connections.py  how connections are opened, and how transactions begin
commits.py      whether anything was committed since
location.py     what is at the path of a database, and why it cannot be opened or written
identity.py     whether the file is still the one that a server was started with
free_space.py   whether there is room for the next write
locks.py        locks between processes
files.py        operations on complete files: rewrite, copy, empty the write-ahead log
failures.py     SQLite's errors → errors of smsevents
diagnosis.py    an examination of a file that is not opened for use
"""
