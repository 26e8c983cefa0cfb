"""What people send on Slack, on WeChat and to the API beside words, and what the pages show of it."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chatferry.config import Settings
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving
from chatferry.simulator.wechat import WeChatSimulator
from chatferry.words import words as load
from tests import media
from tests.scenarios.asking import client
from tests.scenarios.slack_support import slack_world
from tests.scenarios.support import ended, kept
from tests.scenarios.wechat_support import wechat_world
from tests.stack import running

SEES = {"sees": True}


def shown(model: ModelSimulator) -> list[bytes]:
    """The pictures that the model was shown in its last request."""
    said = [part for one in model.requests[-1].body["messages"] for part in one["content"] if isinstance(part, dict)]
    return [base64.b64decode(part["image_url"]["url"].partition(",")[2]) for part in said if "image_url" in part]


def words(model: ModelSimulator) -> str:
    """What the model was told in its last request, in words, without the assistant's own instructions."""
    said = [one["content"] for one in model.requests[-1].body["messages"] if one["role"] != "system"]
    texts = [text if isinstance(text, str) else [part.get("text", "") for part in text] for text in said]
    return "\n".join(text if isinstance(text, str) else "".join(text) for text in texts)


async def test_on_slack_a_picture_beside_a_command_is_said_to_be_passed_over(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world, world.gateway() as gateway:
        ts = await world.slack.say("ann", "/memory", files={"cup.png": media.picture()})
        await ended(gateway, 1, world.clock)
        [told] = [post.markdown for post in world.slack.thread(world.slack.dm("ann"), ts)[1:]]
        assert told.endswith(load("en").passed_over)
        assert not world.model.requests


@pytest.mark.usefixtures("layout")
async def test_slack_in_one_process_and_in_two(tmp_path: Path) -> None:
    async with slack_world(tmp_path, assistant={"voice": "default"}) as world:
        world.settings.models["default"] = world.settings.models["default"].model_copy(update=SEES)
        world.model.ears.hears = lambda sound: "where is my order"
        async with world.gateway() as gateway:
            cup, invoice = media.picture(color="blue"), media.pdf("Invoice 42")
            began = await world.slack.say("ann", "it broke", files={"cup.png": cup, "invoice.pdf": invoice})
            await ended(gateway, 1, world.clock)
            assert len(shown(world.model)) == 1
            assert "it broke" in words(world.model)
            assert "[file: invoice.pdf] What stands in it" in words(world.model)
            await world.slack.say("ann", "", thread=began, files={"clip.m4a": b"\0\0\0\x18ftypM4A spoken"})
            await ended(gateway, 2, world.clock)
            assert words(world.model).endswith("where is my order")
            assert len(shown(world.model)) == 1  # the cup is still there
            assert world.model.ears.requests[0].media_type == "audio/mp4"


async def test_files_of_slack_are_fetched_from_slack_and_nowhere_else(tmp_path: Path) -> None:
    asked: list[str] = []

    async def trap(request: Request) -> Response:
        asked.append(request.url.path)
        return Response(b"secret")

    async with (
        serving(Starlette(routes=[Route("/{path:path}", trap)])) as elsewhere,
        slack_world(tmp_path) as world,
        world.gateway() as gateway,
    ):
        await world.slack.say("ann", "look", files={"a.txt": b"hello"})
        await ended(gateway, 1, world.clock)
        assert "> hello" in words(world.model)
        said = world.slack.deliveries[0].payload["event"]
        for number, url in enumerate((f"{elsewhere}/x", "http://169.254.169.254/x", "https://slack.com.example/x"), 2):
            hostile = said["files"][0] | {"url_private_download": url, "url_private": url}
            ts = f"{float(said['ts']) + number:.6f}"
            await world.slack.tell(said | {"files": [hostile], "ts": ts, "event_ts": ts})
            await ended(gateway, number, world.clock)
            assert "could not be fetched" in words(world.model)
        assert not asked


async def test_wechat(tmp_path: Path) -> None:
    account = WeChatSimulator(verified=True)

    def seeing(settings: Settings) -> Settings:
        models = {name: model.model_copy(update=SEES) for name, model in settings.models.items()}
        voice = {name: its.model_copy(update={"voice": "default"}) for name, its in settings.assistants.items()}
        return settings.model_copy(update={"models": models, "assistants": voice})

    async with wechat_world(tmp_path, wechat=account, settings=seeing) as world, world.gateway() as gateway:
        await world.wechat.image("ann", media.picture("JPEG"))
        await ended(gateway, 1, world.clock)
        assert len(shown(world.model)) == 1
        await world.wechat.voice("ann", recognition="订单到哪里了")
        await ended(gateway, 2, world.clock)
        assert words(world.model).endswith("订单到哪里了")
        assert not world.model.ears.requests
        world.model.ears.hears = lambda sound: f"{media.heard(sound)[1]:.0f}"
        await world.wechat.voice("ann", media.AMR, recognition="")
        await ended(gateway, 3, world.clock)
        assert words(world.model).endswith("440")
        [heard] = world.model.ears.requests
        assert (heard.name, heard.media_type) == ("voice.mp3", "audio/mpeg")
        await world.wechat.voice("ann", media.AMR[:6])
        await ended(gateway, 4, world.clock)
        assert words(world.model).endswith("[语音] 文件已损坏或不完整，无法读取。")


@pytest.fixture
def without_media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the extra brings is not there, for the processes that read files."""
    for name in ("av", "pillow_heif"):
        (tmp_path / f"{name}.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("without_media")
async def test_what_needs_the_extra_is_told_kindly_without_it(tmp_path: Path) -> None:
    async with running(tmp_path, engine=SEES, assistant={"voice": "default"}) as stack:
        await stack.line.show("ann", "audio", media.AMR)
        await stack.line.seen("ann", 1)
        assert words(stack.model) == "[voice message] It is in a sound format that nobody can listen to here."
        assert not stack.model.ears.requests
        await stack.line.show("ann", "image", media.picture("HEIF"))
        await stack.line.seen("ann", 2)
        assert "\n[image] It is in Apple's HEIC format" in words(stack.model)


async def test_a_photo_of_an_iphone_on_slack(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world:
        world.settings.models["default"] = world.settings.models["default"].model_copy(update=SEES)
        async with world.gateway() as gateway:
            await world.slack.say("ann", "it broke", files={"IMG_0042.HEIC": media.picture("HEIF", color="blue")})
            await ended(gateway, 1, world.clock)
            [seen] = shown(world.model)
            assert Image.open(io.BytesIO(seen)).size == (640, 480)


@pytest.mark.parametrize("ocr", [True, False])
async def test_the_first_pages_of_a_scan_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ocr: bool) -> None:
    monkeypatch.setattr("chatferry.answering.media._PAGES", 1)
    async with running(tmp_path, engine=SEES, assistant={"ocr": ocr}) as stack:
        await stack.line.show("ann", "file", media.scan(("破損的杯子",), ("TOTAL",)), "scan.pdf")
        await stack.line.seen("ann", 1, patience=60)  # what reads letters takes long to start on a busy machine
        told = words(stack.model)
    assert ("It was scanned; only its first pages (1) were read." in told) == ocr
    assert ("> 破損的杯子" in told) == ocr
    assert ("perhaps it was scanned" in told) != ocr
    assert "TOTAL" not in told


async def test_the_api_takes_files_inline_and_keeps_them_once(tmp_path: Path) -> None:
    cup = base64.b64encode(media.picture()).decode()
    invoice = base64.b64encode(media.docx("Invoice 42")).decode()
    sound = base64.b64encode(b"RIFF\0\0\0\0WAVE").decode()
    parts: Any = [
        {"type": "text", "text": "it broke"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{cup}"}},
        {"type": "file", "file": {"filename": "invoice.docx", "file_data": f"data:;base64,{invoice}"}},
        {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}},
    ]
    async with running(tmp_path, engine=SEES, assistant={"voice": "default"}) as stack, client(stack) as api:
        stack.model.ears.hears = lambda sound: "and where is my order"
        await api.chat.completions.create(
            model="default", messages=[{"role": "user", "content": parts}], extra_body={"session_id": "s"}
        )
        assert len(shown(stack.model)) == 1
        assert "> Invoice 42" in words(stack.model)
        assert "and where is my order" in words(stack.model)
        assert cup not in kept(tmp_path)
        # Whoever brings the talk along brings its pictures too.
        talk: Any = [{"role": "user", "content": parts[1:2]}, {"role": "assistant", "content": "a cup"}]
        await api.chat.completions.create(model="default", messages=[*talk, {"role": "user", "content": "and?"}])
        assert len(shown(stack.model)) == 1
        assert cup not in kept(tmp_path)


async def test_pictures_that_will_not_be_shown_are_not_fetched_and_that_is_told(tmp_path: Path) -> None:
    cups = [
        base64.b64encode(media.picture(color=color)).decode()
        for color in ("red", "green", "blue", "white", "black", "pink")
    ]
    parts: Any = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{cup}"}} for cup in cups]
    async with (
        running(tmp_path, engine=SEES, assistant={"language": "en", "context_tokens": 8000}) as stack,
        client(stack) as api,
    ):
        await api.chat.completions.create(
            model="default", messages=[{"role": "user", "content": parts}], extra_body={"session_id": "s"}
        )
        assert len(shown(stack.model)) == 4, words(stack.model)
        assert words(stack.model).count("[image] More than 4 files came at once, so this one was not looked at.") == 2


async def test_pages_show_what_was_sent_to_whom_has_their_link(tmp_path: Path) -> None:
    async with running(tmp_path, engine=SEES) as stack, aiohttp.ClientSession() as http:
        for person in ("ann", "bob"):
            await stack.line.show(person, "image", media.picture())
            await stack.line.seen(person, 1)
        first, second = [entry.id for entry in await ended(stack.gateway, 2)]
        links, now = stack.gateway.links, stack.gateway.clock.now()
        places = {}
        for page in ("a", "h"):
            url = f"{stack.url}/{page}/{links.token(page, first, now)}"
            async with http.get(url) as answer:
                text = await answer.text()
            [places[page]] = re.findall(r'<img class="sent" src="([^"]+)" alt="\[image\]"', text)
            async with http.get(f"{stack.url}/{page}/{places[page]}") as answer:
                assert (answer.status, answer.content_type) == (200, "image/png")
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            id = places[page].rpartition("/")[2]
            async with http.get(f"{stack.url}/{page}/{links.token(page, second, now)}/picture/{id}") as answer:
                assert answer.status == 404  # somebody else's
