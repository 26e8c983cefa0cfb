"""Makes the calls that a model asks for: all of a round at once, each within its time and its size."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import structlog

from chatferry.config import AssistantSettings
from chatferry.engines.base import Call, Result, Tool
from chatferry.text.cutting import clean
from chatferry.tools.base import Callee, Caller, Confirmed, Source
from chatferry.watching.occasion import stage

log = structlog.get_logger(__name__)

_MOST_CALLS = 16
"""Calls of one round that are made; a model that wants more is told so."""
_MOST_ARGUMENTS = 100_000
"""Characters that the arguments of a call may have."""
_NAME = 64
"""Characters that a name may have."""
_CUT = "\n[... {left} more characters were cut off]"


class Toolbox:
    """What can be called in one answer: fixed when it begins, whatever servers say meanwhile."""

    def __init__(self, tools: Sequence[Callee], settings: AssistantSettings) -> None:
        self._tools = _named(tools)
        self._settings = settings

    @property
    def offered(self) -> tuple[Tool, ...]:
        """The tools as the model reads of them."""
        return tuple(msgspec.structs.replace(one.tool, name=name) for name, one in self._tools.items())

    def demands(self, call: Call) -> bool:
        """Has the person to say yes first?"""
        return isinstance(self._tools.get(call.name), Confirmed)

    def about(self, call: Call) -> str:
        """What the tool of a call is for."""
        tool = self._tools.get(call.name)
        return tool.tool.description if tool is not None else ""

    async def call(
        self,
        calls: Mapping[int, Call],
        callers: Mapping[int, Caller],
        returned: Callable[[int, Result], Awaitable[None]],
    ) -> dict[int, Result]:
        """The results of these calls, by their places in the round; `returned` hears of each as soon as it is there.

        May be cancelled. Raises what `returned` raises.
        """
        results: dict[int, Result] = {}

        async def one(place: int, call: Call) -> None:
            results[place] = await self._call(place, call, callers[place])
            await returned(place, results[place])

        try:
            async with asyncio.TaskGroup() as group:
                for place, call in calls.items():
                    group.create_task(one(place, call), name=f"call {call.name}")
        except BaseExceptionGroup as faults:
            raise faults.exceptions[0] from None
        return results

    def misfit(self, place: int, call: Call) -> str:
        """Why a call cannot be made as the model wants it, as it is told; empty: it can."""
        read = self._read(place, call)
        return read if isinstance(read, str) else read[0].misfit(read[1])

    def _read(self, place: int, call: Call) -> tuple[Callee, dict[str, object]] | str:
        """The tool and its arguments; or why there is nothing to call."""
        tool = self._tools.get(call.name)
        if tool is None:
            known = ", ".join(self._tools) or "none"
            return f"There is no tool {call.name[:100]!r}. The tools are: {known}."
        if place >= _MOST_CALLS:
            return f"Not called: no more than {_MOST_CALLS} calls are made at once."
        if len(call.arguments) > _MOST_ARGUMENTS:
            return "Not called: the arguments are too long."
        try:
            return tool, msgspec.json.decode(call.arguments.strip() or "{}", type=dict[str, object])
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return f"Not called: the arguments are no JSON object: {error}"

    async def _call(self, place: int, call: Call, caller: Caller) -> Result:
        read = self._read(place, call)
        if isinstance(read, str):
            return Result(read, failed=True)
        tool, arguments = read
        began = asyncio.get_running_loop().time()
        with stage("tool", tool=call.name) as told:
            result = await self._done(tool, arguments, caller)
            told["failed"] = result.failed
        seconds = round(asyncio.get_running_loop().time() - began, 2)
        log.info("tool called", turn=caller.turn, tool=call.name, failed=result.failed, seconds=seconds)
        return msgspec.structs.replace(result, text=_within(clean(result.text), self._settings.tool_limit))

    async def _done(self, tool: Callee, arguments: Mapping[str, object], caller: Caller) -> Result:
        """The top of a call: whatever goes wrong in it is a result, as it is none of our turn's faults."""
        limit = self._settings.tool_timeout
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                return await tool.call(arguments, caller)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return Result("It failed: it was cancelled.", failed=True)
        except Exception as bug:  # of the operator's function or of a server: the answer goes on without it
            if scope.expired():
                return Result(f"No result: it took longer than {limit:g} s. Perhaps it was done.", failed=True)
            log.warning("bug in a tool", turn=caller.turn, tool=tool.tool.name, exc_info=bug)
            return Result(f"It failed: {type(bug).__name__}.", failed=True)


async def opened(sources: Sequence[Source], settings: AssistantSettings) -> Toolbox | None:
    """The tools that an assistant has now; None: it has none, and never had."""
    if not sources:
        return None
    found = await asyncio.gather(*[source.tools() for source in sources])
    return Toolbox([tool for tools in found for tool in tools], settings)


def _named(tools: Sequence[Callee]) -> dict[str, Callee]:
    """Each tool by a name that every provider takes, and that no other has."""
    named: dict[str, Callee] = {}
    for tool in tools:
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", tool.tool.name)[:_NAME] or "tool"
        plain = plain if plain[0].isalpha() or plain[0] == "_" else f"_{plain}"[:_NAME]
        name, number = plain, 2
        while name in named:
            name, number = f"{plain[: _NAME - len(f'_{number}')]}_{number}", number + 1
        named[name] = tool
    return named


def _within(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return text[:limit] + _CUT.replace("{left}", str(len(text) - limit))
