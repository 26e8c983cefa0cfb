"""Messages that are answered without the model."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.cli import check
from chatferry.config import ModelSettings, ReplySettings, ServerSettings, Settings
from chatferry.errors import ConfigError, Final, TryLater
from chatferry.functions import sound
from chatferry.gateway import open_gateway
from chatferry.model import File, Message, Text, says
from chatferry.replies import Replies, call, findings

HOURS = ReplySettings(match="營業時間", reply="每天 9 點到 18 點")
HI = says("user", "hi")


def found(said: str, *rules: ReplySettings, channel: str = "line") -> tuple[str, str] | None:
    return Replies(rules).find(said, channel)


# The rules


@pytest.mark.parametrize(
    ("by", "match", "said", "fits"),
    [
        ("exact", "Price", " PRICE\n", True),
        ("exact", "Price", "ｐｒｉｃｅ", True),
        ("exact", "ＰＲＩＣＥ", "price", True),
        ("exact", "price", "price list", False),
        ("exact", "price", "price" + " " * 3000 + "list", False),
        ("prefix", "price", "Price list", True),
        ("prefix", "price", "　ＰＲＩＣＥs", True),
        ("prefix", "price", "the price", False),
        ("prefix", "#", "#tag" + "x" * 100_000, True),
        ("regex", r"\bprice\b", "the PRICE?", True),
        ("regex", r"^price$", " price ", True),
        ("regex", r"\bprice\b", "prices", False),
        ("regex", r"\d{4}", "單號１２３４", True),
        ("regex", "退款？", "可以退款？", True),
        ("regex", "退款$", "退款？", False),
        ("regex", ".*", " ", False),
    ],
)
def test_a_rule_fits_by_what_it_means(by: str, match: str, said: str, fits: bool) -> None:
    rule = ReplySettings.model_validate({"match": match, "by": by, "reply": "yes"})
    assert found(said, rule) == (("reply", "yes") if fits else None)


def test_the_first_rule_that_fits_answers_on_the_channels_it_is_for() -> None:
    rules = (
        ReplySettings(match="hi", reply="on Slack", channels=("slack", "api")),
        ReplySettings(match="h", by="prefix", python="shop:hello"),
        ReplySettings(match="hi", reply="never"),
    )
    assert found("hi", *rules, channel="api") == ("reply", "on Slack")
    assert found("hi", *rules) == ("python", "shop:hello")
    assert found("hello", *rules, channel="slack") == ("python", "shop:hello")
    assert found("bye", *rules) is None
    assert found("hi") is None


def test_a_regex_that_would_take_for_ever_does_not_fit() -> None:
    rules = [ReplySettings(match="(a+)+$", by="regex", reply="yes")]
    assert Replies(rules).find("a" * 60 + "b", "line") is None
    assert Replies(rules).find("aaa", "line") == ("reply", "yes")


@given(st.text(), st.sampled_from(["exact", "prefix", "regex"]))
def test_any_text_can_be_looked_at(said: str, by: str) -> None:
    found(said, ReplySettings.model_validate({"match": "a+$", "by": by, "reply": "yes"}))


def test_no_text_takes_long_to_be_looked_at() -> None:
    rules = [ReplySettings.model_validate({"match": "(a|b)*c", "by": by, "reply": "yes"}) for by in ("prefix", "regex")]
    began = time.process_time()
    assert found("\u0316\u0301" * 200_000, *rules) is None
    assert found("ab" * 200_000, *rules) is None
    assert time.process_time() - began < 1.0


# The operator's functions

SHOP = """
import asyncio, contextvars, sys, threading

def hours(text): return f"{text}: 9 to 18"
async def later(text):
    await asyncio.sleep(0)
    return f"later {text}"
def both(text): return later(text)  # what a decorator may make of it
def who(text, conversation): return f"{text} in {conversation}"
def thread(text): return threading.current_thread().name
def nothing(text): return None
def blank(text): return " \\n"
def number(text): return 7
def broken(text): raise KeyError("stock")
async def late_broken(text): raise TimeoutError("the warehouse")
def leaves(text): sys.exit(3)
class Panic(BaseException): pass
def panics(text): raise Panic("unwrap on a None value")
def stops(text): raise StopIteration
async def cancels(text): raise asyncio.CancelledError
async def forever(text): await asyncio.Event().wait()
gate = threading.Event()
def blocks(text): gate.wait(20)
class Desk:
    async def __call__(self, text): return "the desk"
desk = Desk()
def takes_two(text, more): pass
note = "a text"
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the operator's, beside the configuration."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "my_shop.py").write_text(SHOP, "utf-8")
    assert [finding.ok for finding in findings(configured(tmp_path, "my_shop:hours"))] == [True]
    yield tmp_path
    sys.modules["my_shop"].gate.set()  # whoever still blocks may go
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


def configured(folder: Path, *places: str) -> Settings:
    rules = tuple(ReplySettings(match="x", python=place) for place in places)
    models = {"default": ModelSettings(provider="demo")}
    return Settings(models=models, assistants={}, replies=rules, source=str(folder / "chatferry.toml"))


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hours", "hi: 9 to 18"),
        ("later", "later hi"),
        ("both", "later hi"),
        ("who", "hi in U1"),
        ("desk", "the desk"),
        ("thread", "function my_shop:thread"),
        ("nothing", ""),
        ("blank", ""),
    ],
)
async def test_a_function_says_what_is_said(name: str, said: str) -> None:
    assert await call(f"my_shop:{name}", HI, "U1") == said


