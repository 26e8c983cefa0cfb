"""The map in docs, held against the code: who may import whom, how long a file may be, what a start may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import chatferry
from chatferry.parts import CHANNELS, ENGINES

SRC = Path(chatferry.__file__).parent
FILES = {".".join(path.relative_to(SRC).with_suffix("").parts): path for path in sorted(SRC.rglob("*.py"))}
ROOT = {
    "model",
    "access",
    "errors",
    "clock",
    "ledger.news",
    "rate",
    "spending",
    "sniffing",
    "words.__init__",
} | {f"knowledge.{name}" for name in ("__init__", "terms", "questions", "cutting", "quoting")}
ROOT |= {name for name in FILES if name.startswith(("masking.", "text."))}
"""Values and pure functions: everybody may use them."""
CORE = {
    "accounts",
    "assistant",
    "commands",
    "desk",
    "entrance",
    "feed",
    "held",
    "intake",
    "keyring",
    "limits",
    "links",
    "privacy",
    "replies",
    "signals",
    "watching.alarms",
    "watching.occasion",
    "watching.watch",
    "worker",
} | {
    name
    for name in FILES
    if name.startswith(("answering.", "delivering.", "knowledge.", "ledger.")) and name not in ROOT
}
SEAMS = {"channels.base", "channels.download", "engines.base", "dispatch.base", "tools.base"}
TOP = {"gateway", "parts", "serve", "extras", "__main__"}
TOP |= {name for name in FILES if name.startswith(("cli.", "playground."))}
FAMILIES = {place.split(":")[0].removeprefix("chatferry.") for place in (*CHANNELS.values(), *ENGINES.values())} | {
    "channels.api",
    "dispatch.inprocess",
    "tools.python",
    "tools.mcp",
    "dispatch.pgqueuer",
}
"""What has siblings: a channel, an engine, a dispatcher. `channels.line_api` is of the family `channels.line`."""
ALLOWED = {
    ("web.api", "channels.api"),  # the API's routes hand its channel what no webhook has: the parsed call
    ("web.shapes", "channels.api"),
    ("web.openapi", "channels.api"),
    ("migrations.versions.0004_dispatch_by_pgqueuer", "dispatch.pgqueuer"),  # whose tables it makes
    ("playground.stage", "engines.demo"),  # the script, here in the place of a model that is called
    ("cli.demo", "channels.slack_manifest"),  # which shortcuts the app has
    ("cli.setup_slack", "channels.slack_manifest"),  # before there is anything to be configured, so without the gateway
}


def imported(module: str) -> Iterator[str]:
    """The modules of ours that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(FILES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "chatferry":
                yield next((found for found in _candidates(name) if found in FILES), "__init__")


def _candidates(name: str) -> Iterator[str]:
    """`chatferry.words.words` may be a module, a package, or a name in either."""
    parts = name.split(".")[1:]
    for end in range(len(parts), 0, -1):
        yield ".".join(parts[:end])
        yield ".".join((*parts[:end], "__init__"))


def family(module: str) -> str | None:
    return next((name for name in FAMILIES if module == name or module.startswith(f"{name}_")), None)


IMPORTS = {(module, other) for module in FILES for other in imported(module) if other != "__init__"}


def test_values_import_nothing_but_values() -> None:
    assert {(a, b) for a, b in IMPORTS if a in ROOT and b not in ROOT} == set()


def test_the_seams_and_retry_import_values_and_each_other_only() -> None:
    assert {(a, b) for a, b in IMPORTS if a in SEAMS | {"retry"} and b not in ROOT | SEAMS} == set()


def test_what_reads_files_knows_nothing_of_the_gateway() -> None:
    reading = {name for name in FILES if name.startswith("reading.")}
    assert {(a, b) for a, b in IMPORTS if a in reading and b not in ROOT | reading} == set()


def test_the_configuration_imports_values_only() -> None:
    config = {name for name in FILES if name.startswith("config.")}
    assert {(a, b) for a, b in IMPORTS if a in config and b not in ROOT | config} == set()


def test_the_core_imports_nothing_concrete_and_nothing_above_it() -> None:
    above = {b for b in FILES if family(b) or b in TOP or b.startswith(("web.", "simulator."))}
    assert {(a, b) for a, b in IMPORTS if a in CORE and b in above} == set()


def test_what_writes_the_index_knows_the_ledger_alone() -> None:
    others = {b for a, b in IMPORTS if a == "knowledge.shelves" and not b.startswith("ledger.")}
    assert others == set()


def test_knowledge_does_not_know_who_answers() -> None:
    assert {(a, b) for a, b in IMPORTS if a.startswith("knowledge.") and b.startswith("answering.")} == set()


def test_what_is_concrete_never_imports_the_core() -> None:
    concrete = {a for a in FILES if a.startswith(("channels.", "engines.", "dispatch.", "tools."))}
    assert {(a, b) for a, b in IMPORTS if a in concrete and b in CORE | TOP} == set()


def test_only_parts_knows_what_is_concrete() -> None:
    strangers = {(a, b) for a, b in IMPORTS if family(b) and family(b) != family(a) and a != "parts"}
    assert strangers == ALLOWED


def test_the_simulator_shares_no_code_with_what_it_is_to_test() -> None:
    assert {(a, b) for a, b in IMPORTS if a.startswith("simulator.") and not b.startswith("simulator.")} == set()


def test_who_is_sorted_here_exists() -> None:
    assert (ROOT | CORE | SEAMS | TOP | FAMILIES) - set(FILES) == set()


@pytest.mark.parametrize("folder", ["src", "tests"])
def test_no_file_is_too_long_to_be_read_at_once(folder: str) -> None:
    paths = (SRC.parent.parent / folder).rglob("*.py")
    assert [path.name for path in paths if path.read_text("utf-8").count("\n") > 450] == []


_SERVING = ("aiohttp", "starlette", "uvicorn", "alembic")


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (("main",), (*_SERVING, "sqlalchemy", "pydantic", "structlog")),
        (("turns", "people", "keys", "usage", "export", "forget", "alerts"), _SERVING),
    ],
    ids=["help", "a look at the database"],
)
def test_the_command_line_imports_nothing_heavy(modules: tuple[str, ...], heavy: tuple[str, ...]) -> None:
    names = ", ".join(f"chatferry.cli.{name}" for name in modules)
    program = f"import sys, {names}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"  # noqa: S603
