"""`make demo-cluster`: smsevents on several machines, all of them on this one, and what happens when parts of it die.

__main__.py  the story: start, load, export, kill, count
programs.py  programs that are started, killed, and ended with this process
postgres.py  PostgreSQL with a synchronous standby
weed.py      SeaweedFS: three volume servers, two copies of everything
web.py       the nodes of smsevents, and nginx before them as the documentation says
clients.py   importers and exporters that run while parts die
counts.py    what was acknowledged against what is exported
"""
