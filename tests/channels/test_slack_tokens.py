"""The tokens that workspaces gave us: found, renewed, forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
from structlog.testing import capture_logs

from chatferry.channels.slack_install import EARLY_SECONDS
from chatferry.errors import Final, TryLater
from chatferry.simulator.slack import TEAM
from chatferry.simulator.slack_records import Fault
from chatferry.simulator.slack_rules import TOKEN_SECONDS as LIFE
from tests.channels.slack_installing import ACCESS, World, opened, run


class Gate(asyncio.Event):
    """Tells when somebody waits at it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.reached.set()
        return await super().wait()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


async def test_an_organisation_installs_us_in_all_its_workspaces(world: World) -> None:
    world.sim.enterprise = "E1"
    installations = world.installations()
    page = await world.install(installations)
    assert "Installed in Simulated" in page.body
    token = world.sim.workspaces[TEAM]
    assert [await installations.token(account) for account in ("E1+T0SIM", "E1+T9")] == [token, token]
    for stranger in ("T0SIM", "E2+T0SIM", ""):
        with pytest.raises(Final):
            await installations.token(stranger)
    assert (await installations.of("E1+T9")).enterprise == "E1"


async def test_a_workspaces_own_installation_comes_before_its_organisations(world: World) -> None:
    installations = world.installations()
    world.sim.workspaces |= {"T5": "xoxb-of-t5", "T6": "xoxb-of-the-organisation"}
    await world.install(installations, "T5")
    world.sim.enterprise = "E1"
    await world.install(installations, "T6")
    assert await installations.token("E1+T5") == "xoxb-of-t5"
    assert await installations.token("E1+T6") == "xoxb-of-the-organisation"
    await installations.drop("E1+T5")  # which says that the organisation removed us
    assert await installations.token("E1+T5") == "xoxb-of-t5"
    with pytest.raises(Final):
        await installations.token("E1+T6")


async def test_what_is_uninstalled_is_forgotten(world: World) -> None:
    installations = world.installations()
    world.sim.workspaces["T5"] = "xoxb-of-t5"
    await world.install(installations)
    await world.install(installations, "T5")
    await installations.drop(TEAM)
    await installations.drop(TEAM)
    for each in (installations, world.installations()):
        with pytest.raises(Final, match="nobody in T0SIM"):
            await each.token(TEAM)
        assert await each.token("T5") == "xoxb-of-t5"


async def test_news_of_an_uninstallation_that_come_late_do_not_end_the_next_installation(world: World) -> None:
    installations = world.installations()
    removed_at = world.clock.now()
    world.clock.advance(60)
    await world.install(installations)
    await installations.drop(TEAM, said_at=removed_at)
    assert await installations.token(TEAM) == world.sim.workspaces[TEAM]
    await installations.drop(TEAM, said_at=world.clock.now())
    with pytest.raises(Final):
        await installations.token(TEAM)


async def test_another_process_learns_of_it_within_a_minute(world: World) -> None:
    one, other = world.installations(), world.installations()
    await world.install(one)
    assert await other.token(TEAM) == world.sim.workspaces[TEAM]
    await one.drop(TEAM)
    world.clock.advance(61)
    with pytest.raises(Final):
        await other.token(TEAM)


async def test_with_another_secret_the_mend_is_told(world: World) -> None:
    await world.install(world.installations())
    world.secret = "another secret of the operator's"
    with pytest.raises(Final, match=r"server\.secret: .*\n  mend: "):
        await world.installations().token(TEAM)
    assert (await world.install(world.installations())).status == 200
    assert await world.installations().token(TEAM) == world.sim.workspaces[TEAM]


async def test_a_database_that_fails_can_be_asked_later(world: World) -> None:
    await run(world.database, "DROP TABLE vault")
    with pytest.raises(TryLater):
        await world.installations().token(TEAM)
    with pytest.raises(TryLater):
        await world.installations().drop(TEAM)


async def test_a_token_that_ends_is_renewed_before_and_only_once_for_all_who_ask(world: World) -> None:
    world.sim.rotation = True
    installations = world.installations()
    await world.install(installations)
    first = await installations.token(TEAM)
    world.clock.advance(LIFE - EARLY_SECONDS - 1)
    assert await installations.token(TEAM) == first
    world.clock.advance(61)
    told = set(await asyncio.gather(*(installations.token(TEAM) for _ in range(20))))
    assert told == {world.sim.workspaces[TEAM]} != {first}
    assert world.exchanges == 2
    world.clock.advance(LIFE)
    assert await world.installations().token(TEAM) == world.sim.workspaces[TEAM]
    assert world.exchanges == 3


async def test_while_renewing_fails_the_old_token_serves_until_its_end(world: World) -> None:
    world.sim.rotation = True
    installations = world.installations()
    await world.install(installations)
    first = await installations.token(TEAM)
    world.sim.faults(ACCESS, *[Fault(status=503)] * 3)
    world.clock.advance(LIFE - EARLY_SECONDS + 1)
    assert [await installations.token(TEAM) for _ in range(3)] == [first] * 3
    assert world.exchanges == 2
    world.clock.advance(61)
    assert await installations.token(TEAM) == first
    assert world.exchanges == 3
    world.clock.advance(EARLY_SECONDS)
    with pytest.raises(TryLater):
        await installations.token(TEAM)
    assert await installations.token(TEAM) == world.sim.workspaces[TEAM] != first


async def test_a_refresh_token_that_slack_does_not_take_ends_it(world: World) -> None:
    world.sim.rotation = True
    installations = world.installations()
    await world.install(installations)
    world.sim.refreshes.clear()
    world.clock.advance(LIFE)
    with pytest.raises(Final, match="invalid_refresh_token"):
        await installations.token(TEAM)


async def test_of_two_processes_that_renew_at_once_the_later_takes_what_the_first_got(world: World) -> None:
    world.sim.rotation = True
    one, other = world.installations(), world.installations()
    await world.install(one)
    world.clock.advance(LIFE - 30)
    gate = Gate()
    world.sim.faults(ACCESS, Fault(delay=gate))
    waiting = asyncio.create_task(one.token(TEAM))
    await gate.reached.wait()
    renewed = await other.token(TEAM)
    gate.set()
    assert await waiting == renewed == world.sim.workspaces[TEAM]


async def test_a_renewed_token_that_cannot_be_kept_is_used_and_kept_later(world: World) -> None:
    world.sim.rotation = True
    installations = world.installations()
    await world.install(installations)
    await run(world.database, "CREATE TRIGGER full BEFORE UPDATE ON vault BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    world.clock.advance(LIFE)
    with capture_logs() as logs:
        renewed = await installations.token(TEAM)
    assert renewed == world.sim.workspaces[TEAM]
    assert "disk full" in logs[0]["error"]
    await run(world.database, "DROP TRIGGER full")
    world.clock.advance(61)
    assert await installations.token(TEAM) == renewed
    assert await world.installations().token(TEAM) == renewed
    assert world.exchanges == 2
