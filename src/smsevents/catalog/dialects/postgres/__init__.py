"""PostgreSQL: one or several servers, and any number of writers.

provider.py     how a URL leads to a database
location.py     the parts of a URL, and what messages may show of it
dialect.py      the dialect: everything that the catalog requires
connections.py  how connections are opened, and how transactions begin
commits.py      how long a commit is awaited, and what happens to one that stalls
keys.py         the keys of advisory locks
guards.py       what keeps other writers from coming in between
locks.py        locks that several transactions need
clock.py        the clock of the database
marks.py        whether anything was committed
concerns.py     wrong clocks and missing standbys
rights.py       whether a server is new enough, and whether its user may do what smsevents does
dump.py         a dump by pg_dump, for backups
scrub.py        rewriting the tables without deleted rows
failures.py     PostgreSQL's errors → errors of smsevents
diagnosis.py    an examination of a database that is not opened for use
"""
