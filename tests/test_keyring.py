"""Keys in memory: how they are compared, and what becomes of them while the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import pytest

from chatferry import keyring
from chatferry.ledger import apikeys
from chatferry.ledger.apikeys import ApiKey
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.testing import ManualClock

KEY = f"cf_abcdefgh_{'s' * 43}"


class Secret(bytes):
    """What must not be compared letter by letter."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared in a time that tells how much of it is right")

    __hash__ = bytes.__hash__


class Keys:
    """A database in which nothing but these keys is. It may be away."""

    def __init__(self, *keys: ApiKey) -> None:
        self.keys: Sequence[ApiKey] | None = keys
        self.uses: list[dict[str, float]] = []
        self.looks = 0

    async def read(self, work: object) -> Any:
        self.looks += 1
        if self.keys is None:
            raise ConnectionError("away")
        return repr(self.keys).encode() if work is apikeys.edition else list(self.keys)

    async def used(self, uses: dict[str, float]) -> None:
        self.uses.append(uses)


def ring(keys: Keys, clock: ManualClock) -> keyring.Keyring:
    return keyring.Keyring(cast("Database", keys), cast("Ledger", keys), clock)


def made(clock: ManualClock) -> ApiKey:
    digest = Secret(apikeys.digest(KEY))
    return ApiKey("abcdefgh", "website", "key.1", digest, "chat", replaced=False, created_at=clock.now())


async def test_what_is_secret_is_compared_in_a_time_that_tells_nothing(clock: ManualClock) -> None:
    known = ring(Keys(made(clock)), clock)
    await known.look()
    caller = known.find(KEY)
    assert caller is not None
    assert (caller.name, caller.scopes) == ("key.1", frozenset({"chat"}))
    for wrong in (KEY[:-1] + "x", "cf_abcdefgx" + KEY[11:], KEY + "s", KEY[:-1], f" {KEY}", f"{KEY}\n", ""):
        assert known.find(wrong) is None


async def test_an_old_key_is_warned_of_every_day(clock: ManualClock, capsys: pytest.CaptureFixture[str]) -> None:
    known = ring(Keys(made(clock)), clock)
    await known.look()
    clock.advance(apikeys.OLD - 86_399.0)
    keeping = asyncio.create_task(known.keep())
    for _ in range(4):
        for _ in range(5):
            await asyncio.sleep(0)
        clock.advance(86_400.0)
    keeping.cancel()
    told = [line for line in capsys.readouterr().err.splitlines() if "an API key is old" in line]
    assert [line.partition("days=")[2].split()[0] for line in told] == ["90", "91", "92"]


async def test_who_was_known_stays_known_while_the_database_is_away(clock: ManualClock) -> None:
    keys = Keys(made(clock))
    known = ring(keys, clock)
    await known.look()
    keeping = asyncio.create_task(known.keep())

    async def looks(number: int) -> None:
        number += keys.looks
        while keys.looks < number:
            assert not keeping.done(), "it ended with the database"
            clock.advance(keyring.PULSE)
            await asyncio.sleep(0)

    keys.keys = None
    await looks(3)
    assert known.find(KEY) is not None
    assert keys.uses == []
    keys.keys = [msgspec.structs.replace(made(clock), id="other")]
    await looks(3)
    assert known.find(KEY) is None
    assert [set(uses) for uses in keys.uses] == [{"abcdefgh"}]
    keeping.cancel()
