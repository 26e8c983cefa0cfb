"""No query of the ledger grows with history: each finds its rows by an index, as the databases' own planners tell."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from chatferry.cli.export import talk_kept, turns_kept
from chatferry.cli.forget import known, survey
from chatferry.engines.base import Call, Picture, Result
from chatferry.knowledge.cutting import Passage
from chatferry.knowledge.library import Library
from chatferry.knowledge.questions import asked
from chatferry.knowledge.shelves import Add, Complete, Open, Remove, Retire
from chatferry.knowledge.sync import shelved
from chatferry.ledger import people
from chatferry.ledger.answers import Keep
from chatferry.ledger.budgets import Besides, Budget, Charge
from chatferry.ledger.consent import Ask
from chatferry.ledger.database import Database
from chatferry.ledger.guests import Knock
from chatferry.ledger.incidents import Verdict
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.operations import Kept
from chatferry.ledger.pacing import Pace
from chatferry.ledger.people import Person
from chatferry.ledger.recalling import Memory
from chatferry.ledger.retention import Place
from chatferry.ledger.sessions import Gate
from chatferry.ledger.steps import Returned, Step
from chatferry.model import Attempt, File, Grant, Inbound, Kind, Message, Receipt, Usage, says
from chatferry.rate import Rate
from chatferry.testing import ManualClock

DAY = 86_400.0
TABLES = (
    "turns|outbox|messages|sessions|pace|memories|profiles|steps|files|sources|passages|terms|api_keys|budgets|answers"
    "|usage|guests|tombstones|asks"
)
SMALL = ("turns_open", "turns_asking", "turns_due", "turns_leased", "turns_one_doing", "turns_retracted", "outbox_open")
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
    await ledger.calling(turn, [Step(0, 0, "", Call("c", "look", "{}"), "k")], Usage())
    await ledger.returned(turn, Returned(0, 0, Result("there")))
    assert len(await ledger.steps(turn.id)) == 1
    await ledger.spent(turn.id)
    shown = msgspec.structs.replace(turn.inbound.also[0], message=Message("user", (File("image", "", kept=7),)))
    looked = msgspec.structs.replace(turn.inbound, also=(shown,))
    await ledger.looked(turn, looked, [Kept(7, "image/png", b"png")])
    assert await ledger.pictures([7, 8]) == {7: Picture("image/png", b"png")}
    assert await ledger.picture("board:room", 7)
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
    assert [message async for message in ledger.history("board:room", turn.id)]
    await ledger.acquainted("board:room")
    await ledger.due()
    await ledger.progress([1, 2])
    await ledger.watch([1])
    await ledger.backlog()
    await ledger.used({"k": 1.0})
    await ledger.entries()
    await ledger.delivered([1, 2])
    await ledger.adopt()
    pace = Pace((("user board:ann", Rate(1, 60.0)), ("talk board:room", Rate(9, 60.0))), "first")
    for ref in ("m10", "m11", "m11"):
        await ledger.accept("board", [about("message", ref)], (), [pace])
    await ledger.accept("board", [about("message", "m12", joined=True)], (), [pace])


async def talks(ledger: Ledger, clock: ManualClock) -> None:
    """Sessions and commands, and answers that are fetched, once."""
    events = {ref: about("message", ref) for ref in ("s1", "s2", "s4")}
    orders = [msgspec.structs.replace(about("command", name), command=name) for name in ("start", "clear", "stop")]
    gate = Gate(300.0, False, None)
    for event in (orders[0], events["s1"], events["s1"], orders[1], events["s2"], orders[2], orders[0]):
        await ledger.accept("talk", [event], [gate])
    for event in (orders[0], events["s1"]):  # what is silent is looked at more closely
        await ledger.accept("quiet", [event], [gate])
    turn = await ledger.claim("quiet:room")
    assert turn is not None
    opened = turn.id
    await ledger.finish(turn, [says("user", "q"), says("assistant", "a")])
    clock.advance(301.0)
    assert (await ledger.accept("quiet", [events["s2"]], [gate]))[0].new
    assert [one.open for one in await ledger.sections("quiet:room", 0, 1000)] == [False, True]
    parked = []
    for text in ("one", "two"):
        turn = await ledger.claim("talk:room")
        assert turn is not None
        turn = await ledger.answered(turn, says("assistant", text), [says("assistant", text)] * 3)
        await ledger.finish(turn, [says("user", "q"), says("assistant", text)], state="parked")
        parked.append(turn.id)
    pieces = [piece.id for piece in await ledger.parked("talk:room")]
    assert await ledger.replied(parked[0], "said", pieces[:3]) == "said"
    await ledger.unreplied(parked[0], "talk:room")
    await ledger.opened(parked[0])
    await ledger.accept("talk", [events["s4"]])
    assert await ledger.halt((await ledger.accept("talk", [events["s4"]]))[0].turn)
    turn = await ledger.claim("talk:room")
    assert turn is not None
    await ledger.gather(turn, await ledger.pending("talk:room"), "there")
    await ledger.standing(turn.id)
    await ledger.shown(turn.id)
    await ledger.finish(turn, state="failed")
    assert await ledger.said("talk:room", before=turn.id, limit=5)
    assert [message async for message in ledger.history("quiet:room", opened)]


async def memory(ledger: Ledger) -> None:
    """Whatever is remembered, and forgotten, once."""
    for ref in ("n1", "n2"):
        await ledger.accept("mind", [about("message", ref)])
        turn = await ledger.claim("mind:room")
        assert turn is not None
        await ledger.finish(turn, [says("user", "q"), says("assistant", "a")])
    assert turn is not None
    for _ in range(2):  # into an empty row, and over it
        found = await ledger.recalled("mind:room", turn.id, across=True, person="ann")
        assert [message async for message in ledger.said_since(found)]
        lines = [line async for line in ledger.unfolded(found)]
        assert await ledger.folded("mind:room", found.row, Memory(0, found.low, lines[0].turn, "notes", 1.0), lines[:2])
    await ledger.noted("ann", turn.id, "likes tea")
    await ledger.accept("mind", [about("retract", "n1")])
    forget = msgspec.structs.replace(about("command", "forget"), command="forget", assistant="default")
    await ledger.accept("mind", [forget])


async def watched(ledger: Ledger, clock: ManualClock) -> None:
    """Alerts are looked at, an incident begins, and somebody is told, once."""
    await ledger.outcomes(clock.now() - 15.0, clock.now())
    for channel in (None, "board"):
        await ledger.waited(channel)
    for _ in range(2):
        assert await ledger.watch_over(["success"], "me", 30.0)
    await ledger.raise_alerts(["success"])
    await ledger.judged([Verdict("success", clock.now(), 0.5, 20, 60.0, ("slack:C0123456789",))], "me")
    (alarm,) = await ledger.alarms(["slack:C0123456789"], 60.0)
    await ledger.alarmed(alarm, again=5.0)
    await ledger.alarmed(alarm)
    assert [one.open for one in await ledger.incidents()] == [True]


async def costs(ledger: Ledger, clock: ManualClock) -> None:
    """What is asked is charged, what was used is told, and answers are kept to be given again, once."""
    day, month = clock.now() + 0.4 * DAY, clock.now() + 9 * DAY
    budget = Budget("board", "ann", "day shop board:ann", day, 2, 900, 9, "month shop", month, 900, "person")
    bought = [msgspec.structs.replace(about("message", ref), conversation="till") for ref in ("u1", "u2", "u3")]
    await ledger.accept("board", bought, (), (), (), [budget] * 3)
    turn = await ledger.claim("board:till")
    assert turn is not None
    charge = Charge(budget.month, month, 9, 9)
    turn = await ledger.answered(turn, says("assistant", "a"), [], usage=Usage(7, 2, 9), charges=(charge,))
    await ledger.finish(turn, [])
    await ledger.besides(Besides(turn.id, "shop", Usage(1, 1, 1), (charge,)))
    assert await ledger.warned(budget.month, 80)
    assert await ledger.purses([budget.month]) == {budget.month: 18}
    assert await ledger.usage(0.0, clock.now() + DAY, ZoneInfo("UTC"), people=True)
    for key in ("k1", "k2"):
        clock.advance(1.0)
        await ledger.keep_answer(Keep(key, "shop", turn.id, "a", "m", clock.now(), 1, DAY))
    assert await ledger.begin_answer("k1", "shop", turn, DAY)
    await ledger.drop_answer("k1", turn)
    assert await ledger.kept_answer("k1", DAY) is None
    await ledger.touch_answer("k2")
    assert await ledger.kept_answer("k2", DAY) is not None


async def past(ledger: Ledger, clock: ManualClock) -> None:
    """What is old is removed, and what there is is counted, once."""
    clock.advance(DAY)
    assert (await ledger.prune(clock.now() - DAY / 2, Place())).removed["turns"]
    await ledger.census()


async def read(ledger: Ledger, database: Database) -> None:
    """What answers rest on is read, searched and forgotten, once."""
    for text in ("one", "two"):
        source = await ledger.shelve(Open("default", "a.md", text, 0.0))
        await ledger.shelve(Add(source, "default", (shelved(Passage("Title", 1, f"a passage {text}")),)))
        await ledger.shelve(Complete(source, "default", "a.md", 1, 0.0))
    assert await Library(database).search("default", asked("passage two"))
    await ledger.shelve(Retire((source,)))
    assert await ledger.shelve(Remove(source, "default")) == 1


async def belongings(ledger: Ledger, clock: ManualClock) -> None:
    """What is somebody's is found, shown and removed; and strangers are let in, once."""
    for room, who in (("ann", "ann"), ("club", "ann"), ("club", "bob")):
        event = msgspec.structs.replace(about("message", f"p {room} {who}"), conversation=room, sender=who)
        await ledger.accept("board", [event])
        turn = await ledger.claim(f"board:{room}")
        assert turn is not None
        ask = Ask("bob", 2e9) if who == "bob" else None
        turn = await ledger.answered(turn, says("assistant", "a"), [says("assistant", "a")], ask=ask)
        await ledger.finish(turn, [says("user", "q"), says("assistant", "a")])
    stranger = msgspec.structs.replace(about("message", "p knock"), sender="eve", consent="yes")
    knock = Knock("board:eve", "board:club", code=True)
    await ledger.accept("board", [msgspec.structs.replace(stranger, conversation="club")], (), (), [knock])
    ann = Person("board", "ann")
    assert "board" in await ledger.look(people.channels)
    found = await known(ledger, "ann", "board")
    assert found == [ann]
    assert (await survey(ledger, ann, 10_000))["turns"] > 1
    talks_, _ = await ledger.look(partial(people.talks, person=ann))
    for talk in talks_:
        await ledger.look(partial(talk_kept, talk=talk))
        assert await ledger.look(partial(turns_kept, talk=talk, past=0, upto=10_000))
    await ledger.withdraw(ann, 10_000)
    for talk in talks_:
        await ledger.forget(talk, 10_000)
    await ledger.forget_rest(ann, ["ann"])
    await ledger.stand("board:ann", "out")
    await ledger.lapse()


