"""What the operator limits, and what each message is counted by."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from chatferry.channels.base import Capabilities
from chatferry.commands import slow
from chatferry.config import Settings, load
from chatferry.errors import ConfigError
from chatferry.ledger.pacing import Pace
from chatferry.limits import Limits
from chatferry.model import ASKING, Inbound, Kind, says
from chatferry.rate import Rate
from chatferry.testing import Board, ManualClock
from chatferry.words import words

HEAD = """
[models.default]
provider = "demo"
[channels.board]
type = "line"
secret = "s3cret"
token = "t0ken"
[channels.other]
type = "wechat"
token = "t0ken"
[api]
keys = ["k"]
"""
ASKS = Inbound("e1", "room", message=says("user", "hi"), sender="ann")
THIRTY, SIXTY = Rate(30, 60.0), Rate(60, 60.0)
USUAL = '[limits]\nuser = "30/m"\nconversation = "60/m"\n'


def settings(folder: Path, text: str) -> Settings:
    path = folder / "chatferry.toml"
    path.write_text(HEAD + text, "utf-8")
    return load(path, {})


def counted(its: Settings, event: Inbound = ASKS, channel: str = "board", *, batch: int = 1) -> Pace | None:
    board = Board(ManualClock(), caps=Capabilities(batch=batch))
    board.name = channel
    return Limits(its).pace(board, event)


def test_without_limits_nothing_is_counted(tmp_path: Path) -> None:
    for channel in ("board", "other", "api", "gone"):
        assert counted(settings(tmp_path, ""), channel=channel) is None


def test_a_message_counts_for_who_says_it_and_for_its_conversation(tmp_path: Path) -> None:
    its = settings(tmp_path, USUAL)
    assert counted(its) == Pace((("user board:ann", THIRTY), ("talk board:room", SIXTY)), "first")
    assert counted(its, channel="other") == Pace((("user other:ann", THIRTY), ("talk other:room", SIXTY)), "first")


def test_who_has_no_name_counts_for_the_conversation_alone(tmp_path: Path) -> None:
    nameless = msgspec.structs.replace(ASKS, sender="")
    assert counted(settings(tmp_path, USUAL), nameless) == Pace((("talk board:room", SIXTY),), "first")


@pytest.mark.parametrize("kind", [kind for kind in get_args(Kind) if kind not in ASKING])
def test_only_what_asks_the_assistant_counts(tmp_path: Path, kind: str) -> None:
    assert counted(settings(tmp_path, USUAL), msgspec.structs.replace(ASKS, kind=kind)) is None


@pytest.mark.parametrize(
    ("table", "rates"),
    [
        ('user = "5/h"', (("user board:ann", Rate(5, 3600.0)), ("talk board:room", SIXTY))),
        ("user = 0", (("talk board:room", SIXTY),)),
        ('user = "0"\nconversation = "1/d"', (("talk board:room", Rate(1, 86400.0)),)),
    ],
)
def test_what_a_channel_says_itself_goes_before(
    tmp_path: Path, table: str, rates: tuple[tuple[str, Rate], ...]
) -> None:
    its = settings(tmp_path, f"{USUAL}[channels.board.limits]\n{table}")
    assert counted(its) == Pace(rates, "first")
    assert counted(its, channel="other") == Pace((("user other:ann", THIRTY), ("talk other:room", SIXTY)), "first")


def test_a_key_of_the_api_is_a_person_with_the_rate_of_the_api(tmp_path: Path) -> None:
    its = settings(tmp_path, USUAL)
    assert counted(its, channel="api", batch=0) == Pace((("user api:ann", THIRTY), ("talk api:room", SIXTY)), "caller")
    made = its.model_copy(update={"api": its.api and its.api.model_copy(update={"rate": 7})})
    once = msgspec.structs.replace(ASKS, context=())
    assert counted(made, once, "api", batch=0) == Pace((("user api:ann", Rate(7, 60.0)),), "caller")


@pytest.mark.parametrize("value", ['"30"', '"0/m"', '"30/year"', "30", "true", "[]", '"abc"', "-1", "1.5"])
def test_what_is_no_limit_is_told_with_its_place_and_what_mends_it(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        settings(tmp_path, f"[channels.board.limits]\nconversation = {value}")
    where = f"{tmp_path}/chatferry.toml:14  channels.board.limits.conversation"
    mend = '    mend: "30/m": thirty in a minute; 0: no limit'
    assert str(refusal.value) == f"{where}: must be a number per s, m, h or d\n{mend}"


def test_a_slip_in_a_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"limits\.users: is not a setting\n    mend: did you mean `user`\?"):
        settings(tmp_path, '[limits]\nusers = "30/m"')


@pytest.mark.parametrize(
    ("seconds", "time"),
    [
        (-5.0, "1 second"), (0.4, "1 second"), (7.2, "8 seconds"), (41.0, "50 seconds"), (59.98, "1 minute"),
        (60.0, "1 minute"), (61.0, "2 minutes"), (432.0, "8 minutes"), (43200.0, "12 hours"), (86400.0, "1 day"),
    ],
)  # fmt: skip
def test_a_wait_is_told_roughly_and_never_too_short(seconds: float, time: str) -> None:
    assert slow(seconds, words("en")) == words("en").slow.replace("{time}", time)
