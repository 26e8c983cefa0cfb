"""What is charged to whom, by the configuration: periods of the time zone, prices, and whose it is."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from chatferry.accounts import Accounts, price
from chatferry.assistant import Assistant, Staff
from chatferry.channels.base import Capabilities
from chatferry.config import PriceSettings, Settings, load
from chatferry.errors import ConfigError
from chatferry.model import Inbound, Turn, Usage, says
from chatferry.testing import Board, ManualClock, ScriptedEngine

HEAD = """
[models.default]
provider = "demo"
price = { prompt = 0.25, completion = 2.0 }
[channels.board]
type = "wechat"
token = "t0ken"
[assistants.default]
context_tokens = 4000
"""
TAIPEI = ZoneInfo("Asia/Taipei")
ASKS = Inbound("e1", "room", message=says("user", "hi"), sender="ann")


def accounts(folder: Path, text: str, head: str = HEAD) -> Accounts:
    path = folder / "chatferry.toml"
    path.write_text(head + text, "utf-8")
    its: Settings = load(path, {})
    staff = {
        name: Assistant(name, assistant, ScriptedEngine(lambda _: ""), assistant.words)
        for name, assistant in its.assistants.items()
    }
    return Accounts(its.models, its.money, Staff(staff, {"board": "default"}))


def at(text: str, zone: str = "Asia/Taipei") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def board(batch: int = 1) -> Board:
    return Board(ManualClock(), caps=Capabilities(batch=batch))


@pytest.mark.parametrize(
    ("zone", "now", "day", "ends"),
    [
        ("Asia/Taipei", "2026-11-28 00:00", "2026-11-28", "2026-11-29 00:00"),
        ("Asia/Taipei", "2026-11-28 23:59", "2026-11-28", "2026-11-29 00:00"),
        ("Europe/Berlin", "2026-03-29 01:00", "2026-03-29", "2026-03-30 00:00"),
        ("Europe/Berlin", "2026-10-25 23:30", "2026-10-25", "2026-10-26 00:00"),
    ],
)
def test_a_day_begins_and_ends_where_people_are(tmp_path: Path, zone: str, now: str, day: str, ends: str) -> None:
    its = accounts(tmp_path, f'[money]\ntimezone = "{zone}"\n')
    assert its.day(at(now, zone)) == (day, at(ends, zone))


def test_a_month_ends_with_its_last_day(tmp_path: Path) -> None:
    its = accounts(tmp_path, '[money]\ntimezone = "Asia/Taipei"\n')
    assert its.month(at("2026-01-31 23:59")) == ("2026-01", at("2026-02-01 00:00"))
    assert its.month(at("2026-12-01 00:00")) == ("2026-12", at("2027-01-01 00:00"))


def test_without_a_budget_nothing_is_charged(tmp_path: Path) -> None:
    its = accounts(tmp_path, "")
    assert its.budget(board(), ASKS, 1.8e9) is None
    bill = its.bill(Turn(1, 1, "board", ASKS, 1.8e9), _default(its), Usage(10, 5, 100))
    assert bill == ()


def test_a_person_is_charged_by_the_day_and_the_assistant_by_the_month(tmp_path: Path) -> None:
    its = accounts(tmp_path, "budget = { messages = 5, tokens = 9000, money = 1.5 }\n")
    found = its.budget(board(), ASKS, 1.8e9)
    assert found is not None
    assert (found.day, found.month) == ('["board","ann","default","2027-01-15"]', "2027-01 default")
    assert (found.messages, found.tokens, found.worst, found.money) == (5, 9000, 5000, 1_500_000)
    bill = its.bill(Turn(1, 1, "board", ASKS, 1.8e9), _default(its), Usage(600, 200, 550))
    assert [(one.key, one.tokens, one.cost) for one in bill] == [
        (found.day, 800, 550),
        (found.month, 800, 550),
    ]


def test_only_questions_are_charged_and_only_to_somebody(tmp_path: Path) -> None:
    its = accounts(tmp_path, "budget = { messages = 5 }\n")
    assert its.budget(board(), Inbound("e", "room", "greeting", sender="ann"), 1.8e9) is None
    assert its.budget(board(), Inbound("e", "room", message=says("user", "hi")), 1.8e9) is None
    caller = its.budget(board(batch=0), ASKS, 1.8e9)
    assert caller is not None
    assert caller.told == "caller"


def test_a_part_of_a_millionth_counts_as_one() -> None:
    assert price(PriceSettings(prompt=0.1), Usage(1, 0)) == 1
    assert price(PriceSettings(prompt=0.1), Usage(10, 0)) == 1
    assert price(PriceSettings(prompt=0.1, completion=0.4), Usage(11, 1)) == 2
    assert price(None, Usage(10, 10)) == 0


def test_a_zone_that_is_none_is_told_with_what_mends_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)money.timezone.*is no time zone.*Asia/Taipei"):
        accounts(tmp_path, '[money]\ntimezone = "Taipei"\n')


def _default(its: Accounts) -> Assistant:
    return its._staff["default"]
