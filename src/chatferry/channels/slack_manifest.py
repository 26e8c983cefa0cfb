"""The app manifest: all that Slack wants to know to make the app, so that nobody has to click it together.

Property names and limits: "App manifest reference" at docs.slack.dev.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from chatferry.channels.slack_scopes import EVENTS, SCOPES
from chatferry.words import Language, words

if TYPE_CHECKING:
    from chatferry.config import SlackSettings

NAME_LIMIT = 35
"""Characters of an app's name."""
_CREATE = "https://api.slack.com/apps?new_app=1&manifest_yaml="


class _Says(NamedTuple):
    ask: str
    """What the slash command does."""
    hint: str
    prompts: tuple[tuple[str, str], ...]
    """Title and message of what Slack suggests in an empty talk: four at most."""


_SAYS: dict[Language, _Says] = {
    "en": _Says(
        "Ask the assistant",
        "your question",
        (
            ("What can you do?", "What can you help me with?"),
            ("Write a message", "Help me write to my team."),
        ),
    ),
    "zh-TW": _Says(
        "問問 AI 助理",
        "你的問題",
        (("你能做什麼？", "你可以幫我做哪些事？"), ("寫一則訊息", "幫我寫一則給團隊的訊息。")),
    ),
    "zh-CN": _Says(
        "问问 AI 助手",
        "你的问题",
        (("你能做什么？", "你可以帮我做哪些事？"), ("写一条消息", "帮我写一条给团队的消息。")),
    ),
    "ja": _Says(
        "AIアシスタントに質問する",
        "質問",
        (
            ("何ができますか？", "どんなことを手伝ってくれますか？"),
            ("メッセージを書く", "チーム宛ての文章を書くのを手伝って。"),
        ),
    ),
}


def manifest(
    settings: SlackSettings, *, name: str, hook_url: str, redirect_url: str | None, language: Language
) -> dict[str, Any]:
    """The manifest of an app called `name`.

    hook_url: where Slack is to call us, its token included; not used where events come by Socket Mode.
    redirect_url: where people come back to who install us into their workspace, if any workspace may.
    """
    ours, says = words(language), _SAYS[language]
    socket = settings.app_token is not None
    request = {} if socket else {"request_url": hook_url}
    return {
        "display_information": {"name": name, "description": ours.greeting},
        "features": {
            "bot_user": {"display_name": _bot_name(name), "always_online": True},
            "app_home": {
                "home_tab_enabled": False,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "agent_view": {
                "agent_description": ours.greeting,
                "suggested_prompts": [{"title": title, "message": message} for title, message in says.prompts],
            },
            "slash_commands": [
                {
                    "command": settings.command,
                    **({} if socket else {"url": hook_url}),
                    "description": says.ask,
                    "usage_hint": says.hint,
                    "should_escape": False,  # people come by name, not as <@U1>
                }
            ],
            "shortcuts": [
                _shortcut("stop_answer", ours.stop_answer, ours.stop_sure),
                _shortcut("delete_answer", ours.delete_answer, ours.not_yours),
            ],
        },
        "oauth_config": {
            **({"redirect_urls": [redirect_url]} if redirect_url else {}),
            "scopes": {"bot": sorted(SCOPES)},
        },
        "settings": {
            "event_subscriptions": {**request, "bot_events": sorted(EVENTS)},
            "interactivity": {"is_enabled": True, **request},
            "org_deploy_enabled": False,
            "socket_mode_enabled": socket,
            "token_rotation_enabled": False,
        },
    }


def _shortcut(callback: str, name: str, description: str) -> dict[str, str]:
    return {"name": name, "type": "message", "callback_id": callback, "description": description}


def _bot_name(name: str) -> str:
    """A bot's name may have a-z, 0-9, "-", "_" and "." only; people are shown the app's."""
    return re.sub(r"[^a-z0-9_.]+", "-", name.lower()).strip("-.") or "assistant"


def creation_link(manifest: dict[str, Any]) -> str:
    """Where a click makes the app: Slack asks for the workspace and shows what it is about to make."""
    return _CREATE + quote(to_yaml(manifest), safe="/:,")


def to_yaml(value: dict[str, Any]) -> str:
    """A tree of dicts, lists, texts and truths as YAML."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _under(f"{_scalar(key)}:", child)
    elif isinstance(value, list) and value:
        for child in value:
            first, *rest = _lines(child)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _scalar(value)


def _under(key: str, child: Any) -> Iterator[str]:
    if isinstance(child, dict | list) and child:
        yield key
        yield from (f"  {line}" for line in _lines(child))
    else:
        yield f"{key} {_scalar(child)}"


_PLAIN = re.compile(r"(?!(?:true|false|yes|no|on|off|null|y|n)$)[a-z/][a-z0-9_./-]*(?::[a-z0-9_./-]+)*", re.IGNORECASE)
"""What can be nothing but text. Everything else is written as JSON, which is YAML too."""


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
