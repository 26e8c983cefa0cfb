"""What people are told about what becomes of their words: it follows from the configuration, and so it is true."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from chatferry.commands import span
from chatferry.config import AssistantSettings, ModelSettings, Settings
from chatferry.text.plain import plain
from chatferry.words import Words

_PROVIDERS = {"api.openai.com": "OpenAI", "generativelanguage.googleapis.com": "Google Gemini"}
_APPS = {"line": "LINE", "slack": "Slack", "wechat": "WeChat"}


class Section(NamedTuple):
    """A heading, and what stands under it: sentences, and a list after the first of them."""

    title: str
    lines: tuple[str, ...]
    items: tuple[str, ...] = ()


class Notice:
    """The notice of an installation. There is one where `[privacy]` is in the configuration."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._privacy = settings.privacy

    @property
    def there(self) -> bool:
        return self._privacy is not None

    @property
    def own(self) -> str:
        """The operator's own words, in Markdown; may be empty."""
        return (self._privacy and self._privacy.notice) or ""

    def of(self, mark: str) -> str:
        """The assistant whose notice a link opens; empty: none."""
        return next((name for name in self._settings.assistants if mark_of(name) == mark), "")

    def sections(self, words: Words, assistant: str = "") -> list[Section]:
        """What follows from the configuration: for whoever talks to this assistant, else for everybody.

        Where it is not the same for all, each says for whom it holds. There is nothing where the operator's own words
        are all that is told.
        """
        if self._privacy is None or not self._privacy.facts:
            return []
        places = self._talk(assistant, words) if assistant else self._apps(words)
        told = [(place, self._settings.assistants[name]) for place, name in places]
        sent = _together([(place, self._sent(its, words)) for place, its in told])
        kept = _together([(place, self._kept(its, words)) for place, its in told])
        return [*sent, *kept, self._rights(words, here=bool(assistant))]

    def text(self, words: Words, assistant: str) -> str:
        """The same for a chat, where no page can be reached."""
        parts = [plain(self.own)] if self.own else [words.privacy_intro]
        for section in self.sections(words, assistant):
            items = [f"- {item}" for item in section.items]
            first, *rest = section.lines
            parts.append("\n".join([section.title, first, *items, *rest]))
        return "\n\n".join(parts)

    def _talk(self, assistant: str, words: Words) -> Iterator[tuple[str, str]]:
        """Who reads along in a talk with an assistant: it, and who answers outside its sessions."""
        yield "", assistant
        session = self._settings.assistants[assistant].session
        if session is not None and session.outside in self._settings.assistants:
            yield words.privacy_outside, session.outside

    def _apps(self, words: Words) -> Iterator[tuple[str, str]]:
        """Who reads along where, as people know the places."""
        settings = self._settings
        asked = [(_APPS[its.type], its.assistant) for its in settings.channels.values()]
        for its in settings.channels.values():
            asked += [(_APPS[its.type], room.assistant) for room in getattr(its, "rooms", {}).values()]
        asked += [("API", name) for name in settings.assistants if settings.api is not None]
        for app, assistant in dict.fromkeys(asked):
            for place, name in self._talk(assistant, words):
                yield f"{app} ({place})" if place else app, name

    def _sent(self, assistant: AssistantSettings, words: Words) -> Section:
        lines = [words.privacy_sent_why]
        if assistant.redact:
            kinds = sorted(str(getattr(words, f"masked_{kind}")) for kind in assistant.redact)
            lines.append(words.privacy_masked.replace("{kinds}", " · ".join(kinds)))
        else:
            lines.append(words.privacy_unmasked)
        if tools := list(dict.fromkeys(self._tools(assistant))):
            lines.append(words.privacy_tools.replace("{names}", " · ".join(tools)))
        return Section(words.privacy_sent, tuple(lines), tuple(dict.fromkeys(self._recipients(assistant, words))))

    def _recipients(self, assistant: AssistantSettings, words: Words) -> Iterator[str]:
        models = self._settings.models
        others = [(assistant.summary_model, words.privacy_summaries), (assistant.checker, words.privacy_checks)]
        others.append((assistant.voice, words.privacy_listens))
        for model, purpose in ((assistant.model, words.privacy_answers), *others):
            if model is None:
                continue
            yield _told(models[model], purpose, words)
            for spare in models[model].fallback:
                yield _told(models[spare], words.privacy_spare, words)

    def _tools(self, assistant: AssistantSettings) -> Iterator[str]:
        """What the model may call: our own functions by their names, servers by where they are."""
        for tool in assistant.tools:
            server = self._settings.mcp.get(tool.removeprefix("mcp:").partition("/")[0])
            if tool.startswith("mcp:") and server is not None and server.url:
                yield urlsplit(server.url).hostname or tool
            else:
                yield tool.removeprefix("mcp:").rpartition(":")[2]

    def _kept(self, assistant: AssistantSettings, words: Words) -> Section:
        settings, lines = self._settings, [words.privacy_kept_what]
        if assistant.summary_model:
            lines.append(words.privacy_kept_summary)
        if assistant.profile:
            lines.append(words.privacy_kept_notes)
        if assistant.cache is not None:
            lines.append(words.privacy_kept_cache.replace("{time}", span(assistant.cache.ttl, words)))
        keep = settings.server.keep
        lines.append(words.privacy_kept_time.replace("{time}", span(keep, words)) if keep else words.privacy_kept_ever)
        lines.append(words.privacy_links.replace("{time}", span(settings.pages.ttl, words)))
        return Section(words.privacy_kept, tuple(lines))

    def _rights(self, words: Words, *, here: bool) -> Section:
        """here: it is told of the very assistant; else its command is among what they can do."""
        commands, contact = self._settings.commands, self._privacy.contact if self._privacy else ""
        named = ((commands.history, words.help_history), (commands.clear, words.help_clear))
        told = () if here else ((commands.privacy, words.help_privacy),)
        items = tuple(f"{names[0]} – {does}" for names, does in (*named, *told) if names)
        ask = words.privacy_rights_ask.replace("{contact}", contact) if contact else words.privacy_rights_operator
        return Section(words.privacy_rights, (ask,), items)


def mark_of(assistant: str) -> str:
    """What stands for an assistant in a link: what it is called is the operator's business."""
    return hashlib.sha256(assistant.encode()).hexdigest()[:8]


def _together(told: list[tuple[str, Section]]) -> Iterator[Section]:
    """One section if it is the same everywhere, else one for each that differs, with where it holds in its title."""
    places: dict[Section, list[str]] = {}
    for place, section in told:
        places.setdefault(section, []).append(place)
    for section, its in places.items():
        where = " · ".join(dict.fromkeys(filter(None, its))) if len(places) > 1 else ""
        yield section._replace(title=f"{section.title} – {where}") if where else section


def _told(model: ModelSettings, purpose: str, words: Words) -> str:
    if model.provider == "demo":
        return words.privacy_nobody
    host = urlsplit(model.base_url).hostname or model.provider
    name = f"{_PROVIDERS[host]} ({host})" if host in _PROVIDERS else host
    return f"{name} – {purpose}"
