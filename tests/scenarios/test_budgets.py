"""What people and assistants may spend, as they see it on their platforms; and what the operator sees."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from structlog.testing import capture_logs

from chatferry.cli.usage import show_usage
from chatferry.config import BudgetSettings, MoneySettings
from chatferry.words import words
from tests.scenarios.asking import HEADERS, api, ask, text
from tests.scenarios.support import ended, screen, until, world
from tests.scenarios.wechat_support import wechat_world

ENGLISH = words("en")
PRICED = {"price": {"prompt": 1.0, "completion": 100.0}}


@pytest.fixture
def limited() -> dict[str, Any]:
    return {"budget": {"messages": 5}}


async def test_the_fifth_message_of_the_day_is_the_last_and_tomorrow_it_goes_on(
    tmp_path: Path, limited: dict[str, Any]
) -> None:
    async with world(tmp_path, assistant=limited) as it, it.gateway() as gateway:
        for n in range(1, 7):
            await it.line.say("ann", str(n))
            await ended(gateway, n)
        assert screen(it.line, "ann")[:3] == ["echo: 1", "echo: 2", "echo: 3"]
        assert screen(it.line, "ann")[3] == f"{ENGLISH.near}\n\necho: 4"
        assert screen(it.line, "ann")[4] == "echo: 5"
        said = re.fullmatch(
            re.escape(ENGLISH.spent_day).replace(r"\{time\}", r"(\d+) hours"), screen(it.line, "ann")[5]
        )
        assert said is not None
        assert len(it.model.requests) == 5
        await it.line.say("bob", "and I?")
        await ended(gateway, 7)
        assert screen(it.line, "bob") == ["echo: and I?"]
        it.clock.advance(float(said[1]) * 3600.0)
        await it.line.say("ann", "7")
        await ended(gateway, 8)
        assert screen(it.line, "ann")[6:] == ["echo: 7"]


async def test_commands_work_when_all_is_spent(tmp_path: Path) -> None:
    async with world(tmp_path, assistant={"budget": {"messages": 1}}) as it, it.gateway() as gateway:
        for n, said in enumerate(("one", "two", "/help"), start=1):
            await it.line.say("ann", said)
            await ended(gateway, n)
        assert screen(it.line, "ann")[2].startswith(ENGLISH.help)


async def test_an_account_that_answers_in_the_response_says_it_there(tmp_path: Path) -> None:
    async with wechat_world(tmp_path) as it:
        (shop,) = it.settings.assistants.values()
        shop = shop.model_copy(update={"budget": BudgetSettings(messages=1)})
        it.settings = it.settings.model_copy(update={"assistants": {"default": shop}})
        async with it.gateway():
            for said in ("one", "two"):
                await it.say("ann", said)
            answer, refusal = it.screen("ann")
            assert answer.endswith("echo: one")
            assert refusal.startswith("你今天的额度已经用完了")


async def test_fifty_requests_of_one_caller_at_once_are_answered_as_far_as_it_goes(tmp_path: Path) -> None:
    async with world(tmp_path, assistant={"budget": {"messages": 10}}) as it, it.gateway(), api(it) as caller:
        refusals: list[tuple[str | None, bool]] = []

        async def asked(n: int) -> str:
            try:
                return text(await ask(caller, f"{n}"))
            except openai.RateLimitError as refusal:
                refusals.append((refusal.code, float(refusal.response.headers["retry-after"]) > 0))
                return ""

        answers = await asyncio.gather(*[asked(n) for n in range(50)])
        assert sum(map(bool, answers)) == 10
        assert refusals == [("insufficient_quota", True)] * 40
        assert len(it.model.requests) == 10


@pytest.mark.parametrize(
    ("money", "answers", "warnings"),
    # An answer of three tokens to a prompt of 7, as the simulated model counts, costs 307 millionths.
    [
        (0.0009, 3, [("80 %", "102 %"), ("100 %", "102 %")]),
        (0.001, 4, [("80 %", "92 %"), ("100 %", "123 %")]),
    ],
    ids=["from below 80 to beyond 100 at once", "one after the other"],
)
async def test_a_month_ends_when_its_money_does_and_the_operator_is_warned_once(
    tmp_path: Path, money: float, answers: int, warnings: list[tuple[str, str]]
) -> None:
    async with world(tmp_path, assistant={"budget": {"money": money}}, model=PRICED) as it:
        with capture_logs() as logged:

            def warned() -> list[tuple[str, str]]:
                return [(line["reached"], line["used"]) for line in logged if line["event"] == "budget"]

            async with it.gateway() as gateway:
                registry = gateway.metrics.registry

                def used() -> float:
                    it.clock.advance(60.0)
                    return registry.get_sample_value("chatferry_budget_used", {"assistant": "default"}) or 0.0

                for n in range(1, 6):
                    await it.line.say("ann", f"hi {n}")
                    await ended(gateway, n)
                    await until(lambda: used() >= len(it.model.requests) * 0.0003 / money)
                await until(lambda: warned() == warnings)
            async with it.gateway() as gateway:
                await it.line.say("bob", "and I?")
                await ended(gateway, 6)
        assert len(it.model.requests) == answers
        assert screen(it.line, "ann")[answers:] == [ENGLISH.spent_month] * (5 - answers)
        assert screen(it.line, "bob") == [ENGLISH.spent_month]
        assert warned() == warnings


async def test_the_operator_sees_what_was_used_and_what_it_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with world(tmp_path, model=PRICED) as it:
        async with it.gateway() as gateway, api(it) as caller:
            for n in range(1, 4):
                await it.line.say("ann", "hello")
                await ended(gateway, n)
            await ask(caller, "hello")
            await ended(gateway, 4)
            days = {"since": "2027-01-01", "until": "2027-01-31"}
        await asyncio.to_thread(
            show_usage, it.settings.server, MoneySettings(), **days, by=["channel", "model"], as_csv=True
        )
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["channel"], row["model"], row["answers"]) for row in rows] == [
        ("api", "simulated-1", "1"),
        ("line", "simulated-1", "3"),
    ]
    api_row, line_row = rows
    tokens = int(api_row["completion_tokens"])
    assert (int(api_row["prompt_tokens"]), int(line_row["prompt_tokens"])) == (7, 21)
    assert float(api_row["cost_USD"]) == pytest.approx((7 + 100 * tokens) / 1e6)
    assert float(line_row["cost_USD"]) == pytest.approx(3 * (7 + 100 * tokens) / 1e6)


async def test_programs_are_told_what_is_left(tmp_path: Path) -> None:
    both = {"budget": {"messages": 5, "tokens": 100_000}}
    async with world(tmp_path, assistant=both) as it, it.gateway() as gateway, aiohttp.ClientSession() as http:
        base = it.line.webhook.removesuffix("/hooks/line")
        body = {"messages": [{"role": "user", "content": "hello"}]}
        for left, streams in ((4, False), (3, True)):
            asked = body | {"stream": streams}
            async with http.post(f"{base}/v1/chat/completions", json=asked, headers=HEADERS) as answer:
                assert answer.headers["X-Budget-Remaining-Messages"] == str(left)
                assert 90_000 < int(answer.headers["X-Budget-Remaining-Tokens"]) <= 100_000
                await answer.read()
        async with http.ws_connect(f"{base}/v1/stream", headers=HEADERS) as socket:
            await socket.send_json(body)
            told = await socket.receive_json()
        assert told["remaining"]["messages"] == 2
        await ended(gateway, 3)


async def test_without_a_budget_nothing_is_told_of_one(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway(), api(it) as caller:
        answer = await caller.chat.completions.with_raw_response.create(
            model="default", messages=[{"role": "user", "content": "hello"}]
        )
        assert not [name for name in answer.headers if name.startswith("x-budget")]
