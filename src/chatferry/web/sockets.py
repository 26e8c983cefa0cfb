"""WebSockets that begin with small messages: what may be large is taken from whom we know."""

from __future__ import annotations

from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

_WIDEN = "chatferry.widen"


class Sockets(WebSocketsSansIOProtocol):
    """Uvicorn's, with `widen`."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][_WIDEN] = {"set": self._widen}

    def _widen(self, limit: int) -> None:
        self.conn.max_message_size = limit


def widen(socket: WebSocket, limit: int) -> None:
    """From here on messages may have so many bytes."""
    socket.scope["extensions"][_WIDEN]["set"](limit)
