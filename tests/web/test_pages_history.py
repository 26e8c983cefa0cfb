"""The history page: what was said, session by session, paged and searched."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.tables import sessions
from chatferry.model import Inbound, says
from chatferry.web.past import PAGE, SCAN, Past, past, searchable
from chatferry.words import words
from tests.stack import Stack, running
from tests.web.opening import asked, get, link

WORDS = words("en")


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running(tmp_path) as stack:
        yield stack


def questions(html: str) -> list[str]:
    return [unescape(said) for said in re.findall(r'<div class="said"[^>]*>(.*?)</div>', html, re.DOTALL)]


async def test_the_newest_stands_first_and_nobody_elses(stack: Stack) -> None:
    for text in ("one", "two <b>"):
        turn = await asked(stack, text)
    await asked(stack, "not for ann", "bob")
    got = await get(link(stack, "h", turn))
    assert got.status == 200
    assert questions(got.text) == ["two <b>", "one"]
    assert "echo: two &lt;b&gt;" in got.text
    assert "not for ann" not in got.text
    assert re.search(r'<time datetime="20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ">20', got.text)
    assert 'rel="next"' not in got.text


async def test_a_long_answer_is_folded_and_unfolds_where_it_was_found(stack: Stack) -> None:
    stack.model.reply = lambda _: "Some *long* words. " * 100 + "Needle."
    url = link(stack, "h", await asked(stack, "hello"))
    page = (await get(url)).text
    teaser = re.search(r'<details>\s*<summary><span class="teaser">(.*?)</span>', page)
    assert teaser
    assert teaser[1].startswith("Some long words. Some")
    assert len(teaser[1]) < 200
    assert "Needle." in page
    assert "<details open>" in (await get(f"{url}?q=needle")).text


async def test_pages_follow_each_other_without_a_gap(stack: Stack) -> None:
    for n in range(PAGE + 3):
        turn = await asked(stack, f"question {n}")
    url = link(stack, "h", turn)
    page = (await get(url)).text
    older = re.search(r'rel="next" href="(\?[^"]+)"', page)
    assert older
    rest = (await get(url + unescape(older[1]))).text
    assert questions(page) + questions(rest) == [f"question {n}" for n in reversed(range(PAGE + 3))]
    assert 'rel="next"' not in rest
    assert WORDS.page_newest in rest


async def test_what_is_searched_for_is_found_in_question_and_answer(stack: Stack) -> None:
    for text in ("Ｐｙｔｈｏｎ を 教えて", "tea & <cake>", "coffee"):
        turn = await asked(stack, text)
    url = link(stack, "h", turn)
    for query, found in {
        "python": ["Ｐｙｔｈｏｎ を 教えて"],
        "ＥＣＨＯ cake": ["tea & <cake>"],
        "& <": ["tea & <cake>"],
        "tea coffee": [],
        "  ": ["coffee", "tea & <cake>", "Ｐｙｔｈｏｎ を 教えて"],
    }.items():
        got = await get(f"{url}?q={quote(query)}")
        assert questions(got.text) == found, query
        assert (WORDS.page_unfound in got.text) == (not found)
    assert 'value="&#34;&gt;&lt;script&gt;' in (await get(f"{url}?q={quote(chr(34) + '><script>')}")).text


@pytest.mark.parametrize("query", ["before=x", "before=-1", "before=%00", f"before={'9' * 400}", "before=²", "q=%FF"])
async def test_an_odd_address_is_no_fault(stack: Stack, query: str) -> None:
    url = link(stack, "h", await asked(stack, "hello"))
    assert (await get(f"{url}?{query}")).status == 200


async def test_nothing_said_is_said(stack: Stack) -> None:
    turn = await asked(stack, "hello")
    assert WORDS.page_unsaid in (await get(f"{link(stack, 'h', turn)}?before={turn}")).text


def test_small_and_wide_letters_are_one() -> None:
    assert searchable("ＡＢＣｶﾞ") == searchable("abcガ")
    assert searchable("Straße") == searchable("STRASSE")


# ── the reading behind it ────────────────────────────────────────────────────────────────────────────────────


async def said(ledger: Ledger, lines: int, *, needle: int | None = None) -> None:
    """So many lines of a talk, the `needle`th of them another."""
    for start in range(0, lines, 100):
        await ledger.accept(
            "line",
            [
                Inbound(f"e{n}", "ann", "heard", says("user", "needle" if n == needle else f"hay {n}"))
                for n in range(start, min(start + 100, lines))
            ],
        )


async def look(ledger: Ledger, before: int | None = None, query: str = "") -> Past:
    return await past(ledger, "line:ann", before, query, WORDS)


def lines(page: Past) -> list[str]:
    return [exchange.question for chapter in page.chapters for exchange in chapter.exchanges]


async def test_a_search_stops_after_enough_and_goes_on_from_there(ledger: Ledger) -> None:
    await said(ledger, SCAN * 2 - 100, needle=50)
    first = await look(ledger, query="needle")
    assert lines(first) == []
    assert first.before is not None
    second = await look(ledger, first.before, "needle")
    assert lines(second) == ["needle"]
    assert second.before is None


async def test_a_search_that_finds_much_is_paged_without_a_gap(ledger: Ledger) -> None:
    await said(ledger, 3 * PAGE)
    found: list[str] = []
    before: int | None = None
    for _ in range(3):
        page = await look(ledger, before, "hay")
        assert len(lines(page)) == PAGE
        found, before = found + lines(page), page.before
    assert found == [f"hay {n}" for n in reversed(range(3 * PAGE))]
    assert before is None


async def test_what_was_said_stands_in_its_session(ledger: Ledger, database: Database) -> None:
    await said(ledger, 6)
    rows = [(1, True), (3, False), (4, True)]
    await database.write(
        lambda connection: connection.execute(
            sa.insert(sessions),
            [{"conversation": "line:ann", "turn": t, "open": o, "began_at": t, "seen_at": t} for t, o in rows],
        )
    )
    page = await look(ledger)
    told = [(chapter.session and chapter.session.turn, len(chapter.exchanges)) for chapter in page.chapters]
    assert told == [(4, 3), (3, 1), (1, 2)]
    page = await look(ledger, 3)
    assert [(chapter.session and chapter.session.turn, len(chapter.exchanges)) for chapter in page.chapters] == [(1, 2)]
