"""Slack's side without its rules: carries every call out at once. `python -m bench.slack_side` prints its base URL.

A GET of `/report` tells what came since the last one, see `Report`.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time

import msgspec
import uvloop

from bench.requests import Connection

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_METHOD = re.compile(rb"POST /(\S+)")
_THREAD = re.compile(rb'"thread_ts":"([^"]+)"')
_STAMP = re.compile(rb"@([\d.]+)@")


class Report(msgspec.Struct):
    """What the gateway did. Moments are `time.perf_counter`, which is one clock for all processes."""

    calls: dict[str, int] = {}
    """By method."""
    began: dict[str, float] = {}
    """Thread to the moment at which something was first to be seen in it: a message, or a status."""
    spoke: dict[str, float] = {}
    """The stamp of a model's first token to the seconds until it was to be seen."""


class _Slack(Connection):
    report = Report()
    numbers = itertools.count(int(time.time()))

    def asked(self) -> None:
        now, request = time.perf_counter(), self.request
        called = _METHOD.match(request)
        if called is None:
            self._answer(msgspec.json.encode(self.report))
            _Slack.report = Report()
            return
        report = self.report
        method = called[1].decode()
        report.calls[method] = report.calls.get(method, 0) + 1
        if thread := _THREAD.search(request):
            report.began.setdefault(thread[1].decode(), now)
        if stamp := _STAMP.search(request):
            report.spoke.setdefault(stamp[1].decode(), now - float(stamp[1]))
        self._answer(b'{"ok":true,"channel":"C0","ts":"%d.000000"}' % next(self.numbers))

    def _answer(self, body: bytes) -> None:
        self.transport.write(_OK % (len(body), body))


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(_Slack, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
