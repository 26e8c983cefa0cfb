"""What the pages say is so: links, commands, variables, settings, metrics and files that they name are there."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.testing import CliRunner

from chatferry import config
from chatferry.cli.main import app
from chatferry.config import Settings, load
from chatferry.ledger.census import Census
from chatferry.watching.metrics import Metrics

REPOSITORY = Path(__file__).parent.parent
MANUAL = ["README.md", "examples/shop/README.md", *(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))]
"""What an operator reads."""
DECISIONS = sorted(f"docs/decisions/{path.name}" for path in (REPOSITORY / "docs/decisions").glob("*.md"))
PAGES = [*MANUAL, *DECISIONS, "bench/RESULTS.md"]
OURS = [path.relative_to(REPOSITORY) for top in ("src", "tests", "bench", "examples") for path in
        (REPOSITORY / top).rglob("*.py")]  # fmt: skip
KINDS = [kind for kind in vars(config).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]


def text(page: str) -> str:
    return (REPOSITORY / page).read_text("utf-8")


def prose(page: str) -> str:
    """The page without its blocks of code, which keep their lines."""
    return re.sub(r"^ *```.*?^ *```", lambda block: "\n" * block[0].count("\n"), text(page), flags=re.M | re.S)


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text(page), re.MULTILINE | re.DOTALL)


def inline(page: str) -> list[str]:
    """What stands in the prose as code."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(page)):
        place, _, anchor = link.partition("#")
        file = (REPOSITORY / page).parent / place if place else REPOSITORY / page
        assert file.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.+)$", prose(str(file.resolve().relative_to(REPOSITORY))), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, link


@pytest.mark.parametrize("page", PAGES)
def test_lines_of_prose_are_as_long_as_those_of_code(page: str) -> None:
    lines = [line for line in prose(page).splitlines() if not line.startswith(("|", "!["))]
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_no_file_that_is_not_there(page: str) -> None:
    made_up = {"shop.py"}
    named = {code for code in inline(page) if re.fullmatch(r"[\w/]+\.py", code)} - made_up
    assert {name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in OURS)} == set()


def commands(page: str) -> list[list[str]]:
    """The command lines of ours that a page shows."""
    found = [line for line in inline(page) if not re.search(r"[\[|]|\.\.\.", line)]
    for block in blocks(page, "sh"):
        found += re.sub(r"\\\n", "", block).splitlines()
    split = [shlex.split(line, comments=True) for line in found if re.match(r"chatferry [a-z]", line)]
    return [words[: next((at for at, word in enumerate(words) if word in ("|", ">", ">>")), None)] for words in split]


@pytest.mark.parametrize("page", MANUAL)
def test_every_command_line_is_one_that_the_program_takes(page: str) -> None:
    for _, *given in commands(page):
        # With --help it is read to its end, and nothing is done.
        read = CliRunner().invoke(app, [*given, "--help"])
        assert read.exit_code == 0, (given, read.output)


def test_command_lines_are_found() -> None:
    assert ["chatferry", "keys", "rotate", "website", "--grace", "24h"] in commands("docs/api-keys.md")
    assert ["chatferry", "usage", "--by", "assistant,channel"] in commands("docs/alerts.md")
