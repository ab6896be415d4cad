"""A bare route of the framework, served as smsevents is: the limit that framework and server library set.

The route reads the body and sends a small one: no key, no log, no database. It is started as a program.
"""

import sys
from typing import Any

import uvicorn
from litestar import Litestar, Request, Response, post

from smsevents.web.connection.protocol import HttpConnection

PATH = "/bare"
_BODY = b'{"received":1,"expired":0,"blocked":0}'


@post(PATH, status_code=200)
async def bare(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Read the body and respond."""
    await request.body()
    return Response(_BODY, media_type="application/json")


def main(port: int) -> None:
    """Serve the route on a port of loopback until told to stop."""
    app = Litestar(route_handlers=[bare], openapi_config=None, logging_config=None)
    # the same settings as in `smsevents.web.server`
    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http=HttpConnection,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
