"""HTTP/1.1 on a connection: the one place that owns what a request may be and what a connection may cost.

    bytes → head → framing → exchange → bytes

protocol.py  a connection: reads requests, one after the other, and writes responses
head.py      the head of a request, and what is refused of it
framing.py   where a body begins and ends
exchange.py  one request and its response
registry.py  what all connections of a process may hold together

uvicorn runs the event loop, the signals and the lifespan of the application; between the socket and the application
there is only this package. docs/decisions/001-server-library.md tells why.
"""
