"""The page of one answer, as whoever has its link gets it."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from chatferry.ledger.looking import Shown
from chatferry.model import Inbound, says
from chatferry.simulator.model import Break, Pause, Refuse
from chatferry.web.growing import SILENCE
from chatferry.web.showing import view
from chatferry.words import words
from tests.scenarios.asking import ask, client
from tests.scenarios.support import until
from tests.scenarios.support import world as line_world
from tests.stack import Stack, running
from tests.web.opening import asked, ended, get, link, newest, reading, say

WEEK = 7 * 86400


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running(tmp_path, server={"drain": 0.5}) as stack:
        yield stack


def state(html: str) -> str:
    found = re.search(r'data-state="(\w+)"', html)
    assert found
    return found[1]


def article(html: str) -> str:
    """The answer on the page."""
    found = re.search(r"<article[^>]*>(.*?)</article>", html, re.DOTALL)
    assert found
    return found[1].strip()


async def test_a_page_shows_the_question_and_the_answer(stack: Stack) -> None:
    turn = await asked(stack, "hello **you** <b>")
    got = await get(link(stack, "a", turn))
    assert got.status == 200
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    assert state(got.text) == "done"
    assert article(got.text) == "<p>echo: hello <strong>you</strong> &lt;b&gt;</p>"
    assert "hello **you** &lt;b&gt;</div>" in got.text
    assert "/stop" not in got.text
    assert "http-equiv" not in got.text


async def test_a_page_lets_nothing_out_and_nothing_in(stack: Stack) -> None:
    turn = await asked(stack, "hello")
    for url in (link(stack, "a", turn), link(stack, "h", turn), f"{stack.url}/a/wrong"):
        got = await get(url)
        policy = dict(rule.split(" ", 1) for rule in got.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert got.headers["referrer-policy"] == "no-referrer"
        assert got.headers["cache-control"] == "no-store"
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "noindex" in got.headers["x-robots-tag"]
        # Nothing that the policy would have to stop in the first place.
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//|<style|<script>| style=| on\w+=', got.text)


async def test_what_a_page_loads_can_be_kept_for_ever(stack: Stack) -> None:
    page = await get(link(stack, "a", await asked(stack, "hello")))
    files = re.findall(r'(?:src|href)="\.\.(/pages/[^"]+)"', page.text)
    assert len(files) == 4
    for file in files:
        got = await get(stack.url + file)
        assert got.status == 200
        assert "immutable" in got.headers["cache-control"]
        assert (await get(stack.url + file.split("?")[0] + "?v=old")).headers["cache-control"] == "no-cache"
    assert (await get(f"{stack.url}/pages/..%2Fpages.py")).status == 404
    assert (await get(f"{stack.url}/pages/nothing.css")).status == 404


async def test_a_page_grows_and_ends(stack: Stack) -> None:
    stack.model.reply = lambda _: "first paragraph\n\nsecond **paragraph**"
    stack.model.plans.append(Pause((2, 3)))
    turn = await say(stack, "hello")
    await stack.model.hanging.wait()
    url = link(stack, "a", turn)
    page = (await get(url)).text
    assert state(page) == "growing"
    assert article(page) == "<p>first paragraph</p>"
    assert '<meta http-equiv="refresh" content="3">' in page
    async with reading(url) as reader:
        first = await reader.next()
        assert first is not None
        assert first.data["from"] == 0
        assert (reader.state, reader.blocks) == ("growing", ["<p>first paragraph</p>\n"])
        stack.model.hanging.clear()
        stack.model.release.set()
        second = await reader.next()
        assert second is not None
        # What is complete is not sent again.
        assert (second.data["from"], second.data["blocks"]) == (1, ["<p>second</p>\n"])
        await stack.model.hanging.wait()
        stack.model.release.set()
        *_, end = await reader.all()
    assert end.kind == "end"
    assert (reader.state, reader.blocks[1]) == ("done", "<p>second <strong>paragraph</strong></p>\n")


async def test_whoever_comes_late_or_again_is_told_all_at_once(stack: Stack) -> None:
    turn = await asked(stack, "hello")
    for _ in range(2):
        async with reading(link(stack, "a", turn)) as reader:
            (event,) = await reader.all()
            assert (event.kind, reader.state, reader.blocks) == ("end", "done", ["<p>echo: hello</p>\n"])


async def test_a_question_in_the_queue_says_so_until_its_answer_begins(stack: Stack) -> None:
    stack.model.plans += [Pause((1,)), Pause((1,))]
    await say(stack, "one")
    await stack.model.hanging.wait()
    url = link(stack, "a", await say(stack, "two"))
    page = (await get(url)).text
    assert (state(page), article(page)) == ("waiting", "")
    assert "queue" in page
    async with reading(url) as reader:
        await reader.next()
        assert reader.state == "waiting"
        stack.model.hanging.clear()
        stack.model.release.set()
        while reader.state == "waiting":
            assert await reader.next()
        assert reader.state == "growing"
        await stack.model.hanging.wait()
        stack.model.release.set()
        await reader.all()
        assert (reader.state, reader.blocks) == ("done", ["<p>echo: two</p>\n"])


async def test_words_that_are_taken_back_leave_the_page(stack: Stack) -> None:
    stack.model.plans += [Break("cut", after=3, held=True), Pause((1,))]
    stack.model.reply = lambda _: "now we have something else"
    turn = await say(stack, "hello")
    await stack.model.hanging.wait()
    async with reading(link(stack, "a", turn)) as reader:
        await reader.next()
        assert reader.blocks == ["<p>now we have</p>\n"]
        stack.model.hanging.clear()
        stack.model.release.set()
        await stack.model.idle()
        stack.model.release.clear()
        await stack.model.hanging.wait()
        while reader.blocks != ["<p>now</p>\n"]:
            assert await reader.next()
        stack.model.release.set()
        await reader.all()
        assert reader.blocks == ["<p>now we have something else</p>\n"]


async def test_an_answer_is_stopped_from_its_page_and_keeps_what_was_written(stack: Stack) -> None:
    stack.model.reply = lambda _: "some words and more"
    stack.model.plans.append(Break("hang", after=2))
    async with client(stack) as api:
        asking = asyncio.create_task(ask(api, "hello", session="s"))
        await stack.model.hanging.wait()
        url = link(stack, "a", await newest(stack))
        async with reading(url) as reader:
            await reader.next()
            got = await get(f"{url}/stop", "POST")
            assert got.status == 303
            assert got.headers["location"] == f"../{url.rpartition('/')[2]}"
            *_, end = await reader.all()
            assert (end.kind, reader.state, reader.blocks) == ("end", "stopped", ["<p>some words</p>\n"])
        await asking
    page = (await get(url)).text
    assert (state(page), article(page)) == ("stopped", "<p>some words</p>")
    assert stack.model.cancelled == 1
    assert (await get(f"{url}/stop", "POST")).status == 303  # once more does no harm
    assert (await get(f"{url}/stop")).status == 405


@pytest.mark.parametrize("state", ["due", "doing"])
def test_only_what_can_be_stopped_has_a_button_for_it(state: str) -> None:
    """The answer to a command may take its time too, but no model is asked that could be stopped."""
    asked = Inbound("e1", "room", message=says("user", "/slow"))
    shown = Shown(1, "board", "board:room", "command", state, 0.0, asked, None, "", False, "")
    assert not view(shown, "", words("en")).stoppable
    assert view(msgspec.structs.replace(shown, kind="message"), "", words("en")).stoppable


async def test_an_apology_is_shown_as_one(stack: Stack) -> None:
    stack.model.plans.append(Refuse(400))
    page = (await get(link(stack, "a", await asked(stack, "hello")))).text
    assert state(page) == "failed"
    assert "Sorry" in article(page)


async def test_a_question_that_was_taken_back_is_not_shown(stack: Stack) -> None:
    stack.model.plans += [Break("hang", after=0)]
    await say(stack, "one")
    await stack.model.hanging.wait()
    said = await stack.line.say("ann", "my secret")
    turn = await newest(stack)
    url = link(stack, "a", turn)
    async with reading(url) as reader:
        await reader.next()
        await stack.line.unsend("ann", said.events[0]["message"]["id"])
        *_, end = await reader.all()
        assert (end.kind, reader.state) == ("end", "nothing")
    page = (await get(url)).text
    assert state(page) == "nothing"
    assert "my secret" not in page
    stack.model.release.set()


async def test_links_that_open_nothing_say_why(stack: Stack) -> None:
    turn = await asked(stack, "hello")
    now = stack.gateway.clock.now()
    a, h = link(stack, "a", turn), link(stack, "h", turn)
    for url in (f"{stack.url}/a/x", f"{a[:-1]}{'A' if a[-1] != 'A' else 'B'}", f"{a}=", link(stack, "a", 999),
                h.replace("/h/", "/a/"), a.replace("/a/", "/h/"), f"{stack.url}/h/{'é' * 40}"):  # fmt: skip
        got = await get(url)
        assert got.status == 404, url
        assert "There is no such page" in got.text
    assert (await get(f"{stack.url}/a/x/events")).status == 404
    assert (await get(f"{stack.url}/a/x/stop", "POST")).status == 404
    for page in ("a", "h"):
        got = await get(link(stack, "a" if page == "a" else "h", turn, at=now - WEEK - 1))
        assert got.status == 410
        assert "This link has expired" in got.text
    assert (await get(link(stack, "a", turn, at=now - WEEK + 60))).status == 200


async def test_a_ledger_that_fails_is_a_kind_page_for_a_while(stack: Stack, tmp_path: Path) -> None:
    url = link(stack, "a", await asked(stack, "hello"))
    database = tmp_path / "chatferry.db"
    with sqlite3.connect(database) as other:
        other.execute("ALTER TABLE turns RENAME TO elsewhere")
    got = await get(url)
    assert got.status == 503
    assert "retry-after" in got.headers
    assert "Nothing is lost" in got.text
    with sqlite3.connect(database) as other:
        other.execute("ALTER TABLE elsewhere RENAME TO turns")
    assert (await get(url)).status == 200


async def test_a_look_at_the_headers_is_cheap(stack: Stack) -> None:
    url = link(stack, "a", await asked(stack, "hello"))
    head = await get(url, "HEAD")
    assert (head.status, head.text) == (200, "")
    assert (await get(f"{url}/events", "HEAD")).status == 200


async def test_only_so_many_read_one_answer_at_once(stack: Stack) -> None:
    stack.model.plans.append(Break("hang", after=1))
    url = link(stack, "a", await say(stack, "hello"))
    await stack.model.hanging.wait()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        streams = [await http.get(f"{url}/events") for _ in range(20)]
        assert {stream.status for stream in streams} == {200}
        assert (await get(f"{url}/events")).status == 429
        streams[0].close()
        while (late := await http.get(f"{url}/events")).status == 429:
            late.close()
        late.close()
        stack.model.release.set()
        for stream in streams[1:]:
            assert b"event: end" in await stream.read()


async def test_a_process_that_ends_breaks_the_stream_off_and_another_goes_on(stack: Stack) -> None:
    stack.model.plans.append(Break("hang", after=1))
    url = link(stack, "a", await say(stack, "hello"))
    await stack.model.hanging.wait()
    async with reading(url) as reader:
        await reader.next()
        stack.gateway.feed.close()
        assert await reader.all() == []
    assert reader.state == "growing"
    stack.model.release.set()


async def test_a_quiet_stream_says_that_it_lives(tmp_path: Path) -> None:
    async with line_world(tmp_path) as world, world.gateway() as gateway:
        world.model.plans.append(Break("hang", after=1))
        await world.line.say("ann", "hello")
        await until(world.model.hanging.is_set, world.clock)
        (entry,) = await gateway.ledger.entries(limit=1)
        hook = world.line.webhook
        assert hook
        token = gateway.links.token("a", entry.id, world.clock.now())
        async with reading(f"{hook.removesuffix('/hooks/line')}/a/{token}") as reader:
            await reader.next()
            began = world.clock.now()
            beat = asyncio.ensure_future(reader.next())
            await until(beat.done, world.clock)
            event = beat.result()
            assert event is not None
            assert event.kind == "beat"
            assert world.clock.now() - began >= SILENCE - 1


async def test_a_turn_that_another_process_answers_is_found_in_the_ledger(stack: Stack, tmp_path: Path) -> None:
    """Its words are not in our feed: the page waits, and shows the answer once it is kept."""
    turn = await asked(stack, "hello")
    (entry,) = await stack.gateway.ledger.entries(turn=turn)
    with sqlite3.connect(tmp_path / "chatferry.db") as other:
        (kept,) = other.execute("SELECT answer FROM turns WHERE id = ?", (turn,)).fetchone()
        other.execute(
            "UPDATE turns SET state='doing', answer=NULL, leased_until=? WHERE id=?", (time.time() + 1e4, turn)
        )
    async with reading(link(stack, "a", turn)) as reader:
        await reader.next()
        assert (reader.state, reader.blocks) == ("growing", [])
        with sqlite3.connect(tmp_path / "chatferry.db") as other:
            other.execute("UPDATE turns SET state='done', answer=? WHERE id=?", (kept, turn))
        *_, end = await reader.all()
        assert (end.kind, reader.blocks) == ("end", ["<p>echo: hello</p>\n"])
    assert entry.state == "done"


async def test_the_page_speaks_its_assistants_language(tmp_path: Path) -> None:
    async with running(tmp_path, assistant={"language": "ja"}) as stack:
        stack.model.reply = lambda _: "All in English, and quite a lot of it."
        turn = await asked(stack, "hello")
        page = (await get(link(stack, "a", turn))).text
        assert '<html lang="ja">' in page
        assert "チャットに戻って" in page
        assert 'aria-busy="false" lang=""' in page  # not Japanese; which other language we don't know
        assert (await get(f"{stack.url}/a/x")).text.count("ページが見つかりません") == 2


async def test_no_token_is_in_the_log(stack: Stack, capfd: pytest.CaptureFixture[str]) -> None:
    turn = await asked(stack, "hello")
    url = link(stack, "a", turn)
    await get(url)
    await get(f"{url}/stop", "POST")
    await get(link(stack, "h", turn))
    async with reading(url) as reader:
        await reader.all()
    await ended(stack, turn)
    out, err = capfd.readouterr()
    assert url.rpartition("/")[2][12:] not in out + err


def test_what_pages_are_made_with_is_loaded_with_the_first_page() -> None:
    program = "import sys, chatferry.web.app; print([n for n in ('jinja2', 'nh3') if n in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"  # noqa: S603
