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
        said = tuple(spoken(message, words) for message in (*inbound.context, asked))
        return Prompt(system, said, inbound.options)
    budget = assistant.settings.context_tokens
    left = budget - estimate(system)
    # Instructions that use up the budget must not leave the question out: it gets a quarter at least.
    question = shortened(spoken(asked, words), max(left, budget // 4))
    left -= estimate(question.text)
    recent: list[Message] = []
    async for message in history:
        heard = spoken(message, words)
        left -= estimate(heard.text)
        if left < 0:
            break
        recent.append(heard)
    return Prompt(system, (*reversed(recent), question), inbound.options)


def spoken(message: Message, words: Words) -> Message:
    """The message in words alone, for models that only read: a file becomes its name in brackets.

    Where there are several people, who said it stands before it.
    """
    parts: list[Part] = [
        Text(_placeholder(part, words)) if isinstance(part, File) else part for part in message.parts
    ]  # fmt: skip
    return msgspec.structs.replace(message, parts=msgspec.structs.replace(message, parts=tuple(parts)).signed)


def shortened(message: Message, tokens: int) -> Message:
    """The message, or where it costs more than `tokens` its beginning and its end."""
    text = message.text
    if estimate(text) <= tokens:
        return message
    # By bytes, because `estimate` counts bytes; what is cut inside a character is dropped with it.
    room = max(0, int((tokens - _OVERHEAD) * 2.5) - len(" … "))
    raw = text.encode()
    head, tail = raw[: room // 2], raw[len(raw) - room // 2 :]
    short = f"{head.decode(errors='ignore')} … {tail.decode(errors='ignore')}"
    return msgspec.structs.replace(message, parts=(Text(short),))


def _placeholder(file: File, words: Words) -> str:
    name = {"image": words.image, "audio": words.audio, "video": words.video, "file": words.file}[file.kind]
    return name.replace("{name}", file.name)
