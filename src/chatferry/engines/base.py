"""The seam to models: a prompt in, a stream of events out, `Done` last."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

import msgspec

from chatferry.model import Finding, Message, Options, Usage


class Prompt(msgspec.Struct, frozen=True):
    """What a model is asked: who it is, what was said before, and, last, what it shall answer."""

    system: str
    messages: tuple[Message, ...]
    options: Options = Options()


class Delta(msgspec.Struct, frozen=True):
    """More of the answer. One delta holds as many tokens as had come when we looked."""

    text: str


class Restart(msgspec.Struct, frozen=True):
    """The answer begins anew: what was streamed so far is void (the connection broke, another model took over)."""


class Done(msgspec.Struct, frozen=True):
    """The end, exactly once and last.

    finish: `stop`, `length` (cut by the token limit) or `filter` (the provider withheld it, wholly or in part).
    """

    finish: str = "stop"
    usage: Usage | None = None
    model: str = ""


Event = Delta | Restart | Done


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
