"""Pictures in the ledger: kept with the turn that looked at them, by whoever has it, and gone with it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from chatferry.engines.base import Picture
from chatferry.errors import LeaseLost
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.operations import Kept
from chatferry.ledger.retention import Place
from chatferry.model import File, Grant, Inbound, Message, Turn, says
from chatferry.testing import ManualClock

SENT = File("image", "ref", "cup.png")
ASKED = Inbound("e1", "room", message=Message("user", (SENT,)), ref="m1")
CUP = Kept(7, "image/png", b"cup")


async def looked(ledger: Ledger) -> Turn:
    """A turn that is held, and whose picture is kept."""
    await ledger.accept("board", [ASKED])
    turn = await ledger.claim("board:room")
    assert turn is not None
    await ledger.looked(turn, turn.inbound.filed({SENT: replace(SENT, ref="", kept=7)}), [CUP])
    return turn


async def test_who_goes_on_with_a_turn_finds_its_pictures(ledger: Ledger) -> None:
    turn = await looked(ledger)
    await ledger.release(turn)
    again = await ledger.claim("board:room")
    assert again is not None
    [file] = again.inbound.files
    assert (file.kept, file.ref, file.looked) == (7, "", True)
    assert await ledger.pictures([7]) == {7: Picture("image/png", b"cup")}
    assert await ledger.picture("board:room", 7) == Picture("image/png", b"cup")
    assert await ledger.picture("board:other", 7) is None


async def test_a_tap_that_comes_while_a_picture_is_looked_at_does_not_undo_it(ledger: Ledger) -> None:
    before = await looked(ledger)
    await ledger.accept("board", [Inbound("e2", "room", "collect", grant=Grant("token", 2e9))])
    turn = await ledger.absorb(before, await ledger.waiting(before, "collect"))
    assert turn.grant == Grant("token", 2e9)
    await ledger.release(turn)
    again = await ledger.claim("board:room")
    assert again is not None
    assert [file.kept for file in again.inbound.files] == [7]


async def test_nothing_is_kept_by_who_lost_the_turn(ledger: Ledger) -> None:
    await ledger.accept("board", [ASKED])
    old = await ledger.claim("board:room")
    assert old is not None
    await ledger.adopt()
    assert await ledger.claim("board:room") is not None
    with pytest.raises(LeaseLost):
        await ledger.looked(old, ASKED, [CUP])
    assert await ledger.pictures([7]) == {}


async def test_a_picture_goes_with_its_message(ledger: Ledger) -> None:
    await looked(ledger)
    await ledger.accept("board", [Inbound("e2", "room", "retract", ref="m1")])
    assert await ledger.pictures([7]) == {}


async def test_a_picture_goes_when_its_message_is_changed(ledger: Ledger) -> None:
    await looked(ledger)
    await ledger.accept("board", [Inbound("e2", "room", "change", says("user", "no picture"), ref="m1")])
    assert await ledger.pictures([7]) == {}


async def test_a_picture_goes_with_its_turn(ledger: Ledger, clock: ManualClock) -> None:
    turn = await looked(ledger)
    await ledger.finish(turn, [says("user", "q")])
    clock.advance(86_400.0)
    pruned = await ledger.prune(clock.now(), Place())
    assert pruned.removed["files"] == 1
    assert await ledger.pictures([7]) == {}