@pytest.mark.usefixtures("shop")
async def test_a_function_is_given_the_text_and_not_what_is_none() -> None:
    sent = Message("user", (Text("a"), File("image", "1"), Text("b")))
    assert await call("my_shop:hours", sent, "U1") == "a\n\nb: 9 to 18"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("number", "returned int, not a text"),
        ("broken", "KeyError: 'stock'"),
        ("late_broken", "TimeoutError: the warehouse"),
        ("leaves", "SystemExit: 3"),
        ("panics", "Panic: unwrap on a None value"),
        ("stops", "RuntimeError: coroutine raised StopIteration"),
        ("cancels", "cancelled itself"),
        ("gone", "AttributeError: module 'my_shop' has no attribute 'gone'"),
    ],
)
async def test_whatever_a_function_does_is_the_end_of_this_reply_only(name: str, told: str) -> None:
    with pytest.raises(Final) as caught:
        await call(f"my_shop:{name}", HI, "U1")
    assert str(caught.value) == f"my_shop:{name}: {told}"


@pytest.mark.usefixtures("shop")
async def test_what_a_function_raised_is_kept_for_the_log() -> None:
    with pytest.raises(Final) as caught:
        await call("my_shop:broken", HI, "U1")
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("name", ["forever", "blocks"])
async def test_a_function_that_never_ends_is_given_up(name: str) -> None:
    with pytest.raises(Final, match=rf"^my_shop:{name}: took longer than 0.01 s$"):
        await call(f"my_shop:{name}", HI, "U1", limit=0.01)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("name", ["forever", "blocks"])
async def test_whoever_waits_for_a_function_can_be_stopped(name: str) -> None:
    task = asyncio.create_task(call(f"my_shop:{name}", HI, "U1"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.usefixtures("shop")
async def test_functions_that_never_end_do_not_pile_up() -> None:
    # Counted anew each time: a thread of an earlier test may just be ending.
    while sum(thread.name.startswith("function ") for thread in threading.enumerate()) < 64:
        with pytest.raises(Final):
            await call("my_shop:blocks", HI, "U1", limit=0.001)
    with pytest.raises(TryLater):
        await call("my_shop:hours", HI, "U1")
    assert await call("my_shop:later", HI, "U1") == "later hi"


def test_functions_that_are_not_there_are_faults_with_their_mends(shop: Path) -> None:
    (shop / "my_torn.py").write_text("def answer(text:\n", "utf-8")
    (shop / "my_needs.py").write_text("import my_absent_library\n", "utf-8")
    (shop / "my_quits.py").write_text("raise SystemExit\n", "utf-8")
    names = ("hours", "gone", "note", "takes_two")
    modules = ("my_none", "my_none.inner", "my_torn", "my_needs", "my_quits")
    settings = configured(shop, *(f"my_shop:{name}" for name in names), *(f"{name}:f" for name in modules))
    with pytest.raises(ConfigError) as caught:
        sound(settings.source, "replies", findings(settings))
    source = settings.source
    told = str(caught.value).replace(f"{source}  replies, python ", "").replace(source, "SOURCE").split("\n")
    assert told == [
        "my_shop:gone: my_shop has no function gone",
        f"    mend: define gone(text) in {shop}/my_shop.py",
        "my_shop:note: my_shop has no function note",
        f"    mend: define note(text) in {shop}/my_shop.py",
        "my_shop:takes_two: cannot be called with a text",
        "    mend: define it as takes_two(text)",
        "my_none:f: there is no module my_none",
        "    mend: write my_none.py beside SOURCE, or install it where chatferry is",
        "my_none.inner:f: there is no module my_none",
        "    mend: write my_none/inner.py beside SOURCE, or install it where chatferry is",
        "my_torn:f: my_torn cannot be imported: SyntaxError: '(' was never closed (my_torn.py, line 1)",
        '    mend: `python -c "import my_torn"` beside SOURCE shows where',
        "my_needs:f: my_needs needs my_absent_library, which is not there",
        "    mend: install it",
        "my_quits:f: my_quits cannot be imported: SystemExit",
        '    mend: `python -c "import my_quits"` beside SOURCE shows where',
    ]


async def test_neither_a_start_nor_a_check_overlooks_a_function_that_is_not_there(shop: Path) -> None:
    settings = configured(shop, "my_shop:hours", "my_shop:gone")
    settings = settings.model_copy(update={"server": ServerSettings(database=f"sqlite:///{shop}/ledger.db")})
    with pytest.raises(ConfigError, match=r"^\S+/chatferry.toml  replies, python my_shop:gone: "):
        async with open_gateway(settings):
            pass
    told = [(finding.ok, finding.subject) async for finding in check.findings(settings)]
    assert told[1:3] == [(True, "python my_shop:hours"), (False, "python my_shop:gone")]


def test_a_file_beside_the_configuration_stands_in_for_nobody_elses_module(shop: Path) -> None:
    (shop / "colorsys.py").write_text("def answer(text): return text\n", "utf-8")
    (finding,) = findings(configured(shop, "colorsys:answer"))
    assert (finding.ok, finding.detail) == (False, "colorsys has no function answer")
    assert sys.path[-1] == str(shop)


def test_without_functions_nothing_is_imported_and_no_folder_added(tmp_path: Path) -> None:
    before = list(sys.path)
    sound("x.toml", "replies", findings(configured(tmp_path)))
    assert sys.path == before
