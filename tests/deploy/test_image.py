"""The image: built and run by the commands of its Dockerfile, as another user."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.commandline import Served
from tests.deploy.dockerfile import REPOSITORY, Image, pythons, steps
from tests.ports import free_port

TEXT = (REPOSITORY / "Dockerfile").read_text("utf-8")
USER = int(next(step for step in steps(TEXT) if step.word == "USER").rest.split(":")[0])
COMPOSE = yaml.safe_load((REPOSITORY / "compose.yaml").read_text("utf-8"))["services"]
NOWHERE = "http://127.0.0.1:9"
BOT = {
    "LINE_CHANNEL_SECRET": "channel-secret",
    "LINE_CHANNEL_ACCESS_TOKEN": "channel-token",
    "LINE_API_BASE": NOWHERE,
    "LINE_DATA_API_BASE": NOWHERE,
    "OPENAI_API_KEY": "key",
    "OPENAI_BASE_URL": f"{NOWHERE}/v1",
}


@pytest.fixture(scope="module")
def image(request: pytest.FixtureRequest) -> Iterator[Image]:
    if not request.config.getoption("--deploy"):
        pytest.skip("building the image's file system takes most of a minute: --deploy does it")
    python = next(pythons(USER), None)
    if python is None:
        pytest.skip("this machine has no Python 3.11 that every user may run")
    # Not pytest's own folder: only its owner may enter that.
    folder = Path(tempfile.mkdtemp(prefix="chatferry-image-"))
    folder.chmod(0o755)
    try:
        yield Image(folder / "root").build(TEXT, python)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def port() -> int:
    return free_port()


@asynccontextmanager
async def running(image: Image, command: list[str], **variables: str) -> AsyncIterator[Served]:
    """A container, from when its process says that it is there."""
    served = Served(await image.start(command, **BOT, **variables))
    try:
        await served.event("serving")
        yield served
    finally:
        await served.stop(image.signal)


async def status(port: int, path: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status


async def healthy(image: Image, port: int) -> bool:
    """What an engine makes of the HEALTHCHECK in a container whose PORT is this one."""
    check = await image.start(image.health, PORT=str(port))
    said, _ = await check.communicate()
    assert check.returncode in (0, 1), "the two that an engine knows"
    assert said == (b"ok\n" if check.returncode == 0 else b"")
    return check.returncode == 0


def owner(process: int) -> int:
    return Path(f"/proc/{process}").stat().st_uid


def strays() -> set[Path]:
    """What the image's user has left where everybody may write. Without another user nobody can tell."""
    places = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/dev/shm")] if os.geteuid() == 0 else []  # noqa: S108
    return {path for place in places for path in place.iterdir() if path.lstat().st_uid == USER}


async def test_the_image_answers_as_another_user_and_writes_its_file_only(image: Image, port: int) -> None:
    before = image.files()
    async with running(image, image.command, PORT=str(port)) as served:
        assert await status(port, "/healthz") == 200
        assert await healthy(image, port)
        user = owner(served.process.pid)
        assert await served.stop(image.signal) == 0
    assert user == (USER if os.geteuid() == 0 else os.geteuid())
    assert user != 0
    after = image.files()
    written = {path for path in after if before.get(path) != after[path]} | (before.keys() - after.keys())
    data = image.root / "data"
    assert data / "chatferry.db" in written
    assert {path for path in written if data not in (path, *path.parents)} == set()
    assert strays() == set()


async def test_the_health_check_fails_where_nothing_answers(image: Image, port: int) -> None:
    assert not await healthy(image, port)


@pytest.mark.parametrize("service", ["web", "worker"])
async def test_the_commands_of_compose_run_in_it_on_postgresql_and_write_nothing(
    image: Image, port: int, postgres: str, service: str
) -> None:
    before = image.files()
    command = COMPOSE[service]["command"]
    async with running(image, command, PORT=str(port), CHATFERRY_DATABASE=postgres) as served:
        assert await status(port, "/readyz") == 200
        assert await healthy(image, port)
        assert await served.stop(image.signal) == 0
    assert image.files() == before
