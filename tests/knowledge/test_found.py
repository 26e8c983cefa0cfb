"""How well passages are found, and how well it is told that there are none: measured, in four languages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chatferry.knowledge.grounding import judge
from chatferry.knowledge.library import Library
from chatferry.knowledge.sync import Sync
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.reading.readers import Readers
from chatferry.testing import ManualClock
from tests.knowledge.shop import LANGUAGES, shop, write


async def test_what_answers_a_question_is_among_the_first_five_and_what_nothing_answers_is_known_to_be_so(
    database: Database, ledger: Ledger, clock: ManualClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shops = {language: shop(language) for language in LANGUAGES}
    for language, its in shops.items():
        write(its.files, tmp_path / language)
    patterns = {language: (f"{language}/**/*.md", f"{language}/*.csv") for language in LANGUAGES}
    await Sync(ledger, database, clock, patterns, tmp_path, Readers()).run()
    library = Library(database)
    lines = []
    for language, its in shops.items():
        judged = [(asked, await judge(library, language, asked.text)) for asked in its.answered]
        places = [[one.title for one in about.found[:5]] for _, about in judged]
        recall = sum(asked.title in titles for (asked, _), titles in zip(judged, places, strict=True)) / len(judged)
        refused_wrongly = [asked.text for asked, about in judged if not about.grounded]
        answered_wrongly = [said for said in its.unknown if (await judge(library, language, said)).grounded]
        total = sum(one.passages for one in await library.sources() if one.base == language)
        assert total >= 60
        assert len(judged) >= 40
        answers, refuses = 1 - len(refused_wrongly) / len(judged), 1 - len(answered_wrongly) / len(its.unknown)
        lines.append(
            f"{language:6}{total} passages, {len(judged)} + {len(its.unknown)} questions: recall at 5 {recall:.3f}, "
            f"strict answers {answers:.3f}, refuses {refuses:.3f}; wrongly: {refused_wrongly} {answered_wrongly}"
        )
        assert recall >= 0.95, lines[-1]
        assert answers >= 0.95, lines[-1]
        assert refuses >= 0.9, lines[-1]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")


async def test_a_large_index_is_not_read_through_for_a_common_word(
    database: Database, ledger: Ledger, clock: ManualClock, tmp_path: Path
) -> None:
    """Candidates are looked for by rare terms; where there are none, by two that must both be there."""
    rows = [f"item {number},a common word about tea and {'green' if number % 3 else 'black'}" for number in range(60)]
    (tmp_path / "many.csv").write_text("\n".join(["name,text", *rows, "item rare,a common word about matcha"]), "utf-8")
    await Sync(ledger, database, clock, {"default": ("many.csv",)}, tmp_path, Readers()).run()
    library = Library(database, candidates=20)
    rare = await judge(library, "default", "common tea or matcha")
    assert rare.found[0].title == "item rare"
    common = await judge(library, "default", "green tea")
    assert common.grounded
    assert all("green" in one.text for one in common.found)
