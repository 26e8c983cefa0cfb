"""What the environment says without a file, and what the tables of a configuration owe each other.

Both look at the draft, not at checked settings, so that they also speak where a table has faults of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from chatferry.config import api, people, talk, tools, watch
from chatferry.config.file import Draft, Key, set_it, suggest

_SERVER = {
    "port": "PORT",
    "database": "CHATFERRY_DATABASE",
    "public_url": "CHATFERRY_PUBLIC_URL",
    "secret": "CHATFERRY_SECRET",
    "metrics_token": "CHATFERRY_METRICS_TOKEN",
}
_OPENAI = {"api_key": "OPENAI_API_KEY", "base_url": "OPENAI_BASE_URL", "model": "OPENAI_MODEL"}
_GEMINI = {"api_key": "GEMINI_API_KEY", "base_url": "GEMINI_BASE_URL", "model": "GEMINI_MODEL"}
_LINE = {
    "secret": "LINE_CHANNEL_SECRET",
    "token": "LINE_CHANNEL_ACCESS_TOKEN",
    "api_base": "LINE_API_BASE",
    "data_api_base": "LINE_DATA_API_BASE",
}
SLACK = {
    "secret": "SLACK_SIGNING_SECRET",
    "token": "SLACK_BOT_TOKEN",
    "app_token": "SLACK_APP_TOKEN",
    "client_id": "SLACK_CLIENT_ID",
    "client_secret": "SLACK_CLIENT_SECRET",
    "api_base": "SLACK_API_BASE",
}
WECHAT = {
    "token": "WECHAT_TOKEN",
    "app_id": "WECHAT_APP_ID",
    "app_secret": "WECHAT_APP_SECRET",
    "aes_key": "WECHAT_AES_KEY",
    "mode": "WECHAT_MODE",
    "api_base": "WECHAT_API_BASE",
}
CHANNELS = {"line": _LINE, "slack": SLACK, "wechat": WECHAT}
"""The variables of each type of channel, by the setting that they are without a file."""


def fill(draft: Draft, environ: Mapping[str, str]) -> None:
    """Put what the environment says over [server], and in the place of the tables that the file lacks."""
    tree = draft.tree
    if "public_url" not in draft.table("server"):
        draft.take(("server",), {"public_url": "RENDER_EXTERNAL_URL"}, environ)
    draft.take(("server",), _SERVER, environ)  # over the file: platforms say by PORT where they will knock
    if not tree.get("models"):
        tree["models"] = {}
        _fill_models(draft, environ)
    if not tree.get("assistants"):
        tree["assistants"] = {"default": {}}
        draft.take(("assistants", "default"), {"instructions": "CHATFERRY_INSTRUCTIONS"}, environ)
    if not tree.get("channels") and "api" not in tree:
        tree["channels"] = {}
        if "LINE_CHANNEL_SECRET" in environ or "LINE_CHANNEL_ACCESS_TOKEN" in environ:
            draft.take(("channels", "line"), _LINE, environ)
        for channel, names in (("slack", SLACK), ("wechat", WECHAT)):
            if any(name in environ for setting, name in names.items() if setting != "api_base"):
                draft.take(("channels", channel), names, environ)
        if "CHATFERRY_API_KEY" in environ:
            draft.take(("api",), {"keys": "CHATFERRY_API_KEY"}, environ)
            tree["api"]["keys"] = [tree["api"]["keys"]]
    for name, table in draft.tables("channels").items():
        table.setdefault("type", name)
        if _good_name(name):
            table.setdefault("path", f"/hooks/{name}")
    talk.locate(draft)
    people.locate(draft)


def _fill_models(draft: Draft, environ: Mapping[str, str]) -> None:
    models = draft.tree["models"]
    openai = "OPENAI_API_KEY" in environ or "OPENAI_BASE_URL" in environ
    if openai:
        models["default"] = {"provider": "openai", "model": "gpt-5-mini"}
        draft.take(("models", "default"), _OPENAI, environ)
    if "GEMINI_API_KEY" in environ:
        name = "gemini" if openai else "default"
        models[name] = {"provider": "gemini", "model": "gemini-2.5-flash"}
        draft.take(("models", name), _GEMINI, environ)
    if len(models) > 1:
        models["default"]["fallback"] = ["gemini"]


def check(draft: Draft) -> None:
    """Pin a fault to what is missing as a whole, to every name that names nothing, and to what clashes."""
    if not draft.tree["models"]:
        given = "set OPENAI_API_KEY or GEMINI_API_KEY in .env or the environment"
        draft.fault(("models",), "there is no model", f"{given}, or write [models.default] into chatferry.toml")
    if not draft.tree.get("channels") and "api" not in draft.tree:
        given = "set LINE_CHANNEL_SECRET and LINE_CHANNEL_ACCESS_TOKEN, SLACK_SIGNING_SECRET and SLACK_BOT_TOKEN"
        given += ", WECHAT_TOKEN, or CHATFERRY_API_KEY, in .env or the environment"
        tables = "[channels.line], [channels.slack], [channels.wechat] or [api]"
        mend = f"{given}; or write {tables} into chatferry.toml"
        draft.fault(("channels",), "there is no channel and no api, so nobody could talk to us", mend)
    models, assistants, channels = map(draft.tables, ("models", "assistants", "channels"))
    for name, table in assistants.items():
        _check_choice(draft, ("assistants", name), "model", table, models)
        for setting in ("summary_model", "checker"):
            _check_name(draft, ("assistants", name, setting), table.get(setting), models)
        _check_voice(draft, ("assistants", name, "voice"), table.get("voice"), models)
        _check_money(draft, name, table, models)
    for name, table in channels.items():
        _check_choice(draft, ("channels", name), "assistant", table, assistants)
        if not _good_name(name):
            mend = "name it by letters, digits, - and _, and not api"
            draft.fault(("channels", name), "cannot be the name of a channel", mend)
        if table.get("type") == "slack":
            _check_slack(draft, ("channels", name), table, assistants)
        if table.get("type") == "wechat":
            _check_wechat(draft, ("channels", name), table)
    _check_paths(draft, channels)
    _check_fallbacks(draft, models)
    talk.check(draft)
    api.check(draft)
    people.check(draft)
    tools.check(draft)
    watch.check(draft)


def _check_slack(draft: Draft, key: Key, table: Mapping[str, object], assistants: Collection[str]) -> None:
    """A way in (signed hooks, or a socket) and a way out (one workspace's token, or installations)."""
    name = ".".join(map(str, key))
    if not table.get("secret") and not table.get("app_token"):
        draft.fault((*key, "secret"), "is required", _set(draft, key, "secret", "SLACK_SIGNING_SECRET"))
    if not table.get("token") and not table.get("client_id"):
        draft.fault((*key, "token"), "is required", _set(draft, key, "token", "SLACK_BOT_TOKEN"))
    if bool(table.get("client_id")) != bool(table.get("client_secret")):
        lacking = "client_secret" if table.get("client_id") else "client_id"
        mend = _set(draft, key, lacking, SLACK[lacking])
        draft.fault((*key, lacking), "is required for others to install us", mend)
    if table.get("client_id") and not draft.table("server").get("secret"):
        mend = "CHATFERRY_SECRET=... in .env or the environment; `openssl rand -hex 32` makes a good one"
        draft.fault(("server", "secret"), f"is required, as {name} keeps the tokens of workspaces", mend)
    rooms = table.get("rooms")
    for room, settings in rooms.items() if isinstance(rooms, dict) else ():
        if not re.fullmatch(r"[CDG][A-Z0-9]+", room):
            mend = "its id, such as C0123456789, is at the bottom of the channel's About tab"
            draft.fault((*key, "rooms", room), "is not the id of a Slack channel", mend)
        named = settings.get("assistant") if isinstance(settings, dict) else settings
        place = (*key, "rooms", room, "assistant") if isinstance(settings, dict) else (*key, "rooms", room)
        _check_name(draft, place, named, assistants)


def _check_wechat(draft: Draft, key: Key, table: Mapping[str, object]) -> None:
    """Id and secret for WeChat's API, and the id for encryption too."""
    app_id, app_secret, aes_key = (table.get(setting) for setting in ("app_id", "app_secret", "aes_key"))
    service = table.get("mode") == "service"
    if not app_id and (app_secret or service):
        why = "is required to send" if service else "is required beside app_secret"
        draft.fault((*key, "app_id"), why, _set(draft, key, "app_id", WECHAT["app_id"]))
    if not app_id and aes_key:
        mend = _set(draft, key, "app_id", WECHAT["app_id"])
        draft.fault((*key, "app_id"), "is required beside aes_key, as what is encrypted names it", mend)
    if not app_secret and (service or (app_id and not aes_key)):
        why = "is required to send" if service else "is required beside app_id"
        draft.fault((*key, "app_secret"), why, _set(draft, key, "app_secret", WECHAT["app_secret"]))
    if isinstance(aes_key, str) and not re.fullmatch(r"[A-Za-z0-9+/]{43}", aes_key):
        mend = "copy the EncodingAESKey from the account's server configuration"
        draft.fault((*key, "aes_key"), "must be the 43 letters and digits of an EncodingAESKey", mend)


def _set(draft: Draft, key: Key, setting: str, name: str) -> str:
    origin = draft.origin((*key, setting))
    return set_it(origin) if origin else f'{setting} = "${{{name}}}" in [{".".join(map(str, key))}]'


def _good_name(channel: str) -> bool:
    """Conversations are kept as NAME:ADDRESS beside those of the API, and hooks come in at /hooks/NAME."""
    return channel != "api" and re.fullmatch(r"[A-Za-z0-9_-]+", channel) is not None


def _check_choice(draft: Draft, key: Key, setting: str, table: Mapping[str, object], known: Collection[str]) -> None:
    """A setting that names a table of another kind: "default" where nothing is said."""
    if setting in table or "default" in known or not known:
        _check_name(draft, (*key, setting), table.get(setting), known)
    else:
        mend = f'write [{setting}s.default], or {setting} = "{min(known)}" in [{".".join(map(str, key))}]'
        draft.fault((*key, setting), f"is not said, and there is no [{setting}s.default]", mend)


def _check_name(draft: Draft, key: Key, name: object, known: Collection[str]) -> None:
    if known and isinstance(name, str) and name not in known:
        draft.fault(key, "names nothing that exists", suggest(name, known))


def _check_voice(draft: Draft, key: Key, name: object, models: Mapping[str, Mapping[str, object]]) -> None:
    if isinstance(name, str) and models and name not in models:
        ears = models.keys() - {model for its in draft.tables("assistants").values() for model in _asked(its, models)}
        mend = f'write a [models.{name}] that transcribes: provider = "openai", model = "gpt-4o-mini-transcribe"'
        draft.fault(key, "names nothing that exists", suggest(name, ears) if ears else mend)
    provider = models[name].get("provider") if isinstance(name, str) and name in models else "openai"
    if provider != "openai":
        mend = 'name a [models.NAME] with provider = "openai", such as one with model = "gpt-4o-mini-transcribe"'
        draft.fault(key, "names a model that cannot write down what is spoken", mend)


def _check_money(
    draft: Draft, name: str, table: Mapping[str, object], models: Mapping[str, Mapping[str, object]]
) -> None:
    """Money is spent where a model has a price."""
    budget, asked = table.get("budget"), _asked(table, models)
    if not isinstance(budget, dict) or "money" not in budget or not asked <= models.keys():
        return
    prices = [models[model].get("price") for model in asked]
    if not any(any(price.values()) if isinstance(price, dict) else price for price in prices):
        mend = f"price = {{ prompt = 0.25, completion = 2 }} in [models.{table.get('model', 'default')}]"
        draft.fault(
            ("assistants", name, "budget", "money"), "can never be used up: no model that is asked has a price", mend
        )


def _asked(assistant: Mapping[str, object], models: Mapping[str, Mapping[str, object]]) -> set[str]:
    """The models that an assistant asks, those that stand in for others too."""
    named = {assistant.get("model", "default"), assistant.get("summary_model"), assistant.get("checker")}
    asked = {name for name in named if isinstance(name, str)}
    for name in asked & models.keys():
        listed = models[name].get("fallback")
        asked = asked | {other for other in (listed if isinstance(listed, list) else ()) if isinstance(other, str)}
    return asked


def _check_paths(draft: Draft, channels: Mapping[str, Mapping[str, object]]) -> None:
    owners: dict[object, str] = {}
    for name, table in channels.items():
        path = table.get("path")
        if isinstance(path, str) and owners.setdefault(path, name) != name:
            mend = f'path = "/hooks/{name}"'
            draft.fault(("channels", name, "path"), f"is the path of channels.{owners[path]} too", mend)


def _check_fallbacks(draft: Draft, models: Mapping[str, Mapping[str, object]]) -> None:
    after: dict[str, list[str]] = {}
    for name, table in models.items():
        listed = table.get("fallback")
        others = [other for other in listed if isinstance(other, str)] if isinstance(listed, list) else []
        for index, other in enumerate(others):
            _check_name(draft, ("models", name, "fallback", index), other, models)
        after[name] = others
    while circle := _circle(after):
        key = ("models", circle[0], "fallback")
        draft.fault(key, f"goes round in a circle: {' -> '.join(circle)}", "leave one of them out")
        after[circle[0]] = []  # so that the next circle is found too


def _circle(after: Mapping[str, Iterable[str]]) -> list[str]:
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        nodes: list[str] = error.args[1]
        return nodes[::-1]  # it lists who is waited for first
    return []
