"""What people are told about what becomes of their words: it follows from the configuration, and so it is true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from chatferry.commands import span
from chatferry.config import AssistantSettings, ModelSettings, Settings
from chatferry.text.plain import plain
from chatferry.words import Words

_PROVIDERS = {"api.openai.com": "OpenAI", "generativelanguage.googleapis.com": "Google Gemini"}


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

    def sections(self, words: Words) -> list[Section]:
        """What follows from the configuration; nothing where the operator's own words are all that is told."""
        if self._privacy is None or not self._privacy.facts:
            return []
        return [self._sent(words), self._kept(words), self._rights(words)]

    def text(self, words: Words) -> str:
        """The same for a chat, where no page can be reached."""
        parts = [plain(self.own)] if self.own else [words.privacy_intro]
        for section in self.sections(words):
            items = [f"- {item}" for item in section.items]
            first, *rest = section.lines
            parts.append("\n".join([section.title, first, *items, *rest]))
        return "\n\n".join(parts)

    def _sent(self, words: Words) -> Section:
        assistants = self._settings.assistants
        items = []
        for name, assistant in assistants.items():
            mark = f"{name}: " if len(assistants) > 1 else ""
            items += [f"{mark}{line}" for line in dict.fromkeys(self._recipients(assistant, words))]
        masked = {kind for assistant in assistants.values() for kind in assistant.redact}
        bare = any(not assistant.redact for assistant in assistants.values())
        lines = [words.privacy_sent_why]
        if masked:
            kinds = sorted(str(getattr(words, f"masked_{kind}")) for kind in masked)
            lines.append(words.privacy_masked.replace("{kinds}", " · ".join(kinds)))
        if bare:
            lines.append(words.privacy_unmasked)
        if tools := list(dict.fromkeys(self._tools())):
            lines.append(words.privacy_tools.replace("{names}", " · ".join(tools)))
        return Section(words.privacy_sent, tuple(lines), tuple(items))

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

    def _tools(self) -> Iterator[str]:
        """What models may call: our own functions by their names, servers by where they are."""
        for assistant in self._settings.assistants.values():
            for tool in assistant.tools:
                server = self._settings.mcp.get(tool.removeprefix("mcp:").partition("/")[0])
                if tool.startswith("mcp:") and server is not None and server.url:
                    yield urlsplit(server.url).hostname or tool
                else:
                    yield tool.removeprefix("mcp:").rpartition(":")[2]

    def _kept(self, words: Words) -> Section:
        settings, lines = self._settings, [words.privacy_kept_what]
        if any(assistant.summary_model for assistant in settings.assistants.values()):
            lines.append(words.privacy_kept_summary)
        if any(assistant.profile for assistant in settings.assistants.values()):
            lines.append(words.privacy_kept_notes)
        keep = settings.server.keep
        lines.append(words.privacy_kept_time.replace("{time}", span(keep, words)) if keep else words.privacy_kept_ever)
        lines.append(words.privacy_links.replace("{time}", span(settings.pages.ttl, words)))
        return Section(words.privacy_kept, tuple(lines))

    def _rights(self, words: Words) -> Section:
        commands, contact = self._settings.commands, self._privacy.contact if self._privacy else ""
        named = ((commands.history, words.help_history), (commands.clear, words.help_clear))
        items = tuple(f"{names[0]} – {does}" for names, does in named if names)
        ask = words.privacy_rights_ask.replace("{contact}", contact) if contact else words.privacy_rights_operator
        return Section(words.privacy_rights, (ask,), items)


def _told(model: ModelSettings, purpose: str, words: Words) -> str:
    if model.provider == "demo":
        return words.privacy_nobody
    host = urlsplit(model.base_url).hostname or model.provider
    name = f"{_PROVIDERS[host]} ({host})" if host in _PROVIDERS else host
    return f"{name} – {purpose}"
