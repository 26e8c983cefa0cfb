"""Files and the index: what is read, what is seen to have changed, and what cannot be read, on both databases."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from chatferry.knowledge.documents import LARGEST, named
from chatferry.knowledge.grounding import judge
from chatferry.knowledge.library import Library
from chatferry.knowledge.questions import asked
from chatferry.knowledge.shelves import Add, Shelving
from chatferry.knowledge.sync import Sync
from chatferry.ledger.database import Database, open_database
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.tables import passages, sources, terms
from chatferry.reading.jobs import Found, Job
from chatferry.reading.readers import Readers, Reading
from chatferry.testing import ManualClock
from chatferry.words import words
from tests import media


def syncing(ledger: Ledger, database: Database, folder: Path, **patterns: tuple[str, ...]) -> Sync:
    return Sync(ledger, database, ManualClock(), patterns, folder, Readers())


async def became(sync: Sync) -> dict[str, str]:
    """What became of each file."""
    return {step.path or step.why: step.how for step in (await sync.run()).steps}


async def finds(database: Database, question: str, base: str = "default") -> list[str]:
    return [one.text for one in (await judge(Library(database), base, asked(question))).found]


async def counts(database: Database) -> list[int]:
    numbers = [sa.select(sa.func.count()).select_from(table).scalar_subquery() for table in (sources, passages, terms)]
    return list(await database.read(lambda connection: connection.execute(sa.select(*numbers)).one()))


async def test_files_that_come_change_and_go_are_seen(database: Database, ledger: Ledger, tmp_path: Path) -> None:
    sync = syncing(ledger, database, tmp_path, default=("docs/**/*.md", "faq.csv"), other=("faq.csv",))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("\n\n".join(f"# Topic {n}\n\nAll about cucumbers {n}." for n in range(60)))
    (tmp_path / "faq.csv").write_text("question,answer\nWhere is the lighthouse?,Behind the harbour.\n")
    assert await became(sync) == {"docs/a.md": "read", "faq.csv": "read"}
    assert await became(sync) == {"docs/a.md": "unchanged", "faq.csv": "unchanged"}
    assert (await finds(database, "lighthouse?"))[0].startswith("Where is the lighthouse?")
    assert (await finds(database, "lighthouse?", "other"))[0].startswith("Where is the lighthouse?")
    assert await finds(database, "cucumbers", "other") == []
    (tmp_path / "docs" / "a.md").write_text("# Topic\n\nAll about pumpkins.\n")
    assert await became(sync) == {"docs/a.md": "read", "faq.csv": "unchanged"}
    assert await finds(database, "cucumbers") == []
    assert await finds(database, "pumpkins") == ["All about pumpkins."]
    # Another process knows by the digest that there is nothing to read.
    again = syncing(ledger, database, tmp_path, default=("docs/**/*.md", "faq.csv"))
    assert [(step.base, step.path, step.how) for step in (await again.run()).steps] == [
        ("default", "docs/a.md", "unchanged"),
        ("default", "faq.csv", "unchanged"),
        ("other", "faq.csv", "gone"),
    ]
    (tmp_path / "faq.csv").unlink()
    assert await became(again) == {"faq.csv": "gone", "docs/a.md": "unchanged", "faq.csv: matches no file": "warning"}
    assert await became(syncing(ledger, database, tmp_path)) == {"docs/a.md": "gone"}
    assert await counts(database) == [0, 0, 0]


async def test_a_folder_that_is_not_there_forgets_nothing(database: Database, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.txt").write_text("All about pumpkins.")
    sync = syncing(ledger, database, tmp_path, default=("disk/*.txt",))
    await sync.run()
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    [step] = (await sync.run()).steps
    assert (step.how, "what was read from it before stays" in step.why) == ("warning", True)
    assert await finds(database, "pumpkins")


async def test_a_folder_that_cannot_be_looked_into_forgets_nothing(
    database: Database, ledger: Ledger, tmp_path: Path
) -> None:
    shelf = tmp_path / "docs" / "shelf"
    shelf.mkdir(parents=True)
    (shelf / "a.txt").write_text("All about pumpkins.")
    (tmp_path / "docs" / "b.txt").write_text("All about cucumbers.")
    sync = syncing(ledger, database, tmp_path, default=("docs/**/*.txt",))
    await sync.run()
    shelf.rename(tmp_path / "away")
    shelf.symlink_to(shelf)  # who is root may look into everything but a circle
    assert await became(sync) == {
        "docs/b.txt": "unchanged",
        "docs/shelf/a.txt: cannot be looked for: Too many levels of symbolic links; "
        "what was read before stays": "warning",
    }
    assert await finds(database, "pumpkins")
    shelf.unlink()
    assert (await became(sync))["docs/shelf/a.txt"] == "gone"


async def test_patterns_that_match_nothing_cost_the_other_assistants_nothing(
    database: Database, ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("All about pumpkins.")
    sync = syncing(ledger, database, tmp_path, lost=("disk/*.txt",), bare=("*.csv",), other=("a.txt",))
    assert await became(sync) == {
        f"disk/*.txt: {tmp_path / 'disk'} is not there": "warning",
        "*.csv: matches no file": "warning",
        "a.txt": "read",
    }


async def test_what_cannot_be_read_says_why_and_stays_as_it_was(
    database: Database, ledger: Ledger, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.csv").write_text("name,text\na,All about pumpkins\n")
    sync = syncing(ledger, database, tmp_path, default=("files/*",))
    await sync.run()
    (folder / "a.csv").write_text('name,text\n"a,never closed' + "x" * 200_000)
    (folder / "big5.txt").write_bytes("退貨".encode("big5"))
    (folder / "logo.png").write_bytes(b"\x89PNG")
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(LARGEST + 1)
    os.mkfifo(folder / "pipe.txt")
    (folder / "empty.md").write_text("")
    steps = {step.path: step for step in (await sync.run()).steps}
    assert {
        path.removeprefix("files/"): step.how for path, step in steps.items() if step.how != "read"
    } == dict.fromkeys(("a.csv", "big5.txt", "logo.png", "huge.txt"), "skipped")
    assert "UTF-8" in steps["files/big5.txt"].why
    assert "larger than 5 MB" in steps["files/huge.txt"].why
    assert "nothing to read" in steps["files/empty.md"].why
    assert await finds(database, "pumpkins")
    left = await database.read(lambda c: c.execute(sa.select(sources.c.path).where(~sources.c.current)).all())
    assert left == []


class CutOff(Exception):
    pass


class Dying(Ledger):
    """Does not live to see the third batch of passages."""

    batches = 0

    async def shelve(self, step: Shelving) -> int:
        self.batches += isinstance(step, Add)
        if self.batches == 3:
            raise CutOff
        return await super().shelve(step)


async def test_a_pass_that_was_cut_off_leaves_what_the_next_one_removes(
    database: Database, ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(f"Paragraph {n} about pumpkins. " * 20 for n in range(120)))
    async with Dying(database, ManualClock()).open() as dying:
        with pytest.raises(CutOff):
            await syncing(dying, database, tmp_path, default=("a.txt",)).run()
    sync = syncing(ledger, database, tmp_path, default=("a.txt",))
    assert await finds(database, "pumpkins") == []
    assert await became(sync) == {"a.txt": "read"}
    assert (await counts(database))[0] == 1
    assert await finds(database, "pumpkins")


async def test_one_process_at_a_time_reads(database_url: str, ledger: Ledger, tmp_path: Path) -> None:
    other = open_database(database_url)
    try:
        async with other.errand(0x6B_6E_6F_77) as ours:
            assert ours
            assert (await syncing(ledger, other, tmp_path).run()).busy
        assert not (await syncing(ledger, other, tmp_path).run()).busy
    finally:
        await other.aclose()


def test_patterns_do_not_leave_what_the_operator_named(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "config" / "docs"
    for folder in (outside, inside / "deep", inside / ".hidden"):
        folder.mkdir(parents=True)
    (outside / "secret.md").write_text("secret")
    (inside / "deep" / "good.md").write_text("good")
    (inside / ".hidden" / "no.md").write_text("no")
    (inside / "link.md").symlink_to(outside / "secret.md")
    (inside / "near.md").symlink_to(inside / "deep" / "good.md")
    (inside / "away").symlink_to(outside)
    (inside / "round").symlink_to(inside)
    config = tmp_path / "config"
    found = [one.name for one in named(("docs/**/*.md",), config).documents]
    assert {"docs/deep/good.md", "docs/near.md"} <= set(found)
    assert not [name for name in found if "secret" in name or "link" in name or "hidden" in name]
    # What is named itself may be anywhere, and people are told no more of where than it takes.
    assert [one.name for one in named(("../outside/secret.md",), config).documents] == ["outside/secret.md"]
    assert [one.name for one in named((f"{outside}/*.md",), config).documents] == ["outside/secret.md"]


async def test_text_is_taken_out_of_files_that_are_none(database: Database, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(media.docx("Cups are sent in paper.", "所有茶壺都附茶漏。"))
    (tmp_path / "b.xlsx").write_bytes(media.xlsx(("pumpkin jam", 12), ("quince jam", 34)))
    (tmp_path / "c.pdf").write_bytes(media.pdf("Gift vouchers are good for a year."))
    (tmp_path / "d.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    sync = syncing(ledger, database, tmp_path, default=("*.docx", "*.xlsx", "*.pdf"))
    steps = {step.path: (step.how, step.why) for step in (await sync.run()).steps}
    assert [steps[name] for name in ("a.docx", "b.xlsx", "c.pdf")] == [("read", "")] * 3
    assert steps["d.pdf"] == ("skipped", words("en").unread_broken)
    assert "茶漏" in (await finds(database, "茶壺"))[0]
    assert "quince jam\t34" in (await finds(database, "quince jam"))[0]
    assert (await finds(database, "vouchers"))[0].startswith("Gift vouchers")


class Weary(Readers):
    """Its first job comes to nothing, as on a machine that is too busy."""

    jobs = 0

    async def read(self, job: Job, data: bytes) -> Reading:
        self.jobs += 1
        return Reading(Found(trouble="heavy")) if self.jobs == 1 else await super().read(job, data)


async def test_what_could_not_be_read_is_tried_again_after_an_hour(
    database: Database, ledger: Ledger, clock: ManualClock, tmp_path: Path
) -> None:
    (tmp_path / "a.docx").write_bytes(media.docx("Cups are sent in paper."))
    readers = Weary()
    sync = Sync(ledger, database, clock, {"default": ("*.docx",)}, tmp_path, readers)
    for _ in range(3):
        assert await became(sync) == {"a.docx": "skipped"}
        clock.advance(180.0)
    assert readers.jobs == 1
    clock.advance(3600.0)
    assert await became(sync) == {"a.docx": "read"}
    assert await finds(database, "cups")
