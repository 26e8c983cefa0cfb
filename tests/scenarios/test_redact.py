"""What people say of themselves reaches neither a model nor a log nor a metric, and comes back in the answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path

import aiohttp

from chatferry.simulator.line import LineSimulator
from chatferry.simulator.model import Break, ModelSimulator, Pause, Refuse, Talk
from chatferry.simulator.model_calls import Act, Offered, acts
from chatferry.simulator.serving import serving
from tests.scenarios.crash import Served
from tests.scenarios.support import kept, screen, until
from tests.stack import KEY, Stack, running

KINDS = ["phone", "email", "card", "national_id", "iban", "url_credentials"]
REDACT = {"redact": KINDS, "instructions": "Our hotline is 02-2345-6789."}
PHONE, OTHER, MAIL, ID = "0912-345-678", "+886 912 345 678", "mei@example.com", "A123456789"
SAID = f"打{PHONE}或寄{MAIL}，身分證{ID}，卡號4111 1111 1111 1111，熱線02-2345-6789"


def told(model: ModelSimulator) -> str:
    """Everything that the model ever got."""
    return "\n".join(json.dumps(asked.body, ensure_ascii=False) + str(asked.headers) for asked in model.requests)


def repeats(talk: Talk) -> str:
    return f"You said: {talk[-1]['content']}"


def assert_nothing_of(personal: Iterable[str], text: str) -> None:
    digits = "".join(filter(str.isalnum, text))
    for value in personal:
        assert value not in text
        assert "".join(filter(str.isalnum, value)) not in digits


async def ask(stack: Stack, words: str) -> None:
    """Ann writes, and reads the answer."""
    before = len(screen(stack.line))
    await stack.line.say("ann", words)
    await until(lambda: len(screen(stack.line)) > before)


async def test_a_model_reads_masks_and_people_read_what_they_said(tmp_path: Path) -> None:
    model = ModelSimulator(converse=repeats, burst=1, rate=5000)
    async with running(tmp_path, model=model, assistant=REDACT) as stack:
        await ask(stack, SAID)
        await ask(stack, f"Is {OTHER} the same, or [PHONE_1], or {PHONE}?")
        async with aiohttp.request("GET", f"{stack.url}/metrics") as metrics:
            counted = await metrics.text()
    first, second = screen(stack.line)
    assert first == f"You said: {SAID}"
    assert second == f"You said: Is {OTHER} the same, or [PHONE_1], or {PHONE}?"
    system, *_, question = model.requests[1].body["messages"]
    assert question["content"] == "Is [PHONE_1B] the same, or [TYPED_1], or [PHONE_1]?"
    assert "02-2345-6789" in system["content"]
    assert "[PHONE_1]" in system["content"]
    assert_nothing_of((PHONE, "912 345 678", MAIL, ID, "4111 1111 1111 1111"), told(model) + counted)


async def test_a_mask_that_comes_in_pieces_is_never_seen_in_pieces(tmp_path: Path) -> None:
    def call(talk: Talk) -> str:
        return "Call [phone_1], I mean \\[PHONE\\_1\\], or PHONE_1; not [PHONE_2] nor [1]."

    model = ModelSimulator(converse=call)
    model.plans.append(Pause(range(1, 11)))  # a word comes once the one before it was read
    async with running(tmp_path, model=model, assistant=REDACT) as stack:
        body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": f"打{PHONE}"}]}
        headers = {"Authorization": f"Bearer {KEY}"}
        async with aiohttp.request("POST", f"{stack.url}/v1/chat/completions", json=body, headers=headers) as answer:
            pieces = []
            async for line in answer.content:
                if line.startswith(b"data: {") and (choices := json.loads(line[6:])["choices"]):
                    pieces.append(choices[0]["delta"].get("content") or "")
                    if pieces[-1]:
                        model.release.set()
    assert "".join(pieces) == f"Call {PHONE}, I mean {PHONE}, or {PHONE}; not [PHONE_2] nor [1]."
    assert len(pieces) > 8
    assert not any("PHO" in piece for piece in pieces if "[PHONE_2]" not in piece)


async def test_masks_are_the_same_after_a_kill_in_the_middle(tmp_path: Path) -> None:
    line, model = LineSimulator(), ModelSimulator(converse=repeats)
    async with line, serving(line) as line_url, serving(model.app) as model_url:
        (tmp_path / "chatferry.toml").write_text(
            f"""
            [models.default]
            provider = "openai"
            model = "sim"
            base_url = "{model_url}/v1"
            [assistants.default]
            redact = {json.dumps(KINDS)}
            [channels.line]
            secret = "{line.secret}"
            token = "{line.token}"
            api_base = "{line_url}"
            data_api_base = "{line_url}"
            """
        )
        served = Served(tmp_path, {"PATH": ""})
        line.webhook = f"{served.url}/hooks/line"
        model.plans.append(Break("hang", 6))
        await served.start()
        try:
            await served.ready()
            await line.say("ann", SAID)
            async with asyncio.timeout(60):
                await model.hanging.wait()
            await served.end(signal.SIGKILL)
            await served.start()
            await served.ready()
            await until(lambda: screen(line))
            model.plans.append(Refuse(400, {"message": f"cannot read {PHONE}"}))
            await line.say("ann", "hm")
            await until(lambda: len(screen(line)) == 2)
            async with aiohttp.request("GET", f"{served.url}/metrics") as metrics:
                counted = await metrics.text()
            assert await served.end(signal.SIGTERM) == 0
        finally:
            with contextlib.suppress(AssertionError):
                await served.aclose()
    assert screen(line)[0] == f"You said: {SAID}"
    one, two = (asked.body["messages"] for asked in model.requests[:2])
    assert one == two
    assert one[-1]["content"].startswith("打[PHONE_1]或寄[EMAIL_1]")
    log = (tmp_path / "log").read_text()
    assert "cannot read ***" in log
    assert_nothing_of((PHONE, MAIL, ID, "4111 1111 1111 1111"), told(model) + counted + log)


async def test_a_summary_is_made_of_masks_and_kept_in_words(tmp_path: Path) -> None:
    def talks(talk: Talk) -> str:
        return "Call [PHONE_1]." if "keep the notes" in talk[0]["content"] else "Noted."

    model = ModelSimulator(converse=talks)
    summing = {"context_tokens": 300, "summary_model": "default", "instructions": "Brief."}
    async with running(tmp_path, model=model, assistant=REDACT | summing) as stack:
        for _ in range(6):
            await ask(stack, f"打{PHONE}：" + "很長的話" * 12)
        await stack.gateway.summaries.idle()
        await ask(stack, "hm")
    heads = [asked.body["messages"][0]["content"] for asked in model.requests]
    assert any("keep the notes" in head for head in heads)
    assert f"Call {PHONE}." in kept(tmp_path)
    # What is folded after the last answer may be asked for before or after all is over.
    assert "Call [PHONE_1]." in next(head for head in reversed(heads) if "keep the notes" not in head)
    assert_nothing_of((PHONE,), told(model))


def customer(phone: str) -> str:
    """Who has this telephone number.

    phone: the number, as it was written
    """
    return f'{{"phone": "{phone.replace("-", "")}", "mail": "{MAIL}", "asked": "{phone}"}}'


async def test_tools_get_what_was_said_and_the_model_gets_masks_of_what_they_return(tmp_path: Path) -> None:
    def call(talk: Talk, offered: Sequence[Offered]) -> Act | None:
        return acts(("customer", {"phone": "[PHONE_1]"})) if talk[-1]["role"] == "user" else None

    def read(talk: Talk) -> str:
        return f"I read {talk[-1]['content']}"

    model = ModelSimulator(converse=read, act=call)
    tools = {"tools": ("tests.scenarios.test_redact:customer",)}
    async with running(tmp_path, model=model, assistant=REDACT | tools) as stack:
        await ask(stack, f"誰的電話是{PHONE}")
    [answer] = screen(stack.line)
    assert answer == f"I read {customer(PHONE)}"
    made, returned = model.requests[-1].body["messages"][-2:]
    assert json.loads(made["tool_calls"][0]["function"]["arguments"]) == {"phone": "[PHONE_1]"}
    assert returned["content"] == '{"phone": "[PHONE_1B]", "mail": "[EMAIL_1]", "asked": "[PHONE_1]"}'
    assert_nothing_of((PHONE, MAIL), told(model))
