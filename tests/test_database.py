"""The database itself: who may have it, what is in it, and that values come back as they went."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from chatferry.errors import InUse
from chatferry.ledger import rows
from chatferry.ledger.database import migrate, open_database
from chatferry.ledger.tables import metadata
from chatferry.migrations import HEAD
from chatferry.migrations.upgrade import config
from chatferry.model import Button, File, Inbound, Message, Text, says


async def test_a_second_process_on_the_same_file_is_refused(tmp_path: Path) -> None:
    first, second = (open_database(f"sqlite:///{tmp_path}/x.db") for _ in range(2))
    async with first.exclusive():
        with pytest.raises(InUse, match="already answering"):
            async with second.exclusive():
                pass
    async with second.exclusive():
        pass


async def test_by_way_of_a_link_it_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "x.db")
    first, second = (open_database(f"sqlite:///{tmp_path}/{name}") for name in ("x.db", "link.db"))
    async with first.exclusive():
        with pytest.raises(InUse):
            async with second.exclusive():
                pass


async def test_migrations_make_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/x.db")
    await migrate(database)

    def ours(name: str | None, kind: str, _: object) -> bool:
        return not (kind == "table" and name and name.startswith("passages_found"))  # FTS5 and what it keeps itself

    def differences(connection: sa.Connection) -> Sequence[object]:
        context = MigrationContext.configure(connection, opts={"include_name": ours})
        found: Sequence[object] = compare_metadata(context, metadata)
        return found

    assert await database.read(differences) == []
    await database.aclose()
    assert ScriptDirectory.from_config(config()).get_current_head() == HEAD


def test_the_message_values_can_be_read_as_they_were_written() -> None:
    message = Message("user", (Text("喂 👋"), File("image", "42", size=3)), author="U1", buttons=(Button("a", "b"),))
    assert rows.MESSAGE.decode(rows.dump(message)) == message


def test_migrations_only_add_so_that_an_older_version_goes_on_beside_a_newer_one() -> None:
    adding = {"create_table", "add_column", "create_index", "get_bind"}
    # A rule that goes is kept by an older version all the same; `batch_alter_table` is how SQLite lets it go.
    rules = {"batch_alter_table", "drop_constraint"}
    first_with_company = "0004"  # before it there was one process at a time
    for script in ScriptDirectory.from_config(config()).walk_revisions():
        if script.revision >= first_with_company:
            tree = ast.parse(Path(script.path).read_text("utf-8"))
            calls = set(filter(None, map(_operation, ast.walk(tree))))
            assert calls <= adding | rules, script.revision


def _operation(node: ast.AST) -> str:
    """What a call does to the schema; empty: it is none that does."""
    match node:
        case ast.Call(ast.Attribute(ast.Name("op" | "sessions"), name)):
            return name
    return ""


async def test_whose_a_turn_is_that_was_kept_by_an_older_version_becomes_known(tmp_path: Path, postgres: str) -> None:
    odd = Inbound("e1", "ann", message=says("user", "a\x00b \\u0000 \\"), sender="ann")
    turn: dict[str, Any] = {
        "channel": "line",
        "event": "e1",
        "conversation": "line:ann",
        "kind": "message",
        "state": "done",
    }
    turn |= {"inbound": rows.dump(odd), "ref": "", "finish": "", "model": "", "error": ""}
    turn |= dict.fromkeys(("due_at", "lease", "leased_until", "attempts", "accepted_at"), 0)
    turn |= dict.fromkeys(("prompt_tokens", "completion_tokens"), 0)

    def older(connection: sa.Connection) -> None:
        command.upgrade(config(connection), "0011")
        connection.execute(sa.table("turns", *map(sa.column, turn)).insert().values(turn))

    whose = sa.text("SELECT sender FROM turns")
    for url in (f"sqlite:///{tmp_path}/x.db", postgres):
        database = open_database(url)
        await database.write(older, patience=60.0)
        await migrate(database)
        assert await database.read(lambda connection: connection.execute(whose).scalar()) == "ann"
        await database.aclose()
