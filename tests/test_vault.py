"""Secrets come back as they went in, and to nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from chatferry.errors import ConfigError, Unavailable
from chatferry.ledger.database import Database, open_database
from chatferry.ledger.tables import vault as table
from chatferry.ledger.vault import Vault
from chatferry.testing import ManualClock
from tests.sqlite import with_schema

SECRET = "a secret of the operator's"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(with_schema(tmp_path / "x.db"))
    yield database
    await database.aclose()


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, "slack", SECRET, ManualClock())


async def change(database: Database, statement: sa.Update) -> None:
    def work(connection: sa.Connection) -> None:
        connection.execute(statement)

    await database.write(work)


async def test_what_was_put_comes_back_also_to_the_next_start(database: Database, vault: Vault) -> None:
    assert await vault.get("a") is None
    await vault.put("a", b"one")
    await vault.put("b", b"")
    assert await Vault(database, "slack", SECRET, ManualClock()).get("a") == b"one"
    assert await vault.get("b") == b""


async def test_the_newest_is_kept_until_it_is_dropped(vault: Vault) -> None:
    await vault.put("a", b"one")
    await vault.put("a", b"two")
    assert await vault.get("a") == b"two"
    await vault.drop("a")
    await vault.drop("a")
    assert await vault.get("a") is None


async def test_each_channel_has_its_own(database: Database, vault: Vault) -> None:
    other = Vault(database, "other", SECRET, ManualClock())
    await vault.put("a", b"ours")
    await other.put("a", b"theirs")
    await other.drop("a")
    assert await vault.get("a") == b"ours"


async def test_the_database_does_not_hold_it_in_the_clear_nor_twice_the_same(database: Database, vault: Vault) -> None:
    await vault.put("a", b"xoxb-token")
    await vault.put("b", b"xoxb-token")
    first, second = await database.read(
        lambda connection: connection.execute(sa.select(table.c.secret)).scalars().all()
    )
    assert b"xoxb" not in first
    assert first[12:] != second[12:]


@pytest.mark.parametrize("moved", [{"name": "b"}, {"channel": "other"}])
async def test_a_row_in_the_place_of_another_is_not_believed(
    database: Database, vault: Vault, moved: dict[str, str]
) -> None:
    await vault.put("a", b"one")
    await change(database, sa.update(table).values(moved))
    thief = Vault(database, moved.get("channel", "slack"), SECRET, ManualClock())
    with pytest.raises(ConfigError):
        await thief.get(moved.get("name", "a"))


@pytest.mark.parametrize("altered", [lambda kept: kept[:-1], lambda kept: kept + b"x", lambda kept: b""])
async def test_a_row_that_was_altered_is_not_believed(
    database: Database, vault: Vault, altered: Callable[[bytes], bytes]
) -> None:
    await vault.put("a", b"one")
    query = sa.select(table.c.secret)
    kept = await database.read(lambda connection: connection.execute(query).scalar_one())
    await change(database, sa.update(table).values(secret=altered(kept)))
    with pytest.raises(ConfigError):
        await vault.get("a")


async def test_another_secret_is_told_with_its_mend(database: Database, vault: Vault) -> None:
    await vault.put("a", b"one")
    stranger = Vault(database, "slack", "the operator changed it", ManualClock())
    with pytest.raises(
        ConfigError, match=r"server\.secret: [\s\S]* mend: set CHATFERRY_SECRET .* install us again"
    ) as told:
        await stranger.get("a")
    assert SECRET not in str(told.value)
    await stranger.put("a", b"installed again")
    assert await stranger.get("a") == b"installed again"


async def test_a_database_that_fails_is_unavailable_and_the_secret_is_not_in_the_message(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/empty.db")
    vault = Vault(database, "slack", SECRET, ManualClock())
    for doing in (vault.get("a"), vault.put("a", b"token"), vault.drop("a")):
        with pytest.raises(Unavailable, match="no such table") as told:
            await doing
        assert "token" not in str(told.value)
    await database.aclose()
