"""Accounts: shops, their keys, and what a key may do.

access.py    adds shops, creates and revokes keys, authorizes requests
last_use.py  notes when each key was last used
sessions.py  sign-ins of browsers, and tickets that open one
"""
