"""A model provider that costs next to nothing: streams tokens to thousands of clients from one timer.

    python -m bench.provider --rate 50 --tokens 1000      prints its base URL

`chatferry.simulator.model` checks and misbehaves; this one only talks, so that the machine is left to the gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import deque

import uvloop

from bench.requests import Connection

TICKS = 50
"""Times a second at which tokens are written."""

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(fields: bytes) -> bytes:
    head = b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1800000000,"model":"bench","choices":[{'
    return _chunk(b"data: " + head + b'"index":0,' + fields + b"}]}\n\n")


def _token(text: bytes) -> bytes:
    return _event(b'"delta":{"content":"%b "},"logprobs":null,"finish_reason":null' % text)


TOKEN = _token(b"token")
END = _event(b'"delta":{},"finish_reason":"stop"') + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class _Answer:
    """One stream under way."""

    __slots__ = ("left", "transport")

    def __init__(self, transport: asyncio.Transport, left: int) -> None:
        self.transport = transport
        self.left = left


class Provider:
    """All streams, in as many groups as there are ticks in the time between two tokens."""

    def __init__(self, rate: float, tokens: int, first: float) -> None:
        self.tokens = tokens
        self.first = first
        self.rate = rate
        self._groups: deque[set[_Answer]] = deque(set() for _ in range(max(1, round(TICKS / rate)) if rate else 1))
        self.written = 0

    def begin(self, transport: asyncio.Transport) -> None:
        """Answer one request."""
        if not self.rate:
            whole = _HEAD + TOKEN * self.tokens + END
            asyncio.get_running_loop().call_later(self.first, self._say, transport, whole)
            return
        transport.write(_HEAD)
        if self.first:
            asyncio.get_running_loop().call_later(self.first, self._stamp, transport)
        else:
            self._groups[0].add(_Answer(transport, self.tokens))

    def _say(self, transport: asyncio.Transport, whole: bytes) -> None:
        if not transport.is_closing():
            transport.write(whole)

    def _stamp(self, transport: asyncio.Transport) -> None:
        """The first token is the time, by a clock that all processes share."""
        transport.write(_token(b"@%.6f@" % time.perf_counter()))
        self._groups[0].add(_Answer(transport, self.tokens - 1))

    async def run(self) -> None:
        """Write tokens for ever."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            group = self._groups[0]
            for answer in list(group):
                if answer.transport.is_closing():
                    group.discard(answer)
                    continue
                answer.left -= 1
                answer.transport.write(TOKEN if answer.left else TOKEN + END)
                if not answer.left:
                    group.discard(answer)
            self._groups.rotate(-1)
            due += 1 / TICKS
            await asyncio.sleep(due - loop.time())


class _Client(Connection):
    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self._provider = provider

    def asked(self) -> None:
        self._provider.begin(self.transport)


async def main(rate: float, tokens: int, first: float) -> None:
    provider = Provider(rate, tokens, first)
    server = await asyncio.get_running_loop().create_server(lambda: _Client(provider), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await provider.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=50.0, help="tokens a second; 0: all at once")
    parser.add_argument("--tokens", type=int, default=100, help="tokens an answer")
    parser.add_argument("--first", type=float, default=0.0, help="seconds to the first token, which tells the time")
    given = parser.parse_args()
    uvloop.run(main(given.rate, given.tokens, given.first))
