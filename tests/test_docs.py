"""What the pages name is there: links, files, commands, variables, settings and their defaults, metrics."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from chatferry import config
from chatferry.cli.main import app
from chatferry.config import Settings, load
from chatferry.ledger.census import Census
from chatferry.watching.metrics import Metrics
from tests.pages import REPOSITORY, blocks, inline, known, prose, text

MANUAL = ["README.md", "examples/shop/README.md"]
"""What an operator reads."""
MANUAL += sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))
DECISIONS = sorted(f"docs/decisions/{path.name}" for path in (REPOSITORY / "docs/decisions").glob("*.md"))
PAGES = [*MANUAL, *DECISIONS, "bench/RESULTS.md"]
MODULES = [path for folder in ("src", "tests", "bench", "examples") for path in (REPOSITORY / folder).rglob("*.py")]
TABLES = [kind for kind in vars(config).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
FIELDS = [(name, field) for kind in TABLES for name, field in kind.model_fields.items()]


# The page itself


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(page)):
        place, _, anchor = link.partition("#")
        file = ((REPOSITORY / page).parent / place if place else REPOSITORY / page).resolve()
        assert file.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.+)$", prose(str(file.relative_to(REPOSITORY))), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, link


@pytest.mark.parametrize("page", PAGES)
def test_lines_of_prose_are_no_longer_than_those_of_code(page: str) -> None:
    lines = [line for line in prose(page).splitlines() if not line.startswith(("|", "!["))]
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_no_module_that_is_not_there(page: str) -> None:
    made_up = {"shop.py"}
    named = {code for code in inline(page) if re.fullmatch(r"[\w/]+\.py", code)} - made_up
    assert {name for name in named if not any(f"{path}".endswith(f"/{name}") for path in MODULES)} == set()


@pytest.mark.parametrize("page", MANUAL)
def test_python_and_json_of_a_page_can_be_read(page: str) -> None:
    for block in blocks(page, "python"):
        compile(block, page, "exec")
    for block in blocks(page, "json"):
        json.loads(block)


# Commands and variables


def commands(page: str) -> Iterator[list[str]]:
    """The command lines of ours that a page shows; not those with a blank to be filled in or a choice."""
    lines = [line for line in inline(page) if not re.search(r"[\[|]|\.\.\.$", line)]
    for block in blocks(page, "sh"):
        lines += block.replace("\\\n", "").splitlines()
    for line in lines:
        if re.match(r"chatferry [a-z]", line):
            words = shlex.split(line, comments=True)
            yield words[1 : words.index(">") if ">" in words else None]
    for command, given in re.findall(r"--command=(\S+) --args=(\S+?)[`\s]", text(page)):
        assert command == "chatferry"
        yield given.split(",")


@pytest.mark.parametrize("page", MANUAL)
def test_every_command_line_is_one_that_the_program_takes(page: str) -> None:
    for given in commands(page):
        # With --help it is read to its end, and nothing is done.
        read = CliRunner().invoke(app, [*given, "--help"])
        assert read.exit_code == 0, (given, read.output)


def test_command_lines_are_found_in_prose_and_in_blocks() -> None:
    assert ["keys", "rotate", "website", "--grace", "24h"] in list(commands("docs/api-keys.md"))
    assert ["usage", "--by", "assistant,channel"] in list(commands("docs/alerts.md"))
    assert ["usage", "--by", "person", "--csv"] in list(commands("docs/costs.md"))
    assert ["serve", "--drain", "8"] in list(commands("docs/deploy-cloud-run.md"))


@pytest.mark.parametrize("page", MANUAL)
def test_every_variable_is_one_that_the_program_reads(page: str) -> None:
    others = {"CHATFERRY_CODE", "LINE_PATH"}  # of a file that is shown, and of the load test
    named = set(re.findall(r"\b(?:CHATFERRY|LINE|SLACK|WECHAT|OPENAI|GEMINI)_[A-Z_]*[A-Z]\b", text(page)))
    assert named - known() - others == set()


# Settings

AROUND: dict[str, Any] = {
    "models": {name: {"provider": "demo", "price": {"prompt": 1}} for name in ("default", "spare", "small", "careful")},
    "assistants": {"default": {"budget": {"money": 1.0}}},
    "channels": {
        "line": {"secret": "s", "token": "t"},
        "slack": {"secret": "s", "token": "t"},
        "wechat": {"token": "t"},
    },
    "api": {},
    "mcp": {"stock": {"command": ["stock"]}},
}
"""What pages that show a part of a configuration take for granted."""


def over(usual: Any, told: Any) -> Any:
    """What is told, and for the rest the usual."""
    if not isinstance(usual, dict) or not isinstance(told, dict):
        return told
    return usual | {name: over(usual.get(name), value) for name, value in told.items()}


def written(value: Any) -> str:
    """As TOML, on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(name)} = {written(its)}' for name, its in value.items())}}}"
    return f"[{', '.join(map(written, value))}]" if isinstance(value, list) else json.dumps(value)


