"""What is a person's, in every table there is: found, counted, removed, and nothing of anybody else's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from chatferry.cli.forget import known, survey
from chatferry.ledger import people, profiles
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.people import Person
from chatferry.ledger.retention import OF_A_TURN
from chatferry.ledger.tables import files, memories, metadata, steps, turns
from chatferry.model import Inbound, Message, Text, says
from chatferry.testing import ManualClock

ANN = Person("board", "ann")
NOBODYS = {"keys", "vault", "tombstones", "api_keys", "sources", "passages", "terms", "incidents", "alarms", "usage"}
"""Tables that hold nothing about people who write to us."""


def says_(who: str, text: str, room: str, event: str = "", **more: Any) -> Inbound:
    message = Message("user", (Text(text),), author=who)
    return Inbound(event or f"{room} {text}", room, message=message, sender=who, ref=text, **more)


async def answered(ledger: Ledger, talk: str, *said: Message, before: Sequence[Message] = ()) -> int:
    turn = await ledger.claim(talk)
    assert turn is not None
    if before:
        await ledger.briefed(turn, turn.inbound, before)
    turn = await ledger.answered(turn, says("assistant", "so"), [says("assistant", "so")])
    await ledger.finish(turn, [turn.inbound.said or says("user", ""), says("assistant", "so")])
    return turn.id


@pytest.fixture
async def filled(ledger: Ledger, database: Database) -> Ledger:
    """Ann alone and among others, with something in every table; and Bob."""
    for room, who, text in (("ann", "ann", "heron"), ("thread", "ann", "heron two"), ("thread", "bob", "badger")):
        await ledger.accept("board", [says_(who, text, room)])
        before = [Message("user", (Text(f"{name} before"),), author=name) for name in ("ann", "cyd")]
        await answered(ledger, f"board:{room}", before=before if text == "heron two" else ())
    ids = {row.ref: row.id for row in await ledger.look(lambda connection: connection.execute(sa.select(turns)).all())}

    def fill(connection: sa.Connection) -> None:
        for text in ("heron", "badger"):
            step = {"turn": ids[text], "round": 0, "place": 0, "said": text, "call": "{}", "key": "k", "began_at": 0.0}
            connection.execute(sa.insert(steps).values(step))
            file = {"id": ids[text], "turn": ids[text], "media_type": "text/plain", "data": text.encode()}
            connection.execute(sa.insert(files).values(file))
        for talk in ("board:ann", "board:thread"):
            row = {"conversation": talk, "since": 0, "first": 1, "upto": 9, "summary": "heron", "began_at": 0.0}
            connection.execute(sa.insert(memories).values(row))
        for who in ("ann", "anna", "bob"):
            key = profiles.key("board", who, "default")
            row = {"person": key, "since": 0, "facts": '[{"text":"heron","at":0.0}]', "oldest_at": 0.0}
            connection.execute(sa.insert(metadata.tables["profiles"]).values(row))

    await database.write(fill)
    return ledger


async def left(ledger: Ledger) -> str:
    def read(connection: sa.Connection) -> str:
        return repr([connection.execute(sa.select(table)).all() for table in metadata.sorted_tables])

    return await ledger.look(read)


async def forget(ledger: Ledger, person: Person = ANN) -> list[Any]:
    await ledger.withdraw(person, 10_000)
    found, _ = await ledger.look(partial(people.talks, person=person))
    done = [await ledger.forget(talk, 10_000) for talk in found]
    own = [talk.address for talk in found if not talk.shared]
    return [*done, await ledger.forget_rest(person, own)]


async def test_everything_of_a_person_is_found_and_goes_and_others_stay(filled: Ledger) -> None:
    counts = await survey(filled, ANN, 10_000)
    assert counts["turns"] == 2
    assert counts["files"] == counts["steps"] == counts["profiles"] == 1
    await forget(filled)
    after = await left(filled)
    assert "badger" in after
    assert "cyd before" in after
    assert after.count("heron") == 2, "what is noted of anna, and of bob"
    assert "'ann'" not in after
    assert "ann before" not in after
    assert await known(filled, "ann", "") == []
    assert await survey(filled, Person("board", "bob"), 10_000) != {}


async def test_what_was_said_before_we_came_hangs_on_a_turn_that_tells_nothing(filled: Ledger) -> None:
    await forget(filled)

    def shell(connection: sa.Connection) -> Any:
        row = people.before_row(connection, "board:thread")
        return connection.execute(sa.select(turns).where(turns.c.id == row.turn)).one()

    row = await filled.look(shell)
    assert (row.sender, row.ref, row.kind, row.answer) == ("", "", "heard", None)
    assert row.event == f"forgotten/{row.id}"
    said = [message.text async for message in filled.history("board:thread", row.id)]
    assert said == ["so", "badger", "cyd before"]


async def test_a_forgotten_event_is_kept_out_for_a_day_and_then_nothing_is_left_of_it(
    filled: Ledger, clock: ManualClock
) -> None:
    event = says_("ann", "heron", "ann")
    await forget(filled)
    assert [one.turn for one in await filled.accept("board", [event])] == [0]
    assert (await filled.accept("board", [says_("ann", "new", "ann")]))[0].new
    clock.advance(86_401.0)
    await filled.lapse()
    assert (
        await filled.look(lambda connection: connection.execute(sa.select(metadata.tables["tombstones"])).all())
    ) == []


async def test_a_group_is_nobody_and_a_program_s_talk_is_known_by_its_address(ledger: Ledger) -> None:
    for who in ("ann", "bob"):
        await ledger.accept("board", [says_(who, f"by {who}", "club")])
    await ledger.accept("api", [Inbound("e1", "key/customer-42", message=says("user", "heron"), sender="key")])
    await ledger.accept("api", [Inbound("e2", "key/customer-43", message=says("user", "badger"), sender="key")])
    assert await known(ledger, "club", "") == []
    [customer] = await known(ledger, "api:key/customer-42", "")
    await forget(ledger, customer)
    after = await left(ledger)
    assert "heron" not in after
    assert "badger" in after


def test_every_table_is_known_to_hold_something_of_people_or_not() -> None:
    connection = sa.create_engine("sqlite://").connect()
    elsewhere = {table.name for table, _ in people.elsewhere(ANN, (), connection.dialect.name)}
    connection.close()
    connection.engine.dispose()
    of_a_turn = {table.name for table, _ in OF_A_TURN}
    of_a_talk = {"sessions", "memories", "asks"}
    assert of_a_turn | of_a_talk | elsewhere | NOBODYS == set(metadata.tables), (
        "sort the new table: what does it hold about people, and how is that exported (export.py), forgotten "
        "(forgetting.py, people.elsewhere) and described (docs/people.md)?"
    )
