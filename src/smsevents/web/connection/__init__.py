"""HTTP/1.1 on a connection: the one place that owns what a request may be and what a connection may cost.

    bytes → head → framing → exchange (one request, one response) → bytes
    registry: what all connections of a process may hold together

uvicorn runs the event loop, the signals and the lifespan of the application; between the socket and the application
there is only this package. docs/decisions/001-server-library.md tells why.
"""
