"""The tables [[alerts]] and [telemetry]: who is told when something goes wrong, and who gets traces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from chatferry.config.file import Draft, Key, suggest
from chatferry.config.types import Duration, Header, Name, Secret, Table, Url, wrong

_THRESHOLDS = {"success": 0.95, "latency": 30.0, "queue": 60.0, "circuit": 0.0, "budget": 0.8}
_MEASURED = ("threshold", "least", "channel", "assistant", "model")
_KNOWS = {
    "success": _MEASURED,
    "latency": _MEASURED,
    "queue": ("threshold", "channel"),
    "circuit": ("model",),
    "budget": ("threshold", "assistant"),
}
"""What each kind can be narrowed by."""

_IDS = {
    "line": (r"[UCR][0-9a-f]{32}", "of a user (U...), group (C...) or room (R...), as `chatferry turns` shows it"),
    "slack": (r"([TE][A-Z0-9+]+/)?[CDGU][A-Z0-9]{5,}", "such as C0123456789: at the bottom of the room's About tab"),
}
"""The types of channels that can speak unasked: what an id of theirs looks like, and where it is found."""


def _an_address(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"https?://[^\s/?#]+\S*", secret.get_secret_value()):
        raise wrong("must be an address that begins with http:// or https://")
    return secret


class TargetSettings(Table):
    """Who is told: a webhook, or somebody on a channel of ours."""

    url: Annotated[Secret, AfterValidator(_an_address)] | None = None
    """Often a secret itself, and never shown."""
    secret: Secret | None = None
    """Signs what the webhook gets."""
    push: str | None = None
    """`CHANNEL:ID`."""


def _target(given: object) -> object:
    if not isinstance(given, str):
        return given
    return {"url": given} if given.startswith(("http://", "https://")) else {"push": given}


Target = Annotated[TargetSettings, BeforeValidator(_target)]
"""`"slack:C0123456789"` says as much as `{ push = "slack:C0123456789" }`, and an address as `{ url = "..." }`."""


class AlertSettings(Table):
    """Something that must not be, and who is told when it is."""

    when: Literal["success", "latency", "queue", "circuit", "budget"]
    """success: too few messages are answered well; latency: one in twenty waits too long; queue: what came is not
    begun; circuit: a model keeps failing and is left alone; budget: most of an assistant's money for the month is
    spent."""
    threshold: Duration = Field(default_factory=lambda told: _THRESHOLDS.get(told.get("when", ""), 0.0))
    """The share of messages that succeed, at least; the time that is the most; or the share of money that is spent."""
    window: Annotated[Duration, Field(ge=60, le=3600)] = 600.0
    """What is measured, and for how long all must be well for the incident to be over."""
    least: int = Field(default=20, ge=1)
    """Messages in the window without which nothing is judged."""
    channel: str | None = None
    assistant: str | None = None
    model: str | None = None
    """Only this one. The model is the one that the assistant asks first."""
    to: tuple[Target, ...] = Field(min_length=1)
    name: Name = Field(default_factory=lambda told: _named(told))
    """What it is called in messages and by `chatferry alerts`."""


def _named(told: Mapping[str, Any]) -> str:
    """The name of an alert that was given none: the same at every start."""
    return " ".join(str(told[part]) for part in ("when", "channel", "assistant", "model") if told.get(part))[:40]


class TelemetrySettings(Table):
    """Traces by OpenTelemetry."""

    otlp: Url | None = None
    """Where a collector takes OTLP over HTTP. None: there are no traces."""
    headers: dict[str, Header] = Field(default_factory=dict)
    """Sent with each export, such as `Authorization`."""
    sample: float = Field(default=1.0, gt=0, le=1)
    """The share of turns that is traced."""


def check(draft: Draft) -> None:
    """Pin faults to alerts that cannot be measured, that reach nobody, or that two share a name."""
    alerts = draft.tree.get("alerts")
    names: dict[str, int] = {}
    for index, table in enumerate(alerts if isinstance(alerts, list) else ()):
        if not isinstance(table, dict):
            continue
        key: Key = ("alerts", index)
        _check_measure(draft, key, table)
        targets = table.get("to")
        for place, target in enumerate(targets if isinstance(targets, list) else ()):
            _check_target(draft, (*key, "to", place), target)
        name = str(table.get("name") or _named(table))
        if names.setdefault(name, index) != index:
            draft.fault((*key, "name"), "is the name of another alert too", 'name = "..."')


def _check_measure(draft: Draft, key: Key, table: Mapping[str, object]) -> None:
    when = str(table.get("when"))
    for setting in _MEASURED if when in _KNOWS else ():
        if setting in table and setting not in _KNOWS[when]:
            draft.fault((*key, setting), f"says nothing where `when` is {when!r}", "leave it out")
    known = {"channel": {*draft.tables("channels"), *(("api",) if "api" in draft.tree else ())}}
    known |= {"assistant": {*draft.tables("assistants")}, "model": {*draft.tables("models")}}
    for setting, names in known.items():
        name = table.get(setting)
        if isinstance(name, str) and names and name not in names:
            draft.fault((*key, setting), "names nothing that exists", suggest(name, names))
    threshold = table.get("threshold")
    share = isinstance(threshold, int | float) and not isinstance(threshold, bool) and 0 < threshold <= 1
    shares = {"success": "of messages that succeed", "budget": "of its money that an assistant has spent"}
    if when in shares and threshold is not None and not share:
        draft.fault((*key, "threshold"), f"must be the share {shares[when]}, between 0 and 1", str(_THRESHOLDS[when]))
    if when == "budget":
        _check_purse(draft, key, table.get("assistant"))


def _check_purse(draft: Draft, key: Key, assistant: object) -> None:
    """Somebody who is watched has a budget of money."""
    assistants = draft.tables("assistants")
    if assistant is not None and assistant not in assistants:
        return
    budgets = [its.get("budget") for name, its in assistants.items() if assistant in (None, name)]
    if not any(isinstance(budget, dict) and "money" in budget for budget in budgets):
        who = f"{assistant} has no" if assistant is not None else "no assistant has a"
        draft.fault((*key, "when"), f"watches nothing: {who} budget of money", "budget = { money = 50 }")


def _check_target(draft: Draft, key: Key, target: object) -> None:
    told = _target(target)
    if not isinstance(told, dict):
        return
    if ("url" in told) == ("push" in told):
        problem = "has url and push, and can be one" if "url" in told else "reaches nobody"
        draft.fault(key, problem, '"https://...", { url = "https://...", secret = "..." } or "slack:C0123456789"')
    if "secret" in told and "url" not in told:
        draft.fault((*key, "secret"), "signs what a webhook gets, and there is none", "leave it out")
    push = told.get("push")
    if not isinstance(push, str):
        return
    channels = draft.tables("channels")
    name, _, address = push.partition(":")
    able = [one for one, table in channels.items() if table.get("type") in _IDS and table.get("late") != "button"]
    if name not in able:
        problem = f"{name} cannot speak unasked" if name in {"api", *channels} else "names no channel of ours"
        draft.fault(key, problem, f'"{able[0]}:ID"' if able else "a webhook, or a LINE or Slack channel")
        return
    pattern, where = _IDS[str(channels[name]["type"])]
    if not re.fullmatch(pattern, address):
        draft.fault(key, f"{name}: is followed by no id of its platform", where)
