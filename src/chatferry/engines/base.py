"""The seam to models: a prompt in, a stream of events out, `Done` last."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Protocol

import msgspec

from chatferry.model import File, Finding, Message, Options, Usage


class Tool(msgspec.Struct, frozen=True):
    """Something that a model may call. `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model's wish to call a tool. `arguments` is JSON as the model wrote it, good or not."""

    id: str
    name: str
    arguments: str
    token: str = ""
    """What the provider wants to read again with the result, if anything."""

    @property
    def given(self) -> dict[str, Any]:
        """The arguments as an object, as providers take them back; what the model wrote amiss stands there as it was.

        Some servers read all that was ever called anew, and refuse a talk in which one call was cut off.
        """
        try:
            told = msgspec.json.decode(self.arguments or "{}")
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            told = None
        return told if isinstance(told, dict) else {"arguments": self.arguments}


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a call, in words for the model."""

    text: str
    failed: bool = False
    idle: bool = False
    """It tells nothing that an answer could rest on."""


class Round(msgspec.Struct, frozen=True):
    """What a model said, the calls that it made then, at once, and a result for each."""

    said: str
    calls: tuple[Call, ...]
    results: tuple[Result, ...]


class Picture(msgspec.Struct, frozen=True):
    """An image as it goes to a model that can see."""

    media_type: str
    data: bytes


class Prompt(msgspec.Struct, frozen=True):
    """What a model is asked: who it is, what was said before, and, last, what it shall answer."""

    system: str
    messages: tuple[Message, ...]
    """A file in them is a picture of `pictures`; a model that cannot see reads its `text` instead."""
    options: Options = Options()
    tools: tuple[Tool, ...] = ()
    rounds: tuple[Round, ...] = ()
    """What has been called for this answer already, behind the last message."""
    pictures: Mapping[int, Picture] = {}
    """By `File.kept`."""
    last: bool = False
    """Enough has been called: it has to answer now, and its `tools` only explain the rounds."""

    def read(self, said: Message, *, sees: bool) -> list[str | Picture]:
        """A message as a model gets it: runs of text, and between them the pictures, if it sees."""
        read: list[str | Picture] = []
        for part in said.parts:
            if sees and isinstance(part, File) and part.kept in self.pictures:
                read.append(self.pictures[part.kept])
            elif part.text and read and isinstance(read[-1], str):
                read[-1] = f"{read[-1]}\n\n{part.text}"
            elif part.text:
                read.append(part.text)
        return read


class Delta(msgspec.Struct, frozen=True):
    """More of the answer. One delta holds as many tokens as had come when we looked."""

    text: str


class Restart(msgspec.Struct, frozen=True):
    """The answer begins anew: what was streamed so far is void (the connection broke, another model took over)."""


class Done(msgspec.Struct, frozen=True):
    """The end, exactly once and last.

    finish: `stop`, `length` (cut by the token limit), `filter` (the provider withheld it, wholly or in part) or
    `calls`: the model waits for what its `calls` return, to be asked again with them as a `Round`.
    """

    finish: str = "stop"
    usage: Usage | None = None
    model: str = ""
    calls: tuple[Call, ...] = ()


Event = Delta | Restart | Done


class Listener(Protocol):
    """One model that writes down what was spoken."""

    async def listen(self, sound: bytes, media_type: str, language: str) -> str:
        """The words. `language`: what they are probably in, as ISO 639-1; empty: nobody knows. Raises as `run` does."""
        ...

    def check(self) -> AsyncIterator[Finding]:
        """Try the model with a moment of silence."""
        ...


class Engine(Protocol):
    """One model at one provider."""

    name: str

    def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        """Ask. Closing the generator closes the connection to the provider.

        pace: seconds between two looks at the stream; tokens that come in between are read together. 0: as they come.
        Raises `TryLater` (429, 5xx, timeouts, a stream that breaks off) or `Final` (the request itself is refused).
        """
        ...

    def check(self) -> AsyncIterator[Finding]:
        """Try the model with a request of one token."""
        ...


async def whole(engine: Engine, prompt: Prompt, *, pace: float) -> tuple[str, Done]:
    """All that a model says, and how it ended, where nobody reads along. Raises as `Engine.run` does."""
    text, end = "", Done("cut off")
    async with contextlib.aclosing(engine.run(prompt, pace=pace)) as events:
        async for event in events:
            if isinstance(event, Delta):
                text += event.text
            elif isinstance(event, Restart):
                text = ""
            else:
                end = event
    return text, end
