"""The reading process: what it makes of files, and what the worst of them cost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from chatferry.reading.jobs import Job
from chatferry.reading.readers import Readers
from chatferry.sniffing import DOCX, XLSX
from tests import media

HOSTILE = """
import asyncio, json, resource, sys
from pathlib import Path
from chatferry.reading.readers import Readers
from chatferry.reading.jobs import Job
from chatferry.sniffing import PICTURES, sniff

def spent():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime

async def main():
    readers = Readers()
    for path in sorted(Path(sys.argv[1]).iterdir()):
        data, began = path.read_bytes(), spent()
        kind = sniff(data)
        job = Job(kind, picture=kind in PICTURES, text=0 if kind in PICTURES else 1000)
        found, _ = await readers.read(job, data)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        print(json.dumps([path.name, len(data), found.trouble, spent() - began, peak]))

asyncio.run(main())
"""
"""In a small process of its own: what a child takes counts from what its parent has."""


def test_hostile_files_end_soon_and_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    troubles = {
        "bomb.amr": ("heavy", b"#!AMR\n" + b"\x7c" * 10_000_000),
        "bomb.docx": ("heavy", media.docx("A" * 80_000_000)),
        "bomb.xlsx": ("heavy", media.xlsx(*[("A" * 10_000,)] * 7_000)),
        "broken.jpg": ("broken", media.photo(800, 600)[:9000]),
        "cut.pdf": ("broken", media.pdf("hello")[:50]),
        "entities.docx": ("broken", media.entities()),
        "far.xlsx": ("heavy", media.far()),
        "huge.heic": ("heavy", media.huge_heic()),
        "huge.png": ("heavy", media.huge_png()),
        "lies.amr": ("broken", b"#!AMR\n" + b"\xff" * 10_000),
        "lies.caf": ("broken", b"caff" + bytes(10_000)),
        "locked.pdf": ("locked", media.locked()),
        "nested.zip": ("unknown", media.zipped(a_zip=media.zipped(b_bin=bytes(10_000_000)))),
        "pages.pdf": ("silent", media.pdf(blank=10_000)),
        "photo.jpg": (None, media.photo()),
        "program.png": ("unknown", b"\x7fELF" + bytes(2000)),
    }
    for name, (_, data) in troubles.items():
        (tmp_path / name).write_bytes(data)
    said = subprocess.check_output([sys.executable, "-c", HOSTILE, str(tmp_path)], text=True)  # noqa: S603
    found = [json.loads(line) for line in said.splitlines()]
    with capsys.disabled():
        for name, size, trouble, took, peak in found:
            sys.stdout.write(f"\n{name}: {size} bytes: {trouble}, {took:.2f} s of CPU; children: {peak} MB at most")
    assert [(name, trouble) for name, _, trouble, *_ in found] == [(name, its[0]) for name, its in troubles.items()]
    assert max(took for *_, took, _ in found) < 5
    assert max(peak for *_, peak in found) < 400


@pytest.mark.parametrize(
    ("media_type", "sound"),
    [
        ("audio/amr", media.AMR),
        ("audio/aiff", media.hum("aiff", "pcm_s16be")),
        ("audio/x-caf", media.hum("caf", "alac")),
        ("audio/3gpp", media.hum("3gp", "aac")),
    ],
)
async def test_sound_that_no_service_takes_becomes_mp3(media_type: str, sound: bytes) -> None:
    found, made = await Readers().read(Job(media_type), sound)
    seconds, hertz = media.heard(made)
    assert found.made == "audio/mpeg"
    assert seconds == pytest.approx(0.36 if media_type == "audio/amr" else 1, abs=0.03)
    assert hertz == pytest.approx(440, abs=2)


async def test_sound_without_end_is_not_converted_to_its_end() -> None:
    found, _ = await Readers(seconds=60).read(Job("audio/amr"), b"#!AMR\n" + (b"\x3c" + bytes(31)) * (50 * 301))
    assert found.trouble == "heavy"


@pytest.mark.long  # that one is read at all is told by tests/scenarios/test_media.py
async def test_a_scan_is_read_page_by_page() -> None:
    readers = Readers(seconds=60)
    scan = media.scan(("ORDER 1234",), ("TOTAL 56",))
    found, _ = await readers.read(Job("application/pdf", text=100, pages=5), scan)
    assert found.text.replace(" ", "") == "ORDER1234\n\nTOTAL56"
    assert not found.pages
    found, _ = await readers.read(Job("application/pdf", text=100, pages=1), media.huge_scan())
    assert found.trouble == "silent"


async def test_what_no_screen_shows_is_left_out() -> None:
    found, _ = await Readers().read(Job("text/plain", text=100), "a\x00b\x1bc\n\td 茶".encode("utf-16"))
    assert found.text == "abc\n\td 茶"


@pytest.mark.parametrize("state", ["visible", "hidden", "veryHidden"])
async def test_a_sheet_is_read_where_it_is_shown(state: str) -> None:
    found, _ = await Readers().read(Job(XLSX, text=100), media.hidden(state))
    assert (found.text, found.trouble) == (("# Prices\n7", None) if state == "visible" else ("", "silent"))


async def test_where_tabs_stop_is_no_text() -> None:
    found, _ = await Readers().read(Job(DOCX, text=100), media.docx("One", "two", "a</w:t><w:tab/><w:t>b"))
    assert found.text == "One\ntwo\na\tb"


async def test_a_reader_that_takes_too_long_is_ended() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found, _ = await Readers(seconds=1).read(Job("application/pdf", text=10), media.labyrinth())
    assert found.trouble == "heavy"
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before.ru_utime < 5


async def test_the_reading_process_has_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sitecustomize of ours tells what the process could see."""
    told = tmp_path / "told"
    (tmp_path / "sitecustomize.py").write_text(f"import os; open({str(told)!r}, 'w').write(repr(dict(os.environ)))")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    found, _ = await Readers().read(Job("text/plain", text=10), b"hello")
    assert found.text == "hello"
    assert "sk-secret" not in told.read_text()
    assert os.environ["PATH"] in told.read_text()
