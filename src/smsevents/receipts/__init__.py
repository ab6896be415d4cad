"""Delivery receipts: what gateways report about messages becomes events.

    call → fields → gateway's receipts → user and source → events, in one commit with others of the shop

receivers.py    where gateways send receipts to: create, list, revoke, recognize by the token
call.py         a call → the fields of its receipts
receipt.py      a delivery receipt, and what a gateway must know
gateways/       the gateways: one file and one table of statuses each
signatures.py   the signatures of calls
smpp.py         statuses as SMPP writes them, which several gateways pass on
mapping.py      the fields and statuses of a gateway that has no file here
times.py        times as gateways write them
message_ids.py  the spellings of a message id
recording.py    receipts → events, in one write
resolving.py    which user and source a receipt belongs to, and when it happened
register.py     lines of sent messages, and the receipts that waited for them
explain.py      what a call would become, without storing it
"""
