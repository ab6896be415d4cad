"""Helpers that the tests share.

lines.py       events to send, and the model that responses are compared with
events.py      events in every spelling, for property tests
entries.py     entries and batches of entries, for property tests
logs.py        a log without a server
servers.py     a real server, the command, a shop to send to
importers.py   clients that import until they are stopped
standin.py     a third-party server that responds as a test says
pulling.py     a directory to pull into
warehouses.py  warehouses to sync into
postgres.py    a PostgreSQL server, and a pgbouncer before it
cutting.py     a proxy that loses the response to a commit
documents.py   the pages of the documentation
campaigns.py   how often a test repeats what it does at random
"""
