"""`chatferry export`, `forget` and `people` as operators run them, beside a gateway that serves."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chatferry.cli.people import mended
from chatferry.clock import SystemClock
from chatferry.ledger.database import migrate, open_database
from chatferry.ledger.ledger import Ledger
from chatferry.model import Inbound, says
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


async def test_whoever_only_stands_at_a_door_is_forgotten_too(shop: Shop) -> None:
    expelled = await shop.run("people", "expel", "line", ANN)
    assert expelled.out == f"line:{ANN} is out; nobody of this id has been here yet\n"
    done = await shop.run("forget", ANN, "--yes")
    assert done.status == 0
    assert done.out.startswith(f"line:{ANN}: 1 guests\n")
    assert (await shop.run("people", "list")).out == ""


async def test_a_terminal_is_asked_and_no_is_the_usual_answer(shop: Shop) -> None:
    async with shop.serving():
        await shop.line.say("ann", "heron")
        await shop.line.seen("ann", 1)
    for answer, left in (("\n", "nothing was removed"), ("y\n", "nothing is left")):
        async with shop.terminal("forget", ANN, "--report", "proof.json") as terminal:
            await terminal.shows("There is no way back. [y/N]")
            terminal.type(answer)
            await terminal.shows(left)


async def talked(shop: Shop, *channels: str) -> None:
    """Let Ann have said something on each."""
    database = open_database(f"sqlite:///{shop.folder / 'chatferry.db'}")
    await migrate(database)
    async with Ledger(database, SystemClock()).open() as ledger:
        for channel in channels:
            await ledger.accept(channel, [Inbound(str(uuid.uuid4()), ANN, message=says("user", "heron"), sender=ANN)])
    await database.aclose()


async def test_nothing_is_removed_where_the_proof_cannot_be_kept(shop: Shop) -> None:
    await talked(shop, "line")
    (shop.folder / "old.json").write_text("{}", "utf-8")
    for place, why in (("nowhere/x.json", "No such file or directory"), (".", "Is a directory"), ("old.json", "")):
        refused = await shop.run("forget", ANN, "--yes", "--report", place)
        assert refused.status == 2
        assert f"{why}; nothing was removed" in refused.err or f"{place} is there already; nothing" in refused.err
        assert "mend: --report FILE" in refused.err
    assert (await shop.run("forget", ANN, "--report", "new.json")).status == 1
    assert not (shop.folder / "new.json").exists(), "nothing was removed, so there is no proof"
    assert (shop.folder / "old.json").read_text("utf-8") == "{}"
    assert "1 turns" in (await shop.run("forget", ANN, "--dry-run")).out


async def test_a_proof_that_cannot_be_written_after_all_is_printed(shop: Shop) -> None:
    await talked(shop, "line")
    done = await shop.run("forget", ANN, "--yes", "--report", "/dev/full")
    assert done.status == 1
    assert done.err == "the proof could not be written to /dev/full: No space left on device; here it is\n"
    proof, _ = json.JSONDecoder().raw_decode(done.out, done.out.index("{"))
    assert proof["removed"]["turns"]["rows"] == 1
    assert "proof: printed above" in done.out


async def test_each_whom_one_id_names_has_a_proof_and_an_export_of_their_own(shop: Shop) -> None:
    await talked(shop, "line", "line2")
    assert (await shop.run("export", ANN, "--output", "out")).status == 0
    assert all((shop.folder / "out" / name / "export.json").exists() for name in ("line", "line2"))
    done = await shop.run("forget", ANN, "--yes", "--report", "proof.json")
    assert done.status == 0
    proofs = [json.loads((shop.folder / f"proof-{name}.json").read_text("utf-8")) for name in ("line", "line2")]
    assert [proof["channel"] for proof in proofs] == ["line", "line2"]
    await talked(shop, "line", "line2")
    assert (await shop.run("forget", ANN, "--yes")).status == 0
    assert len(list(shop.folder.glob("forgotten-line*.json"))) == 2


async def test_an_export_goes_where_nothing_is_and_where_it_can_be_written(shop: Shop) -> None:
    await talked(shop, "line")
    (shop.folder / "used" / "files").mkdir(parents=True)
    (shop.folder / "file").touch()
    for place, why in (("used", "used is not empty"), ("file", "file: File exists"), ("file/in", "Not a directory")):
        refused = await shop.run("export", ANN, "--output", place)
        assert refused.status == 2
        assert why in refused.err
        assert "mend: --output FOLDER" in refused.err


async def test_whoever_is_kept_out_where_no_door_is_shut_is_answered_and_that_is_said(shop: Shop) -> None:
    expelled = await shop.run("people", "expel", "line", ANN)
    assert expelled.status == 1
    assert "counts for nothing" in expelled.err
    assert f'mend: deny = ["{ANN}"] in [channels.line]' in expelled.err
    async with shop.serving():
        await shop.line.say("ann", "heron")
        await shop.line.seen("ann", 1)


@pytest.mark.parametrize(
    ("door", "admit", "expel"),
    [
        ({}, "", 'deny = ["ann"]'),
        ({"first_contact": "code"}, "", ""),
        ({"first_contact": "code", "allow": ["ann"]}, "", "take it out of allow"),
        ({"first_contact": "code", "deny": ["ann"]}, "take it out of deny", ""),
        ({"allow": ["bob"]}, 'add "ann" to allow', ""),
        ({"allow": ["ann"]}, "", "take it out of allow"),
        ({"deny": ["bob"]}, "", 'add "ann" to deny'),
        ({"deny": ["bob"], "denied": "No."}, "", ""),
    ],
)
def test_how_somebody_stands_counts_where_nothing_else_decides(door: dict[str, Any], admit: str, expel: str) -> None:
    assert (mended(door, "ann", let_in=True), mended(door, "ann", let_in=False)) == (admit, expel)


async def test_somebody_is_let_in_and_kept_out_by_hand(shop: Shop) -> None:
    new = "; nobody of this id has been here yet"
    for command, told in (("admit", f"in{new}"), ("expel", "out")):
        ended = await shop.run("people", command, "line", ANN)
        assert ended.out == f"line:{ANN} is {told}\n"
    for given, why in (
        (("people", "admit", "lin", "x"), "there is no channel 'lin'\n  mend: did you mean `line`?\n"),
        (("people", "expel", "api", "x"), "the API has keys, and no door\n"),
        (("forget", ANN, "--channel", "lin"), "there is no channel 'lin'\n  mend: did you mean `line`?\n"),
        (("export", ANN, "--channel", "lin"), "there is no channel 'lin'\n  mend: did you mean `line`?\n"),
    ):
        ended = await shop.run(*given)
        assert ended.status == 2
        assert ended.err.startswith(why)
    listed = await shop.run("people", "list")
    assert listed.out.split()[0] == "out"
    assert listed.out.split()[-1] == f"line:{ANN}"


async def test_on_a_new_machine_nobody_is_known_and_nothing_is_left_behind(shop: Shop) -> None:
    shop.new()
    shop.environ.clear()
    for command in (("export", ANN), ("forget", ANN, "--yes"), ("people", "list")):
        ended = await shop.run(*command)
        assert ended.status == (0 if command[0] == "people" else 1)
    assert list(shop.folder.iterdir()) == []
    assert (await shop.run("export", ANN, "--language", "de")).status == 2
