"""What the Slack channel sends, against a simulated Slack over real sockets."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest

from chatferry.channels.base import STOP, Editing, Hook
from chatferry.channels.slack_api import GONE, HASTE, PASSING, VANISHED
from chatferry.errors import Ambiguous, ChatferryError, Final, Gone, NoLeave, TryLater, Vanished
from chatferry.model import Button, Grant, Message, Receipt, says
from chatferry.simulator.slack import TEAM
from chatferry.simulator.slack_records import Fault
from chatferry.words import words
from tests.channels.slack_payloads import FORM, clicked, delivered, envelope, message
from tests.channels.slack_world import World, opened
from tests.contracts import channel as contract

BUTTON = Button("Stop", STOP)
POST = "chat.postMessage"


def grows(text: str) -> Message:
    return says("assistant", text, BUTTON)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as made:
        yield made


# Sending.


async def test_what_every_channel_promises(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    await contract.sends_no_more_than_its_batch(slack, asked.conversation)
    await contract.gives_a_receipt_for_each_message(slack, asked.conversation, "k")
    for hook in (delivered(envelope(message("hi"))), clicked({}), Hook(b"{}", {"content-type": FORM})):
        contract.take_raises_only_rejected(slack, hook)


async def test_a_message_stands_in_its_thread_in_markdown_and_in_slacks_own_marks(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    [receipt] = await slack.send(
        asked.conversation, [says("assistant", "**1** < 2 & [a](https://a.b)")], key="k", grant=None
    )
    [post] = world.answers(asked)
    assert post.ts == receipt.id
    assert post.blocks == [{"type": "markdown", "text": "**1** < 2 & [a](https://a.b)"}]
    assert post.text == "*1* &lt; 2 &amp; <https://a.b|a>"
    assert post.metadata == {"event_type": "chatferry", "event_payload": {"key": "k"}}
    assert world.calls(POST)[0].fields["unfurl_links"] is False


async def test_without_a_thread_a_message_stands_in_the_channel(world: World) -> None:
    dm = world.sim.dm("ann")
    await world.slack().send(f"{TEAM}/{dm}", [says("assistant", "hello")], key="k", grant=None)
    assert [post.markdown for post in world.sim.screen(dm)] == ["hello"]


async def test_no_model_calls_a_whole_channel_together(world: World) -> None:
    slack, asked = world.slack(stream="edit"), await world.asked()
    said = says("assistant", "<!channel> <!here|x> <!everyone> <!subteam^S1> <!DOCTYPE html>")
    await slack.send(asked.conversation, [said], key="k", grant=None)
    await slack.begin(asked, said, key="l")
    for post in world.answers(asked):
        assert "<!" not in post.text
        assert [word in post.markdown for word in ("<!channel", "<!here", "<!everyone", "<!subteam")] == [False] * 4
        assert "<!DOCTYPE html>" in post.markdown


async def test_a_message_without_words_is_not_sent(world: World) -> None:
    asked = await world.asked()
    with pytest.raises(Final, match="without text"):
        await world.slack().send(asked.conversation, [says("assistant", " \n")], key="k", grant=None)
    assert world.calls() == []


@pytest.mark.parametrize(
    "fault", [Fault(status=500), Fault(status=503), Fault(drop=True), Fault(lose=True), Fault(error="fatal_error")]
)
async def test_a_post_that_fails_on_the_way_is_ambiguous_and_can_be_looked_for(world: World, fault: Fault) -> None:
    slack, asked = world.slack(), await world.asked()
    world.sim.faults(POST, fault)
    with pytest.raises(Ambiguous):
        await slack.send(asked.conversation, [says("assistant", "once")], key="k1", grant=None)
    found = await slack.find(asked, "k1")
    assert (found is not None) == fault.drop
    assert [post.ts for post in world.answers(asked)] == ([found.id] if found else [])


async def test_where_nobody_listens_nothing_was_sent_and_that_is_not_ambiguous(world: World) -> None:
    slack = world.slack(api_base="http://127.0.0.1:9")
    with pytest.raises(TryLater):
        await slack.send("T1/C1", [says("assistant", "x")], key="k", grant=None)


OUTCOMES: dict[str, type[ChatferryError]] = {
    "not_in_channel": Gone,
    "channel_not_found": Gone,
    "is_archived": Gone,
    "account_inactive": Gone,
    "token_revoked": Gone,
    "invalid_auth": Final,
    "not_authed": Final,
    "missing_scope": Final,
    "restricted_action": Final,
    "msg_too_long": Final,
    "cant_update_message": Final,
    "edit_window_closed": Final,
    "message_limit_exceeded": Final,
    "something_new": Final,
    "ratelimited": TryLater,
    "internal_error": TryLater,
    "service_unavailable": TryLater,
    "message_not_found": Vanished,
}


def test_no_refusal_has_two_outcomes() -> None:
    assert len(GONE | VANISHED | HASTE | PASSING) == sum(map(len, (GONE, VANISHED, HASTE, PASSING)))


async def test_each_refusal_of_an_edit_says_what_is_to_be_done(world: World) -> None:
    slack, asked = world.slack(stream="edit"), await world.asked()
    receipt = await slack.begin(asked, grows("a"), key="k")
    for error, kind in OUTCOMES.items():
        world.sim.faults("chat.update", Fault(error=error, retry_after=70))
        with pytest.raises(kind, match=r"chat\.update") as raised:
            await slack.edit(asked, receipt, says("assistant", "ab"), last=True)
        assert isinstance(raised.value, Final) == issubclass(kind, Final)
        assert error in str(raised.value) or kind is TryLater
        assert world.sim.bot_token not in str(raised.value)
        world.clock.advance(70)


async def test_a_refusal_says_what_mends_it(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    world.sim.absent.add("general")
    with pytest.raises(Gone, match="/invite"):
        await slack.send(asked.conversation, [says("assistant", "x")], key="k", grant=None)
    world.sim.scopes.remove("chat:write")
    with pytest.raises(Final, match=r"missing_scope \(needed: chat:write\)"):
        await slack.send(asked.conversation, [says("assistant", "x")], key="k", grant=None)
    with pytest.raises(Final, match="SLACK_BOT_TOKEN"):
        await world.slack(token=None).send(asked.conversation, [says("assistant", "x")], key="k", grant=None)


async def test_a_post_without_a_name_may_be_out_all_the_same(world: World) -> None:
    slack, asked = world.slack(stream="edit"), await world.asked()
    world.sim.new_ts = lambda: ""  # type: ignore[method-assign]  # an odd server
    with pytest.raises(Ambiguous):
        await slack.begin(asked, grows("a"), key="k")


# A message that is edited.


async def test_a_message_grows_with_a_button_and_ends_without(world: World) -> None:
    slack, asked = world.slack(stream="edit"), await world.asked()
    receipt = await slack.begin(asked, grows("Answering …"), key="k")
    [post] = world.answers(asked)
    assert post.buttons == [("Stop", STOP)]
    assert post.metadata == {"event_type": "chatferry", "event_payload": {"key": "k"}}
    world.clock.advance(1)
    assert await slack.edit(asked, receipt, grows("**One** & <"), last=False)
    [post] = world.answers(asked)
    assert (post.buttons, post.blocks[0]["text"], post.text) == ([("Stop", STOP)], "**One** & <", "**One** &amp; &lt;")
    assert await slack.edit(asked, receipt, says("assistant", "**One** & < two"), last=True)
    [post] = world.answers(asked)
    assert (post.buttons, post.markdown, post.text) == ([], "**One** & < two", "*One* &amp; &lt; two")
    assert await slack.edit(asked, receipt, says("assistant", "**One** & < two"), last=True)


@pytest.mark.parametrize("text", ["&" * 780, "*_~`" * 975, "| a | b |\n| - | - |\n" + "| 1 | 2 |\n" * 380, "漢" * 3900])
async def test_no_text_of_the_longest_kind_is_too_long_for_an_edit(world: World, text: str) -> None:
    slack, asked = world.slack(stream="edit"), await world.asked()
    for markdown in (True, False):
        world.sim.markdown = markdown
        receipt = await slack.begin(asked, grows(text), key="k")
        assert await slack.edit(asked, receipt, grows(text), last=False)
        assert await slack.edit(asked, receipt, says("assistant", text), last=True)
        world.clock.advance(60)
    assert all(post.text for post in world.answers(asked))


async def test_where_markdown_is_not_taken_slacks_own_marks_do_and_that_is_remembered(world: World) -> None:
    slack, asked = world.slack(stream="edit"), await world.asked()
    world.sim.markdown = False
    receipt = await slack.begin(asked, grows("**One**"), key="k")
    assert [call.error for call in world.calls(POST)] == ["invalid_blocks", ""]
    [post] = world.answers(asked)
    assert (post.markdown, post.buttons) == ("*One*", [("Stop", STOP)])
    world.clock.advance(1)
    assert await slack.edit(asked, receipt, grows("**One** two"), last=False)
    assert world.answers(asked)[0].markdown == "*One* two"
    await slack.edit(asked, receipt, says("assistant", "**One** two three"), last=True)
    [post] = world.answers(asked)
    assert (post.markdown, post.buttons) == ("*One* two three", [])
    assert {call.error for call in world.calls("chat.update")} == {""}
    world.sim.markdown = True
    world.clock.advance(3601)
    await slack.send(asked.conversation, [says("assistant", "**now**")], key="l", grant=None)
    assert world.answers(asked)[1].markdown == "**now**"


async def test_a_message_that_is_too_much_for_blocks_alone_says_nothing_about_others(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    world.sim.faults(POST, Fault(error="msg_blocks_too_long"))
    for text in ("**one**", "**two**"):
        await slack.send(asked.conversation, [says("assistant", text)], key="k", grant=None)
    assert [post.markdown for post in world.answers(asked)] == ["*one*", "**two**"]


async def test_a_message_that_somebody_deleted_has_vanished(world: World) -> None:
    slack, asked = world.slack(stream="edit"), await world.asked()
    receipt = await slack.begin(asked, grows("a"), key="k")
    await world.sim.delete("ann", "general", receipt.id)
    for last in (False, True):
        with pytest.raises(Vanished):
            await slack.edit(asked, receipt, grows("ab"), last=last)
    await slack.remove(asked, receipt)


async def test_a_message_is_removed_even_while_it_streams_or_is_no_more(world: World) -> None:
    for stream in ("edit", "auto"):
        slack, asked = world.slack(stream=stream), await world.asked()
        receipt = await slack.begin(asked, grows("a"), key="k")
        for _ in range(2):
            await slack.remove(asked, receipt)
        assert world.answers(asked) == []
    with pytest.raises(Final, match="cant_delete_message"):
        await world.slack().remove(asked, Receipt(asked.ref))


# Slash commands.


async def test_a_command_is_answered_at_its_own_address_until_that_is_used_up(world: World) -> None:
    room = world.sim.at(world.sim.channel("general"))
    url = world.sim.new_response_url(room, world.sim.user("ann"))
    slack, address = world.slack(), f"{TEAM}/{room.id}/ask/{world.sim.user('ann')}"
    for number in range(5):
        grant = Grant(url, world.clock.now() + 60)
        assert await slack.send(address, [says("assistant", f"**{number}**")], key="", grant=grant) == [Receipt()]
    assert [post.markdown for post in world.sim.ephemeral("ann")] == [f"**{number}**" for number in range(5)]
    with pytest.raises(NoLeave):
        await slack.send(address, [says("assistant", "6")], key="", grant=grant)
    public = world.slack(replies="public")
    grant = Grant(world.sim.new_response_url(room, world.sim.user("ann")), world.clock.now() + 60)
    world.sim.markdown = False
    await public.send(address, [says("assistant", "**all**")], key="", grant=grant)
    assert [post.text for post in world.sim.screen(room.id)] == ["*all*"]


@pytest.mark.parametrize(
    "url", ["https://slack.com.evil.example/x", "http://hooks.slack.com/x", "file:///etc/passwd", "https://["]
)
async def test_no_answer_goes_to_anybody_else(world: World, url: str) -> None:
    with pytest.raises(NoLeave):
        await world.slack().send(f"{TEAM}/C1/ask/U1", [says("assistant", "x")], key="", grant=Grant(url, 0))


async def test_without_leave_a_command_is_answered_to_who_asked_or_to_all(world: World) -> None:
    channel, ann = world.sim.channel("general"), world.sim.user("ann")
    address = f"{TEAM}/{channel}/ask/{ann}"
    await world.slack().send(address, [says("assistant", "for you")], key="k", grant=None)
    await world.slack(replies="public").send(address, [says("assistant", "for all")], key="k", grant=None)
    assert [post.markdown for post in world.sim.ephemeral("ann")] == ["for you"]
    assert [post.markdown for post in world.sim.screen(channel)] == ["for all"]


# What we say of ourselves.


async def test_patience_is_as_long_as_slack_shows_by_itself_that_we_are_at_work(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    command, chat = world.inbound(f"{TEAM}/C1/ask/U1"), world.inbound(f"{TEAM}/D1")
    assert [slack.patience(one) for one in (asked, command, chat)] == [1.0, None, 0.0]
    assert [slack.patience(world.inbound("T/C/1.1", kind=kind)) for kind in ("push", "greeting")] == [None, None]
    await slack.begin(asked, grows("a"), key="k")
    assert slack.patience(asked) == math.inf
    assert world.slack(stream="edit").patience(asked) == 0.0


async def test_capabilities_are_those_of_messages_that_grow(world: World) -> None:
    editing: Editing = world.slack()
    caps = editing.caps
    assert (caps.batch, caps.limit, caps.measure, caps.markdown) == (1, 3900, "escaped", True)
    assert (caps.edits, caps.unprompted, caps.collect) == (0.8, "always", False)


async def test_who_asked_and_who_administers_may_remove_an_answer(world: World) -> None:
    slack, asked = world.slack(), await world.asked()
    world.sim.admins.add("boss")
    world.sim.owners.add("owner")
    people = ("ann", "boss", "owner", "eve")
    may = [await slack.may_remove(world.inbound(asked.conversation, who=who), asked.sender) for who in people]
    assert may == [True, True, True, False]
    [hint] = world.sim.ephemeral("eve")
    assert (hint.text, hint.thread_ts) == (words("en").not_yours, asked.ref)
    assert not await slack.may_remove(world.inbound(asked.conversation), "")
    world.sim.scopes.remove("users:read")
    assert not await slack.may_remove(world.inbound(asked.conversation, who="bob"), asked.sender)
