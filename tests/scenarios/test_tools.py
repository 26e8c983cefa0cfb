"""A model that calls while it answers, from the platform's webhook to what people see meanwhile and in the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chatferry.cli import turns
from chatferry.simulator.model import ModelSimulator, Refuse
from chatferry.simulator.model_calls import acts
from chatferry.simulator.serving import serving
from tests.scenarios.asking import HEADERS
from tests.scenarios.harbour import Gate
from tests.scenarios.slack_support import slack_world
from tests.scenarios.support import ended, screen, until
from tests.stack import Stack, running
from tests.web.opening import link, reading, say

ASSISTANT = {"tools": ("tests.scenarios.harbour:ferry",)}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    Gate.open, Gate.called = asyncio.Event(), asyncio.Event()
    yield
    Gate.open.set()


def calling(stack: Stack) -> None:
    """The model looks where the ferry is, and repeats what it hears."""
    stack.model.act = lambda talk, _: (
        acts(("ferry", {"name": "Mei"}), said="One moment.") if talk[-1]["role"] == "user" else None
    )
    stack.model.converse = lambda talk: f"{talk[-1]['content']}."


@pytest.mark.parametrize("provider", ["openai", "gemini"])
async def test_on_line_the_answer_rests_on_what_was_looked_up(
    tmp_path: Path, provider: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Gate.open.set()
    model, version = ModelSimulator(), {"openai": "v1", "gemini": "v1beta"}[provider]
    async with serving(model.app) as url, contextlib.AsyncExitStack() as exits:
        engine = {"provider": provider, "api_key": "k" * 20, "base_url": f"{url}/{version}"}
        stack = await exits.enter_async_context(running(tmp_path, assistant=ASSISTANT, engine=engine, model=model))
        calling(stack)
        await stack.line.say("ann", "where is Mei?")
        [turn] = await ended(stack.gateway, 1)
        assert screen(stack.line) == ["One moment.\n\nMei is at sea."]
        assert (turn.prompt_tokens, turn.completion_tokens) == (14, 6)
        server = stack.gateway.settings.server
        assert await asyncio.to_thread(turns.show_turn, server, turn.id) == 0
    told = capsys.readouterr().out
    assert 'round 1  ferry {"name"' in told
    assert "-> Mei is at sea" in told


async def test_a_stream_of_the_api_tells_it_in_comments(tmp_path: Path) -> None:
    async with running(tmp_path, assistant=ASSISTANT) as stack, aiohttp.ClientSession(headers=HEADERS) as http:
        calling(stack)
        asked = {"messages": [{"role": "user", "content": "where is Mei?"}], "stream": True}
        async with http.post(f"{stack.url}/v1/chat/completions", json=asked) as answer:
            await Gate.called.wait()
            Gate.open.set()
            body = await answer.text()
        lines = [line for line in body.splitlines() if line.startswith(":")]
        assert lines == [': {"calling":["ferry"]}', ': {"calling":[]}']
        assert body.index("moment") < body.index('["ferry"]') < body.index(" sea")
        assert "[DONE]" in body


async def test_a_socket_of_the_api_tells_it_in_frames(tmp_path: Path) -> None:
    async with running(tmp_path, assistant=ASSISTANT) as stack, aiohttp.ClientSession(headers=HEADERS) as http:
        calling(stack)
        async with http.ws_connect(f"{stack.url}/v1/stream") as socket:
            await socket.send_json({"messages": [{"role": "user", "content": "where is Mei?"}], "stream": True})
            frames: list[dict[str, Any]] = []
            while not frames or "done" not in frames[-1]:
                frames.append(await socket.receive_json())
                if frames[-1].get("calling"):
                    Gate.open.set()
        assert "".join(frame.get("delta", "") for frame in frames) == "One moment.\n\nMei is at sea."
        assert [frame["calling"] for frame in frames if "calling" in frame] == [["ferry"], []]


@pytest.mark.parametrize("native", [False, True], ids=["edited", "streamed"])
async def test_on_slack_the_growing_message_says_it_and_then_no_more(tmp_path: Path, native: bool) -> None:
    async with slack_world(tmp_path, native=native, assistant=ASSISTANT) as world, world.gateway() as gateway:
        world.model.act = lambda talk, _: (
            acts(("ferry", {"name": "Mei"}), said="One moment.") if talk[-1]["role"] == "user" else None
        )
        world.model.converse = lambda talk: f"{talk[-1]['content']}."
        ts = await world.slack.say("ann", "where is Mei?")
        wanted = "One moment." if native else "One moment.\n\nLooking up: ferry…"
        await until(lambda: world.thread("ann", ts) and world.thread("ann", ts)[-1].markdown == wanted, world.clock)
        Gate.open.set()
        await ended(gateway, 1, world.clock)
        [answer] = world.thread("ann", ts)
        assert answer.markdown == "One moment.\n\nMei is at sea."
        assert not answer.streaming


async def test_a_model_that_takes_no_tools_leaves_a_reason_that_mends_it(tmp_path: Path) -> None:
    async with running(tmp_path, assistant=ASSISTANT) as stack:
        stack.model.plans.append(Refuse(400, error={"message": "gemma does not support tools"}))
        await stack.line.say("ann", "where is Mei?")
        [turn] = await ended(stack.gateway, 1)
        assert turn.state == "failed"
        assert "tools are not taken" in turn.error


async def test_the_page_of_an_answer_says_it_too(tmp_path: Path) -> None:
    async with running(tmp_path, assistant=ASSISTANT) as stack:
        calling(stack)
        turn = await say(stack, "where is Mei?")
        async with reading(link(stack, "a", turn)) as page:
            notes: list[str] = []
            while not notes or notes[-1] != "Looking up: ferry…":
                event = await page.next()
                assert event is not None
                notes.append(event.data["note"])
            Gate.open.set()
            events = await page.all()
        assert events[-1].data["note"] == "Complete"
        assert "at sea" in "".join(page.blocks)
        assert "Looking up" not in "".join(page.blocks)
