"""The upkeep worker: a process beside the server that compacts segments and expires events.

worker.py      the process, its lease, and how the server supervises it
attendance.py  how the server notices that the upkeep does not run
lifeline.py    a process that ends when its parent ends
"""
