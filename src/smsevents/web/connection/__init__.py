"""HTTP/1.1 on a connection: the only place that decides what a valid request is and what a connection may cost.

    bytes → head → framing → exchange → bytes

protocol.py  a connection: reads requests one after the other and writes responses
head.py      the head of a request, and which heads are refused
framing.py   where a body begins and ends
exchange.py  one request and its response
direct.py    the body of a large response, sent by the thread that reads it
registry.py  limits on all connections of a process together

uvicorn runs the event loop, the signals and the lifespan of the application. Between the socket and the application
there is only this package. docs/decisions/001-server-library.md explains why.
"""
