"""The tests of smsevents: each says in one sentence what holds."""
