"""What an operator is told of [[alerts]] and [telemetry] that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatferry.config import AlertSettings, load
from chatferry.errors import ConfigError
from chatferry.watching.alarms import key_of

BASE = """
[models.default]
provider = "demo"
[api]
keys = ["a-key-of-the-api"]
[channels.line]
type = "line"
secret = "s"
token = "t"
[channels.wechat]
type = "wechat"
token = "t"
"""
ANN = "U" + "0123456789abcdef" * 2
HOOK = "https://hooks.example.com/T0/secret-part?x=1"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def alerts(*tables: str, base: str = BASE) -> tuple[AlertSettings, ...]:
    Path("chatferry.toml").write_text(base + "".join(f"[[alerts]]\n{table}\n" for table in tables), "utf-8")
    return load(environ={}).alerts


def faults(*tables: str, base: str = BASE) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        alerts(*tables, base=base)
    return [
        line.partition("chatferry.toml:")[2].partition("  ")[2] or line.strip()
        for line in str(caught.value).split("\n")
    ]


def test_what_is_not_said_is_what_most_people_want() -> None:
    to = f'to = ["{HOOK}"]'
    made = alerts(*(f'when = "{when}"\n{to}' for when in ("success", "latency", "queue", "circuit")))
    assert [(one.name, one.threshold, one.window, one.least) for one in made] == [
        ("success", 0.95, 600.0, 20),
        ("latency", 30.0, 600.0, 20),
        ("queue", 60.0, 600.0, 20),
        ("circuit", 0.0, 600.0, 20),
    ]


def test_the_same_alert_for_two_channels_has_two_names() -> None:
    made = alerts(
        *(f'when = "latency"\nthreshold = "5s"\nchannel = "{one}"\nto = ["line:{ANN}"]' for one in ("line", "api"))
    )
    assert [(one.name, one.threshold) for one in made] == [("latency line", 5.0), ("latency api", 5.0)]


def test_the_address_of_a_webhook_is_a_secret_and_one_place_is_one_target_however_it_is_written() -> None:
    (made,) = alerts(
        f'when = "success"\nto = ["{HOOK}", {{ url = "{HOOK}", secret = "signs" }}, {{ push = "line:{ANN}" }}]'
    )
    keys = [key_of(target) for target in made.to]
    assert keys[0] == keys[1] != keys[2] == f"line:{ANN}"
    assert "secret-part" not in repr(made) + "".join(keys)
    assert HOOK in load(environ={}).secrets()


def test_a_line_channel_that_never_pushes_cannot_be_told_by() -> None:
    written = BASE.replace('token = "t"\n[channels.wechat]', 'token = "t"\nlate = "button"\n[channels.wechat]')
    Path("chatferry.toml").write_text(f'{written}[[alerts]]\nwhen = "success"\nto = ["line:{ANN}"]\n', "utf-8")
    with pytest.raises(ConfigError, match="line cannot speak unasked"):
        load(environ={})


def test_what_reaches_nobody_is_told_with_its_mend() -> None:
    nobody = f'"slack:C0123456789", "wechat:o123", "api:x", "line:ann", {{ push = "line:{ANN}", secret = "s" }}'
    told = faults(
        f'when = "success"\nto = [{nobody}]',
        f'when = "queue"\nname = "both"\nto = [{{ url = "{HOOK}", push = "line:{ANN}" }}, {{ }}, "ftp://x"]',
        'when = "circuit"\nto = []',
    )
    assert told == [
        "alerts.0.to.0: names no channel of ours",
        'mend: "line:ID"',
        "alerts.0.to.1: wechat cannot speak unasked",
        'mend: "line:ID"',
        "alerts.0.to.2: api cannot speak unasked",
        'mend: "line:ID"',
        "alerts.0.to.3: line: is followed by no id of its platform",
        "mend: of a user (U...), group (C...) or room (R...), as `chatferry turns` shows it",
        "alerts.0.to.4.secret: signs what a webhook gets, and there is none",
        "mend: leave it out",
        "alerts.1.to.0: has url and push, and can be one",
        'mend: "https://...", { url = "https://...", secret = "..." } or "slack:C0123456789"',
        "alerts.1.to.1: reaches nobody",
        'mend: "https://...", { url = "https://...", secret = "..." } or "slack:C0123456789"',
        "alerts.1.to.2: names no channel of ours",
        'mend: "line:ID"',
        "alerts.2.to: must not be empty",
    ]


def test_what_cannot_be_measured_is_told_with_its_mend() -> None:
    to = f'to = ["{HOOK}"]'
    told = faults(
        f'when = "success"\nthreshold = 95\nchannel = "lien"\nassistant = "defualt"\nmodel = "x"\n{to}',
        f'when = "circuit"\nthreshold = 3\nchannel = "line"\n{to}',
        f'when = "queue"\nmodel = "default"\nwindow = "5s"\n{to}',
        f'when = "queue"\nmodel = "default"\n{to}',
        f'when = "sucess"\n{to}',
        f'when = "budget"\nthreshold = 80\nmodel = "default"\n{to}',
        f'when = "budget"\nname = "rich"\nassistant = "rich"\n{to}',
        f'when = "budget"\nassistant = "poor"\n{to}',
        base=f"{BASE}[models.default.price]\nprompt = 1\n"
        "[assistants.default]\n[assistants.poor]\n[assistants.rich]\nbudget = { money = 9 }\n",
    )
    assert told == [
        "alerts.0.threshold: must be the share of messages that succeed, between 0 and 1",
        "mend: 0.95",
        "alerts.0.channel: names nothing that exists",
        "mend: did you mean `line`?",
        "alerts.0.assistant: names nothing that exists",
        "mend: did you mean `default`?",
        "alerts.0.model: names nothing that exists",
        "mend: one of `default`",
        "alerts.1.threshold: says nothing where `when` is 'circuit'",
        "mend: leave it out",
        "alerts.1.channel: says nothing where `when` is 'circuit'",
        "mend: leave it out",
        "alerts.2.model: says nothing where `when` is 'queue'",
        "mend: leave it out",
        "alerts.2.window: must be greater than or equal to 60",
        "alerts.3.name: is the name of another alert too",
        'mend: name = "..."',
        "alerts.3.model: says nothing where `when` is 'queue'",
        "mend: leave it out",
        "alerts.4.when: must be 'success', 'latency', 'queue', 'circuit' or 'budget'",
        "mend: did you mean `success`?",
        "alerts.5.threshold: must be the share of its money that an assistant has spent, between 0 and 1",
        "mend: 0.8",
        "alerts.5.model: says nothing where `when` is 'budget'",
        "mend: leave it out",
        "alerts.7.when: watches nothing: poor has no budget of money",
        "mend: budget = { money = 50 }",
    ]
