"""What the Slack channel does beside answering: statuses, dialogs, files, ears, pages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from chatferry.channels.base import (
    Briefing,
    Editing,
    Listening,
    Obliging,
    Taken,
    Visit,
    Visited,
    briefing,
    editing,
    listening,
    obliging,
    visited,
)
from chatferry.channels.slack_events import Dialog, Hint, Uninstalled
from chatferry.errors import Final, TryLater
from chatferry.model import File, says
from chatferry.simulator.slack import BOT, TEAM
from chatferry.simulator.slack_records import Fault
from chatferry.words import LANGUAGES, words
from tests.channels.slack_world import World, opened

SESSION, STATUS = "agents.sessions.setStatus", "assistant.threads.setStatus"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as made:
        yield made


async def test_it_is_all_that_a_channel_can_be(world: World) -> None:
    slack = world.slack()
    _: tuple[Editing, Briefing, Obliging, Listening, Visited] = (slack,) * 5
    assert [able(slack) for able in (editing, briefing, obliging, listening, visited)] == [True] * 5


# A status.


async def test_a_session_shows_that_we_are_at_work_until_the_answer_is_there(world: World) -> None:
    slack, asked = world.slack(stream="edit"), await world.asked()
    place = (world.sim.channel("general"), asked.ref)
    await slack.typing(asked.conversation)
    assert world.sim.session_statuses[place] == "processing"
    receipt = await slack.begin(asked, says("assistant", "a"), key="k")
    await slack.typing(asked.conversation)
    await slack.edit(asked, receipt, says("assistant", "ab"), last=True)
    assert world.sim.session_statuses[place] == "active"
    await slack.typing(asked.conversation)
    await slack.send(asked.conversation, [says("assistant", "c")], key="l", grant=None)
    assert world.sim.session_statuses[place] == "active"
    await slack.send(asked.conversation, [says("assistant", "d")], key="m", grant=None)
    assert len(world.calls(SESSION)) == 5


async def test_a_stream_that_stops_takes_the_status_away_by_itself(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    receipt = await slack.begin(asked, says("assistant", "a"), key="k")
    await slack.typing(asked.conversation)
    await slack.edit(asked, receipt, says("assistant", "ab"), last=True)
    assert world.sim.session_statuses[world.sim.channel("general"), asked.ref] == "active"
    assert len(world.calls(SESSION)) == 1


async def test_what_slack_does_not_grant_costs_nothing_after_the_first_time(world: World) -> None:
    slack, asked = world.slack(stream="edit"), await world.asked()
    place = (world.sim.channel("general"), asked.ref)
    world.sim.faults(SESSION, Fault(error="unknown_method"))
    await slack.typing(asked.conversation)
    assert world.sim.statuses[place] == words("en").answering
    await slack.send(asked.conversation, [says("assistant", "a")], key="k", grant=None)
    assert place not in world.sim.statuses
    world.sim.faults(STATUS, Fault(error="missing_scope"))
    for _ in range(3):
        await slack.typing(asked.conversation)
    assert [call.method for call in world.calls()] == [SESSION, STATUS, "chat.postMessage", STATUS, STATUS]
    world.clock.advance(3600)
    await slack.typing(asked.conversation)
    assert world.sim.session_statuses[place] == "processing"


async def test_a_status_that_only_this_thread_cannot_have_says_nothing_about_others(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    world.sim.faults(SESSION, Fault(error="thread_not_found"))
    for _ in range(2):
        await slack.typing(asked.conversation)
    assert [call.error for call in world.calls(SESSION)] == ["thread_not_found", ""]


async def test_where_there_is_no_thread_there_is_no_status(world: World) -> None:
    await world.slack().typing(f"{TEAM}/{world.sim.dm('ann')}")
    await world.slack().typing(f"{TEAM}/{world.sim.dm('ann')}/ask/U1")
    assert world.calls() == []


async def test_as_many_statuses_show_as_can_be_taken_away_again(world: World) -> None:
    slack = world.slack()
    asked = [await world.asked(f"{number}") for number in range(30)]
    for one in asked:
        await slack.typing(one.conversation)
    assert len(world.calls(SESSION)) == 25
    for one in asked:
        await slack.send(one.conversation, [says("assistant", "a")], key="k", grant=None)
        world.clock.advance(1.2)
    assert set(world.sim.session_statuses.values()) == {"active"}
    assert {call.status for call in world.calls()} == {200}


# Dialogs and hints.


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_dialog_asks_whether_to_stop_in_every_language(world: World, language: str) -> None:
    slack, ann = world.slack(), world.sim.user("ann")
    slack._words = words(language)
    trigger = world.sim.new_trigger(ann, TEAM)
    await slack.oblige(Dialog(TEAM, trigger, "T1/C1/1.1", "1.2"))
    view = world.sim.views[ann]
    assert (view["callback_id"], view["title"]["text"]) == ("stop_answer", words(language).stop_answer)
    assert json.loads(view["private_metadata"]) == {"address": "T1/C1/1.1", "ts": "1.2"}
    with pytest.raises(Final, match="exchanged_trigger_id"):
        await slack.oblige(Dialog(TEAM, trigger, "T1/C1/1.1", "1.2"))


async def test_a_hint_is_for_one_person_alone(world: World) -> None:
    asked = await world.asked()
    await world.slack().oblige(Hint(TEAM, world.sim.channel("general"), asked.sender, "not mine", asked.ref))
    [hint] = world.sim.ephemeral("ann")
    assert (hint.text, hint.thread_ts) == ("not mine", asked.ref)


async def test_a_token_of_our_own_is_not_forgotten_when_it_is_taken_back(world: World) -> None:
    await world.slack().oblige(Uninstalled(TEAM))
    assert world.calls() == []


# Files.


async def test_a_file_is_fetched_with_the_token_of_its_workspace(world: World) -> None:
    slack = world.slack()
    await world.sim.say("ann", "look", files={"a.png": b"\x89PNG", "b.html": b"<p>"})
    first, second = next(iter(world.sim.deliveries)).payload["event"]["files"]
    for url in (first["url_private_download"], f"{TEAM} {first['url_private_download']}"):
        assert await slack.download(File("image", url, media_type="image/png"), 100) == b"\x89PNG"
    world.sim.contents[second["id"]] = b"x" * 101
    with pytest.raises(Final, match="more than"):
        await slack.download(File("file", second["url_private_download"]), 100)
    with pytest.raises(Final, match="files:read"):
        await world.slack(token="xoxb-another").download(File("image", first["url_private_download"]), 100)
    with pytest.raises(Final, match="404"):
        await slack.download(File("image", first["url_private_download"].replace(first["id"], "F0")), 100)


@pytest.mark.parametrize(
    "ref", ["", "T1 ", "http://files.slack.com/a", "https://slack.com.evil.example/a", "https://[/a"]
)
async def test_no_token_goes_to_anybody_else(world: World, ref: str) -> None:
    with pytest.raises(Final, match="does not lie"):
        await world.slack().download(File("image", ref), 100)


async def test_a_file_that_does_not_come_may_come_later(world: World) -> None:
    with pytest.raises(TryLater):
        await world.slack(api_base="http://127.0.0.1:9").download(File("image", "http://127.0.0.1:9/a"), 100)


# Ears, check, pages.


async def test_who_we_are_is_learned_even_if_slack_is_slow_to_say(world: World) -> None:
    slack = world.slack()
    world.sim.faults("auth.test", Fault(status=500), Fault(status=429, retry_after=9))
    ears = asyncio.create_task(slack.listen(_nobody))
    while not ears.done():
        world.clock.advance(1.0)
        await asyncio.sleep(0)
    await ears
    assert slack._threads.known == {TEAM: BOT}


async def test_with_a_token_that_opens_nothing_there_is_nothing_to_wait_for(world: World) -> None:
    await world.slack(token="xoxb-wrong").listen(_nobody)
    assert [call.error for call in world.calls()] == ["invalid_auth"]


async def test_over_a_socket_events_are_read_and_kept_and_commands_answered(world: World) -> None:
    slack = world.slack(secret=None, app_token=world.sim.app_token)
    kept: list[Taken] = []

    async def accept(taken: Taken) -> None:
        kept.append(taken)

    ears = asyncio.create_task(slack.listen(accept))
    await world.sim.until(lambda: world.sim.sockets.connected)
    await world.sim.say("ann", "hello")
    answer = await world.sim.command("ann", "/ask", "what?", channel="general")
    ears.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ears
    assert [event.message.text for taken in kept for event in taken.events if event.message] == ["hello", "what?"]
    assert answer == {"response_type": "ephemeral", "text": words("en").waiting}


async def _nobody(taken: Taken) -> None:
    raise AssertionError(taken)


async def test_check_looks_at_what_slack_says(world: World) -> None:
    found = [finding async for finding in world.slack().check("https://bot.example/hooks/slack")]
    assert [finding for finding in found if not finding.ok] == []
    assert "bot.example/hooks/slack" in " ".join(finding.detail for finding in found)


async def test_who_is_not_to_be_installed_has_no_pages(world: World) -> None:
    slack = world.slack()
    assert slack.pages == ()
    assert (await slack.visit(Visit("/slack/install", {}, {}, 0.0))).status == 404
