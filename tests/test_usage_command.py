"""`chatferry usage`: what operators see of what was used, as a table and for a spreadsheet."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path

from tests.commandline import shop

CONFIG = """
[money]
currency = "TWD"
[models.default]
provider = "openai"
model = "sim"
api_key = "${OPENAI_API_KEY}"
base_url = "${OPENAI_BASE_URL}"
price = { prompt = 1000, completion = 2000 }
[assistants.default]
language = "en"
cache = { ttl = "1h" }
"""


async def test_operators_see_what_was_used_and_what_is_wrong_with_what_they_ask(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        (it.folder / "chatferry.toml").write_text(CONFIG, "utf-8")
        nothing = await it.run("usage")
        assert (nothing.status, nothing.err) == (0, "")
        assert nothing.out.startswith("nothing was answered from ")
        async with it.serving():
            for who in ("ann", "bob"):
                await it.line.say(who, "hello")
                await it.line.seen(who, 1)
            await it.line.say("bob", "and now?")
            await it.line.seen("bob", 2)
            table = await it.run("usage", "--by", "channel,person")  # beside a gateway
        assert (table.status, table.err) == (0, "")
        title, heading, *rows, total = [line.split() for line in table.out.splitlines() if line.strip()]
        assert title[-1] == "(UTC)"
        assert heading == ["channel", "person", "answers", "tokens", "in", "tokens", "out", "TWD"]
        # A prompt is 7 tokens, as the simulated model counts. What bob asked first was not asked again.
        numbers = {row[1]: row[2:] for row in rows}
        assert numbers == {
            it.line.address("ann"): ["1", "7", "2", "0.01"],
            it.line.address("bob"): ["2", "7", "3", "0.01"],
        }
        assert (await it.run("usage", "--by", "person")).out == table.out, "an id is somebody on a channel"
        assert total == ["all", "3", "14", "5", "0.02"]
        sheet = await it.run("usage", "--csv", "--by", "day,model")
        assert (sheet.status, sheet.err) == (0, "")
        assert list(csv.DictReader(io.StringIO(sheet.out))) == [
            {
                "day": datetime.now(UTC).strftime("%Y-%m-%d"),
                "model": "simulated-1",
                "answers": "3",
                "prompt_tokens": "14",
                "completion_tokens": "5",
                "cost_TWD": "0.024000",
            }
        ]
        for arguments, told in {
            (
                "--by",
                "channel,month",
            ): "there is no 'month'\n  mend: one or more of day, channel, assistant, model, person",
            ("--since", "yesterday"): "--since: 'yesterday' is no day\n  mend: one such as 2026-11-28",
            ("--since", "2026-12-02", "--until", "2026-12-01"): "--until is before --since",
        }.items():
            wrong = await it.run("usage", *arguments)
            assert wrong.status == 2
            assert told in wrong.err
