"""The upkeep worker: a process beside the server that compacts segments and expires events.

worker.py      the process, its lease, and how the server supervises it
shares.py      which of several workers does the upkeep of a shop
erasure_round.py  looks after the record of erasures
attendance.py  how the server notices that the upkeep does not run
lifeline.py    a process that ends when its parent ends
"""
