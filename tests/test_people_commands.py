"""`chatferry export`, `forget` and `people` as operators run them, beside a gateway that serves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from chatferry.simulator.line_people import address
from tests.commandline import Shop, shop

ANN = address("U", "ann")


@pytest_asyncio.fixture(name="shop")
async def _shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop(tmp_path) as made:
        yield made


async def test_a_person_is_exported_and_forgotten_beside_a_gateway(shop: Shop) -> None:
    async with shop.serving():
        await shop.line.say("ann", "heron")
        await shop.line.seen("ann", 1)
        await shop.line.say("bob", "badger")
        await shop.line.seen("bob", 1)
        exported = await shop.run("export", ANN, "--output", "out")
        assert (exported.status, exported.err) == (0, "")
        assert "heron" in (shop.folder / "out" / "export.html").read_text("utf-8")

        asked = await shop.run("forget", ANN)
        assert (asked.status, asked.err) == (1, "nothing was removed; --yes does it without asking\n")
        assert f"line:{ANN}: " in asked.out
        dry = await shop.run("forget", f"line:{ANN}", "--channel", "line", "--dry-run")
        assert dry.out.endswith("nothing was removed: this was a dry run\n")
        done = await shop.run("forget", ANN, "--yes", "--report", "proof.json")
        assert done.status == 0
        assert "nothing is left" in done.out
        assert json.loads((shop.folder / "proof.json").read_text("utf-8"))["removed"]["turns"]["rows"] == 1
        assert b"heron" not in (shop.folder / "chatferry.db").read_bytes()
        again = await shop.run("forget", ANN, "--yes")
        assert (again.status, again.err) == (1, f"nobody is known by {ANN}\n")

        await shop.line.say("ann", "hello again")
        await shop.line.seen("ann", 2)
    vacuumed = await shop.run("forget", ANN, "--yes", "--vacuum", "--report", "second.json")
    assert "the file was written anew (VACUUM)" in vacuumed.out


async def test_a_terminal_is_asked_and_no_is_the_usual_answer(shop: Shop) -> None:
    async with shop.serving():
        await shop.line.say("ann", "heron")
        await shop.line.seen("ann", 1)
    for answer, left in (("\n", "nothing was removed"), ("y\n", "nothing is left")):
        async with shop.terminal("forget", ANN, "--report", "proof.json") as terminal:
            await terminal.shows("There is no way back. [y/N]")
            terminal.type(answer)
            await terminal.shows(left)


async def test_somebody_is_let_in_and_kept_out_by_hand(shop: Shop) -> None:
    for command, told in (("admit", "in"), ("expel", "out")):
        ended = await shop.run("people", command, "line", ANN)
        assert (ended.status, ended.out) == (0, f"line:{ANN} is {told}\n")
    listed = await shop.run("people", "list")
    assert listed.out.split()[0] == "out"
    assert listed.out.split()[-1] == f"line:{ANN}"


async def test_on_a_new_machine_nobody_is_known_and_nothing_is_left_behind(shop: Shop) -> None:
    shop.environ.clear()
    for command in (("export", ANN), ("forget", ANN, "--yes"), ("people", "list")):
        ended = await shop.run(*command)
        assert ended.status == (0 if command[0] == "people" else 1)
    assert list(shop.folder.iterdir()) == []
    assert (await shop.run("export", ANN, "--language", "de")).status == 2