HISTORY = """
    INSERT INTO turns (channel, event, conversation, kind, state, due_at, inbound, ref, lease, leased_until, attempts,
                       accepted_at, finish, model, prompt_tokens, completion_tokens, error)
        SELECT 'old', n::text, 'old:' || n % 1000, 'message', 'done', n, '{}', n::text, 1, 0, 1, n, 'stop', '', 0, 0, ''
        FROM generate_series(1, 20000) n;
    INSERT INTO messages (conversation, turn, role, body, said_at)
        SELECT conversation, id, role, '{}', 0 FROM turns, (VALUES ('user'), ('assistant')) roles (role)
        WHERE channel = 'old';
    INSERT INTO outbox (turn, conversation, message, notice, sent_at, receipt)
        SELECT id, conversation, '{}', false, 1, event FROM turns WHERE channel = 'old';
    INSERT INTO sessions (conversation, turn, open, began_at, seen_at)
        SELECT conversation, id, true, 0, 0 FROM turns WHERE channel = 'old';
    INSERT INTO memories (conversation, since, first, upto, summary, began_at)
        SELECT conversation || id, 0, 0, id, 's', 0 FROM turns WHERE channel = 'old';
    INSERT INTO profiles (person, since, facts, oldest_at)
        SELECT conversation || id, 0, '[]', id FROM turns WHERE channel = 'old';
    INSERT INTO api_keys (id, name, caller, digest, scopes, replaced, created_at)
        SELECT event, event, event, '', 'chat', false, 0 FROM turns WHERE channel = 'old';
    INSERT INTO steps (turn, round, place, said, call, key, began_at)
        SELECT id, 0, 0, '', '{}', '', 0 FROM turns WHERE channel = 'old';
    INSERT INTO answers (key, assistant, turn, answer, model, made_at, asked_at)
        SELECT 'k' || id, 'old', id, '', '', 0, 0 FROM turns WHERE channel = 'old';
    INSERT INTO budgets (key, ends_at, messages, tokens, cost, told)
        SELECT 'k' || id, 2e9, 0, 0, 0, 0 FROM turns WHERE channel = 'old';
    INSERT INTO usage (day, channel, assistant, model, turns, prompt_tokens, completion_tokens, cost)
        SELECT event, 'old', '', '', 1, 0, 0, 0 FROM turns WHERE channel = 'old';
    INSERT INTO guests (guest, standing, free_at, changed_at)
        SELECT conversation || id, 'in', 0, 0 FROM turns WHERE channel = 'old';
    INSERT INTO asks (conversation, turn, person, until)
        SELECT conversation || id, id, '', 0 FROM turns WHERE channel = 'old';
    INSERT INTO tombstones (event, until) SELECT event::bytea, 2e9 FROM turns WHERE channel = 'old';
    INSERT INTO pace (key, free_at, pause_until) SELECT conversation || id, 2e9, 0 FROM turns WHERE channel = 'old';
    INSERT INTO sources (base, path, digest, passages, current, changed_at)
        SELECT 'old', n::text, '', 20, true, 0 FROM generate_series(1, 1000) n;
    INSERT INTO passages (source, title, line, text, terms)
        SELECT s.id, '', n, '', 'word w' || n || ' x' || s.id FROM sources s, generate_series(1, 20) n;
    INSERT INTO terms (term, base, passages) SELECT 'w' || n, 'old', 1 FROM generate_series(1, 20000) n;
    INSERT INTO files (id, turn, media_type, data) SELECT id, id, '', '' FROM turns WHERE channel = 'old';
    ANALYZE;
"""
"""A past that makes it dear to read a table: PostgreSQL's planner goes by what is in it."""


