"""`chatferry turns` and `chatferry push`, beside a gateway that runs and alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from chatferry.cli.turns import heading, row
from chatferry.ledger.looking import Entry
from chatferry.simulator.line_people import address
from chatferry.simulator.model import Refuse
from tests.commandline import Shop, shop

ANN = address("U", "ann")
FAILED = Refuse(400, {"message": "no such model [really]"})


@pytest_asyncio.fixture(name="shop")
async def _shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop(tmp_path) as made:
        yield made


async def meet(shop: Shop, *words: str) -> None:
    """Ann writes to a gateway, which answers and is stopped."""
    async with shop.serving() as served:
        for count, text in enumerate(words or ("hello",), 1):
            await shop.line.say("ann", text)
            await shop.line.seen("ann", count)
        await served.event("turn closed")


def said(shop: Shop) -> list[str]:
    return [seen.text for seen in shop.line.chats[ANN]]


# turns


async def test_turns_on_a_new_machine_say_so_need_no_secret_and_leave_nothing(shop: Shop) -> None:
    shop.new()
    shop.environ.clear()
    ended = await shop.run("turns")
    assert (ended.status, ended.out, ended.err) == (0, "", "no turns yet in chatferry.db\n")
    assert list(shop.folder.iterdir()) == []


async def test_turns_are_told_whole_when_piped(shop: Shop) -> None:
    shop.model.plans.append(FAILED)
    await meet(shop, "one", "two")
    ended = await shop.run("turns", OPENAI_API_KEY="", LINE_CHANNEL_SECRET="", LINE_CHANNEL_ACCESS_TOKEN="")
    head, first, error, second = ended.out.splitlines()
    assert head.split() == ["turn", "accepted", "state", "waited", "took", "tries", "model", "conversation"]
    assert (first.split()[0], first.split()[3], first.split()[-1]) == ("1", "failed", f"line:{ANN}")
    assert error.strip() == "default: 400 no such model [really]"
    assert (second.split()[3], second.split()[-2:]) == ("done", ["simulated-1", f"line:{ANN}"])
    latest = await shop.run("turns", "-n", "1")
    assert latest.out.splitlines() == [head, second]


async def test_turns_fit_a_terminal_of_80_columns(shop: Shop) -> None:
    await meet(shop)
    async with shop.terminal("turns") as terminal:
        assert await terminal.end() == 0
        await terminal.shows("turn", "took", "conversation", "done", f"line:{ANN}")
        assert "…" not in terminal.screen
        assert "tries" not in terminal.screen


def entry(**changed: object) -> Entry:
    known: dict[str, object] = dict.fromkeys(Entry.__struct_fields__, "")
    times = {"accepted_at": 1e9, "started_at": 1e9 + 0.5, "finished_at": 1e9 + 900.25, "due_at": 1e9}
    made = {"id": 12345, "conversation": f"line:{ANN}", "state": "done", "attempts": 3, **times, **changed}
    return Entry(**(known | made))  # type: ignore[arg-type]  # fields by name


def test_no_line_of_a_narrow_table_is_longer_than_80_and_nothing_is_cut() -> None:
    long = "LINE said\nthis and " * 20
    line, error = row(entry(error=long), wide=False)
    assert len(line) <= 80
    assert len(heading(wide=False)) <= 80
    assert error.split() == long.split()
    assert "900.25 s" in next(row(entry(), wide=True))


async def test_follow_tells_each_turn_as_it_comes_and_ends_cleanly_by_ctrl_c(shop: Shop) -> None:
    async with shop.serving() as served, shop.terminal("turns", "--follow") as terminal:
        await terminal.shows("no turns yet", "conversation")
        await shop.line.say("ann", "hello")
        await terminal.shows("1", "done", f"line:{ANN}")
        terminal.type("\x03")
        assert await terminal.end() == 0
        assert "Traceback" not in terminal.screen
        assert await served.stop() == 0


async def test_a_failed_turn_is_done_again(shop: Shop) -> None:
    shop.model.plans.append(FAILED)
    await meet(shop)
    ended = await shop.run("turns", "retry", "1")
    assert (ended.status, ended.out.startswith("turn 1 is due again")) == (0, True)
    async with shop.serving() as served:
        await served.event("turn closed")
    assert said(shop)[-1] == "echo: hello"
    again = await shop.run("turns", "retry", "1")
    assert (again.status, again.err) == (
        1,
        "turn 1 is done: only one that failed, is parked or is gone can be done again\n",
    )
    assert (await shop.run("turns", "retry", "99")).err == "there is no turn 99\n"


async def test_retry_heeds_the_configuration_wherever_it_is_named(shop: Shop) -> None:
    (shop.folder / "other.toml").write_text('[server]\ndatabase = "sqlite:///other.db"')
    await meet(shop)
    for arguments in (("--config", "other.toml", "retry", "1"), ("retry", "1", "--config", "other.toml")):
        assert (await shop.run("turns", *arguments)).err == "there is no turn 1\n"


async def test_a_reader_that_has_seen_enough_is_no_fault(shop: Shop) -> None:
    await meet(shop)
    command = '"$@" turns | head -n 1 && test "${PIPESTATUS[0]}" -lt 2'
    ended = await shop.shell(command)
    assert (ended.status, ended.err) == (0, "")


# push


async def test_a_push_beside_a_gateway_goes_out_by_it(shop: Shop) -> None:
    async with shop.serving() as served:
        await shop.line.say("ann", "hello")
        await shop.line.seen("ann", 1)
        ended = await shop.run("push", "line", ANN, "[b]rain[/b] at eight")
        assert (ended.status, ended.out, ended.err) == (0, "sent (turn 2)\n", "")
        assert said(shop) == ["echo: hello", "[b]rain[/b] at eight"]
        assert await served.stop() == 0


async def test_a_push_alone_is_sent_by_the_command_and_only_that_talk_is_touched(shop: Shop) -> None:
    await meet(shop)
    ended = await shop.run("push", "line", ANN, "-", stdin="from\nstdin 晴\n")
    assert (ended.status, ended.out, ended.err) == (0, "sent (turn 2)\n", "")
    assert said(shop)[-1] == "from\nstdin 晴"


async def test_two_pushes_at_once_are_both_sent_though_only_one_can_be_the_gateway(shop: Shop) -> None:
    await meet(shop)
    both = await asyncio.gather(*(shop.run("push", "line", ANN, text) for text in ("one", "two")))
    assert [ended.status for ended in both] == [0, 0]
    assert sorted(said(shop)[1:]) == ["one", "two"]


async def test_the_same_key_is_sent_once(shop: Shop) -> None:
    await meet(shop)
    for _ in range(2):
        ended = await shop.run("push", "line", ANN, "rain", "--key", "monday")
        assert (ended.status, ended.out) == (0, "sent (turn 2)\n")
    assert said(shop)[1:] == ["rain"]


@pytest.mark.long
async def test_the_same_key_for_another_person_is_another_message(shop: Shop) -> None:
    bob = shop.line.address("bob")
    async with shop.serving():
        for count, who in enumerate(("ann", "bob"), 1):
            await shop.line.say(who, "hello")
            await shop.line.seen(who, 1)
            # The person is named as `chatferry turns` names the conversation.
            ended = await shop.run("push", "line", f"line:{shop.line.address(who)}", "rain", "--key", "monday")
            assert (ended.status, ended.out) == (0, f"sent (turn {2 * count})\n")
    assert said(shop)[1:] == ["rain"]
    assert [seen.text for seen in shop.line.chats[bob]][1:] == ["rain"]


@pytest.mark.long
async def test_a_push_without_quota_is_kept_until_the_person_writes(shop: Shop) -> None:
    await meet(shop)
    shop.line.quota = 0
    ended = await shop.run("push", "line", ANN, "rain")
    assert ended.status == 1
    assert ended.err.startswith("kept (turn 2): it cannot be pushed now, and goes out, free, when the person writes")
    async with shop.serving():
        await shop.line.say("ann", "anything new?")
        await shop.line.seen("ann", 3)
    assert said(shop)[1:] == ["rain", "echo: anything new?"]


async def test_a_push_to_nobody_says_so(shop: Shop) -> None:
    ended = await shop.run("push", "line", "U" + "0" * 32, "rain")
    assert ended.status == 1
    assert ended.err.startswith("not sent (turn 1): nobody is there. LINE /v2/bot/message/push: 400")


async def test_a_push_into_an_unknown_channel_or_without_words_is_refused(shop: Shop) -> None:
    shop.new()
    ended = await shop.run("push", "lime", ANN, "rain")
    assert (ended.status, ended.err) == (2, "there is no channel 'lime' that can send; known: line\n")
    assert (await shop.run("push", "line", ANN, "-", stdin=" \n")).status == 2
    assert list(shop.folder.iterdir()) == []
