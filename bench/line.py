"""LINE's side without its rules: accepts every call at once. `python -m bench.line` prints its base URL."""

from __future__ import annotations

import asyncio

import uvloop

from bench.requests import Connection

_BODY = b'{"sentMessages":[{"id":"1"}]}'
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class _Line(Connection):
    def asked(self) -> None:
        self.transport.write(_OK)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(_Line, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