def explained(statements: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for statement, parameters in statements.items():
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE")) and "pg_" not in statement:
            yield statement, parameters


def wide_on_sqlite(path: Path, statements: dict[str, Any]) -> dict[str, list[str]]:
    """What is read to its end, by statement."""
    wide = {}
    with contextlib.closing(sqlite3.connect(path)) as database:
        for statement, parameters in explained(statements):
            plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            scans = [step for step in plan if re.match(rf"SCAN ({TABLES})( |$)", step)]
            # What is read to the end before its first row is told: a talk and its sessions only grow.
            sorts = [
                step for step in plan if "TEMP B-TREE" in step and re.search(r"FROM (messages|sessions)", statement)
            ]
            # All turns of a talk, where those were meant that are open, or the one with a `ref`; one will do for some.
            if "LIMIT" not in statement:
                scans += [step for step in plan if step.endswith("INDEX turns_ref (conversation=?)")]
            if bad := [step for step in scans if not any(name in step for name in SMALL)] + sorts:
                wide[statement] = bad
    return wide


async def wide_on_postgresql(url: str, statements: dict[str, Any]) -> dict[str, list[str]]:
    import asyncpg

    connection = await asyncpg.connect(url)
    await connection.execute(HISTORY)
    wide = {}
    # As it is in the pool: one plan, whatever is asked.
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    for number, (statement, parameters) in enumerate(explained(statements)):
        await connection.execute(f"PREPARE s{number} AS {statement}")
        asked = f"({', '.join(['NULL'] * len(parameters))})" if parameters else ""
        (told,) = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE s{number}{asked}"))
        if bad := [node["Node Type"] for node in _nodes(told["Plan"]) if _reads_all(node)]:
            wide[statement] = bad
    await connection.close()
    return wide


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _reads_all(node: dict[str, Any]) -> bool:
    """Does it read a table, or an index that grows, to its end?"""
    if "Index Name" in node:
        return "Index Cond" not in node and node["Index Name"] not in SMALL
    return node["Node Type"] == "Seq Scan" and node["Relation Name"] in TABLES.split("|")


async def test_every_statement_finds_its_rows_by_an_index(
    database_url: str, database: Database, ledger: Ledger, clock: ManualClock, tmp_path: Path
) -> None:
    with executed() as statements:
        await everything(ledger)
        await talks(ledger, clock)
        await watched(ledger, clock)
        await memory(ledger)
        await belongings(ledger, clock)
        await costs(ledger, clock)
        await past(ledger, clock)
        await read(ledger, database)
    assert len(statements) > 50
    for removal in ("DELETE FROM pace", "DELETE FROM files", "DELETE FROM answers", "DELETE FROM budgets"):
        assert any(statement.startswith(removal) for statement in statements)
    if database_url.startswith("sqlite"):
        assert wide_on_sqlite(tmp_path / "ledger.db", statements) == {}
    else:
        assert await wide_on_postgresql(database_url, statements) == {}
