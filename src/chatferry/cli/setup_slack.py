"""`chatferry slack manifest`: what makes the Slack app, and what to do next.

No token exists yet, so of the configuration only that is read which says how the app is to be made.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from chatferry.channels.slack_manifest import NAME_LIMIT, creation_link, manifest, to_yaml
from chatferry.config import AssistantSettings, ServerSettings, SlackSettings, found
from chatferry.config.file import Draft, Key, read, suggest, variables
from chatferry.config.rules import SLACK, fill
from chatferry.errors import ConfigError

_APPS = "https://api.slack.com/apps"
_SAID = ("type", "assistant", "command", "path", "url_token")
"""Settings of a channel that the manifest depends on."""
_WANTED = ("app_token", "client_id")
"""Settings whose values Slack gives out once there is an app: that a file names them says what is wanted."""
_LATER = "later"

_Table = TypeVar("_Table", bound=BaseModel)


class _Plan(NamedTuple):
    channel: str
    settings: SlackSettings
    assistant: AssistantSettings
    public_url: str | None
    several: bool
    """Any workspace may install us."""
    file: bool
    """Settings are in a file's table, not in variables."""


def show(
    config: Path | None,
    environ: Mapping[str, str] | None = None,
    *,
    channel: str = "",
    name: str = "Chatferry",
    socket: bool = False,
    several: bool = False,
    link: bool = False,
) -> None:
    """Print the manifest, or with `link` the link that makes the app; and on stderr what to do with it.

    channel: which one of the configuration; empty: the only one. socket: for Socket Mode, several: for any workspace,
    even if the configuration does not say so. Raises `ConfigError`.
    """
    if not name.strip() or not name.isprintable() or len(name) > NAME_LIMIT:
        raise ConfigError(f"--name: must be a line of 1 to {NAME_LIMIT} characters: Slack takes no more")
    plan = _plan(
        _draft(config, os.environ if environ is None else environ), channel, {"app_token": socket, "client_id": several}
    )
    address = plan.public_url or "https://YOUR-ADDRESS"
    token = plan.settings.url_token
    made = manifest(
        plan.settings,
        name=name,
        hook_url=f"{address}{plan.settings.path}{f'?token={quote(token.get_secret_value())}' if token else ''}",
        redirect_url=f"{address}/{plan.channel}/oauth" if plan.several else None,
        language=plan.assistant.tongue,
    )
    sys.stdout.write(f"{creation_link(made)}\n" if link else to_yaml(made))
    sys.stdout.flush()
    sys.stderr.write("\n".join(["", *_next("" if link else creation_link(made), plan), *_hints(plan), ""]))


def _draft(config: Path | None, environ: Mapping[str, str]) -> Draft:
    """The configuration that `load` would read, without all that may still be missing or wrong in it."""
    path = config or found(environ)
    draft = Draft(str(path), read(path)) if path else Draft("environment")
    channels = {
        name: _some(table, _SAID) | dict.fromkeys(_some(table, _WANTED), _LATER)
        for name, table in draft.tables("channels").items()
    }
    draft.tree = {
        "server": _some(draft.table("server"), ("public_url",)),
        "assistants": {
            name: _some(table, ("language", "instructions")) for name, table in draft.tables("assistants").items()
        },
        "channels": channels,
    }
    known = variables(path.parent if path else Path(), environ)
    draft.interpolate(known)
    fill(draft, known)
    return draft


def _some(table: Mapping[str, Any], settings: tuple[str, ...]) -> dict[str, Any]:
    return {setting: table[setting] for setting in settings if setting in table}


