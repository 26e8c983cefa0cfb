"""No query of the ledger grows with history: each finds its rows by an index, as SQLite's own planner tells."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from chatferry.ledger import Ledger
from chatferry.model import Attempt, Grant, Inbound, Kind, Receipt, says

SMALL = ("turns_open", "turns_due", "turns_leased", "turns_one_doing", "turns_retracted", "outbox_open")
"""Indexes of what is open now: to read one of them whole is to read what has to be done."""


@contextlib.contextmanager
def executed() -> Iterator[dict[str, Any]]:
    """Every statement that is executed meanwhile, with its parameters."""
    found: dict[str, Any] = {}

    def note(_c: object, _k: object, statement: str, parameters: Any, _x: object, many: bool) -> None:
        found[statement] = parameters[0] if many else parameters

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def about(kind: Kind, ref: str, *, joined: bool = False) -> Inbound:
    return Inbound(f"{kind} {ref}", "room", kind, says("user", kind), sender="ann", ref=ref, joined=joined)


async def everything(ledger: Ledger) -> None:
    """Whatever may happen to turns, once."""
    question = msgspec.structs.replace(about("message", "m1"), grant=Grant("token", 2e9))
    await ledger.accept("board", [question, about("message", "m2")])
    await ledger.accept("board", [about("heard", "m3", joined=True), about("retract", "m9", joined=True)])
    await ledger.accept("board", [question])
    turn = await ledger.claim("board:room")
    assert turn is not None
    await ledger.renew([turn])
    turn = await ledger.absorb(turn, await ledger.waiting(turn, "message"))
    piece = await ledger.draft(turn, says("assistant", "…"), Attempt(key="k1"))
    piece = await ledger.begun(turn, piece, Receipt("p1"))
    await ledger.briefed(turn, turn.inbound, [says("user", "before")])
    turn = await ledger.answered(turn, says("assistant", "a b"), [says("assistant", c) for c in "ab"], drafts=[piece])
    pieces = await ledger.pending("board:room")
    turn = await ledger.sending(turn, pieces, Attempt(key="k2"))
    turn = await ledger.unsent(turn, pieces)
    await ledger.sent(turn, [(pieces[0], Receipt("p1"))])
    await ledger.finish(turn, [says("user", "q"), says("assistant", "a b")], sent=[(pieces[1], Receipt("p2"))])
    for kind in ("change", "retract", "stop", "erase"):
        await ledger.accept("board", [about(kind, "p1" if kind in ("stop", "erase") else "m2")])
    erase = await ledger.claim("board:room")
    assert erase is not None
    assert await ledger.answer_of("board:room", "p1") is not None
    await ledger.erased(erase, turn.id)
    await ledger.finish(erase, state="failed")
    await ledger.reopen(erase.id)
    assert [message async for message in ledger.history("board:room")]
    await ledger.acquainted("board:room")
    await ledger.due()
    await ledger.backlog()
    await ledger.entries()
    await ledger.adopt()


async def test_every_statement_finds_its_rows_by_an_index(ledger: Ledger, tmp_path: Path) -> None:
    with executed() as statements:
        await everything(ledger)
    assert len(statements) > 25
    wide = {}
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        for statement, parameters in statements.items():
            if not statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE")):
                continue
            plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            scans = [step for step in plan if re.match(r"SCAN (turns|outbox|messages)", step)]
            if bad := [step for step in scans if not any(name in step for name in SMALL)]:
                wide[statement] = bad
    assert wide == {}
