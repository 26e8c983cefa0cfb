"""What the model is asked: persona, recent history and the new message, within a budget of tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from chatferry.assistant import Assistant
from chatferry.engines.base import Prompt, Tool
from chatferry.knowledge.quoting import brief
from chatferry.model import File, Inbound, Message, Part, Text
from chatferry.words import Words

_OVERHEAD = 6
"""Tokens that a message costs beside its text (its role and its borders), rounded up."""


def estimate(text: str) -> int:
    """Tokens in a text, erring high: a token is seldom shorter than two and a half bytes in any script."""
    return int(len(text.encode()) / 2.5) + _OVERHEAD


PICTURES = 4
"""Pictures in a prompt at most, the newest."""
_NAME = 100
"""Characters of a file's name that are told."""
_PICTURE = 1200
"""Tokens that one is taken to cost: providers count 260 to 1,600 for what we send."""


def cost(message: Message) -> int:
    """Tokens in a message, erring high."""
    return estimate(message.words) + _PICTURE * _pictures(message)


def _pictures(message: Message) -> int:
    return sum(isinstance(part, File) for part in message.parts)


class Material(msgspec.Struct, frozen=True):
    """What the model shall know beside the talk."""

    facts: tuple[str, ...] = ()
    """What it may remember of whom it talks to."""
    summary: str = ""
    """What was said before the history begins."""
    passages: tuple[str, ...] = ()
    """What the answer shall rest on, the best first, each with its number and its source."""
    tools: tuple[Tool, ...] = ()


NOTHING = Material()


async def build(
    assistant: Assistant, inbound: Inbound, history: AsyncIterator[Message], material: Material = NOTHING
) -> Prompt:
    """The prompt for one turn. `history` comes newest first and is read only as far as the budget goes.

    A context that the caller brought along is taken as it is: the caller knows what it wants to pay for.
    """
    words = assistant.words
    asked = inbound.said or Message("user", ())
    rests_on = brief(material.passages, assistant.settings.ground)
    system = "\n\n".join(filter(None, (assistant.settings.instructions, inbound.system, rests_on)))
    if inbound.context is not None:
        said, room = [spoken(asked, words, pictures=PICTURES)], PICTURES
        for message in reversed(inbound.context):
            room -= _pictures(said[-1])
            said.append(spoken(message, words, pictures=room))
        return Prompt(system, tuple(reversed(said)), inbound.options)
    budget = assistant.settings.context_tokens
    left = budget - estimate(system)
    # Instructions that use up the budget must not leave the question out: it gets a quarter at least.
    question = shortened(spoken(asked, words, pictures=PICTURES), max(left, budget // 4))
    left -= cost(question)
    room = PICTURES - _pictures(question)
    recent: list[Message] = []
    async for message in history:
        heard = spoken(message, words, pictures=room)
        if cost(heard) > left:
            heard = spoken(message, words)
        left -= cost(heard)
        if left < 0:
            break
        room -= _pictures(heard)
        recent.append(heard)
    return Prompt(system, (*reversed(recent), question), inbound.options)


def spoken(message: Message, words: Words, *, pictures: int = 0) -> Message:
    """The message in words: a file becomes what is known of it, after its name in brackets.

    The last of its kept pictures, so many at most, stay what they are, with these words for models that only read.
    Where there are several people, who said it stands before it.
    """
    kept = [part.kept for part in message.parts if isinstance(part, File) and part.kept]
    shown = kept[-pictures:] if pictures else []

    def told(part: Part) -> Part:
        if isinstance(part, Text):
            return part
        text = in_words(part, words)
        return msgspec.structs.replace(part, text=text) if part.kept in shown else Text(text)

    parts = tuple(told(part) for part in message.parts)
    return msgspec.structs.replace(message, parts=msgspec.structs.replace(message, parts=parts).signed)


def in_words(file: File, words: Words) -> str:
    """A file for who only reads. What was spoken stands there as if it had been written; all else is quoted."""
    if file.kind == "audio" and file.text:
        return file.text
    head = " ".join(filter(None, (placeholder(file, words), file.note, words.read if file.text else "")))
    return "\n> ".join([head, *file.text.splitlines()])


def shortened(message: Message, tokens: int) -> Message:
    """The message, or where it costs more than `tokens` its beginning and its end."""
    text = message.text
    if estimate(text) <= tokens:
        return message
    pictures = tuple(part for part in message.parts if isinstance(part, File))
    # By bytes, because `estimate` counts bytes; what is cut inside a character is dropped with it.
    room = max(0, int((tokens - _OVERHEAD) * 2.5) - len(" … "))
    raw = text.encode()
    head, tail = raw[: room // 2], raw[len(raw) - room // 2 :]
    short = f"{head.decode(errors='ignore')} … {tail.decode(errors='ignore')}"
    return msgspec.structs.replace(message, parts=(Text(short), *pictures))


def placeholder(file: File, words: Words) -> str:
    """What it is, in brackets."""
    name = {"image": words.image, "audio": words.audio, "video": words.video, "file": words.file}[file.kind]
    return name.replace("{name}", " ".join(file.name.split())[:_NAME])  # it comes from whoever sent it
