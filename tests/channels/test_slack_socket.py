"""Socket Mode, against a Slack whose every frame the test decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from structlog.testing import capture_logs

from chatferry.channels.slack_socket import AT_ONCE, BREATH, LARGEST, SLOW, Handle, listen
from chatferry.clock import SystemClock
from chatferry.errors import Rejected, Unavailable
from chatferry.simulator.serving import serving
from chatferry.simulator.slack import SlackSimulator

TOKEN = "xapp-1-token"


class Clock(SystemClock):
    """Sleeps are over at once, and told."""

    def __init__(self) -> None:
        self.back = 0.0
        self.slept: asyncio.Queue[float] = asyncio.Queue()

    def now(self) -> float:
        return super().now() - self.back

    async def sleep(self, seconds: float) -> None:
        self.slept.put_nowait(seconds)
        await asyncio.sleep(0)


@dataclass
class Link:
    """Slack's end of one connection."""

    socket: WebSocket
    came: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, type: str, **more: Any) -> None:
        await self.socket.send_json({"type": type, **more})

    async def envelope(self, id: str, kind: str = "events_api", **more: Any) -> None:
        await self.send(kind, **{"envelope_id": id, "payload": {"id": id}, "accepts_response_payload": False} | more)


class Slack:
    """apps.connections.open, and the sockets that it leads to."""

    def __init__(self) -> None:
        self.answers: list[Response] = []
        """What the next calls are told in place of an address."""
        self.asked = 0
        self.links: asyncio.Queue[Link] = asyncio.Queue()
        self.app = Starlette(
            routes=[
                Route("/api/apps.connections.open", self._open, methods=["POST"]),
                WebSocketRoute("/link", self._link),
            ]
        )

    async def _open(self, request: Request) -> Response:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        self.asked += 1
        if self.answers:
            return self.answers.pop(0)
        return JSONResponse({"ok": True, "url": f"ws://{request.headers['host']}/link?ticket={self.asked}"})

    async def _link(self, socket: WebSocket) -> None:
        await socket.accept()
        link = Link(socket)
        await link.send("hello", num_connections=1, debug_info={"approximate_connection_time": 18060})
        self.links.put_nowait(link)
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                link.came.put_nowait(await socket.receive_json())
        link.closed.set()


@dataclass
class World:
    slack: Slack
    url: str
    http: aiohttp.ClientSession
    clock: Clock

    @contextlib.asynccontextmanager
    async def listening(self, handle: Handle) -> AsyncIterator[Link]:
        """Listen while the context is open; yields the first connection."""
        task = asyncio.create_task(listen(f"{self.url}/api", SecretStr(TOKEN), self.http, self.clock, handle))
        try:
            yield await self.slack.links.get()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def world() -> AsyncIterator[World]:
    slack = Slack()
    async with serving(slack.app) as url, aiohttp.ClientSession() as http:
        yield World(slack, url, http, Clock())


async def nothing(kind: str, payload: bytes, attempt: int) -> None:
    """Keep nothing, answer nothing."""


def refused(error: str) -> Response:
    return JSONResponse({"ok": False, "error": error})


async def test_an_envelope_is_acknowledged_once_it_is_kept_and_not_before(world: World) -> None:
    taken: asyncio.Queue[tuple[str, Any, int]] = asyncio.Queue()
    kept = asyncio.Event()

    async def handle(kind: str, payload: bytes, attempt: int) -> None:
        taken.put_nowait((kind, json.loads(payload), attempt))
        if attempt:
            await kept.wait()

    async with world.listening(handle) as link:
        await link.envelope("e1", retry_attempt=2, retry_reason="timeout")
        assert await taken.get() == ("events_api", {"id": "e1"}, 2)
        await link.envelope("e2", "interactive")
        assert await taken.get() == ("interactive", {"id": "e2"}, 0)
        assert await link.came.get() == {"envelope_id": "e2"}
        kept.set()
        assert await link.came.get() == {"envelope_id": "e1"}


async def test_an_answer_goes_back_where_slack_takes_one(world: World) -> None:
    async def handle(kind: str, payload: bytes, attempt: int) -> bytes:
        return str(json.loads(payload)["say"]).encode()

    async with world.listening(handle) as link:
        await link.envelope("e1", "slash_commands", payload={"say": '{"text":"yes"}'}, accepts_response_payload=True)
        assert await link.came.get() == {"envelope_id": "e1", "payload": {"text": "yes"}}
        for accepts, said in [(False, '{"text":"yes"}'), (True, ""), (True, "words"), (True, "[1]")]:
            await link.envelope("e2", "interactive", payload={"say": said}, accepts_response_payload=accepts)
            assert await link.came.get() == {"envelope_id": "e2"}, said


