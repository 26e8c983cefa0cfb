"""`chatferry alerts`: how every alert stands, and a try."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.clock import SystemClock
from chatferry.ledger.database import migrate, open_database
from chatferry.ledger.incidents import Verdict
from chatferry.ledger.ledger import Ledger
from chatferry.simulator.line_people import address
from chatferry.simulator.serving import serving
from tests.commandline import Shop, shop

OPERATOR = address("U", "operator")
CONFIG = """
[[alerts]]
when = "latency"
threshold = "10s"
name = "slow"
to = ["line:{operator}", "{hook}"]

[[alerts]]
when = "queue"
to = ["{hook}"]

[[alerts]]
when = "success"
to = ["{hook}"]

[[alerts]]
when = "circuit"
to = ["{hook}"]
"""


@pytest_asyncio.fixture(name="shop")
async def _shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop(tmp_path) as made:
        made.line.known.add(OPERATOR)
        yield made


def configured(shop: Shop, hook: str) -> None:
    (shop.folder / "chatferry.toml").write_text(CONFIG.format(operator=OPERATOR, hook=hook), "utf-8")


async def test_a_try_tells_everybody_and_says_who_did_not_hear_it(shop: Shop) -> None:
    heard: list[dict[str, object]] = []

    async def hook(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(json.loads(await Request(scope, receive).body()))
        await Response(status_code=204)(scope, receive, send)

    async with serving(hook) as url:
        configured(shop, f"{url}/a-secret-place")
        async with shop.serving():  # beside a gateway
            ended = await shop.run("alerts", "test", "slow")
    assert (ended.status, ended.err) == (0, "")
    first, second = ended.out.splitlines()
    assert first == f"line:{OPERATOR}: sent (turn 1)"
    assert second == "webhook at 127.0.0.1: heard"
    text = "This is only a test of the alert slow: nothing is wrong."
    assert [seen.text for seen in shop.line.chats[OPERATOR]] == [text]
    assert [(one["state"], one["text"], one["alert"]) for one in heard] == [("try", text, "slow")]

    ended = await shop.run("alerts", "test", "slow")  # alone, and the webhook is down
    assert ended.status == 1
    assert "the webhook is not reached" in ended.err
    assert "a-secret-place" not in ended.out + ended.err
    assert len(shop.line.chats[OPERATOR]) == 2

    ended = await shop.run("alerts", "test", "slwo")
    assert (ended.status, ended.err) == (2, "there is no alert 'slwo'\n  mend: did you mean `slow`?\n")


async def test_the_list_tells_how_each_stands_and_whom_it_tells(shop: Shop) -> None:
    assert (await shop.run("alerts", "list")).out == "no alerts: write [[alerts]] into chatferry.toml\n"
    configured(shop, "http://127.0.0.1:9/a-secret-place")
    ended = await shop.run("alerts", "list")
    lines = ended.out.splitlines()
    assert lines[0::2] == [f"{name}: not looked at yet" for name in ("slow", "queue", "success", "circuit: default")]
    assert lines[1] == f"  tells line:{OPERATOR}, webhook at 127.0.0.1"
    database = open_database(f"sqlite:///{shop.folder}/chatferry.db")
    await migrate(database)
    async with Ledger(database, SystemClock()).open() as ledger:
        await ledger.watch_over(["slow", "queue", "success"], "somebody", 30.0)
        verdicts = [
            Verdict("slow", 1e9, 12.0, 40, 600.0, ()),
            Verdict("queue", None, 0.25, 0, 600.0, ()),
            Verdict("success", 1e9, 0.0, 8, 600.0, ()),
        ]
        await ledger.judged(verdicts, "somebody")
    await database.aclose()
    slow, _, queue, _, success, *_ = (await shop.run("alerts", "list")).out.splitlines()
    assert slow.startswith("slow: bad since ")
    assert slow.endswith(" (12 s, of 40 messages)")
    assert queue == "queue: all is well (0.25 s)"
    assert success.endswith(" (0 %, of 8 messages)")
