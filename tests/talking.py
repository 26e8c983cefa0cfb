"""What people say to an assistant with sessions, and what became of it in the ledger."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from chatferry.ledger.accepting import Accepted
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.sessions import Gate
from chatferry.ledger.tables import sessions
from chatferry.model import Inbound, Turn, express_key, says

ROOM, LANE = "board:room", express_key("board:room")
IGNORED = Accepted(0, False)
TTL = 300.0


def asks(event: str, text: str = "hi", *, room: str = "room", joined: bool = False) -> Inbound:
    return Inbound(event, room, "message", says("user", text), sender="ann", ref=f"m-{event}", joined=joined)


def orders(event: str, name: str, *, room: str = "room") -> Inbound:
    return msgspec.structs.replace(asks(event, f"/{name}", room=room), kind="command", command=name)


def opening(event: str, text: str) -> Inbound:
    """A question right behind the command."""
    return msgspec.structs.replace(asks(event, text), command="start")


def told(event: Inbound, text: str = "not here") -> Inbound:
    return msgspec.structs.replace(event, kind="command", command="reply", reply=text)


def gate(ttl: float | None = TTL, *, always: bool = False, outside: Inbound | None = None) -> Gate:
    return Gate(ttl, always, outside)


async def takes(ledger: Ledger, event: Inbound, its: Gate | None) -> Accepted:
    [accepted] = await ledger.accept("board", [event], [its])
    return accepted


async def begins(ledger: Ledger, its: Gate | None = None) -> Accepted:
    return await takes(ledger, orders("begin", "start"), its or gate())


async def claimed(ledger: Ledger, lane: str = ROOM) -> Turn:
    turn = await ledger.claim(lane)
    assert turn is not None
    return turn


async def answers(ledger: Ledger, text: str = "reply", *, lane: str = ROOM) -> Turn:
    """Answer the next turn, and remember both sides."""
    turn = await claimed(ledger, lane)
    said = says("assistant", text)
    turn = await ledger.answered(turn, said, [], finish=turn.finish)
    asked = turn.inbound.said
    remembered = [asked, said] if turn.inbound.kind == "message" and asked is not None else []
    await ledger.finish(turn, remembered)
    return turn


async def came_of(ledger: Ledger, accepted: Accepted) -> str:
    [entry] = await ledger.entries(turn=accepted.turn)
    return entry.finish


async def inbound(ledger: Ledger, accepted: Accepted) -> Inbound:
    shown = await ledger.shown(accepted.turn)
    assert shown is not None
    return shown.inbound


async def known(ledger: Ledger, turn: int) -> list[str]:
    """What the model is told of the past for this turn, oldest first."""
    return [message.text async for message in ledger.history(ROOM, turn)][::-1]


async def rows(database: Database) -> list[tuple[int, bool]]:
    """The sessions, oldest first."""
    query = sa.select(sessions.c.turn, sessions.c.open).order_by(sessions.c.turn)
    found = await database.read(lambda connection: connection.execute(query).all())
    return [(row.turn, row.open) for row in found]


async def claimed_and_closed(ledger: Ledger) -> Turn:
    turn = await claimed(ledger)
    await ledger.finish(turn)
    return turn


ALWAYS = gate(always=True)
