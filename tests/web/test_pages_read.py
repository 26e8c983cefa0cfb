"""An answer that was read on its page is not delivered once more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chatferry.gateway import Gateway
from chatferry.simulator.model import Break, Pause
from tests.scenarios.support import World, said_while_it_hangs, state, world
from tests.web.opening import get, reading


@asynccontextmanager
async def late(folder: Path) -> AsyncIterator[tuple[World, Gateway, str]]:
    """A question whose answer will have to wait until it is fetched, and the address of its page."""
    async with world(folder, channel={"late": "button"}) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang"))
        await said_while_it_hangs(it, "hello")
        it.clock.advance(45)
        await it.line.seen("ann", 1)
        token = gateway.links.token("a", 1, it.clock.now())
        assert it.line.webhook
        yield it, gateway, f"{it.line.webhook.removesuffix('/hooks/line')}/a/{token}"


async def test_whoever_opened_the_page_has_the_answer(tmp_path: Path) -> None:
    async with late(tmp_path) as (it, gateway, url):
        it.model.release.set()
        await state(gateway, 1, "parked")
        await get(url, "HEAD")  # as programs do that only look whether there is something
        await get(f"{url}/events", "HEAD")
        await state(gateway, 1, "parked")
        assert "echo: hello" in (await get(url)).text
        await state(gateway, 1, "done")


async def test_whoever_saw_it_grow_to_its_end_has_the_answer(tmp_path: Path) -> None:
    async with late(tmp_path) as (it, gateway, url):
        async with reading(url) as reader:
            await reader.next()
            it.model.release.set()
            await state(gateway, 1, "parked", it.clock)
            while await reader.next():
                it.clock.advance(0.1)
            assert reader.blocks == ["<p>echo: hello</p>\n"]
        await state(gateway, 1, "done", it.clock)


async def test_whoever_left_before_the_end_does_not(tmp_path: Path) -> None:
    async with late(tmp_path) as (it, gateway, url):
        assert "echo: hello" not in (await get(url)).text
        async with reading(url) as reader:
            await reader.next()
        it.model.release.set()
        await state(gateway, 1, "parked", it.clock)
        it.clock.advance(60)
        await get(f"{url}x")
        await state(gateway, 1, "parked", it.clock)


async def test_whoever_saw_the_answer_of_another_turn_grow_has_it_too(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"late": "button"}, assistant={"busy": "merge"}) as it, it.gateway() as gateway:
        it.model.plans += [Pause((1,)), Pause((1,))]
        await said_while_it_hangs(it, "one")
        await it.line.say("ann", "two")
        await it.line.say("ann", "three")
        assert it.line.webhook
        token = gateway.links.token("a", 3, it.clock.now())
        async with reading(f"{it.line.webhook.removesuffix('/hooks/line')}/a/{token}") as reader:
            await reader.next()
            it.model.hanging.clear()
            it.model.release.set()
            await it.model.hanging.wait()
            it.clock.advance(45)
            await it.line.seen("ann", 2)
            it.model.release.set()
            await state(gateway, 2, "parked", it.clock)
            while await reader.next():
                it.clock.advance(0.1)
            assert "three" in "".join(reader.blocks)
        await state(gateway, 2, "done", it.clock)
