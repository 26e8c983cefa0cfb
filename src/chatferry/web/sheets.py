"""The pages on paper: templates, what is put into them, and the files that they load.

Imported with the first page that is asked for: its libraries would make every start slower.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from functools import cache
from html import unescape
from importlib import resources
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chatferry.assistant import Assistant
from chatferry.privacy import Notice
from chatferry.web.past import Exchange, Past, searchable
from chatferry.web.rendering import blocks
from chatferry.web.showing import View, tongue
from chatferry.words import LANGUAGES, words

REFRESH = 3
"""Seconds after which the page of an answer that grows is loaded again where there is no JavaScript."""
_LONG = 500
"""Characters of an answer beyond which the history folds it."""
_TEASER = 140
"""Characters that are seen of it then."""
_MEDIA = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_LANGUAGES = (("en", "English"), ("zh-TW", "繁體中文"), ("zh-CN", "简体中文"), ("ja", "日本語"))


class File(NamedTuple):
    """Something that a page loads. Its mark changes with what is in it."""

    body: bytes
    media_type: str
    mark: str


class _Entry(NamedTuple):
    """An exchange as the history shows it."""

    at: float
    question: str
    question_lang: str | None
    answer: Markup
    answer_lang: str | None
    teaser: str
    """The beginning of an answer that is searchable; empty: it is not."""
    unfolded: bool
    pictures: tuple[int, ...]


def answer(token: str, assistant: Assistant, seen: View, at: float) -> str:
    """The page of an answer."""
    return _sheet(
        "answer",
        assistant,
        token=token,
        seen=seen,
        at=at,
        answer=_inked(blocks(seen.answer)),
        question_lang=tongue(seen.question, assistant),
        answer_lang=tongue(seen.answer, assistant),
        refresh=None if seen.final else REFRESH,
    )


def history(token: str, assistant: Assistant, found: Past, query: str, *, since: int | None) -> str:
    """A page of what was said; `since` is where it begins, unless with the newest."""
    chapters = [
        (chapter.session, [_entry(exchange, assistant, query) for exchange in chapter.exchanges])
        for chapter in found.chapters
    ]
    return _sheet("history", assistant, token=token, chapters=chapters, query=query, since=since, before=found.before)


def told(assistant: Assistant, why: str) -> str:
    """A page that has nothing but a reason: `expired`, `unknown` or `unavailable`."""
    words = assistant.words
    title, text = getattr(words, f"page_{why}"), getattr(words, f"page_{why}_why")
    return _sheet("told", assistant, title=title, text=text, again=why == "unavailable")


def privacy(notice: Notice, assistant: Assistant, language: str, mark: str) -> str:
    """What becomes of people's words, in a language of ours, or else in the assistant's. mark: see `mark_of`."""
    of = notice.of(mark)
    chosen = next((ours for ours in LANGUAGES if ours == language), None)
    spoken = words(chosen) if chosen else assistant.words
    return (
        environment()
        .get_template("privacy.html")
        .render(
            words=spoken,
            lang=chosen or assistant.settings.tongue,
            root=".",
            own=_inked(blocks(notice.own)) if notice.own else "",
            sections=notice.sections(spoken, of),
            also=f"&of={mark}" if of else "",
            languages=_LANGUAGES,
        )
    )


@cache
def files() -> dict[str, File]:
    """All files that pages load, by name."""
    found = {}
    for path in resources.files("chatferry.web").joinpath("static").iterdir():
        media = _MEDIA.get(path.name.rpartition(".")[2])
        if media is not None:
            body = path.read_bytes()
            found[path.name] = File(body, media, hashlib.sha256(body).hexdigest()[:12])
    return found


def _entry(exchange: Exchange, assistant: Assistant, query: str) -> _Entry:
    rendered = blocks(exchange.answer)
    return _Entry(
        exchange.at,
        exchange.question,
        tongue(exchange.question, assistant),
        _inked(rendered),
        tongue(exchange.answer, assistant),
        _teaser(rendered) if len(exchange.answer) > _LONG else "",
        any(term in searchable(exchange.answer) for term in searchable(query).split()),
        exchange.pictures,
    )


def _teaser(rendered: tuple[str, ...]) -> str:
    text = ""
    prose = tuple(block for block in rendered if not block.startswith("<div"))
    for block in prose or rendered:
        text += unescape(re.sub(r"<[^>]*>", "", block[: 20 * _TEASER])) + " "
        if len(text) > _TEASER:
            break
    return f"{' '.join(text.split())[:_TEASER]}…"


def _inked(rendered: tuple[str, ...]) -> Markup:
    """Blocks that were rendered and sanitised, for a template to put in as they are."""
    return Markup("\n".join(rendered))  # noqa: S704 - `rendering` has sanitised them


def _sheet(name: str, assistant: Assistant, **given: object) -> str:
    settings = assistant.settings
    return environment().get_template(f"{name}.html").render(words=assistant.words, lang=settings.tongue, **given)


@cache
def environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("chatferry.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["file"] = lambda name, root="..": f"{root}/pages/{name}?v={files()[name].mark}"
    environment.globals["root"] = ".."
    environment.filters["iso"] = lambda at: f"{_moment(at):%Y-%m-%dT%H:%M:%SZ}"
    environment.filters["json"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    environment.filters["clock"] = lambda at: f"{_moment(at):%Y-%m-%d %H:%M} UTC"
    return environment


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
