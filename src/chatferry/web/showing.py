"""What the page of an answer has to show: from what the ledger knows of its turn, and the words that are being said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from chatferry.answering.prompt import placeholder
from chatferry.assistant import Assistant
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.looking import Shown
from chatferry.model import APOLOGY, File, Message, Part, Text
from chatferry.words import Words, language_of

State = Literal["waiting", "growing", "stopping", "done", "stopped", "failed", "nothing"]


class View(NamedTuple):
    """One moment of an answer."""

    state: State
    note: str
    """The state in a sentence."""
    question: str
    answer: str
    """Markdown."""
    stoppable: bool = False
    """Somebody may have enough of it: a model is asked, or will be."""
    pictures: tuple[int, ...] = ()
    """In the question."""

    @property
    def final(self) -> bool:
        """It will say nothing else."""
        return self.state in ("done", "stopped", "failed", "nothing")

    @property
    def read(self) -> bool:
        """Whoever saw this has the answer."""
        return self.final and bool(self.answer)


async def look(ledger: Ledger, turn: int) -> Shown | None:
    """The turn, or the one that answers for it."""
    shown = await ledger.shown(turn)
    if shown is not None and shown.state == "merged":
        shown = await ledger.shown((await ledger.standing(turn)).turn)
    return shown


def view(shown: Shown, growing: str, words: Words, doing: Sequence[str] = ()) -> View:
    """What there is to see now.

    growing: what has been said of an answer that is not kept yet. doing: the tools that are being called for it.
    """
    seen = _view(shown, growing, words, doing)
    return seen if seen.state == "nothing" else seen._replace(pictures=pictures(shown.inbound.said))


def _view(shown: Shown, growing: str, words: Words, doing: Sequence[str]) -> View:
    asked = shown.inbound.said
    question = told(asked, words) if asked is not None and shown.kind in ("message", "command") else ""
    answer = shown.answer.text if shown.answer is not None else ""
    if shown.state == "withdrawn" or (shown.kind == "message" and asked is None):
        return View("nothing", words.page_nothing, "", "")
    if shown.answer is None and shown.state in ("due", "doing"):
        if shown.stopped:
            return View("stopping", words.page_stopping, question, growing)
        stoppable = shown.kind == "message"  # as for `Ledger.halt`
        if growing or shown.state == "doing":
            note = words.calling.replace("{tools}", ", ".join(doing)) if doing else words.answering
            return View("growing", note, question, growing, stoppable)
        return View("waiting", words.page_waiting, question, "", stoppable)
    if shown.finish == "stopped":
        return View("stopped", words.page_stopped if answer else words.page_unbegun, question, answer)
    if shown.finish == APOLOGY or (shown.state == "failed" and not answer):
        return View("failed", words.page_failed, question, answer or words.sorry_failed)
    if not answer:
        return View("nothing", words.page_nothing, question, "")
    return View("done", words.page_done, question, answer)


def told(message: Message, words: Words) -> str:
    """A message in words alone: a file is named, unless it is one of its `pictures`."""

    def text(part: Part) -> str:
        if isinstance(part, Text):
            return part.text
        spoken = part.text if part.kind == "audio" else ""
        return "" if part.kept else f"{placeholder(part, words)} {spoken}".rstrip()

    parts = tuple(Text(said) for part in message.parts if (said := text(part)))
    return msgspec.structs.replace(message, parts=msgspec.structs.replace(message, parts=parts).signed).text


def pictures(message: Message | None) -> tuple[int, ...]:
    """The pictures in a message that can be shown, by the numbers under which they are kept."""
    parts = message.parts if message is not None else ()
    return tuple(part.kept for part in parts if isinstance(part, File) and part.kept)


def tongue(text: str, assistant: Assistant) -> str | None:
    """The language of a text, where the page, which has the assistant's, must say that it is another; "": unknown.

    Chinese and Japanese letters look different by what this says, and readers aloud go by it.
    """
    if not text:
        return None
    own, found = assistant.settings.tongue, language_of(text[:2000])
    # Han letters that are at home in several languages are taken for `zh-TW`.
    if found == own or (found == "zh-TW" and own != "en"):
        return None
    return "" if found == "en" else found
