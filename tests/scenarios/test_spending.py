"""What a model has said costs something, whoever stays to hear it; and what nobody said costs nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from zoneinfo import ZoneInfo

import openai
import pytest
import sqlalchemy as sa

from chatferry.gateway import Gateway
from chatferry.ledger.tables import budgets, turns
from chatferry.simulator.model import Break, Odd
from tests.scenarios.asking import api, ask, stream, text
from tests.scenarios.slack_growing import half_said
from tests.scenarios.slack_support import slack_world
from tests.scenarios.support import World, ended, screen, state, until, world

PRICED = {"price": {"prompt": 1.0, "completion": 100.0}}
RICH = {"budget": {"tokens": 1_000_000, "money": 1000}}
LONG = " ".join(f"word{n}" for n in range(100))

both = pytest.mark.usefixtures("layout")


async def spent(gateway: Gateway) -> list[tuple[int, int]]:
    """Tokens and cost that each who pays has paid, and the turns together at the end."""
    paid = sa.select(budgets.c.tokens, budgets.c.cost).order_by(budgets.c.key)
    kept = sa.select(sa.func.sum(turns.c.prompt_tokens + turns.c.completion_tokens), sa.func.sum(turns.c.cost))
    found = await gateway.ledger.look(lambda connection: [*connection.execute(paid), *connection.execute(kept)])
    return [(int(tokens or 0), int(cost or 0)) for tokens, cost in found]


async def charged(gateway: Gateway, beyond: int = 0) -> int:
    """The tokens that all who pay have paid, and the turns tell, once these agree on more than before."""
    async with asyncio.timeout(20):
        while True:
            found = await spent(gateway)
            if len(found) > 1 and len(set(found)) == 1 and found[0][0] > beyond:
                assert found[0][1] > 0 or not gateway.settings.models["default"].price
                return found[0][0]
            await asyncio.sleep(0.001)


def counted(gateway: Gateway) -> float:
    """The tokens that the metrics tell."""
    samples = [sample for metric in gateway.metrics.tokens.collect() for sample in metric.samples]
    return sum(sample.value for sample in samples if sample.name == "chatferry_tokens_total")


async def hung_up(it: World, caller: openai.AsyncOpenAI, question: str, after: int) -> None:
    """Somebody reads so much of an answer, and then closes the connection."""
    it.model.plans.append(Break("hang", after=after))
    it.model.hanging.clear()
    chunks = await caller.chat.completions.create(
        model="default", messages=[{"role": "user", "content": question}], stream=True
    )
    await it.model.hanging.wait()
    await chunks.close()


@both
async def test_who_hangs_up_pays_for_what_was_said_until_then(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=RICH, model=PRICED) as it, it.gateway() as gateway, api(it) as caller:
        paid = 0
        for _ in range(5):
            await hung_up(it, caller, LONG, after=90)
            now = await charged(gateway, paid)
            assert now - paid > 2 * 90, "the prompt, and nearly as much of the answer"
            paid = now
        await until(lambda: it.model.connections == 0)
        assert (await gateway.ledger.entries())[0].state == "withdrawn"


async def test_the_metrics_and_the_sums_tell_the_same(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=RICH, model=PRICED) as it, it.gateway() as gateway, api(it) as caller:
        await hung_up(it, caller, LONG, after=90)
        paid = await charged(gateway)
        assert counted(gateway) == paid
        looked = it.clock.now()
        (row,) = await gateway.ledger.usage(looked - 86_400.0, looked + 86_400.0, ZoneInfo("UTC"))
        assert (row.turns, row.assistant, row.prompt_tokens + row.completion_tokens) == (0, "default", paid)


@both
async def test_hanging_up_does_not_stretch_a_budget(tmp_path: Path) -> None:
    small = {"budget": {"tokens": 1500}}
    async with world(tmp_path, assistant=small) as it, it.gateway() as gateway, api(it) as caller:

        async def as_often_as_it_goes() -> None:
            paid = 0
            while len(it.model.requests) < 20:
                await hung_up(it, caller, LONG, after=90)
                paid = await charged(gateway, paid)

        with pytest.raises(openai.RateLimitError):
            await as_often_as_it_goes()
        assert 2 <= len(it.model.requests) <= 6


@both
async def test_who_stops_an_answer_pays_for_it(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=RICH, model=PRICED) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang", after=90))
        await it.line.say("ann", LONG)
        await it.model.hanging.wait()
        await it.line.say("ann", "/stop")
        await ended(gateway, 2, it.clock)
        assert await charged(gateway) > 2 * 90


@pytest.mark.parametrize("native", [False, True], ids=["edited", "streamed"])
async def test_slacks_stop_and_the_next_message_are_paid_for(tmp_path: Path, native: bool) -> None:
    its = RICH | {"busy": "interrupt"}
    async with slack_world(tmp_path, native=native, assistant=its) as it, it.gateway() as gateway:
        ts, growing = await half_said(it, LONG, after=90)
        if native:
            await it.slack.stop_session("ann", it.slack.dm("ann"), ts)
        else:
            await it.slack.click("ann", it.slack.dm("ann"), growing.ts, "chatferry:stop")
        await ended(gateway, 1, it.clock)
        first = await charged(gateway)
        assert first > 2 * 90
        ts, _ = await half_said(it, LONG, after=90)
        await it.slack.say("ann", "something else", thread=ts)
        await ended(gateway, 3, it.clock)
        assert await charged(gateway, first) - first > 2 * 90


@both
async def test_a_try_that_broke_off_is_paid_for_beside_the_next(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=RICH, model=PRICED) as it, it.gateway() as gateway, api(it) as caller:
        whole = await ask(caller, LONG)
        assert whole.usage is not None
        before = await charged(gateway)
        assert before == whole.usage.total_tokens
        it.model.plans.append(Break("cut", after=90))
        again = asyncio.create_task(ask(caller, LONG))
        await until(again.done, it.clock)
        assert text(await again) == f"echo: {LONG}"
        after = await charged(gateway, before)
        assert after - before > whole.usage.total_tokens + 2 * 90
        told = (await again).usage
        assert told is not None
        assert told.total_tokens == after - before


@both
async def test_a_refusal_costs_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=RICH, model=PRICED) as it, it.gateway() as gateway, api(it) as caller:
        it.model.key = "another"
        with pytest.raises(openai.APIStatusError):
            await ask(caller, LONG)
        assert set(await spent(gateway)) == {(0, 0)}


@both
async def test_a_server_that_does_not_count_is_counted_for(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=RICH, model=PRICED) as it, it.gateway() as gateway, api(it) as caller:
        it.model.plans.append(Odd(usage=False))
        await ask(caller, LONG)
        assert await charged(gateway) > 200


@both
async def test_what_is_given_again_costs_nothing(tmp_path: Path) -> None:
    cached = RICH | {"cache": {"ttl": "1h", "size": 100}}
    async with world(tmp_path, assistant=cached, model=PRICED) as it, it.gateway() as gateway, api(it) as caller:
        await ask(caller, "hello")
        paid = await charged(gateway)
        await stream(caller, "hello")
        await ended(gateway, 2)
        assert await charged(gateway) == paid
        assert len(it.model.requests) == 1


@both
async def test_who_goes_on_after_a_restart_pays_for_both(tmp_path: Path) -> None:
    async with world(tmp_path, assistant=RICH, model=PRICED) as it:
        async with it.gateway() as gateway:
            it.model.plans.append(Break("hang", after=90))
            await it.line.say("ann", LONG)
            await it.model.hanging.wait()
            await state(gateway, 1, "doing")
        async with it.gateway() as gateway:
            await ended(gateway, 1, it.clock)
            assert screen(it.line, "ann") == [f"echo: {LONG}"]
            assert await charged(gateway) > 4 * 90
