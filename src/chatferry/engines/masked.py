"""A model that is not told personal data: what it is asked is masked, what it says is unmasked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec.structs import replace

from chatferry.config import AssistantSettings
from chatferry.engines.base import Call, Delta, Done, Engine, Event, Prompt, Restart, Round
from chatferry.errors import ConfigError
from chatferry.masking.finding import Finder
from chatferry.masking.masks import Masks, Unmasking
from chatferry.model import Finding, Message, Part, Text

Change = Callable[[str, str], str]
"""Makes another text of a text, given the name of the field that it is the value of."""
_LONG = 6_000
"""Characters from which on they are masked in a thread."""
_ISO = "the two letters are those of ISO 3166: `GB`, not `UK`"


class Masked:
    """An engine behind masks. All that is in a prompt is masked, but for what the operator says to everybody.

    The masks follow from the prompt alone: a turn that is resumed has the same ones, and nothing about them is kept.
    Who calls the tools gets their arguments unmasked; who writes down the answer writes what people read.
    """

    def __init__(self, engine: Engine, finder: Finder, instructions: str, note: str) -> None:
        """instructions: the operator's own; what they hold is masked nowhere. note: tells the model what masks are."""
        self.name = engine.name
        self._engine = engine
        self._finder = finder
        self._note = note
        self._spared = frozenset(value for *_, value in finder.find(instructions))

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        """See `Engine.run`."""
        masks = Masks(self._finder, self._spared)
        # Texts that are all digits may take long, and others are being answered meanwhile.
        hidden = await asyncio.to_thread(mask, prompt, masks) if _size(prompt) > _LONG else mask(prompt, masks)
        if masks:
            hidden = replace(hidden, system="\n\n".join(filter(None, (hidden.system, self._note))))
        stream = Unmasking(masks)
        async with aclosing(self._engine.run(hidden, pace=pace)) as events:
            async for event in events:
                if not masks:
                    yield event
                elif isinstance(event, Delta):
                    if said := stream.add(event.text):
                        yield Delta(said)
                elif isinstance(event, Restart):
                    stream = Unmasking(masks)
                    yield event
                else:
                    if rest := stream.end(cut=event.finish in ("length", "filter")):
                        yield Delta(rest)
                    yield unmasked(event, masks)

    def check(self) -> AsyncIterator[Finding]:
        """See `Engine.check`."""
        return self._engine.check()


def masked(engine: Engine, asker: AssistantSettings) -> Masked:
    """The engine behind masks of what `asker` keeps from models. Raises ConfigError where a region is none."""
    finder = Finder(asker.redact, asker.redact_regions)
    if unknown := finder.unknown:
        raise ConfigError(f"assistants: redact_regions names {unknown}, which is no country\n  mend: {_ISO}")
    return Masked(engine, finder, asker.instructions, asker.words.masks)


def mask(prompt: Prompt, masks: Masks) -> Prompt:
    """The prompt with masks in all that people, tools, files and documents said. Pictures stay as they are."""
    return replace(
        prompt,
        system=masks.mask(prompt.system),
        messages=tuple([_message(said, masks) for said in prompt.messages]),
        rounds=tuple([_round(one, masks) for one in prompt.rounds]),
        options=replace(prompt.options, stop=tuple([masks.mask(stop) for stop in prompt.options.stop])),
    )


def unmasked(done: Done, masks: Masks) -> Done:
    """The end with what is to be called as the operator's tools know it."""
    return replace(done, calls=tuple([_call(call, lambda text, _: masks.unmask(text)) for call in done.calls]))


def _size(prompt: Prompt) -> int:
    returned = sum(len(result.text) for one in prompt.rounds for result in one.results)
    return len(prompt.system) + sum(len(said.words) for said in prompt.messages) + returned


def _message(said: Message, masks: Masks) -> Message:
    parts: list[Part] = [
        Text(masks.mask(part.text))
        if isinstance(part, Text)
        else replace(part, name=masks.mask(part.name), text=masks.mask(part.text))
        for part in said.parts
    ]
    return replace(said, parts=tuple(parts), name=masks.mask(said.name))


def _round(one: Round, masks: Masks) -> Round:
    results = [replace(result, text=_returned(result.text, masks)) for result in one.results]
    calls = [_call(call, masks.mask) for call in one.calls]
    return replace(one, said=masks.mask(one.said), calls=tuple(calls), results=tuple(results))


def _returned(text: str, masks: Masks) -> str:
    """It stays as it is written, unless it is JSON in which letters are escaped: `\\u8a710912345678` hides a number."""
    return _json(text, masks.mask) if "\\" in text else masks.mask(text)


def _call(call: Call, change: Change) -> Call:
    return replace(call, arguments=_json(call.arguments, change))


def _json(text: str, change: Change) -> str:
    """JSON changed text by text, so that it stays JSON; what is none, as it is."""
    try:
        value = msgspec.json.decode(text)
        changed = _walk(value, change)
    except (msgspec.DecodeError, RecursionError):
        return change(text, "")
    return text if changed == value else msgspec.json.encode(changed).decode()


def _walk(node: Any, change: Change, key: str = "") -> Any:
    if isinstance(node, dict):
        return {change(name, ""): _walk(child, change, name) for name, child in node.items()}
    if isinstance(node, list):
        return [_walk(child, change, key) for child in node]
    if isinstance(node, str):
        return change(node, key)
    if isinstance(node, int) and not isinstance(node, bool):
        # A telephone number that is written as a number becomes a text. The dot: of a number alone much is believed.
        changed = change(text := f"{node}.", key)
        return node if changed == text else changed[:-1]
    return node
