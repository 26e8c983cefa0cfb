"""`chatferry export`: all that a person said and was told, on every database, and no word of anybody else's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

from chatferry.cli.export import write
from chatferry.gateway import Gateway
from chatferry.simulator import line_people
from tests.scenarios.support import CLUB, ended, screen, world

pytestmark = pytest.mark.usefixtures("layout")

ANN = line_people.address("U", "ann")
HOSTILE = "</style><script>alert(1)</script>\"'><img src=x onerror=alert(1)> {{ 7*7 }} [x](javascript:alert(1))"


async def exported(gateway: Gateway, folder: Path, who: str = ANN) -> tuple[dict[str, Any], str]:
    """Both files."""
    out = folder / "out"
    assert await write(gateway.settings.server, who, output=out, clock=gateway.clock) == 0
    assert (out / "export.json").stat().st_mode & 0o77 == 0, "only its owner may read it"
    made: dict[str, Any] = json.loads((out / "export.json").read_text("utf-8"))
    return made, (out / "export.html").read_text("utf-8")


async def test_an_export_has_what_was_said_and_nothing_of_others(tmp_path: Path) -> None:
    async with world(tmp_path, channel={"groups": "all"}) as it, it.gateway() as gateway:
        for n in range(60):
            await it.line.say("ann", f"heron {n}")
        await it.line.say("bob", "badger alone")
        await it.line.say("ann", "heron among us", group="club")
        await it.line.say("bob", "badger among us", group="club")
        await it.line.say("ann", "/help")
        await it.line.say("ann", HOSTILE)
        await ended(gateway, 65, it.clock)

        made, page = await exported(gateway, tmp_path)

        assert (made["format"], made["version"]) == ("chatferry-export", 1)
        assert made["person"] == {"channel": "line", "id": ANN}
        own, club = made["conversations"]
        assert (own["id"], own["shared"]) == (f"line:{ANN}", False)
        assert (club["id"], club["shared"]) == (f"line:{CLUB}", True)
        said = [one["body"]["parts"][0]["text"] for turn in own["turns"] for one in turn["messages"]]
        asked = [f"heron {n}" for n in range(60)] + [HOSTILE]
        assert sorted(said) == sorted([*asked, *(f"echo: {text}" for text in asked)])
        sent = [one["message"]["parts"][0]["text"] for turn in own["turns"] for one in turn["sent"]]
        assert sorted(sent) == sorted(screen(it.line, "ann"))
        assert [turn["inbound"]["message"]["parts"][0]["text"] for turn in club["turns"]] == ["heron among us"]
        assert "badger" not in json.dumps(made)
        assert "token" not in json.dumps([turn["inbound"] for turn in own["turns"]]), "no leave to answer"

        assert "badger" not in page
        helped = next(text for text in sent if "/stop" in text)
        assert escape(helped) in page, "what we say ourselves is no Markdown: its lines stay lines"
        assert page.count("heron") >= 120
        assert not re.search(r"<(script|img|iframe|link|a [^>]*javascript)", page)
        assert "&lt;/style&gt;&lt;script&gt;" in page
        assert page.count("</style>") == 1
        assert "https://" not in page.replace("https://line.me", "")
        assert page.rstrip().endswith("</html>")


async def test_nobody_is_known_by_an_unknown_id(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        assert await write(gateway.settings.server, "'; DROP TABLE turns; --", output=tmp_path / "out") == 1
        assert not (tmp_path / "out").exists()
