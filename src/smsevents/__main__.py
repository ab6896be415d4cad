"""`python -m smsevents` is the command `smsevents`."""

from smsevents.cli import main

main()
