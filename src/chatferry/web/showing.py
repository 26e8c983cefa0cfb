"""What the page of an answer has to show: from what the ledger knows of its turn, and the words that are being said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from chatferry.assistant import Assistant
from chatferry.ledger import Ledger
from chatferry.looking import Shown
from chatferry.model import APOLOGY, Message
from chatferry.prompt import spoken
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
    """What there is to see now. `growing`: what has been said of an answer that is not kept yet; `doing`: what is
    called for it."""
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
    """A message in words alone: a file's place is taken by what it is."""
    return spoken(message, words).text


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
