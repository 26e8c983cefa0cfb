"""One access token for all, renewed before its end and in the place of one that WeChat took back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from chatferry.channels.wechat import WeChat
from chatferry.errors import NoLeave, TryLater
from chatferry.ledger.tables import vault
from chatferry.model import Grant, says
from chatferry.simulator.wechat_records import Fault
from tests.channels.wechat_world import ANN, SEND, STABLE, World, opened, until


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


def used(world: World) -> list[str]:
    """The tokens of the calls, one name for each: a, b, ..."""
    names: dict[str, str] = {}
    tokens = [call.query["access_token"] for call in world.calls(SEND)]
    return [names.setdefault(token, "abcdef"[len(names)]) for token in tokens]


async def test_one_token_serves_all_processes_and_the_next_start(world: World) -> None:
    await world.send(world.wechat())
    await world.send(world.wechat())
    assert (used(world), len(world.calls(STABLE))) == (["a", "a"], 1)
    [call] = world.calls(STABLE)
    assert call.json == {"grant_type": "client_credential", "appid": world.sim.app_id, "secret": world.sim.app_secret}


async def test_the_token_lies_encrypted_and_is_not_shown(world: World) -> None:
    with capture_logs() as logs:
        await world.send(world.wechat())
    token = world.calls(SEND)[0].query["access_token"]
    kept = await world.database.read(lambda connection: connection.execute(sa.select(vault.c.secret)).scalars().all())
    assert kept
    assert token.encode() not in b"".join(kept)
    assert token not in str(logs)


async def test_fifty_calls_at_once_get_one_token(world: World) -> None:
    wechat = world.wechat()
    gate = asyncio.Event()
    world.sim.fail(STABLE, Fault(gate=gate))
    await world.grant()
    sends = [asyncio.ensure_future(_try(world, wechat)) for _ in range(50)]
    await until(lambda: bool(world.calls(STABLE)))
    gate.set()
    await asyncio.gather(*sends)
    assert (len(world.calls(SEND)), len(world.calls(STABLE)), set(used(world))) == (50, 1, {"a"})


async def test_a_token_is_renewed_before_its_end(world: World) -> None:
    wechat = world.wechat()
    for seconds in (0, 6900, 59, 2, 7200):
        world.clock.advance(seconds)
        await world.send(wechat)
    assert used(world) == ["a", "a", "a", "b", "c"]
    assert all("force_refresh" not in call.json for call in world.calls(STABLE))


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(drop=True), Fault(45009), Fault(-1), Fault(40164)])
async def test_a_renewal_that_fails_leaves_the_old_token_while_it_is_good(world: World, fault: Fault) -> None:
    wechat = world.wechat()
    await world.send(wechat)
    world.clock.advance(7000)
    world.sim.fail(STABLE, fault)
    await world.send(wechat)
    await world.send(wechat)  # not asked again at once
    assert (used(world), len(world.calls(STABLE))) == (["a"] * 3, 2)
    world.clock.advance(30)
    await world.send(wechat)
    assert used(world)[-1] == "b"


async def test_a_token_that_was_taken_back_is_renewed_and_the_message_sent(world: World) -> None:
    wechat = world.wechat()
    await world.send(wechat)
    world.sim.tokens.revoke()
    await asyncio.gather(*(_try(world, wechat) for _ in range(3)))
    await world.send(world.wechat())
    assert len(world.screen()) == 5
    assert set(used(world)) == {"a", "b"}
    assert [call.json.get("force_refresh") for call in world.calls(STABLE)] == [None, None]


async def test_force_is_used_only_where_the_same_token_comes_again(world: World) -> None:
    wechat = world.wechat()
    for code in (40001, 40014, 42001):
        world.clock.advance(31)
        world.sim.fail(SEND, Fault(code))
        await world.send(wechat)
    assert used(world) == ["a", "b", "b", "c", "c", "d"]
    forced = [call.json.get("force_refresh", False) for call in world.calls(STABLE)]
    assert forced == [False, *[False, True] * 3]
    # Not twice within its half minute, and that passes.
    world.sim.fail(SEND, Fault(40001))
    with pytest.raises(TryLater, match="45011"):
        await world.send(wechat)


async def test_another_process_that_was_quicker_spares_us_the_renewal(world: World) -> None:
    one, other = world.wechat(), world.wechat()
    await world.send(one)
    await world.send(other)
    world.clock.advance(31)
    world.sim.fail(SEND, Fault(40001))
    await world.send(one)
    asked = len(world.calls(STABLE))
    await world.send(other)
    assert (used(world)[-2:], len(world.calls(STABLE))) == (["a", "b"], asked)


async def test_a_token_that_is_refused_twice_is_no_message(world: World) -> None:
    wechat = world.wechat(mode="service")
    world.sim.fail(SEND, Fault(40001), Fault(40001))
    with pytest.raises(TryLater, match="40001"):
        await world.send(wechat)
    assert world.screen() == []


@pytest.mark.parametrize(
    ("wrong", "code"), [({"app_id": "wx1"}, "40013"), ({"app_secret": "guess"}, "40125"), ({}, "40164")]
)
async def test_who_gets_no_token_may_not_send_that_way(world: World, wrong: dict[str, str], code: str) -> None:
    world.sim.whitelist = {"192.0.2.1"} if not wrong else None
    with capture_logs() as logs, pytest.raises(NoLeave, match=code):
        await world.send(world.wechat(**wrong))
    assert [log["log_level"] for log in logs if log["event"] == "WeChat gives us no access token"] == ["error"]
    assert world.sim.app_secret not in str(logs)


async def test_what_is_kept_and_cannot_be_read_any_more_is_asked_for_again(world: World) -> None:
    await world.send(world.wechat())
    await world.send(world.wechat(secret="another secret of theirs"))
    assert (used(world), len(world.calls(STABLE))) == (["a", "a"], 2)


async def _try(world: World, wechat: WeChat) -> None:
    """Send, as often as one likes."""
    world.sim._allowances[ANN].renew((100, 3600), world.clock.now())
    await wechat.send(ANN, [says("assistant", "x")], key="", grant=Grant("g", world.clock.now() + 60))