async def test_what_could_not_be_kept_is_not_acknowledged_and_what_is_refused_is(world: World) -> None:
    outcomes = {"e1": Unavailable("full"), "e2": ValueError("a bug"), "e3": Rejected(400, "no sense in it"), "e4": None}

    async def handle(kind: str, payload: bytes, attempt: int) -> None:
        if outcome := outcomes[json.loads(payload)["id"]]:
            raise outcome

    with capture_logs() as logs:
        async with world.listening(handle) as link:
            for id in outcomes:
                await link.envelope(id)
            assert [(await link.came.get())["envelope_id"] for _ in range(2)] == ["e3", "e4"]
            assert link.came.empty()
    assert [line["event"] for line in logs] == ["slack socket is open", "bug", "rejected"]


async def test_frames_that_we_do_not_know_are_passed_over(world: World) -> None:
    async with world.listening(nothing) as link:
        await link.send("something_new", envelope_id="e0", payload={})
        await link.socket.send_text("no JSON")
        await link.socket.send_text('["a list"]')
        await link.socket.send_text('{"payload":' + "[" * 100_000)
        await link.socket.send_bytes(b"bytes")
        await link.send("events_api", payload={"id": "without an envelope's id"})
        await link.envelope("e1", retry_attempt=None, payload=None)
        assert await link.came.get() == {"envelope_id": "e1"}


@pytest.mark.parametrize("reason", ["refresh_requested", "warning"])
async def test_the_next_connection_is_open_before_the_old_one_closes(world: World, reason: str) -> None:
    begun, kept = asyncio.Event(), asyncio.Event()

    async def handle(kind: str, payload: bytes, attempt: int) -> None:
        if json.loads(payload)["id"] == "slow":
            begun.set()
            await kept.wait()

    async with world.listening(handle) as old:
        await old.send("disconnect", reason=reason)
        await old.envelope("slow")
        new = await world.slack.links.get()
        await begun.wait()
        await new.envelope("e1")
        assert await new.came.get() == {"envelope_id": "e1"}
        assert not old.closed.is_set()
        kept.set()
        assert await old.came.get() == {"envelope_id": "slow"}
        await old.closed.wait()
        assert not new.closed.is_set()
    assert world.clock.slept.get_nowait() <= BREATH
    assert world.clock.slept.empty()


async def test_a_slack_that_always_wants_another_connection_gets_one_a_second(world: World) -> None:
    async with world.listening(nothing) as link:
        for _ in range(3):
            await link.send("disconnect", reason="refresh_requested")
            link = await world.slack.links.get()
    assert [round(await world.clock.slept.get()) for _ in range(3)] == [BREATH] * 3


async def test_a_clock_that_is_set_back_keeps_nobody_waiting(world: World) -> None:
    async with world.listening(nothing) as link:
        world.clock.back = 3600.0
        await link.send("disconnect", reason="refresh_requested")
        await world.slack.links.get()
    assert await world.clock.slept.get() == BREATH


async def test_the_old_connection_is_read_while_the_next_cannot_be_had(world: World) -> None:
    async with world.listening(nothing) as old:
        world.slack.answers = [Response(status_code=500), refused("internal_error")]
        await old.send("disconnect", reason="refresh_requested")
        await world.clock.slept.get()
        await old.envelope("e1")
        assert await old.came.get() == {"envelope_id": "e1"}
        await world.slack.links.get()
        await old.closed.wait()


async def test_a_lost_connection_is_opened_again_after_a_moment(world: World) -> None:
    async with world.listening(nothing) as link:
        await link.socket.close(1011)
        again = await world.slack.links.get()
        assert 0 < world.clock.slept.get_nowait() <= 0.5
        await again.envelope("e1")
        assert await again.came.get() == {"envelope_id": "e1"}


async def test_a_frame_that_is_too_large_ends_its_connection_only(world: World) -> None:
    async with world.listening(nothing) as link:
        await link.envelope("e1", payload="x" * LARGEST)
        await (await world.slack.links.get()).envelope("e2")
        await link.closed.wait()
        assert link.came.empty()


