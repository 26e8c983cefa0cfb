"""Two thousand turns: the prompt keeps its budget, early facts are known, a turn costs what it cost at the start."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from chatferry.ledger.database import Database, migrate, open_database
from chatferry.testing import ManualClock
from tests.remembering import Mind, asks, counted, filler

BUDGET = 1200
STEPS = 50


@dataclass
class Cost:
    """What was asked of the database, by turn."""

    statements: list[int] = field(default_factory=lambda: [0])
    steps: list[int] = field(default_factory=lambda: [0])
    """Of SQLite's machine, in fifties: each row that is looked at costs some."""
    read: list[int] = field(default_factory=lambda: [0])
    """Messages in prompts."""

    def mean(self, of: str, first: int, last: int) -> float:
        counts: list[int] = getattr(self, of)
        return sum(counts[first:last]) / (last - first)


@contextlib.contextmanager
def costs() -> Iterator[Cost]:
    cost = Cost()

    def step() -> int:
        cost.steps[-1] += 1
        return 0

    def connect(connection: Any, _: object) -> None:
        if hasattr(connection, "set_progress_handler"):
            connection.set_progress_handler(step, STEPS)

    def note(*_: object) -> None:
        cost.statements[-1] += 1

    sa.event.listen(sa.Engine, "connect", connect)
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield cost
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
        sa.event.remove(sa.Engine, "connect", connect)


async def talk(database: Database, turns: int, cost: Cost) -> dict[int, str]:
    """So many turns, of which the third tells a name and every 250th asks for it: what was answered to that."""
    answers: dict[int, str] = {}
    async with Mind(database, ManualClock(), {"context_tokens": BUDGET}).open() as mind:
        for n in range(turns):
            if n == 2:
                await mind.say("my cat is called Momo")
            elif n % 250 == 249:
                answers[n] = await mind.say("what is my cat called?")
            else:
                await mind.take(asks(filler(n)))
            cost.read[-1] = len(mind.engine.prompts[-1].messages)
            for counts in (cost.statements, cost.steps, cost.read):
                counts.append(0)
        assert max(map(counted, mind.engine.prompts)) <= BUDGET, "by the model's own count"
        last = mind.engine.prompts[-1]
        assert "Momo" in last.system, "the summary knows it"
        assert not any("Momo" in said.text for said in last.messages), "and what was said last does not"
        # Right after something was folded there is less.
        assert max(map(counted, mind.engine.prompts[-10:])) > 0.4 * BUDGET, "the budget is used"
        assert len(mind.assistant.settings.instructions) + 4 * len(await mind.kept()) < 4 * BUDGET
    return answers


@pytest.mark.long
async def test_two_thousand_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.process_time()
    with costs() as cost:
        database = open_database(f"sqlite:///{tmp_path}/long.db")
        await migrate(database)
        answers = await talk(database, 2000, cost)
        await database.aclose()
    assert answers == dict.fromkeys(range(249, 2000, 250), "Momo")
    early, late = (100, 400), (1700, 2000)
    told = []
    for what, unit in (("statements", ""), ("steps", f" x {STEPS} SQLite steps"), ("read", " messages in the prompt")):
        before, after = cost.mean(what, *early), cost.mean(what, *late)
        told.append(f"{what} per turn {before:.1f} -> {after:.1f}{unit}")
        assert after <= before * 1.05 + 0.5, what
    with capsys.disabled():
        spent = time.process_time() - began
        sys.stdout.write(f"\n2,000 turns, {early} against {late}: {'; '.join(told)}; {spent:.1f} s of CPU\n")


async def test_the_same_on_postgresql(postgres_clean: str) -> None:
    database = open_database(postgres_clean)
    try:
        with costs() as cost:
            assert await talk(database, 260, cost) == {249: "Momo"}
        assert cost.mean("statements", 160, 260) <= cost.mean("statements", 60, 160) + 1.5
    finally:
        await database.aclose()
