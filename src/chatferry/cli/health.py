"""`chatferry health`: does the gateway on this machine live? For images, which have no curl.

Only Python's own HTTP client, as it runs twice a minute beside what it looks at.
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException

from chatferry.config import ServerSettings

_PATIENCE = 3.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listening everywhere is answering here


def ask(server: ServerSettings) -> int:
    """Say what `/healthz` answers: 0 where it is well, 1 where it is not or nobody is there."""
    connection = HTTPConnection(_ANYWHERE.get(server.host, server.host), server.port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as fault:
        sys.stderr.write(f"no answer at port {server.port}: {fault or type(fault).__name__}\n")
        return 1
    finally:
        connection.close()
    if status != 200:
        sys.stderr.write(f"port {server.port} answers {status}\n")
        return 1
    sys.stdout.write("ok\n")
    return 0
