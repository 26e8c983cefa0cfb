"""How well passages are found, and how well it is told that there are none: measured, in four languages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chatferry.knowledge.grounding import Judged, judge
from chatferry.knowledge.library import Library
from chatferry.knowledge.questions import asked
from chatferry.knowledge.sync import Sync
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.reading.readers import Readers
from chatferry.testing import ManualClock
from tests.knowledge.shop import LANGUAGES, Shop, shop, write


async def read(database: Database, ledger: Ledger, clock: ManualClock, folder: Path) -> dict[str, Shop]:
    """The shops of all languages, each an assistant's knowledge."""
    shops = {language: shop(language) for language in LANGUAGES}
    for language, its in shops.items():
        write(its.files, folder / language)
    patterns = {language: (f"{language}/**/*.md", f"{language}/*.csv") for language in LANGUAGES}
    await Sync(ledger, database, clock, patterns, folder, Readers()).run()
    return shops


def first_five(judged: Judged) -> list[str]:
    return [one.title for one in judged.found[:5]]


async def test_what_answers_a_question_is_among_the_first_five_and_what_nothing_answers_is_known_to_be_so(
    database: Database, ledger: Ledger, clock: ManualClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever people say before and behind it."""
    shops = await read(database, ledger, clock, tmp_path)
    library = Library(database)
    lines = []
    for language, its in shops.items():
        total = sum(one.passages for one in await library.sources() if one.base == language)
        assert total >= 60
        assert len(its.answered) >= 40
        lines.append(f"{language}: {total} passages, {len(its.answered)} + {len(its.unknown)} questions")
        for place, around in enumerate(its.around):
            # Behind the bare ones, each is asked with some: it takes long, and all have their turn.
            asking = its.answered[place % 3 :: 3] if place else its.answered
            judged = [(one, await judge(library, language, asked(around.replace("{}", one.text)))) for one in asking]
            missed = [one.text for one, about in judged if one.title not in first_five(about)]
            refused = [one.text for one, about in judged if not about.grounded]
            unknown = [
                (said, await judge(library, language, asked(around.replace("{}", said)))) for said in its.unknown
            ]
            answered = [said for said, about in unknown if about.grounded or about.idle]
            recall, answers = 1 - len(missed) / len(judged), 1 - len(refused) / len(judged)
            refuses = 1 - len(answered) / len(unknown)
            lines.append(
                f"  recall at 5 {recall:.3f}, strict answers {answers:.3f}, refuses {refuses:.3f} | {around!r}; "
                f"missed {missed}, wrongly refused {refused}, wrongly answered {answered}"
            )
            assert recall >= 0.95, lines[-1]
            assert answers >= 0.95, lines[-1]
            assert refuses >= 0.95, lines[-1]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")


async def test_who_asks_two_things_gets_passages_for_both(
    database: Database, ledger: Ledger, clock: ManualClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shops = await read(database, ledger, clock, tmp_path)
    library = Library(database)
    lines = []
    for language, its in shops.items():
        pairs = list(zip(its.answered[::3], its.answered[20::3] + its.answered[:20:3], strict=False))
        lacking = []
        for pair in pairs:
            told = its.around[2].replace("{}", " ".join(f"{one.text.rstrip('?')}?" for one in pair))
            found = await judge(library, language, asked(told))
            assert found.grounded, told
            lacking += [f"{one.title}: {told}" for one in pair if one.title not in first_five(found)]
        recall = 1 - len(lacking) / (2 * len(pairs))
        lines.append(f"{language:6}two questions: recall at 5 {recall:.3f}; missed {lacking}")
        assert recall >= 0.95, lines[-1]
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
    rare = await judge(library, "default", asked("common tea or matcha"))
    assert rare.found[0].title == "item rare"
    common = await judge(library, "default", asked("green tea"))
    assert common.grounded
    assert all("green" in one.text for one in common.found)
