"""The gateway of a playground: really a process, really killed, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatferry.playground.plan import Plan
from chatferry.playground.process import GatewayProcess
from chatferry.playground.ways import follow
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.scene import Scene
from chatferry.simulator.serving import listening, serving
from tests.ports import free_port

Fact = dict[str, Any]


async def until(scene: Scene, kind: str, holds: Callable[[Fact], object]) -> Fact:
    """The first fact of this kind of which this holds, as soon as there is one."""
    async with asyncio.timeout(60):
        async for facts in scene.follow():
            for fact in facts:
                if fact["kind"] == kind and holds(fact):
                    return fact
    raise AssertionError


def plan_for(folder: Path, line: LineSimulator, url: str, *, pace: float = 0.0, model: str = "") -> Plan:
    channel = {"secret": line.secret, "token": line.token, "api_base": url, "data_api_base": url}
    return Plan(base="", port=free_port(), folder=str(folder), channels={"line": channel}, pace=pace, model=model)


@contextlib.asynccontextmanager
async def kept(gateway: GatewayProcess) -> AsyncIterator[asyncio.Task[None]]:
    keeper = asyncio.create_task(gateway.keep())
    try:
        yield keeper
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def test_an_answer_survives_a_sigkill_in_the_middle_and_its_way_is_told(tmp_path: Path) -> None:
    scene = Scene()
    async with LineSimulator(scene=scene) as line, serving(line) as url:
        plan = plan_for(tmp_path, line, url, pace=0.02, model="script")
        line.webhook = f"http://127.0.0.1:{plan.port}/hooks/line"
        gateway = GatewayProcess(plan, scene)
        async with kept(gateway):
            await gateway.up()
            watching = asyncio.create_task(follow(plan.database, scene, {"line": "line"}))
            first = scene.get("gateway", "gateway")
            assert first is not None
            assert (first["state"], first["starts"]) == ("up", 1)
            await line.say("mei", "long")
            growing = await until(scene, "turn", lambda turn: turn["started_at"])
            assert await gateway.kill(down=0.0)
            assert (growing["state"], growing["answered_at"], line.chats[line.address("mei")]) == ("doing", None, [])
            again = await until(scene, "gateway", lambda fact: fact["state"] == "up" and fact["starts"] == 2)
            assert again["pid"] != first["pid"]
            [answer] = await line.seen("mei", 1, patience=60)
            turn = await until(scene, "turn", lambda turn: turn["state"] == "done")
            assert turn["channel"] == "line"
            assert [piece["receipt"] for piece in turn["sent"]] == [answer.id]
            assert turn["accepted_at"] <= turn["started_at"] <= turn["answered_at"] <= turn["finished_at"]
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    assert len(line.chats[line.address("mei")]) == 1


async def test_what_lies_where_it_is_started_does_not_stand_in_for_what_lies_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, module in (("here", "tea"), ("shop", "orders")):
        (tmp_path / folder / "my_shop").mkdir(parents=True)
        (tmp_path / folder / "my_shop" / "__init__.py").write_text("")
        (tmp_path / folder / "my_shop" / f"{module}.py").write_text("def fine(): ...")
    config = tmp_path / "shop" / "chatferry.toml"
    config.write_text('[assistants.default]\ntools = ["my_shop.orders:fine"]\n')
    monkeypatch.chdir(tmp_path / "here")
    scene = Scene()
    async with LineSimulator() as line, serving(line) as url:
        plan = msgspec.structs.replace(plan_for(tmp_path, line, url), config=str(config))
        async with kept(GatewayProcess(plan, scene)):
            fact = await until(scene, "gateway", lambda fact: fact["state"] in ("up", "failed"))
    assert fact["state"] == "up", fact["log"]


async def test_one_kill_at_a_time(tmp_path: Path) -> None:
    async with LineSimulator() as line, serving(line) as url:
        scene = Scene()
        gateway = GatewayProcess(plan_for(tmp_path, line, url), scene)
        assert not await gateway.kill()
        async with kept(gateway):
            await gateway.up()
            assert await gateway.kill(down=60)
            assert not await gateway.kill()
            await until(scene, "gateway", lambda fact: fact["state"] == "killed")


async def test_a_gateway_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    async with LineSimulator() as line, serving(line) as url:
        scene = Scene()
        gateway = GatewayProcess(plan_for(tmp_path / "tidied-away", line, url), scene)
        async with kept(gateway):
            failed = await until(scene, "gateway", lambda fact: fact["state"] == "failed")
        assert "No such file" in failed["log"]


async def test_a_gateway_that_ends_by_itself_is_told_with_its_last_words_and_can_be_started_again(
    tmp_path: Path,
) -> None:
    async with contextlib.AsyncExitStack() as stack, LineSimulator() as line, serving(line) as url:
        scene = Scene()
        plan = plan_for(tmp_path, line, url)
        gateway = GatewayProcess(plan, scene)
        with listening(port=plan.port):
            keeping = await stack.enter_async_context(kept(gateway))
            failed = await until(scene, "gateway", lambda fact: fact["state"] == "failed")
            assert f"cannot listen at 127.0.0.1:{plan.port}" in failed["log"]
        assert not keeping.done()
        gateway.start()
        assert (await until(scene, "gateway", lambda fact: fact["state"] == "up"))["starts"] == 2
