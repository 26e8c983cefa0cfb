"""What becomes of an answer where Slack says no: each refusal at the beginning, in the middle and at the end."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from chatferry.cli.turns import row
from chatferry.simulator.model import Pause
from chatferry.simulator.slack_records import Fault
from tests.scenarios.slack_support import STOPPED, slack_world
from tests.scenarios.support import ended, until

CODES = (
    "not_in_channel", "channel_not_found", "account_inactive", "invalid_auth", "ratelimited", "msg_too_long",
    "message_not_found", "streaming_state_conflict", "message_not_in_streaming_state",
)  # fmt: skip
NOBODY = ("not_in_channel", "channel_not_found", "account_inactive")
QUESTION, HALF, ANSWER = "one two three four", "echo: one two", "echo: one two three four"
DOCUMENT = Path(__file__).parents[2] / "docs" / "slack.md"


class Outcome(NamedTuple):
    """The turn's state, what stands in the thread, and whether `chatferry turns` shows the refusal."""

    state: str = "done"
    read: tuple[str, ...] = (ANSWER,)
    told: bool = False


WELL = Outcome()
GONE, FAILED = Outcome("gone", (), told=True), Outcome("failed", (), told=True)

# Where a message is said to be gone the simulator still has it, and what becomes of it shows.
GROWN = (
    dict.fromkeys(CODES, WELL)
    | dict.fromkeys(NOBODY, Outcome("gone", (HALF,), told=True))
    | {"message_not_found": Outcome("done", (f"{HALF} three{STOPPED}",), told=True)}
)
ENDED = GROWN | {"message_not_found": Outcome("done", (HALF,), told=True)}
EDITED = {
    "begin": dict.fromkeys(CODES, FAILED) | dict.fromkeys(NOBODY, GONE) | {"ratelimited": WELL},
    "grow": GROWN,
    "end": ENDED,
}
STREAMED = {"begin": dict.fromkeys(CODES, WELL) | dict.fromkeys(NOBODY, GONE), "grow": GROWN, "end": ENDED}
METHODS = {
    (False, "begin"): "chat.postMessage", (False, "grow"): "chat.update", (False, "end"): "chat.update",
    (True, "begin"): "chat.startStream", (True, "grow"): "chat.appendStream", (True, "end"): "chat.stopStream",
}  # fmt: skip


async def suffered(folder: Path, code: str, stage: str, starts: asyncio.Lock, *, native: bool) -> Outcome:
    """Somebody asks, and at one stage of the answer Slack refuses one call."""
    method = METHODS[native, stage]
    fault = Fault(status=429, retry_after=2) if code == "ratelimited" else Fault(error=code)
    async with slack_world(folder, native=native) as world, contextlib.AsyncExitStack() as stack:
        async with starts:  # for in one process only one database can be made at a time
            gateway = await stack.enter_async_context(world.gateway())
        pauses = (3, 4) if stage == "grow" else (3,)
        world.model.plans.append(Pause(pauses))
        if stage == "begin":
            world.slack.faults(method, fault)
        ts = await world.slack.say("ann", QUESTION)
        if stage != "begin":
            await until(lambda: [post.markdown for post in world.thread("ann", ts)] == [HALF], world.clock)
            world.slack.faults(method, fault)
        if stage == "grow":
            world.model.release.set()
        if stage != "end":
            await until(lambda: any(call.error == code for call in world.calls(method)), world.clock)
        world.model.release.set()
        if stage == "end":  # the clock stands still, so that nothing is shown before the answer is whole
            await until(lambda: any(call.error == code for call in world.calls(method)))
        (turn,) = await ended(gateway, 1, world.clock)
        line = " ".join(list(row(turn, wide=False))[1:])
        assert ("Slack " + method in line and code in line) == bool(line)
        return Outcome(turn.state, tuple(post.markdown for post in world.thread("ann", ts)), bool(line))


@pytest.mark.parametrize("native", [False, True], ids=["edited", "streamed"])
@pytest.mark.parametrize("stage", ["begin", "grow", "end"])
async def test_every_refusal_has_its_outcome(tmp_path: Path, stage: str, native: bool) -> None:
    for code in CODES:
        tmp_path.joinpath(code).mkdir()
    lock = asyncio.Lock()
    found = await asyncio.gather(*(suffered(tmp_path / code, code, stage, lock, native=native) for code in CODES))
    assert dict(zip(CODES, found, strict=True)) == (STREAMED if native else EDITED)[stage]


async def test_an_answer_that_a_wrong_token_held_up_comes_when_it_is_tried_again(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        world.model.plans.append(Pause((3,)))
        ts = await world.slack.say("ann", QUESTION)
        await until(lambda: [post.markdown for post in world.thread("ann", ts)] == [HALF], world.clock)
        world.slack.dead[world.slack.bot_token] = "invalid_auth"
        world.model.release.set()
        (turn,) = await ended(gateway, 1, world.clock)
        assert turn.state == "failed"
        assert turn.error.startswith("Slack chat.postMessage: invalid_auth; the bot token is not one of Slack's")
        world.slack.dead.clear()
        assert await gateway.ledger.reopen(turn.id)
        (turn,) = await ended(gateway, 1, world.clock)
        assert (turn.state, turn.error) == ("done", "")
        assert world.thread("ann", ts)[-1].markdown == ANSWER
        assert len(world.model.requests) == 1


def test_the_guide_tells_what_turns_shows() -> None:
    guide = DOCUMENT.read_text("utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*)(?:, 5xx)? \| (\w+) \|", guide, re.MULTILINE)
    told = {code: state for codes, state in rows for code in re.findall(r"\w+", codes)}
    assert {code: told.get(code) for code in NOBODY} == dict.fromkeys(NOBODY, "gone")
    assert (told["invalid_auth"], told["ratelimited"], told["message_not_found"]) == ("failed", "due", "done")
    assert all(f"`{code}`" in guide for code in CODES)
