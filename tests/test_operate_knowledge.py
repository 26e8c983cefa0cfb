"""`chatferry knowledge`, `check`, and what the configuration may say of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from chatferry.config import load
from chatferry.errors import ConfigError
from tests.commandline import Shop, shop

CONFIG = """
[models.default]
provider = "demo"
[assistants.default]
knowledge = ["docs/*.md", "faq.csv"]
[api]
keys = ["k"]
"""


@pytest_asyncio.fixture(name="shop")
async def _shop(tmp_path: Path) -> AsyncIterator[Shop]:
    (tmp_path / "chatferry.toml").write_text(CONFIG)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "returns.md").write_text("# Returns\n\nUnused goods may be returned within thirty days.\n")
    (tmp_path / "docs" / "bad.md").write_bytes(b"\xff\xfe\xff")
    async with shop(tmp_path) as made:
        yield made


async def test_files_are_read_and_searched_by_hand(shop: Shop) -> None:
    told = await shop.run("knowledge", "sync")
    assert told.status == 1
    assert [line.split()[0] for line in told.out.splitlines()] == ["warning", "skipped", "read", "1"]
    assert "faq.csv: matches no file" in told.out
    assert "1 files, 1 passages: 1 read, 0 gone, 1 skipped" in told.out
    (shop.folder / "docs" / "bad.md").write_text("# Cups\n\nWe sell cups.\n")
    assert "2 files, 2 passages: 1 read, 0 gone, 0 skipped" in (await shop.run("knowledge", "sync")).out
    found = await shop.run("knowledge", "search", "Can unused goods be returned?")
    assert found.status == 0
    assert found.out.splitlines()[0] == "1  100%  docs/returns.md:3  Returns"
    assert "«Unused» goods may be «returned» within thirty days." in found.out
    assert "would answer" in found.out
    none = await shop.run("knowledge", "search", "Do you sell bicycles?")
    assert (none.status, "would say that it does not know" in none.out) == (1, True)
    assert "small talk" in (await shop.run("knowledge", "search", "Thank you!")).out
    wrong = await shop.run("knowledge", "search", "x", "--assistant", "nobody")
    assert (wrong.status, "known: default" in wrong.err) == (2, True)


async def test_a_table_without_rows_is_named_each_time_and_a_folder_with_the_pattern_of_its_files(shop: Shop) -> None:
    (shop.folder / "chatferry.toml").write_text(CONFIG.replace('"docs/*.md"', '"../shelf/docs/"'))
    (shop.folder / "faq.csv").write_text("question,answer\n")
    (shop.folder.parent / "shelf" / "docs").mkdir(parents=True)
    for _ in range(2):
        assert "faq.csv  0 passages  there is nothing to read in it" in (await shop.run("knowledge", "sync")).out
    said = (await shop.run("check")).out
    assert "FAULT knowledge of default: ../shelf/docs/: is a folder, and names no file" in said
    assert 'mend: "../shelf/docs/**/*.md" in knowledge of [assistants.default]' in said


async def test_check_tells_what_is_in_the_index_and_what_is_not_yet(shop: Shop) -> None:
    (shop.folder / "docs" / "bad.md").unlink()
    assert "FAULT knowledge of default: faq.csv: matches no file" in (await shop.run("check")).out, "no database yet"
    await shop.run("knowledge", "sync")
    (shop.folder / "docs" / "new.md").write_text("# New\n\nNew.\n")
    said = (await shop.run("check")).out
    assert "knowledge of default: 1 files, 1 passages; not read yet: docs/new.md" in said
    assert "mend: chatferry knowledge sync" in said
    assert "FAULT knowledge of default: faq.csv: matches no file" in said


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ('knowledge = ["logo.png"]', "assistants.default.knowledge.0: names files that are not read"),
        ('knowledge = [""]', "assistants.default.knowledge.0: names no file"),
        ('knowledge = ["docs/**.md"]', "assistants.default.knowledge.0: has ** beside something else"),
        ('ground = "strict"', "assistants.default.ground: needs something to rest on"),
        ('checker = "default"', "assistants.default.checker: needs something to rest on"),
        ('knowledge = ["a.md"]\nchecker = "defalt"', "assistants.default.checker: names nothing that exists"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_mend(said: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "chatferry.toml"
    path.write_text(CONFIG.replace('knowledge = ["docs/*.md", "faq.csv"]', said))
    with pytest.raises(ConfigError, match="mend:") as told:
        load(path, {})
    assert fault in str(told.value)
