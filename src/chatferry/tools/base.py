"""The seam to tools: what a model may call while it makes an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from chatferry.engines.base import Result, Tool


class Caller(msgspec.Struct, frozen=True):
    """For whom, and in which answer, a tool is called."""

    channel: str
    conversation: str
    """The platform's address of the talk."""
    person: str
    """The platform's id of whoever asked; empty where it tells none."""
    assistant: str
    turn: int
    key: str
    """The same whenever the same call is made again, because nobody knows whether it was done: a crash came between."""


class Callable(Protocol):
    """One tool."""

    tool: Tool

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> Result:
        """Do it. `arguments` fits `tool.parameters`; what goes wrong in it is a failed result, and never raised."""
        ...
