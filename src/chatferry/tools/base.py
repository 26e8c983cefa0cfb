"""The seam to tools: what a model may call while it makes an answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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


class Callee(Protocol):
    """A tool that can be called, with what models read of it."""

    tool: Tool

    def misfit(self, arguments: Mapping[str, Any]) -> str:
        """Why it could not be called with these, as the model is told; empty: it can. `call` looks itself too."""
        ...

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> Result:
        """Do it. What goes wrong in it is a failed result that tells the model what it can do about it.

        `arguments` are as the model gave them: a tool holds them against its own `parameters`. May be cancelled.
        """
        ...


class Source(Protocol):
    """Where tools come from. What there is may change while we run."""

    async def tools(self) -> Sequence[Callee]:
        """All that can be called now; what takes long to find out is left out."""
        ...


class Confirmed:
    """A tool that is called when the person has said yes."""

    def __init__(self, tool: Callee) -> None:
        self.tool = tool.tool
        self.misfit = tool.misfit
        self.call = tool.call


class Guarded:
    """A source some of whose tools need a yes: those that it knows by these names, or all."""

    def __init__(self, source: Source, names: Collection[str] | None) -> None:
        self._source = source
        self._names = names

    async def tools(self) -> Sequence[Callee]:
        return [Confirmed(tool) if self._asks(tool) else tool for tool in await self._source.tools()]

    def _asks(self, tool: Callee) -> bool:
        return self._names is None or getattr(tool, "own", tool.tool.name) in self._names


class Fixed:
    """Tools that are always there."""

    def __init__(self, *tools: Callee) -> None:
        self._tools = tools

    async def tools(self) -> Sequence[Callee]:
        return self._tools
