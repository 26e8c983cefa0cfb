"""The example in `examples/shop`, as `chatferry demo` plays it: real webhooks, its functions, its MCP server."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chatferry.cli.demo import Playing, Wish, playing
from chatferry.simulator.serving import listening
from tests.watching import until

CONFIG = Path(__file__).parents[2] / "examples" / "shop" / "chatferry.toml"


@pytest.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Playing]:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # for `python3`
    with listening() as sock:
        async with playing(Wish(CONFIG, pace=0.0), sock) as its:
            await its.gateway.up()
            yield its


async def ask(shop: Playing, platform: str, text: str) -> None:
    async with aiohttp.ClientSession() as http:
        who = {"line": "user", "wechat": "who"}[platform]
        given: dict[str, Any] = {who: "Mei", "words": text}
        async with http.post(f"{shop.url}/{platform}/_sim/say", params={"wait": "no"}, json=given) as told:
            assert told.status == 202, await told.text()


async def test_customers_on_both_sides_get_what_the_shop_knows(shop: Playing) -> None:
    for platform, question, answer in (
        ("line", "我的訂單 1234 到哪裡了？", "台中轉運站"),
        ("line", "where is my order 1236", "管理室代收"),
        ("line", "東方美人還有沒有貨？", "還有 12 罐"),
        ("wechat", "我的订单1234和1235到哪里了", "正在打包"),
        ("wechat", "金萱乌龙还有没有货", "下周三到货"),
    ):
        await ask(shop, platform, question)
        said = await until(
            shop.scene,
            "bubble",
            lambda fact: fact["platform"] == platform and answer in str(fact),  # noqa: B023 - awaited here
        )
        assert said