async def test_slack_says_when_to_come_again(world: World) -> None:
    world.slack.answers = [Response(status_code=429, headers={"Retry-After": "90"})]
    async with world.listening(nothing):
        assert 90 <= world.clock.slept.get_nowait() < 91


async def test_too_many_sockets_are_not_answered_by_one_more_at_once(world: World) -> None:
    async with world.listening(nothing) as link:
        await link.send("disconnect", reason="too_many_websockets")
        await world.slack.links.get()
        assert 0 < world.clock.slept.get_nowait() <= 0.5


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        ("invalid_auth", "set app_token to an app-level token (xapp-)"),
        ("missing_scope", "give the app-level token the scope connections:write"),
        ("link_disabled", "switch Socket Mode on"),
    ],
)
async def test_a_token_that_slack_does_not_take_is_told_with_its_mend_and_tried_rarely(
    world: World, error: str, mend: str
) -> None:
    world.slack.answers = [refused(error)]
    with capture_logs() as logs:
        async with world.listening(nothing):
            assert world.clock.slept.get_nowait() == SLOW
    (line,) = logs
    assert line["log_level"] == "error"
    assert error in line["error"]
    assert f"mend: {mend}" in line["error"]
    assert TOKEN not in str(line)


async def test_a_socket_that_is_switched_off_while_it_is_open_says_so(world: World) -> None:
    with capture_logs() as logs:
        async with world.listening(nothing) as link:
            await link.send("disconnect", reason="link_disabled")
            assert await world.clock.slept.get() == SLOW
    assert "mend: switch Socket Mode on" in logs[-1]["error"]


async def test_an_address_that_is_not_encrypted_is_not_gone_to(world: World) -> None:
    urls = ["ws://192.0.2.1/link?ticket=t", "http://127.0.0.1/", "wss", "", "ws://[", "//x"]
    world.slack.answers = [JSONResponse({"ok": True, "url": url}) for url in urls]
    with capture_logs() as logs:
        async with world.listening(nothing):
            assert [world.clock.slept.get_nowait() for _ in urls] == [SLOW] * len(urls)
    assert all("not wss://" in line["error"] for line in logs)


async def test_an_address_that_leads_nowhere_is_asked_for_again_and_its_ticket_is_not_logged(world: World) -> None:
    urls = (f"{world.url.replace('http', 'ws')}/elsewhere?ticket=t1", "wss://127.0.0.1:1/link?ticket=t2")
    world.slack.answers = [JSONResponse({"ok": True, "url": url}) for url in urls]
    with capture_logs() as logs:
        async with world.listening(nothing):
            assert world.clock.slept.qsize() == 2
    assert "ticket" not in str(logs)


async def test_no_more_than_so_many_are_kept_at_once(world: World) -> None:
    full, running, most = asyncio.Event(), 0, 0

    async def handle(kind: str, payload: bytes, attempt: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == AT_ONCE:
            full.set()
        await full.wait()
        await asyncio.sleep(0)
        running -= 1

    async with world.listening(handle) as link:
        for number in range(2 * AT_ONCE):
            await link.envelope(f"e{number}")
        assert len({(await link.came.get())["envelope_id"] for _ in range(2 * AT_ONCE)}) == 2 * AT_ONCE
    assert most == AT_ONCE


async def test_the_simulated_slack_is_heard_across_a_change_of_connections() -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def handle(kind: str, payload: bytes, attempt: int) -> None:
        heard.put_nowait(json.loads(payload)["event"]["text"])

    async with SlackSimulator(limits=False) as sim, serving(sim) as url, aiohttp.ClientSession() as http:
        listening = asyncio.create_task(listen(f"{url}/api", SecretStr(sim.app_token), http, Clock(), handle))
        while not sim.sockets.connected:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)
        for text in ("one", "two", "three"):
            await sim.say("ann", text)
            assert await heard.get() == text
            await sim.refresh_socket()
        listening.cancel()
        await asyncio.wait([listening])
    assert [delivery.statuses for delivery in sim.deliveries] == [[200]] * 3


async def test_to_be_cancelled_closes_the_connection(world: World) -> None:
    begun = asyncio.Event()

    async def handle(kind: str, payload: bytes, attempt: int) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with world.listening(handle) as link:
        await link.envelope("e1")
        await begun.wait()
    await link.closed.wait()
    assert link.came.empty()
