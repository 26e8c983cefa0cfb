"""What the ledger knows of messages that grow on the platform, and of what was said before we came, on a real file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

import pytest

from chatferry.errors import LeaseLost
from chatferry.ledger.database import Sqlite, Work, migrate
from chatferry.ledger.ledger import Ledger
from chatferry.model import APOLOGY, Attempt, Grant, Inbound, Message, Piece, Receipt, Text, Turn, says
from chatferry.testing import ManualClock

GRANT = Grant("token", until=1_800_000_050.0, uses=3)
ROOM = "board:room"
T = TypeVar("T")


async def claimed(ledger: Ledger, event: str = "e1", *, grant: Grant | None = None, ref: str = "") -> Turn:
    """A turn that was asked by a new event."""
    said = Inbound(event, "room", message=says("user", "hi"), sender="ann", ref=ref, grant=grant)
    await ledger.accept("board", [said])
    return await again(ledger)


async def again(ledger: Ledger) -> Turn:
    turn = await ledger.claim(ROOM)
    assert turn is not None
    return turn


async def begun(ledger: Ledger, turn: Turn, *receipts: str) -> list[Piece]:
    """Messages that grow."""
    return [
        await ledger.begun(turn, await ledger.draft(turn, says("assistant", "…"), Attempt(key=one)), Receipt(one))
        for one in receipts
    ]


async def answered(ledger: Ledger, turn: Turn, drafts: list[Piece], *texts: str, finish: str = "") -> Turn:
    pieces = [says("assistant", text) for text in texts]
    return await ledger.answered(turn, says("assistant", " ".join(texts)), pieces, drafts=drafts, finish=finish)


async def pending(ledger: Ledger) -> list[tuple[str, str]]:
    return [(piece.receipt, piece.message.text) for piece in await ledger.pending(ROOM)]


async def said(ledger: Ledger) -> list[str]:
    """What is remembered, oldest first."""
    return [message.text async for message in ledger.history(ROOM, 1)][::-1]


# ── messages that grow ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_message_that_may_have_begun_is_known_by_its_key_until_it_has(ledger: Ledger) -> None:
    turn = await claimed(ledger)
    draft = await ledger.draft(turn, says("assistant", "…"), Attempt(key="k1"))
    assert await ledger.pending(ROOM) == [draft]
    assert (draft.attempt, draft.receipt) == (Attempt(key="k1"), "")
    out = await ledger.begun(turn, draft, Receipt("p1"))
    assert await ledger.pending(ROOM) == [out]
    assert (out.attempt, out.receipt) == (None, "p1")


async def test_what_grows_is_found_by_the_next_holder_and_lost_to_the_last(ledger: Ledger) -> None:
    turn = await claimed(ledger)
    drafts = await begun(ledger, turn, "p1", "p2")
    await ledger.release(turn)
    with pytest.raises(LeaseLost):
        await ledger.draft(turn, says("assistant", "…"), Attempt(key="k3"))
    with pytest.raises(LeaseLost):
        await ledger.begun(turn, drafts[0], Receipt("p9"))
    await again(ledger)
    assert await ledger.pending(ROOM) == drafts


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((), [("p1", ""), ("p2", "")]),
        (("one",), [("p1", "one"), ("p2", "")]),
        (("one", "two"), [("p1", "one"), ("p2", "two")]),
        (("one", "two", "three"), [("p1", "one"), ("p2", "two"), ("", "three")]),
    ],
)
async def test_an_answer_takes_the_places_of_what_grew(
    ledger: Ledger, texts: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    turn = await claimed(ledger)
    await answered(ledger, turn, await begun(ledger, turn, "p1", "p2"), *texts)
    assert await pending(ledger) == expected
    removed = [piece.receipt for piece in await ledger.pending(ROOM) if not piece.message.parts]
    assert removed == ["p1", "p2"][len(texts) :]


async def test_what_is_final_is_not_pending_any_more(ledger: Ledger) -> None:
    turn = await claimed(ledger)
    turn = await answered(ledger, turn, await begun(ledger, turn, "p1"), "one", "two")
    first, second = await ledger.pending(ROOM)
    await ledger.sent(turn, [(first, Receipt("p1"))])
    assert await pending(ledger) == [("", "two")]
    await ledger.finish(turn, sent=[(second, Receipt("p2"))])
    assert await pending(ledger) == []


async def test_a_growing_message_of_an_apology_is_there_for_the_next_answer(ledger: Ledger) -> None:
    turn = await claimed(ledger)
    turn = await answered(ledger, turn, await begun(ledger, turn, "p1"), "sorry", "really", finish=APOLOGY)
    await ledger.finish(turn)
    assert await ledger.reopen(turn.id)
    await again(ledger)
    assert await pending(ledger) == [("p1", "sorry")]


async def test_whose_answer_a_message_is(ledger: Ledger) -> None:
    turn = await claimed(ledger)
    await begun(ledger, turn, "p1")
    asked = turn.inbound
    assert await ledger.answer_of(ROOM, "p1") == (turn.id, asked, ["p1"]), "while it grows"
    turn = await answered(ledger, turn, await ledger.pending(ROOM), "one", "two")
    first, second = await ledger.pending(ROOM)
    await ledger.finish(turn, sent=[(first, Receipt("p1")), (second, Receipt("p2"))])
    other = await claimed(ledger, "e2")
    await begun(ledger, other, "p3")
    for receipt in ("p1", "p2"):
        assert await ledger.answer_of(ROOM, receipt) == (turn.id, asked, ["p1", "p2"])
    assert await ledger.answer_of("board:elsewhere", "p1") is None
    assert await ledger.answer_of(ROOM, "p9") is None
    assert await ledger.answer_of(ROOM, "") is None


# ── what is remembered ───────────────────────────────────────────────────────────────────────────────────────────


async def test_an_answer_that_was_removed_is_forgotten_and_its_question_is_not(ledger: Ledger) -> None:
    for event in ("e1", "e2"):
        turn = await claimed(ledger, event)
        await ledger.finish(turn, [says("user", f"q {event}"), says("assistant", f"a {event}")])
    erase = await claimed(ledger, "e3")
    await ledger.erased(erase, turn.id)
    assert await said(ledger) == ["q e1", "a e1", "q e2"]


async def test_what_was_said_before_we_came_is_the_oldest_that_we_remember(ledger: Ledger) -> None:
    turn = await claimed(ledger)
    before = [says("user", "one"), says("assistant", "two"), says("user", "three")]
    told = Inbound("e1", "room", message=Message("user", (Text("hi"),), name="Ann"))
    await ledger.briefed(turn, told, before)
    assert await said(ledger) == ["one", "two", "three"]
    await ledger.finish(turn, [says("user", "hi"), says("assistant", "hello")])
    assert await said(ledger) == ["one", "two", "three", "hi", "hello"]


async def test_what_the_platform_told_is_there_for_the_next_holder_and_told_once(ledger: Ledger) -> None:
    turn = await claimed(ledger)
    told = Inbound("e1", "room", message=says("user", "hi @bob"))
    await ledger.briefed(turn, told, [says("user", "one")])
    await ledger.release(turn)
    turn = await again(ledger)
    assert turn.inbound == told
    await ledger.briefed(turn, told, [says("user", "one"), says("user", "one and a half")])
    assert await said(ledger) == ["one"]


async def test_we_are_acquainted_once_we_have_answered_or_read_what_was_said(ledger: Ledger) -> None:
    assert not await ledger.acquainted(ROOM)
    turn = await claimed(ledger)
    heard = Inbound("h1", "room", "heard", says("user", "psst"), joined=True)
    await ledger.accept("board", [heard])
    assert not await ledger.acquainted(ROOM)
    await ledger.briefed(turn, turn.inbound, [says("user", "one")])
    assert await ledger.acquainted(ROOM)
    assert not await ledger.acquainted("board:elsewhere")


async def test_an_answer_makes_us_acquainted(ledger: Ledger) -> None:
    await ledger.finish(await claimed(ledger), [says("user", "hi"), says("assistant", "hello")])
    assert await ledger.acquainted(ROOM)


# ── leave for several calls ──────────────────────────────────────────────────────────────────────────────────────


async def test_leave_for_several_calls_is_spent_call_by_call(ledger: Ledger) -> None:
    turn = await claimed(ledger, grant=GRANT)
    assert turn.grant == GRANT
    turn = await ledger.notice(turn, says("assistant", "wait"), Attempt(GRANT))
    assert turn.grant == Grant("token", GRANT.until, uses=2)
    await ledger.sent(turn, [(piece, Receipt()) for piece in await ledger.pending(ROOM)])
    turn = await answered(ledger, turn, [], "one", "two", "three")
    for left in (Grant("token", GRANT.until), None):
        piece = (await ledger.pending(ROOM))[0]
        turn = await ledger.sending(turn, [piece], Attempt(turn.grant))
        assert turn.grant == left
        await ledger.sent(turn, [(piece, Receipt())])
    await ledger.release(turn)
    assert (await again(ledger)).grant is None


async def test_a_call_that_was_not_made_gives_its_leave_back_whole(ledger: Ledger) -> None:
    turn = await answered(ledger, await claimed(ledger, grant=GRANT), [], "one")
    pieces = await ledger.pending(ROOM)
    turn = await ledger.sending(turn, pieces, Attempt(GRANT))
    turn = await ledger.unsent(turn, pieces, GRANT)
    assert turn.grant == GRANT
    await ledger.retry(turn, 0.0, "busy")
    assert (await again(ledger)).grant == GRANT
    assert [piece.attempt for piece in await ledger.pending(ROOM)] == [None]


async def test_a_call_without_leave_spends_none(ledger: Ledger) -> None:
    turn = await claimed(ledger, grant=GRANT)
    piece = await ledger.draft(turn, says("assistant", "…"), Attempt(key="k1"))
    turn = await ledger.unsent(turn, [piece])
    turn = await ledger.sending(turn, [piece], Attempt(key="k2"))
    assert turn.grant == GRANT
    await ledger.release(turn)
    assert (await again(ledger)).grant == GRANT


class Behind(Sqlite):
    """Where nobody sees anything before `looks` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.looks = asyncio.Event()

    async def read(self, work: Work[T]) -> T:
        await self.looks.wait()
        return await super().read(work)


async def test_a_turn_that_is_changed_while_a_message_begins_is_lost_and_no_bug(
    clock: ManualClock, tmp_path: Path
) -> None:
    behind = Behind(tmp_path / "ledger.db")
    behind.looks.set()
    await migrate(behind)
    async with Ledger(behind, clock).open() as ledger:
        behind.looks.clear()
        turn = await claimed(ledger, ref="m1")
        begins = asyncio.create_task(ledger.draft(turn, says("assistant", "…"), Attempt(key="k")))
        await asyncio.sleep(0)
        await ledger.accept("board", [])  # what was to be written before this is written
        await ledger.accept("board", [Inbound("", "room", "change", says("user", "ho"), ref="m1")])
        behind.looks.set()
        with pytest.raises(LeaseLost):
            await begins
    await behind.aclose()