def _plan(draft: Draft, channel: str, wanted: Mapping[str, bool]) -> _Plan:
    """Raises `ConfigError` for what is said and is wrong."""
    channels = draft.tables("channels")
    slacks = {name: table for name, table in channels.items() if table["type"] == "slack"}
    file = bool(channels) and not any(draft.origin(("channels", name, "token")) for name in channels)
    if not slacks:
        slacks = {channel or "slack": {"path": f"/hooks/{channel or 'slack'}"}}
    if not channel and len(slacks) > 1:
        raise ConfigError(f"which one? --channel {' or '.join(slacks)}")
    channel = channel or next(iter(slacks))
    if channel not in slacks:
        raise ConfigError(f"--channel {channel}: no Slack channel has this name; {suggest(channel, slacks)}")
    table = _some(slacks[channel], (*_SAID, *_WANTED)) | {setting: _LATER for setting, want in wanted.items() if want}
    settings = _checked(draft, SlackSettings, table, ("channels", channel))
    server = _checked(draft, ServerSettings, _some(draft.table("server"), ("public_url",)), ("server",))
    assistant = _some(draft.tables("assistants").get(settings.assistant, {}), ("language", "instructions"))
    tongue = _checked(draft, AssistantSettings, assistant, ("assistants", settings.assistant))
    if not draft.sound:
        raise draft.error()
    return _Plan(channel, settings, tongue, server.public_url, bool(settings.client_id), file)


def _checked(draft: Draft, kind: type[_Table], table: Mapping[str, Any], key: Key) -> _Table:
    """The table as settings. Raises `ConfigError`, which shows no value."""
    try:
        return kind.model_validate(table)
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False, include_input=False):
            ours = error.get("ctx", {})
            draft.fault((*key, *error["loc"]), ours.get("problem", error["msg"]), ours.get("mend", ""))
    raise draft.error()


def _next(link: str, plan: _Plan) -> Iterator[str]:
    """How the app comes to be, and which of its values goes where."""
    socket = plan.settings.app_token is not None
    steps = [
        f"Make the app: {_APPS}, Create New App, From a manifest, or this link. "
        f"(One that exists: paste it under App Manifest.)" + (f"\n\n{link}\n" if link else "")
    ]
    if plan.several:
        steps.append(f"Basic Information, App Credentials: Client ID is {_goes(plan, 'client_id')}")
        steps.append(f"the same place: Client Secret is {_goes(plan, 'client_secret')}")
        steps.append("CHATFERRY_SECRET=... encrypts the workspaces' tokens: `openssl rand -hex 32` makes a good one")
        steps.append("`pip install 'chatferry[slack]'`: what the encryption needs")
        steps.append("Manage Distribution: activate it, so that other workspaces may install the app")
    else:
        steps.append(f"Install App: install it to your workspace; the Bot User OAuth Token is {_goes(plan, 'token')}")
    if socket:
        steps.append(f"Basic Information, App-Level Tokens: one with connections:write is {_goes(plan, 'app_token')}")
        steps.append("`chatferry serve`")
    else:
        steps.append(f"Basic Information, App Credentials: Signing Secret is {_goes(plan, 'secret')}")
        steps.append("`chatferry serve`, then Event Subscriptions: let Slack try the Request URL until it is Verified")
    if plan.several:
        steps.append(
            f"Each workspace installs it at {plan.public_url or 'https://YOUR-ADDRESS'}/{plan.channel}/install"
        )
    steps.append("`chatferry check`")
    yield from (f"{number}. {step}" for number, step in enumerate(steps, 1))


def _goes(plan: _Plan, setting: str) -> str:
    return f"`{setting}` in [channels.{plan.channel}]" if plan.file else f"{SLACK[setting]}=..."


def _hints(plan: _Plan) -> Iterator[str]:
    """What would make the manifest wrong, or must not be passed on."""
    hooked = plan.settings.app_token is None
    if plan.public_url is None and (hooked or plan.several):
        yield "hint: set CHATFERRY_PUBLIC_URL=https://... (server.public_url) to the address from outside, then again"
        if hooked:
            yield "      or without one: `chatferry slack manifest --socket`, as Socket Mode needs no address"
    if plan.public_url and plan.public_url.startswith("http:") and (hooked or plan.several):
        yield "hint: Slack calls https:// only, and the public address begins with http://"
    if plan.settings.url_token and hooked:
        yield "hint: the addresses end in your url_token, a secret: do not pass the manifest or the link on"
