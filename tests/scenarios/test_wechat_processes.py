"""Two processes behind one address: WeChat's calls for a message reach now this one, now that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from pydantic import SecretStr

from chatferry.clock import SystemClock
from chatferry.config import AssistantSettings, ModelSettings, ServerSettings, Settings, WeChatSettings
from chatferry.gateway import Gateway
from chatferry.simulator.model import Break, ModelSimulator
from chatferry.simulator.serving import serving
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.words import words
from tests.scenarios.support import state, until
from tests.stack import gateway_on


@dataclass
class Two:
    wechat: WeChatSimulator
    model: ModelSimulator
    urls: tuple[str, str]
    gateway: Gateway


@contextlib.asynccontextmanager
async def two_processes(postgres: str) -> AsyncIterator[Two]:
    """Two gateways that share nothing but the database. 1.5 s stand for WeChat's five, and 0.9 s for our 4.5."""
    wechat, model = WeChatSimulator(verified=False, limit=1.5, gap=1.5), ModelSimulator()
    async with wechat, serving(wechat) as wechat_url, serving(model.app) as model_url:
        settings = Settings(
            server=ServerSettings(host="127.0.0.1", port=0, database=postgres, drain=5.0),
            models={"default": ModelSettings(provider="openai", model="sim", base_url=f"{model_url}/v1")},
            assistants={"default": AssistantSettings(language="zh-CN")},
            channels={
                "wechat": WeChatSettings(
                    token=SecretStr(wechat.token), mode="passive", hold=0.9, limit=1.5, api_base=wechat_url
                )
            },
            source="test",
        )
        async with (
            gateway_on(settings, SystemClock()) as (gateway, one, _),
            gateway_on(settings, SystemClock()) as (_, two, _),
        ):
            wechat.webhook, wechat.replicas = f"{one}/hooks/wechat", [f"{two}/hooks/wechat"]
            yield Two(wechat, model, (one, two), gateway)


async def test_the_answer_comes_in_the_response_of_the_process_that_is_called_next(postgres: str) -> None:
    async with two_processes(postgres) as world:
        world.model.plans.append(Break("hang", held=True))
        saying = asyncio.create_task(world.wechat.say("ann", "hello"))
        await until(lambda: world.wechat.deliveries and len(world.wechat.deliveries[0].attempts) == 1)
        world.model.release.set()
        await saying
        (delivery,) = world.wechat.deliveries
        (seen,) = world.wechat.chats[world.wechat.address("ann")]
        assert [attempt.reason for attempt in delivery.attempts] == ["timeout", ""]
        assert (seen.text, seen.via, seen.call) == ("echo: hello", "passive", 2)
        assert len(world.model.requests) == 1


@pytest.mark.long
async def test_the_link_opens_on_either_process_and_what_was_read_there_is_not_said_again(postgres: str) -> None:
    async with two_processes(postgres) as world, aiohttp.ClientSession() as browser:
        world.model.plans.append(Break("hang", held=True))
        delivery = await world.wechat.say("ann", "hello")
        [link] = await world.wechat.seen("ann", 1)
        token = link.text.split("/a/")[1]
        assert [attempt.reason for attempt in delivery.attempts] == ["timeout", "timeout", ""]
        world.model.release.set()

        async def page(url: str) -> str:
            async with browser.get(f"{url}/a/{token}") as answer:
                return await answer.text()

        async with asyncio.timeout(60):
            while "echo: hello" not in await page(world.urls[1]):
                pass
        assert "echo: hello" in await page(world.urls[0])
        await state(world.gateway, 1, "done")  # noted as read
        await world.wechat.say("ann", "and more")
        assert [seen.text for seen in await world.wechat.seen("ann", 2)][1:] == ["echo: and more"]


async def test_an_answer_grows_and_is_stopped_on_the_page_of_a_process_that_does_not_make_it(postgres: str) -> None:
    async with two_processes(postgres) as world, aiohttp.ClientSession() as browser:
        world.model.plans.append(Break("hang", after=2, held=True))
        await world.wechat.say("ann", "one two three")
        [link] = await world.wechat.seen("ann", 1)
        page = f"{world.urls[1]}/a/{link.text.split('/a/')[1]}"

        async def shows(text: str) -> None:
            async with asyncio.timeout(60):
                while True:
                    async with browser.get(page) as answer:
                        if text in await answer.text():
                            return

        await shows("<p>echo: one</p>")
        async with browser.post(f"{page}/stop") as answer:
            assert answer.status == 200
        await shows(words("zh-CN").page_stopped)
        await shows("<p>echo: one</p>")
        assert world.model.cancelled == 1
