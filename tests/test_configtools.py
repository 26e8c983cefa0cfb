"""Tools in the configuration: what names nothing, cannot be reached, or is not there, is said at the start."""

from __future__ import annotations

import mailbox
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatferry.cli import check
from chatferry.config import load
from chatferry.errors import ConfigError
from chatferry.functions import find
from chatferry.gateway import open_gateway
from chatferry.model import Finding

BASE = """
[models.default]
provider = "demo"

[assistants.default]
tools = {tools}

[api]
keys = ["0123456789abcdef"]
"""


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    before, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


def faults(folder: Path, tools: str, more: str = "") -> str:
    path = folder / "chatferry.toml"
    path.write_text(BASE.replace("{tools}", tools) + more, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("tools", "more", "told"),
    [
        ('["orders"]', "", "tools.0: must name a function like module:function"),
        ('["orders.status"]', "", 'mend: did you mean "orders:status"?'),
        ('["mcp:stock"]', "", "write [mcp.stock] with its command or its url"),
        ('["mcp:stok"]', '[mcp.stock]\nurl = "http://x"', "did you mean `stock`?"),
        ("[]", "[mcp.stock]", "has neither command nor url"),
        ("[]", '[mcp.stock]\nurl = "http://x"\ncommand = ["x"]', "has command and url"),
        ("[]", '[mcp.stock]\nurl = "http://x"\nenv = { A = "b" }', "env: is of no use without command"),
        ("[]", '[mcp.stock]\ncommand = ["x"]\nheaders = { A = "b" }', "headers: is of no use without url"),
        ("[]", '[mcp."a b"]\nurl = "http://x"', "cannot begin the names of tools"),
        ("[]", '[mcp.stock]\nurl = "http://x"\nheaders = { A = "b\\nc" }', "must be of ASCII letters"),
    ],
)
def test_what_cannot_be_is_told_with_what_mends_it(tmp_path: Path, tools: str, more: str, told: str) -> None:
    assert told in faults(tmp_path, tools, more)


def test_a_module_beside_the_configuration_is_meant_and_python_s_own_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, text in (("else", "def f(): 'Theirs.'"), ("ours", "def f(): 'Ours.'")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my_tools.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "else")
    found = find("my_tools:f", str(tmp_path / "ours" / "chatferry.toml"), "()")
    assert found.__doc__ == "Ours."
    (tmp_path / "ours" / "mailbox.py").write_text("raise ValueError")
    assert find("mailbox:Maildir", str(tmp_path / "ours" / "chatferry.toml"), "()") is mailbox.Maildir


def test_where_another_module_has_the_name_it_is_told_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "else" / "my_shop").mkdir(parents=True)
    (tmp_path / "else" / "my_shop" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "else")
    found = find("my_shop.orders:f", str(tmp_path / "chatferry.toml"), "()")
    assert isinstance(found, Finding)
    assert found.detail == f"there is no module my_shop.orders: my_shop is {tmp_path / 'else' / 'my_shop'}"


async def test_no_gateway_starts_without_its_functions(tmp_path: Path) -> None:
    (tmp_path / "my_tools.py").write_text("def half(a, /): ...\ndef fine(a: str): ...\n")
    path = tmp_path / "chatferry.toml"
    path.write_text(BASE.replace("{tools}", '["my_tools:half", "my_tools:none", "my_nothing:x", "my_tools:fine"]'))
    settings = load(path, {"CHATFERRY_DATABASE": f"sqlite:///{tmp_path}/x.db"})
    with pytest.raises(ConfigError) as caught:
        async with open_gateway(settings):
            pass
    told = str(caught.value)
    for words in (
        "tools, python my_tools:half: has a parameter a that cannot be given by name",
        "my_tools has no function none",
        "there is no module my_nothing",
        "mend: write my_nothing.py beside",
    ):
        assert words in told
    assert "my_tools:fine" not in told
    found = {finding.subject: finding.ok async for finding in check.findings(settings)}
    assert found["python my_tools:fine"]
    assert not found["python my_tools:half"]


async def test_without_the_extra_the_line_that_brings_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if re.match(r"chatferry\.tools\.mcp|mcp(_types)?(\.|$)", name)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    path = tmp_path / "chatferry.toml"
    path.write_text(BASE.replace("{tools}", '["mcp:stock"]') + '[mcp.stock]\nurl = "http://127.0.0.1:1/mcp"\n')
    settings = load(path, {"CHATFERRY_DATABASE": f"sqlite:///{tmp_path}/x.db"})
    with pytest.raises(ConfigError, match=r"pip install 'chatferry\[mcp\]'"):
        async with open_gateway(settings):
            pass
