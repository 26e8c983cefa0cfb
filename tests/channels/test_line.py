"""What the LINE channel calls, against a simulated LINE over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from chatferry.channels.base import COLLECT, Surroundings
from chatferry.channels.line import Line
from chatferry.clock import SystemClock
from chatferry.config import LineSettings
from chatferry.errors import Ambiguous, ChatferryError, Final, Gone, NoLeave, TryLater
from chatferry.model import Button, File, Finding, Grant, says
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.line_people import address
from chatferry.simulator.line_records import Fault
from chatferry.simulator.serving import serving
from chatferry.words import words
from tests.contracts import channel as contract

ANN = "U" + "a" * 32
GROUP = "C" + "b" * 32
SECRET = "channel_secret"
REPLY, PUSH = "/v2/bot/message/reply", "/v2/bot/message/push"


@dataclass
class Clock(SystemClock):
    time: float = 1_700_000_000.0

    def now(self) -> float:
        return self.time


@dataclass
class World:
    """A simulated LINE, and channels that call it."""

    sim: LineSimulator
    url: str
    clock: Clock
    http: aiohttp.ClientSession

    def line(self, **more: Any) -> Line:
        return Line(
            "line",
            settings(**{"api_base": self.url, "data_api_base": self.url} | more),
            Surroundings(self.http, self.clock, words("en")),
        )

    async def grant(self, user: str = "ann") -> Grant:
        """Leave to answer, as LINE gives it: by a webhook, which nobody has to take here."""
        await self.sim.say(user, "hi")
        token = self.sim.deliveries[-1].events[0]["replyToken"]
        return Grant(token, self.clock.time + 50)

    def statuses(self, path: str) -> list[int]:
        return [call.status for call in self.sim.calls if call.path == path]


def settings(**more: Any) -> LineSettings:
    return LineSettings.model_validate({"secret": SECRET, "token": "simulated-channel-token"} | more)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = Clock()
    async with LineSimulator(clock=clock.now) as sim, serving(sim) as url, aiohttp.ClientSession() as http:
        sim.webhook = url + "/_sim/nothing"
        yield World(sim, url, clock, http)


def channel(**more: Any) -> Line:
    """One that only reads: it is given no way to call anybody."""
    return Line("line", settings(**more), Surroundings(None, Clock(), words("en")))  # type: ignore[arg-type]  # no call is made


# Sending.


async def test_a_reply_carries_five_messages_and_costs_nothing(world: World) -> None:
    line, grant = world.line(), await world.grant()
    receipts = await line.send(address("U", "ann"), [says("assistant", f"{n}") for n in range(5)], key="", grant=grant)
    seen = await world.sim.seen("ann", 5)
    assert [(one.text, one.via) for one in seen] == [(f"{n}", "reply") for n in range(5)]
    assert [receipt.id for receipt in receipts] == [one.id for one in seen]
    assert world.sim.used == 0
    assert "x-line-retry-key" not in world.sim.calls[-1].headers


async def test_a_spent_or_old_token_is_no_leave(world: World) -> None:
    line, grant, late = world.line(), await world.grant(), await world.grant()
    await line.send("", [says("assistant", "x")], key="", grant=grant)
    world.clock.time += 61
    for stale in (grant, late):
        with pytest.raises(NoLeave, match="Invalid reply token"):
            await line.send("", [says("assistant", "x")], key="", grant=stale)
    assert len(world.sim.chats[address("U", "ann")]) == 1


async def test_what_every_channel_promises(world: World) -> None:
    line, ann = world.line(), address("U", "ann")
    await world.grant()
    await contract.sends_no_more_than_its_batch(line, ann)
    await contract.gives_a_receipt_for_each_message(line, ann, str(uuid4()))
    await contract.pushes_once_for_one_key(line, ann, str(uuid4()), lambda: len(world.sim.chats[ann]))


@pytest.mark.parametrize(
    "fault", [Fault(status=500), Fault(drop=True), Fault(status=503, done=True), Fault(drop=True, done=True)]
)
async def test_a_push_that_fails_on_the_way_is_made_again_by_its_key(world: World, fault: Fault) -> None:
    line, key = world.line(), str(uuid4())
    await world.grant()
    world.sim.fail(PUSH, fault)
    with pytest.raises(TryLater):
        await line.send(address("U", "ann"), [says("assistant", "once")], key=key, grant=None)
    [receipt] = await line.send(address("U", "ann"), [says("assistant", "once")], key=key, grant=None)
    assert [one.id for one in await world.sim.seen("ann", 1)] == [receipt.id]
    assert world.sim.used == 1


@pytest.mark.parametrize("fault", [Fault(status=500, done=True), Fault(drop=True, done=True)])
async def test_a_reply_that_fails_on_the_way_is_ambiguous_and_its_token_tells(world: World, fault: Fault) -> None:
    line, grant = world.line(), await world.grant()
    world.sim.fail(REPLY, fault)
    with pytest.raises(Ambiguous):
        await line.send("", [says("assistant", "once")], key="", grant=grant)
    with pytest.raises(NoLeave):
        await line.send("", [says("assistant", "once")], key="", grant=grant)
    assert len(await world.sim.seen("ann", 1)) == 1


async def test_where_nobody_listens_nothing_was_sent_and_that_is_not_ambiguous(world: World) -> None:
    line = world.line(api_base="http://127.0.0.1:9")
    with pytest.raises(TryLater):
        await line.send("", [says("assistant", "x")], key="", grant=Grant("t", 0))


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "The request body has 1 error(s)", Final),
        (401, "Authentication failed", Final),
        (403, "Access to this API is not available for your account", Final),
        (413, "Request is too large", Final),
        (400, "Failed to send messages", Gone),
        (429, "The API rate limit has been exceeded. Try again later.", TryLater),
        (429, "You have reached your monthly limit.", NoLeave),
        (502, "", TryLater),
    ],
)
async def test_each_refusal_of_a_push_says_what_is_to_be_done(
    world: World, status: int, message: str, kind: type[ChatferryError]
) -> None:
    world.sim.fail(PUSH, Fault(status=status, message=message))
    with pytest.raises(kind) as raised:
        await world.line().send(ANN, [says("assistant", "x")], key=str(uuid4()), grant=None)
    assert raised.type is kind
    assert message in str(raised.value)
    assert "simulated-channel-token" not in str(raised.value)


async def test_people_that_line_does_not_know_are_gone(world: World) -> None:
    for stranger in (ANN, "nonsense"):
        with pytest.raises(Gone):
            await world.line().send(stranger, [says("assistant", "x")], key=str(uuid4()), grant=None)


async def test_a_message_without_words_is_not_sent(world: World) -> None:
    with pytest.raises(Final, match="without text"):
        await world.line().send(ANN, [says("assistant", " \n")], key=str(uuid4()), grant=None)
    assert world.sim.calls == []


async def test_buttons_come_as_a_template_or_beneath_a_longer_text(world: World) -> None:
    line, button = world.line(), Button("Show me the whole answer now", COLLECT)
    messages = [says("assistant", words, button) for words in ("漢" * 160, "漢" * 161)]
    await line.send("", messages, key="", grant=await world.grant())
    short, long = await world.sim.seen("ann", 2)
    assert (short.message["type"], long.message["type"]) == ("template", "text")
    assert (short.text, long.text) == ("漢" * 160, "漢" * 161)
    assert short.buttons == long.buttons == [("Show me the whole", COLLECT)]


# Quota, typing, files.


async def test_may_push_looks_every_five_minutes_and_counts_in_between(world: World) -> None:
    line, ann = world.line(), address("U", "ann")
    await world.grant()
    world.sim.quota, world.sim.used = 10, 8
    for _ in range(2):
        assert await line.may_push()
        await line.send(ann, [says("assistant", "x")], key=str(uuid4()), grant=None)
    assert not await line.may_push()
    assert len(world.statuses("/v2/bot/message/quota")) == 1
    world.sim.used = 0
    world.clock.time += 300
    assert await line.may_push()


async def test_may_push_looks_again_after_a_push_to_a_group(world: World) -> None:
    line, group = world.line(), address("C", "friends")
    await world.sim.join("friends")
    world.sim.quota, world.sim.members = 5, {group: 5}
    assert await line.may_push()
    await line.send(group, [says("assistant", "x")], key=str(uuid4()), grant=None)
    assert not await line.may_push()


async def test_a_push_that_meets_the_monthly_limit_is_remembered(world: World) -> None:
    line = world.line()
    await world.grant()
    assert await line.may_push()
    world.sim.used = 200
    with pytest.raises(NoLeave, match="monthly"):
        await line.send(address("U", "ann"), [says("assistant", "x")], key=str(uuid4()), grant=None)
    assert not await line.may_push()


async def test_without_a_limit_or_without_an_answer_we_may_push(world: World) -> None:
    world.sim.quota = None
    assert await world.line().may_push()
    world.sim.fail("/v2/bot/message/quota", Fault(status=500))
    assert await world.line().may_push()


async def test_typing_shows_in_talks_of_two_only(world: World) -> None:
    line = world.line()
    await line.typing(GROUP)
    await line.typing(ANN)
    assert [call.json for call in world.sim.calls] == [{"chatId": ANN, "loadingSeconds": 20}]
    assert world.sim.calls[0].status == 202
    world.sim.fail("/v2/bot/chat/loading/start", Fault(status=429, message="The API rate limit has been exceeded."))
    with pytest.raises(TryLater):
        await line.typing(ANN)


async def test_a_file_is_fetched_by_the_id_of_its_message(world: World) -> None:
    line = world.line()
    await world.sim.show("ann", "image", b"\x89PNG...")
    [id] = world.sim.contents
    assert await line.download(File("image", id), 100) == b"\x89PNG..."
    world.sim.contents[id] = None
    with pytest.raises(TryLater, match="not ready"):
        await line.download(File("image", id), 100)
    world.sim.contents[id] = b"x" * 101
    with pytest.raises(Final, match="more than"):
        await line.download(File("image", id), 100)
    with pytest.raises(Final, match="404"):
        await line.download(File("image", "1"), 100)


@pytest.mark.parametrize("ref", ["", "../../info", "1/2", "1?x", "漢"])
async def test_no_reference_leads_anywhere_else(world: World, ref: str) -> None:
    with pytest.raises(Final, match="does not lie"):
        await world.line().download(File("image", ref), 100)
    assert world.sim.calls == []


# Capabilities and check.


def test_settings_become_capabilities() -> None:
    caps = channel().caps
    assert (caps.batch, caps.limit, caps.measure, caps.typing, caps.collect) == (5, 5000, "utf16", 20.0, True)
    asked = [channel(late=late).caps for late in ("push", "button", "auto")]
    assert [(caps.unprompted, caps.notice) for caps in asked] == [("ask", 5.0), ("never", 5.0), ("ask", 5.0)]
    waits = [channel(waiting=waiting).caps for waiting in ("loading", "message", "none")]
    assert [(caps.typing, caps.waiting) for caps in waits] == [(20.0, False), (0.0, True), (0.0, False)]


async def checked(world: World, hook_url: str | None = None) -> dict[str, Finding]:
    return {finding.subject: finding async for finding in world.line().check(hook_url)}


async def test_check_finds_nothing_wrong_where_nothing_is(world: World) -> None:
    async with LineSimulator() as other, serving(other) as somebody:
        other.token = ""
        world.sim.webhook = f"{somebody}/_sim/state"  # anything that answers 200
        found = await checked(world, world.sim.webhook)
    assert [finding for finding in found.values() if not finding.ok] == []
    assert list(found) == ["token", "push quota", "webhook address", "webhook test"]
    assert "0 of 200" in found["push quota"].detail


async def test_check_names_what_is_wrong_and_what_mends_it(world: World) -> None:
    world.sim.chat_mode, world.sim.used = "chat", 200
    found = await checked(world, "https://bot.example/hooks/line")
    wrong = {subject: finding.mend for subject, finding in found.items() if not finding.ok}
    assert set(wrong) == {"chat mode", "push quota", "webhook address", "webhook test"}
    assert "https://bot.example/hooks/line" in wrong["webhook address"]
    assert "path" in wrong["webhook test"]
    world.sim.webhook_active = False
    assert "Use webhook" in (await checked(world))["webhook use"].mend
    world.sim.token = "revoked"
    found = await checked(world)
    assert list(found) == ["token"]
    assert "console" in found["token"].mend
