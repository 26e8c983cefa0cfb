"""Keys that are made while the gateway runs: in the database as hashes, in every process within seconds."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio
import sqlalchemy as sa
from openai import AsyncOpenAI
from websockets.asyncio.client import connect

from chatferry.config import ApiSettings, AssistantSettings, ModelSettings, ServerSettings, Settings
from chatferry.keyring import PULSE
from chatferry.ledger import apikeys
from chatferry.ledger.apikeys import ApiKey
from chatferry.ledger.database import Database
from chatferry.ledger.tables import api_keys
from chatferry.simulator.model import ModelSimulator
from chatferry.simulator.serving import serving
from chatferry.testing import ManualClock
from tests.scenarios.asking import ask, client_at, is_error, text
from tests.stack import gateway_on

DAY = 86400.0


@dataclass
class Desk:
    """Gateways on one database, and the command line beside them."""

    database: Database
    clock: ManualClock
    model: ModelSimulator
    urls: list[str] = field(default_factory=list)

    async def create(self, name: str, *scopes: str, lifetime: float | None = None) -> str:
        scopes = scopes or ("chat", "read")
        made = await self.database.write(lambda c: apikeys.create(c, name, scopes, self.clock.now(), lifetime))
        assert made is not None
        return made

    async def rotate(self, name: str, grace: float = DAY) -> str:
        made = await self.database.write(lambda c: apikeys.rotate(c, name, self.clock.now(), grace))
        assert made is not None
        return made

    async def revoke(self, name: str) -> int:
        return await self.database.write(lambda c: apikeys.revoke(c, name))

    async def keys(self) -> list[ApiKey]:
        return await self.database.read(apikeys.read)

    async def status(self, key: str, url: str) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/models", headers=headers) as answer:
            return answer.status

    async def ask(self, key: str, question: str, session: str | None = None) -> str:
        async with self.api(key) as api:
            return text(await ask(api, question, session=session))

    async def everywhere(self, key: str, status: int) -> None:
        """Return when every process says this to the key, one look after the other."""
        async with asyncio.timeout(60):
            for url in self.urls:
                while await self.status(key, url) != status:
                    self.clock.advance(PULSE)
                    await asyncio.sleep(0.001)

    def api(self, key: str) -> AsyncOpenAI:
        return client_at(self.urls[0], key=key)


@pytest_asyncio.fixture(name="desk")
async def _desk(database: Database, database_url: str) -> AsyncIterator[Desk]:
    desk = Desk(database, ManualClock(), ModelSimulator())
    async with contextlib.AsyncExitStack() as stack:
        model = await stack.enter_async_context(serving(desk.model.app))
        settings = Settings(
            server=ServerSettings(host="127.0.0.1", port=0, database=database_url, drain=0.0),
            models={"default": ModelSettings(provider="openai", model="sim", base_url=f"{model}/v1")},
            assistants={name: AssistantSettings(language="en") for name in ("default", "poet", "tutor")},
            api=ApiSettings(),
            source="test",
        )
        for _ in range(1 if database_url.startswith("sqlite") else 2):
            desk.urls.append((await stack.enter_async_context(gateway_on(settings, desk.clock)))[1])
        yield desk


async def test_a_key_is_known_to_every_process_and_so_is_that_it_was_revoked(desk: Desk) -> None:
    key = await desk.create("website")
    kept = await desk.database.read(lambda connection: connection.execute(sa.select(api_keys)).all())
    assert key.startswith(f"cf_{kept[0].id}_")
    assert key.split("_")[2] not in repr(kept)
    await desk.everywhere(key, 200)
    other = await desk.create("app")
    await desk.everywhere(other, 200)
    assert await desk.revoke("website") == 1
    await desk.everywhere(key, 401)
    assert [await desk.status(other, url) for url in desk.urls] == [200] * len(desk.urls)
    assert [await desk.status(wrong, desk.urls[0]) for wrong in (other[:-1], other + "a", key[:12] + other[12:])] == [
        401
    ] * 3


async def test_a_rotated_key_is_the_same_caller_and_two_are_good_at_a_time(desk: Desk) -> None:
    first = await desk.create("website", lifetime=90 * DAY)
    await desk.everywhere(first, 200)
    await desk.ask(first, "my name is Ann", "a")
    desk.clock.advance(DAY)
    second = await desk.rotate("website")
    await desk.everywhere(second, 200)
    await desk.ask(second, "who am I?", "a")
    said = [told["content"] for told in desk.model.requests[-1].body["messages"] if told["role"] == "user"]
    assert said == ["my name is Ann", "who am I?"]
    await desk.everywhere(first, 200)
    third = await desk.rotate("website")
    await desk.everywhere(third, 200)
    await desk.everywhere(first, 401)
    await desk.everywhere(second, 200)
    current, before = await desk.keys()
    assert (current.replaced, before.replaced) == (False, True)
    assert before.expires_at is not None
    assert 0 <= desk.clock.now() + DAY - before.expires_at < 60
    assert current.expires_at == current.created_at + 90 * DAY
    desk.clock.advance(DAY)
    await desk.everywhere(second, 401)
    await desk.everywhere(third, 200)


async def test_the_same_name_again_is_another_caller(desk: Desk) -> None:
    for _ in range(2):
        key = await desk.create("website")
        await desk.everywhere(key, 200)
        await desk.ask(key, "hello", "a")
        await desk.revoke("website")
    assert len([told for told in desk.model.requests[-1].body["messages"] if told["role"] == "user"]) == 1


async def test_a_key_that_has_expired_is_told_so(desk: Desk) -> None:
    key = await desk.create("website", lifetime=DAY)
    await desk.everywhere(key, 200)
    desk.clock.advance(DAY)
    with pytest.raises(openai.AuthenticationError, match="has expired"):
        await desk.ask(key, "hello")


async def test_a_key_does_what_its_scopes_say_and_nothing_else(desk: Desk) -> None:
    poet, reader = await desk.create("poet", "chat:poet"), await desk.create("reader", "read")
    await desk.everywhere(reader, 200)
    async with desk.api(poet) as api:
        assert [model.id async for model in api.models.list()] == ["poet"]
        answer = await api.chat.completions.create(model="poet", messages=[{"role": "user", "content": "hello"}])
        assert text(answer) == "echo: hello"
        with pytest.raises(openai.PermissionDeniedError, match="chat:default") as refusal:
            await ask(api, "hello")
        assert is_error(refusal.value.response.json(), "missing_scope")
        with pytest.raises(openai.PermissionDeniedError):
            await api.models.retrieve("tutor")
        with pytest.raises(openai.NotFoundError, match="known: poet") as unknown:
            await api.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "hello"}])
        assert "tutor" not in unknown.value.message
    async with desk.api(reader) as api:
        assert [model.id async for model in api.models.list()] == ["default", "poet", "tutor"]
        with pytest.raises(openai.PermissionDeniedError):
            await ask(api, "hello")
    assert len(desk.model.requests) == 1


async def test_over_a_websocket_keys_and_scopes_count_in_each_frame(desk: Desk) -> None:
    key = await desk.create("poet", "chat:poet")
    await desk.everywhere(key, 200)
    async with connect(desk.urls[0].replace("http:", "ws:") + "/v1/stream", proxy=None) as socket:

        async def asked(model: str, **more: Any) -> dict[str, Any]:
            await socket.send(json.dumps({"messages": [{"role": "user", "content": "hello"}], "model": model, **more}))
            told: dict[str, Any] = json.loads(await socket.recv())
            return told

        assert (await asked("poet", api_key=key))["content"] == "echo: hello"
        assert is_error(await asked("tutor"), "missing_scope")
        await desk.revoke("poet")
        await desk.everywhere(key, 401)
        assert is_error(await asked("poet"), "invalid_api_key")


@contextlib.contextmanager
def statements_about_keys() -> Iterator[list[str]]:
    found: list[str] = []

    def note(_c: object, _k: object, statement: str, values: object, *_: object) -> None:
        if "keys" in statement:
            found.append(f"{statement} {values}")

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


async def until(met: Callable[[], Awaitable[bool]], clock: ManualClock) -> None:
    async with asyncio.timeout(60):
        while not await met():
            clock.advance(PULSE)
            await asyncio.sleep(0.001)


async def test_no_request_looks_for_its_key_and_its_use_is_kept_once_a_minute(desk: Desk) -> None:
    key = await desk.create("website")
    await desk.everywhere(key, 200)

    async def used() -> float | None:
        [kept] = await desk.keys()
        return kept.used_at

    async def kept_at(at: float) -> bool:
        return await used() == at

    async def told_by_all() -> bool:
        return sum(told.startswith("UPDATE") and str(first) in told for told in looks) == len(desk.urls)

    desk.clock.advance(60)
    first = desk.clock.now()
    with statements_about_keys() as looks:
        assert [await desk.status(key, url) for url in desk.urls] == [200] * len(desk.urls)
        await until(told_by_all, desk.clock)
        await until(partial(kept_at, first), desk.clock)
    with statements_about_keys() as looks:
        for _ in range(20):
            assert await desk.status(key, desk.urls[0]) == 200
        await desk.ask(key, "hello")
    assert len(looks) < 20  # a look of each process may have been on its way
    desk.clock.advance(30)
    assert await desk.status(key, desk.urls[0]) == 200
    with statements_about_keys() as looks:
        for _ in range(5):
            desk.clock.advance(PULSE)
            await asyncio.sleep(0.02)
    assert all(statement.startswith("SELECT") for statement in looks)
    assert await used() == first
    desk.clock.advance(60)
    assert await desk.status(key, desk.urls[0]) == 200
    await until(partial(kept_at, desk.clock.now()), desk.clock)
