"""`chatferry forget`: nothing of a person is left anywhere, nobody else loses a word, and nothing comes back."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from chatferry.cli.forget import REMAINS, remove
from chatferry.gateway import Gateway
from chatferry.ledger import tombstones
from chatferry.ledger.database import open_database
from chatferry.ledger.people import in_order
from chatferry.ledger.tables import metadata
from chatferry.simulator import line_people
from chatferry.simulator.model import Break
from tests.scenarios.support import CLUB, asked, ended, screen, texts, until, world

pytestmark = pytest.mark.usefixtures("layout")

ANN = line_people.address("U", "ann")


async def forget(gateway: Gateway, folder: Path, who: str = ANN, **given: Any) -> dict[str, Any]:
    """Run the command beside the gateway; its proof."""
    options: dict[str, Any] = {"yes": True, "report": folder / "proof.json", "clock": gateway.clock} | given
    assert await remove(gateway.settings.server, who, **options) == 0
    proof: dict[str, Any] = json.loads((folder / "proof.json").read_text("utf-8"))
    return proof


async def everything(gateway: Gateway, folder: Path) -> str:
    """All that any table holds, and on SQLite the bytes of the files."""
    database = open_database(gateway.settings.server.database)

    def read(connection: sa.Connection) -> str:
        names = [*metadata.tables, *(["chatferry_pgqueuer"] if connection.dialect.name == "postgresql" else [])]
        rows = [connection.execute(sa.text(f"SELECT * FROM {name}")).all() for name in names]  # noqa: S608
        return repr(rows)

    said = await database.read(read)
    await database.aclose()
    for path in sorted(folder.glob("chatferry.db*")):  # noqa: ASYNC240 - small files
        said += path.read_bytes().decode("latin-1") + path.read_bytes().decode("utf-8", "replace")
    return said


Rows = dict[str, list[dict[str, Any]]]


async def rows(gateway: Gateway) -> Rows:
    """All that any table holds, by the order of its keys."""

    def read(connection: sa.Connection) -> Rows:
        tables = metadata.tables.values()
        found = {table: connection.execute(sa.select(table)).mappings().all() for table in tables}
        return {table.name: [dict(row) for row in in_order(table, its)] for table, its in found.items()}

    return await gateway.ledger.look(read)


async def test_nothing_is_left_of_a_person_and_others_keep_every_word(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"groups": "all"}) as it, it.gateway() as gateway:
        for n in range(3):
            await it.line.say("ann", f"heron {n}")
        await it.line.say("bob", "badger alone")
        await it.line.say("ann", "heron among us", group="club")
        await it.line.say("bob", "badger among us", group="club")
        await it.line.say("ann", "/help")
        await ended(gateway, 7, it.clock)
        before = await everything(gateway, tmp_path)
        assert "heron" in before
        assert ANN in before

        proof = await forget(gateway, tmp_path)

        after = await everything(gateway, tmp_path)
        assert "heron" not in after
        assert ANN not in after
        assert after.count("echo: badger") >= 2
        assert proof["removed"]["turns"]["rows"] == 5
        assert proof["left"] == {}
        assert "heron" not in json.dumps(proof)
        assert ANN not in json.dumps(proof)

        await it.line.say("ann", "hello again")
        await it.line.say("bob", "go on", group="club")
        await ended(gateway, 4, it.clock)
        assert screen(it.line)[-1] == "echo: hello again"
        assert texts(it.line.chats[CLUB])[-1] == "echo: go on"


async def test_the_proof_says_of_each_table_what_was_there_and_is_not_any_more(tmp_path: Path) -> None:
    async with world(tmp_path, assistant={"budget": {"messages": 50}}) as it, it.gateway() as gateway:
        for n in range(3):
            await it.line.say("ann", f"heron {n}")
            await it.line.say("bob", f"badger {n}")
        await it.line.say("ann", "/help")
        await ended(gateway, 7, it.clock)
        before, began = await rows(gateway), time.time()

        proof = await forget(gateway, tmp_path)

        after = await rows(gateway)
        gone = {name: [row for row in its if row not in after[name]] for name, its in before.items()}
        counts = {name: len(its) for name, its in gone.items() if its}
        assert counts == {"budgets": 1, "messages": 6, "outbox": 4, "turns": 4}
        removed = proof.pop("removed")
        # PgQueuer's own table: what waits there is no row of ours.
        assert {name: its["rows"] for name, its in removed.items() if name != "chatferry_pgqueuer"} == counts
        for name in counts:
            told = b"".join(
                json.dumps([*row.values()], ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
                for row in gone[name]
            )
            digest = hashlib.sha256(hashlib.sha256(told).digest()).hexdigest()
            assert removed[name]["sha256"] == digest, name

        its_own = proof.pop("sha256")
        assert its_own == hashlib.sha256(json.dumps(proof | {"removed": removed}, sort_keys=True).encode()).hexdigest()
        at, out = (datetime.fromisoformat(proof.pop(name)).timestamp() for name in ("at", "kept_out_until"))
        assert began - 1 <= at <= time.time()
        assert out - at == pytest.approx(tombstones.REDELIVERED, abs=1)
        assert 0 <= proof.pop("seconds") <= time.time() - began
        assert proof.pop("database")[0]
        assert proof == {
            "format": "chatferry-forgotten",
            "version": 1,
            "person": hashlib.sha256(f"line:{ANN}".encode()).hexdigest(),
            "channel": "line",
            "upto": 7,
            "rewritten": {},
            "remains": list(REMAINS),
            "left": {},
        }


async def test_what_a_person_cost_stays_in_the_month_of_the_assistant(tmp_path: Path) -> None:
    priced = {"price": {"prompt": 1.0, "completion": 100.0}}
    budget = {"budget": {"messages": 50, "money": 1.0}}
    async with world(tmp_path, assistant=budget, model=priced) as it, it.gateway() as gateway:
        await it.line.say("ann", "heron")
        await ended(gateway, 1, it.clock)
        before = (await rows(gateway))["budgets"]
        day, month = (next(row for row in before if (ANN in row["key"]) is hers) for hers in (True, False))
        assert day["cost"] == month["cost"] > 0
        await forget(gateway, tmp_path)
        assert (await rows(gateway))["budgets"] == [month]


async def test_what_is_being_answered_or_waits_is_withdrawn_and_does_not_come_back(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        first = await it.line.say("ann", "heron one")
        await it.model.hanging.wait()
        second = await it.line.say("ann", "heron two")
        await forget(gateway, tmp_path)
        for delivery in (first, second):
            await it.line.deliver(delivery.events, redelivery=True)
        it.model.release.set()
        await it.line.say("bob", "badger")
        await it.line.seen("bob", 1)
        it.clock.advance(120.0)
        await until(lambda: not gateway.worker.running, it.clock)
        await asyncio.sleep(0)
        assert "heron" not in await everything(gateway, tmp_path)
        assert screen(it.line) == []
        assert len(it.model.requests) == 2
        await it.line.say("ann", "hello again")
        await it.line.seen("ann", 1)


async def test_a_dry_run_shows_what_there_is_and_removes_nothing(tmp_path: Path, capsys: Any) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        await it.line.say("ann", "heron")
        await ended(gateway, 1, it.clock)
        assert (
            await remove(
                gateway.settings.server, f"line:{ANN}", "line", yes=True, dry_run=True, anew=False, report=None
            )
            == 0
        )
        told = capsys.readouterr().out
        assert told.endswith(f"line:{ANN}: 1 outbox, 2 messages, 1 turns\nnothing was removed: this was a dry run\n")
        assert "heron" in await everything(gateway, tmp_path)
        assert await remove(gateway.settings.server, "U0", yes=True) == 1


async def test_what_was_answered_together_with_others_stays_with_their_words_alone(tmp_path: Path) -> None:
    async with (
        world(tmp_path, channel={"groups": "all"}, assistant={"busy": "merge"}) as it,
        it.gateway() as gateway,
    ):
        it.model.plans.append(Break("hang"))
        await it.line.say("cyd", "first", group="club")
        await it.model.hanging.wait()
        for who, said in (("bob", "badger one"), ("ann", "heron two"), ("bob", "badger three")):
            await it.line.say(who, said, group="club")
        it.model.release.set()
        await ended(gateway, 4, it.clock)
        assert any("heron two" in text and "badger one" in text for text in texts(it.line.chats[CLUB]))

        proof = await forget(gateway, tmp_path)

        after = await everything(gateway, tmp_path)
        assert "heron" not in after
        assert ANN not in after
        assert "badger one" in after
        assert "badger three" in after
        assert proof["rewritten"]["messages"] == 1
        await it.line.say("bob", "what did we say?", group="club")
        await ended(gateway, 4, it.clock)
        assert "badger one" in "\n".join(asked(it.model))
        assert "heron" not in "\n".join(asked(it.model))


async def test_a_question_of_others_that_is_being_answered_is_asked_anew_without_the_persons_words(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, channel={"groups": "all"}) as it, it.gateway() as gateway:
        await it.line.say("ann", "heron", group="club")
        await ended(gateway, 1, it.clock)
        it.model.plans.append(Break("hang"))
        await it.line.say("bob", "badger", group="club")
        await it.model.hanging.wait()
        assert "heron" in "\n".join(asked(it.model))
        await forget(gateway, tmp_path)
        it.model.release.set()
        await until(lambda: len(texts(it.line.chats[CLUB])) == 2, it.clock)
        assert "heron" not in "\n".join(asked(it.model))
        assert texts(it.line.chats[CLUB])[1] == "echo: badger"
        assert "heron" not in await everything(gateway, tmp_path)
