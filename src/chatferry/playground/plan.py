"""What the gateway of a playground is told: the user's own configuration, with simulators where the platforms were."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from chatferry.config import ModelSettings, ServerSettings, Settings, found, load
from chatferry.config.file import Draft, variables
from chatferry.errors import ConfigError
from chatferry.words import LANGUAGES, Language

SCRIPT = "script"
"""The model that is none."""
_OURS = {
    "secret", "token", "app_token", "client_id", "client_secret", "app_id", "app_secret", "aes_key", "api_base",
    "data_api_base", "url_token", "limit", "hold",
}  # fmt: skip
"""What a channel owes to its platform, and gets from the simulator here."""
_KEYS = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "GEMINI_API_KEY")


class Plan(msgspec.Struct, frozen=True):
    """Everything in which the gateway differs from `chatferry serve`. Holds no secret but those of simulators."""

    base: str
    """Where the playground is; empty: there is none, and models are asked directly."""
    port: int
    """Where the gateway listens."""
    folder: str
    """Where it keeps its database."""
    channels: dict[str, dict[str, str]]
    """Platform to the settings that lead to its simulator."""
    config: str | None = None
    model: str = ""
    language: str = "auto"
    pace: float = 0.02
    """Seconds between two tokens of the script, where it has no place of its own."""
    script: str = ""
    """Where the script is asked as a model would be; empty: at the playground, or nowhere."""

    @property
    def database(self) -> str:
        return f"sqlite:///{Path(self.folder).resolve()}/demo.db"


class Composed(NamedTuple):
    settings: Settings
    upstreams: dict[str, str]
    """Model to where it really is."""
    platforms: dict[str, str]
    """Channel to platform."""


def compose(plan: Plan, environ: Mapping[str, str] | None = None) -> Composed:
    """The settings of the gateway. Raises ConfigError for what is wrong with the user's own.

    [server] and [api] are ours here: a playground must not touch the database of a gateway that serves people.
    """
    environ = os.environ if environ is None else environ
    path = Path(plan.config) if plan.config else found(environ)
    known = variables(path.parent if path else Path(), environ)

    def amend(draft: Draft) -> None:
        tree = draft.tree
        tree.pop("api", None)
        tree.pop("server", None)
        tree["channels"] = dict(_channels(tree.get("channels"), plan))
        none = not (tree.get("models") or any(name in known for name in _KEYS))
        if none and plan.model not in ("", SCRIPT):  # the script must not pass for it
            mend = "set OPENAI_API_KEY or GEMINI_API_KEY, or leave it out: then a script answers"
            raise ConfigError(f"--model: there is no key for {plan.model}\n  mend: {mend}")
        if none or plan.model == SCRIPT:
            tree["models"] = {"default": _script(plan)}
            for assistant in (tree.get("assistants") or {}).values():
                if isinstance(assistant, dict):
                    assistant.pop("model", None)
        if not tree.get("assistants") and "CHATFERRY_INSTRUCTIONS" not in known:
            tree["assistants"] = {"default": {"language": plan.language}}

    settings = load(path, environ, amend=amend)
    models = _chosen(settings, plan.model)
    upstreams = {name: model.base_url for name, model in models.items() if model.base_url and plan.base}
    models = {
        name: model.model_copy(update={"base_url": f"{plan.base}/model/{quote(name, safe='')}"})
        if name in upstreams
        else model
        for name, model in models.items()
    }
    server = ServerSettings(
        host="127.0.0.1",
        port=plan.port,
        public_url=f"http://127.0.0.1:{plan.port}",
        database=plan.database,
        drain=1.0,
        log="console",
    )
    settings = settings.model_copy(update={"server": server, "models": models, "source": str(path) if path else "demo"})
    return Composed(settings, upstreams, {name: channel.type for name, channel in settings.channels.items()})


def _script(plan: Plan) -> dict[str, Any]:
    """No model, as an engine of the gateway; or beside it, where its calls can be looked at."""
    if not (plan.script or plan.base):
        return {"provider": "demo", "pace": plan.pace}
    return {"provider": "openai", "model": SCRIPT, "base_url": plan.script or f"{plan.base}/script/v1", "sees": True}


def _channels(given: Any, plan: Plan) -> dict[str, dict[str, Any]]:
    """The user's channels with the simulators' credentials, and one for each platform that has none."""
    made: dict[str, dict[str, Any]] = {}
    for name, table in (given if isinstance(given, dict) else {}).items():
        kind = table.get("type", name) if isinstance(table, dict) else None
        if kind in plan.channels:
            kept = {setting: value for setting, value in table.items() if setting not in _OURS}
            made[name] = {**kept, "type": kind, **plan.channels[kind]}
    for kind, ours in plan.channels.items():
        if not any(table["type"] == kind for table in made.values()):
            made[kind if kind not in made else f"{kind}-demo"] = {"type": kind, **ours}
    return made


def _chosen(settings: Settings, model: str) -> dict[str, ModelSettings]:
    """`--model`: another model of the same provider, for every assistant."""
    if not model or model == SCRIPT:
        return settings.models
    if model in settings.models:  # a table of the file: it takes the place of all that assistants ask for
        return dict.fromkeys(settings.models, settings.models[model])
    asked = {assistant.model for assistant in settings.assistants.values()}
    return {
        name: its.model_copy(update={"model": model}) if name in asked else its
        for name, its in settings.models.items()
    }  # fmt: skip


def spoken(environ: Mapping[str, str]) -> Language:
    """The language of the terminal, if it is one of ours."""
    told = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    code = told.partition(".")[0].replace("_", "-")
    alike = {"zh-HK": "zh-TW", "zh-SG": "zh-CN", "ja-JP": "ja"}
    return next((ours for ours in LANGUAGES if ours == alike.get(code, code)), "en")
