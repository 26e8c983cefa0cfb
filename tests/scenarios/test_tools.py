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
from chatferry.simulator.slack_records import Post
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
        title = "Looking up: ferry…"
        wanted = ("One moment.", [(title, "in_progress")]) if native else (f"One moment.\n\n{title}", [])
        await until(lambda: [(post.markdown, post.tasks) for post in world.thread("ann", ts)] == [wanted], world.clock)
        Gate.open.set()
        await ended(gateway, 1, world.clock)
        [answer] = world.thread("ann", ts)
        assert (answer.markdown, answer.streaming) == ("One moment.\n\nMei is at sea.", False)
        assert answer.tasks == ([(title, "complete")] if native else [])


async def test_on_slack_each_call_is_a_step_that_ends_by_itself(tmp_path: Path) -> None:
    tools = {"tools": ("tests.scenarios.harbour:ferry", "tests.scenarios.harbour:sunk")}
    async with slack_world(tmp_path, native=True, assistant=tools) as world, world.gateway() as gateway:
        world.model.act = lambda talk, _: (
            acts(("ferry", {"name": "Mei"}), ("sunk", {})) if talk[-1]["role"] == "user" else None
        )
        ts = await world.slack.say("ann", "where is Mei?")
        steps = [("Looking up: ferry…", "in_progress"), ("Looking up: sunk…", "error")]
        await until(lambda: [post.tasks for post in world.thread("ann", ts)] == [steps], world.clock)
        Gate.open.set()
        await ended(gateway, 1, world.clock)
        [answer] = world.thread("ann", ts)
        assert answer.tasks == [("Looking up: ferry…", "complete"), steps[1]]
        assert answer.markdown


async def test_on_slack_a_step_of_an_answer_that_is_stopped_ends(tmp_path: Path) -> None:
    async with slack_world(tmp_path, native=True, assistant=ASSISTANT) as world, world.gateway() as gateway:
        world.model.act = lambda talk, _: acts(("ferry", {"name": "Mei"}), said="One moment.")
        ts = await world.slack.say("ann", "where is Mei?")
        await until(lambda: any(post.tasks for post in world.thread("ann", ts)), world.clock)
        await world.slack.stop_session("ann", world.slack.dm("ann"), ts)
        await ended(gateway, 1, world.clock)
        [answer] = world.thread("ann", ts)
        assert not answer.streaming
        assert "in_progress" not in [status for _, status in answer.tasks]


async def test_on_slack_a_step_that_another_life_began_ends_with_the_call(tmp_path: Path) -> None:
    async with slack_world(tmp_path, native=True, assistant=ASSISTANT) as world:
        world.model.act = lambda talk, _: (
            acts(("ferry", {"name": "Mei"}), said="One moment.") if talk[-1]["role"] == "user" else None
        )
        world.model.converse = lambda talk: f"{talk[-1]['content']}."
        async with world.gateway():
            ts = await world.slack.say("ann", "where is Mei?")
            await until(lambda: any(post.tasks for post in world.thread("ann", ts)), world.clock)
        async with world.gateway() as gateway:
            shown = "One moment.\nLooking up: ferry…"
            await until(lambda: told(world.thread("ann", ts)[0]) == shown, world.clock)
            Gate.open.set()
            await ended(gateway, 1, world.clock)
        [answer] = world.thread("ann", ts)
        assert (answer.markdown, answer.tasks, answer.streaming) == ("One moment.\n\nMei is at sea.", [], False)


def told(post: Post) -> str:
    """What a reader sees of a message, the small print with it."""
    small = [part["text"] for block in post.blocks if block["type"] == "context" for part in block["elements"]]
    return "\n".join([post.markdown.rstrip(), *small])


async def test_on_slack_a_workspace_that_takes_no_chunks_gets_the_words(tmp_path: Path) -> None:
    async with slack_world(tmp_path, native=True, assistant=ASSISTANT) as world, world.gateway() as gateway:
        world.slack.chunks = False
        Gate.open.set()
        world.model.act = lambda talk, _: (
            acts(("ferry", {"name": "Mei"}), said="One moment.") if talk[-1]["role"] == "user" else None
        )
        world.model.converse = lambda talk: f"{talk[-1]['content']}."
        for number in (1, 2):
            ts = await world.slack.say("ann", "where is Mei?")
            await ended(gateway, number, world.clock)
            [answer] = world.thread("ann", ts)
            assert (answer.markdown, answer.mode, answer.tasks) == (
                "One moment.\n\nMei is at sea.",
                "markdown_text",
                [],
            )
        assert [call.error for call in world.slack.calls if call.method.endswith("Stream") and call.error] == [
            "invalid_chunks"
        ]


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