@pytest.mark.parametrize(
    ("page", "number"), [(page, number) for page in MANUAL for number in range(len(blocks(page, "toml")))]
)
def test_what_a_page_shows_of_a_configuration_loads(page: str, number: int, tmp_path: Path) -> None:
    shown = blocks(page, "toml")[number]
    (tmp_path / "privacy.md").write_text("We care.", "utf-8")
    (tmp_path / "ko.toml").write_text(text("src/chatferry/words/en.toml"), "utf-8")
    path = tmp_path / "chatferry.toml"
    whole = over(AROUND, tomllib.loads(shown))
    path.write_text("\n".join(f"{name} = {written(table)}" for name, table in whole.items()), "utf-8")
    load(path, dict.fromkeys(re.findall(r"\$\{(\w+)\}", shown), "a" * 43))


@pytest.mark.parametrize("page", MANUAL)
def test_every_setting_that_is_named_is_one(page: str) -> None:
    names = {name for name, _ in FIELDS}
    for code in inline(page):
        if found := re.fullmatch(r"(?P<table>\w+)\.(?P<name>\w+)|\[(?P<section>\w+)\] (?P<setting>\w+)", code):
            table, setting = found["table"] or found["section"], found["name"] or found["setting"]
            if table in Settings.model_fields:
                its = getattr(type(Settings.model_fields[table].default), "model_fields", None)
                assert setting in (its or names), code
        elif found := re.fullmatch(r"([a-z_]+) = .+", code):
            assert found[1] in names, code


def defaults() -> Iterator[tuple[str, str]]:
    """Settings and what they are where nothing is said, as far as a table tells it by a value."""
    for page in MANUAL:
        for table in re.findall(r"^\| setting.*\| default.*\n(?:\|.*\n)+", prose(page), re.MULTILINE):
            for row in table.splitlines()[2:]:
                setting, default = (cell.strip() for cell in row.split("|")[1:3])
                value = default.rpartition(", ")[2].strip("`").removesuffix(" s")
                if re.fullmatch(r'[\d.]+|".*"|true|false|https:\S+', value):
                    yield setting.strip("`"), value.strip('"')


def test_defaults_are_those_of_the_program() -> None:
    told = list(defaults())
    assert {"hold", "threads", "bots", "tool_timeout", "by"} <= {setting for setting, _ in told}
    for setting, value in told:
        usual = [field.default for name, field in FIELDS if name == setting]
        assert value in {word for one in usual for word in (str(one), str(one).lower(), str(one).removesuffix(".0"))}, (
            setting
        )


# Metrics


def test_every_metric_is_told_and_every_one_that_is_told_is_there() -> None:
    shown = Metrics().shown(Census(waiting=0, later=0, oldest=0.0, running=0, rows={}, bytes=0)).decode()
    kinds = dict(re.findall(r"^# TYPE (\w+(?<!_created)) (\w+)", shown, re.MULTILINE))
    assert set(re.findall(r"^\| `(chatferry_\w+)", text("docs/metrics.md"), re.MULTILINE)) == set(kinds)
    parts = {
        f"{name}_{part}" for name, kind in kinds.items() if kind == "histogram" for part in ("bucket", "sum", "count")
    }
    for page in (*MANUAL, "docs/grafana.json"):
        assert set(re.findall(r"\bchatferry_[a-z_]*[a-z]\b", text(page))) - {*kinds, *parts} == set(), page
