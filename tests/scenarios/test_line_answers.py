"""From a signed LINE webhook to what the person sees."""

from __future__ import annotations

from pathlib import Path

from tests.stack import running


async def test_a_message_is_answered_once_by_the_free_reply(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        delivery = await stack.line.say("ann", "hello")
        [answer] = await stack.line.seen("ann", 1)
        assert delivery.status == 200
        assert answer.text == "echo: hello"
        assert answer.via == "reply"
        assert stack.line.used == 0
