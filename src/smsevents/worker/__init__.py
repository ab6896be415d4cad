"""The upkeep worker: a process beside the server that compacts and expires.

worker.py      the process, its lease, and how the server supervises it
attendance.py  how the server notices that nobody does the upkeep
lifeline.py    a process that ends with the one that started it
"""
