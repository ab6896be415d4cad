"""The log of each shop: the way in and the way out.

ingest.py     the body of an import → segments
plausible.py  which events cannot be true
refusals.py   why an import is refused, told to the person who sent it
log.py        the logs of all shops in one database
reader.py     the events of a window, page by page
"""
