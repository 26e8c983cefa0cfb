"""What people send on LINE beside words, from the webhook to what the model is asked."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from tests import media
from tests.scenarios.support import asked
from tests.stack import running

SEES = {"sees": True}


def content(line: Any) -> int:
    return len([call for call in line.calls if call.path.endswith("/content")])


def pictures(said: Any) -> list[Image.Image]:
    """The pictures in a message to the model."""
    urls = [part["image_url"]["url"] for part in said if part["type"] == "image_url"]
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


async def test_a_photo_goes_to_a_model_that_sees_and_is_there_for_later_questions(tmp_path: Path) -> None:
    async with running(tmp_path, engine=SEES) as stack:
        await stack.line.show("ann", "image", media.photo())
        await stack.line.seen("ann", 1)
        [shown] = pictures(asked(stack.model)[0])
        assert shown.format == "JPEG"
        assert shown.size == (1176, 1568)  # scaled down, and upright
        assert not shown.getexif()
        await stack.line.say("ann", "and what is in the corner?")
        await stack.line.seen("ann", 2)
        first, _, last = asked(stack.model)
        assert pictures(first)[0].size == (1176, 1568)
        assert last == "and what is in the corner?"
        assert content(stack.line) == 1
