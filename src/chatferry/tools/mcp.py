"""Servers of the Model Context Protocol: what they offer, and one session with each, kept by one task.

Whoever calls waits for that task's session, never for the server's program or address: a server that hangs, dies or
talks nonsense costs its own calls and nobody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import anyio
import httpx2
import mcp_types as types
import structlog
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.validators import validator_for
from mcp import MCPError, StdioServerParameters
from mcp.client import Client, Transport
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import Subscription
from referencing import Registry

from chatferry.clock import Clock
from chatferry.config import McpSettings
from chatferry.engines.base import Result, Tool
from chatferry.model import Finding
from chatferry.tools import mcp_http
from chatferry.tools.base import Callee, Caller
from chatferry.tools.mcp_pipe import LINES, LONGEST, errors_to_log, watched
from chatferry.tools.mcp_words import words

log = structlog.get_logger(__name__)

_HELLO = 30.0
"""Seconds that a server has until we know its tools."""
_PATIENCE = 5.0
"""Seconds that an answer waits for a server that is just being reached."""
_TIMES = httpx2.Timeout(_HELLO, read=300.0)
"""What HTTP may take; the time of a call is ours."""
_AGAIN = 300.0
"""Seconds after which the list of tools is read again, though nobody said that it has changed."""
_FIRST, _LAST = 0.5, 30.0
"""Seconds between two tries to reach a server: at first, and at most."""
_STEADY = 10.0
"""Seconds of a session after which the server that has gone is not one that dies at every start."""
_MOST = 100
"""Tools of one server that are offered."""
_DESCRIPTION = 4000
"""Characters of a tool's description."""
_PYTHON = ("python", "python3")
"""The Python that runs us: what is first in PATH is another one where our environment is not activated."""
_SAID = 300
"""Characters of what a program said last."""
_SCHEMA = 20_000
"""Characters of a tool's schema; one that is longer would leave no room for the talk."""


class Server:
    """One server, and the session with it while `keep` runs."""

    def __init__(
        self,
        name: str,
        settings: McpSettings,
        source: str,
        clock: Clock,
        wanted: Collection[str] = (),
        timeout: float = math.inf,
    ) -> None:
        """wanted: its tools that assistants name, by its own names. timeout: what the shortest call may take."""
        self.name = name
        self._timeout = timeout
        self._wanted = wanted
        self._settings = settings
        self._folder = Path(source).parent.absolute()
        self._clock = clock
        self._client: Client | None = None
        self._tools: tuple[_Offered, ...] = ()
        self._tried = asyncio.Event()
        """Set once it is known whether the server can be reached."""
        self._ready = asyncio.Event()
        """Set while there is a session."""
        self._news = asyncio.Event()
        """Set when the session is lost, or its list of tools not the latest."""
        self._lost = False
        self._said = ""
        """The last line that the program wrote on its standard error."""

    def offering(self, only: str) -> _Choice:
        """Its tools as a source: one by its name; empty: all of them."""
        return _Choice(self, only)

    async def tools(self) -> Sequence[_Offered]:
        """What it offers, as far as it has told; the first time it has a moment to."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._tried.wait()
        return self._tools

    async def keep(self) -> None:
        """Be connected, again and again, until cancelled; then leave the server in good order."""
        # What has entered a session has to leave it, undisturbed: it is told to by a scope, which waits for it.
        end = anyio.CancelScope()
        keeping = asyncio.create_task(self._keep(end), name=f"session with {self.name}")
        try:
            await asyncio.wait([keeping])
        finally:
            end.cancel()
            await asyncio.wait([keeping])

    async def _keep(self, end: anyio.CancelScope) -> None:
        with end:
            await self._reconnect()

    async def _reconnect(self) -> None:
        wait = _FIRST
        while True:
            began = math.inf
            try:
                async with self._session() as (client, changes):
                    began = self._clock.now()
                    await self._attend(client, changes)
                log.warning("tool server lost", server=self.name)
            except Exception as fault:  # noqa: BLE001 - the top of a task: whatever a server does ends here
                log.warning("tool server cannot be reached", server=self.name, error=self._why(fault), seconds=wait)
            self._tried.set()
            if self._clock.now() - began > _STEADY:
                wait = _FIRST
            await self._clock.sleep(wait)
            wait = min(2 * wait, _LAST)

    async def check(self) -> AsyncIterator[Finding]:
        """Connect, and tell what it offers."""
        subject = f"mcp {self.name}"
        mend = f"check command in [mcp.{self.name}]: does the program run by hand, and is it an MCP server?"
        if self._settings.url:
            mend = f"check url and headers in [mcp.{self.name}]: does an MCP server (streamable HTTP) answer there?"
        try:
            async with self._session():
                offered = [tool.own for tool in self._tools]
                told = f"offers {', '.join(offered) or 'no tools'}"
                found = Finding(True, subject, told)
                if missing := self._missing():
                    mend = f"name one that it offers behind mcp:{self.name}/, or all of them by mcp:{self.name}"
                    found = Finding(False, subject, f"{told}, and not {', '.join(missing)}", mend)
        except Exception as fault:  # noqa: BLE001 - a server may fail in any way
            found = Finding(False, subject, self._why(fault), mend)
        self._tried.set()
        yield found

    def _missing(self) -> list[str]:
        """What assistants name and the server does not offer."""
        return sorted(set(self._wanted) - {tool.own for tool in self._tools})

    def _why(self, fault: BaseException) -> str:
        """Why there is no session; the program itself may have told it best."""
        reason, program = _reason(fault), next(iter(self._settings.command), "")
        reason = f"{program}: {reason}" if program and program not in reason else reason
        return f"{reason}; it said last: {self._said}" if self._said else reason

    async def call(self, name: str, arguments: Mapping[str, Any], key: str) -> Result:
        """Call a tool of the server by its own name for it. Once, but where the server says that it did not begin."""
        for again in (True, False):
            client = await self._connected()
            if client is None:
                return Result(f"Not called: the server {self.name} cannot be reached now.", failed=True)
            try:
                said = await client.call_tool(name, dict(arguments), meta=_keyed(key))
                return Result(words(said), bool(said.is_error))
            except MCPError as fault:
                if _session_unknown(fault) and again:
                    self._lose(client)
                    continue
                if fault.code == types.CONNECTION_CLOSED:
                    self._lose(client)
                    return Result(f"No result: the server {self.name} went away. Perhaps it was done.", failed=True)
                return Result(f"It failed: {fault.message}", failed=True)
            except (RuntimeError, ValueError) as fault:  # it answered, and not as it had announced
                log.warning("tool server answers amiss", server=self.name, tool=name, error=_reason(fault))
                return Result(f"It failed: the server {self.name} answered amiss. Perhaps it was done.", failed=True)
            except Exception as fault:  # noqa: BLE001 - it may break off anywhere
                log.warning("tool server failed", server=self.name, tool=name, error=_reason(fault))
                self._lose(client)
                return Result(f"No result: the server {self.name} failed. Perhaps it was done.", failed=True)
        raise AssertionError("unreachable")

    async def _connected(self) -> Client | None:
        """The session; None where there is none in time for it to be said that nothing was called."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(_PATIENCE, self._timeout / 2)):
                await self._ready.wait()
        return self._client

    def _lose(self, client: Client) -> None:
        """The session is of no use any more: the task that keeps it makes another."""
        if self._client is client:
            self._client = None
            self._ready.clear()
            self._gone()

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[tuple[Client, Subscription | None]]:
        """A session, entered and left by one task, and where it tells of changes; its tools are known."""
        self._lost, self._said = False, ""
        with anyio.CancelScope(deadline=anyio.current_time() + _HELLO) as hello:
            async with contextlib.AsyncExitStack() as stack:
                transport = watched(await self._transport(stack), self._gone)
                client = await stack.enter_async_context(Client(transport, message_handler=self._hear, cache=None))
                # Before the list is read, so that no change falls between the two.
                changes = await self._changes(client, stack)
                await self._list(client)
                hello.deadline = math.inf
                self._client = client
                self._ready.set()
                self._tried.set()
                try:
                    yield client, changes
                finally:
                    self._client = None
                    self._ready.clear()
        if hello.cancelled_caught:
            raise TimeoutError

    def _gone(self) -> None:
        self._lost = True
        self._news.set()

    def _heard(self, line: str) -> None:
        self._said = line[:_SAID]

    async def _transport(self, stack: contextlib.AsyncExitStack) -> Transport:
        its = self._settings
        if its.url:
            headers = {name: secret.get_secret_value() for name, secret in its.headers.items()}
            http = await stack.enter_async_context(mcp_http.client(headers, _TIMES))
            return streamable_http_client(its.url, http_client=http, max_sse_event_size=LONGEST)
        program, *arguments = its.command
        if program in _PYTHON:
            program = sys.executable or program
        errors = await stack.enter_async_context(errors_to_log(self.name, self._heard))
        # Beside these it gets PATH, HOME and the like; nothing that we were told.
        env = {name: secret.get_secret_value() for name, secret in its.env.items()}
        given = StdioServerParameters(command=program, args=arguments, env=env, cwd=self._folder, encoding=LINES)
        return stdio_client(given, errlog=errors)

    async def _changes(self, client: Client, stack: contextlib.AsyncExitStack) -> Subscription | None:
        """A stream of changes, where the server has one; older ones tell them anyhow."""
        try:
            return await stack.enter_async_context(client.listen(tools_list_changed=True))
        except (MCPError, RuntimeError):
            return None

    async def _attend(self, client: Client, changes: Subscription | None) -> None:
        """Keep the list of tools new until the session is lost."""
        log.info("tool server reached", server=self.name, tools=len(self._tools))
        if missing := self._missing():
            log.warning("tools not offered", server=self.name, tools=missing)
        async with anyio.create_task_group() as group:
            group.start_soon(self._listen, changes)
            while True:
                with anyio.move_on_after(_AGAIN):
                    await self._news.wait()
                self._news.clear()
                if self._lost:
                    break
                with anyio.fail_after(_HELLO):
                    await self._list(client)
            group.cancel_scope.cancel()

    async def _listen(self, changes: Subscription | None) -> None:
        with contextlib.suppress(MCPError, RuntimeError):  # then the list is read now and then
            if changes is not None:
                async for _ in changes:
                    self._news.set()

    async def _hear(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._news.set()

    async def _list(self, client: Client) -> None:
        found: list[types.Tool] = []
        cursor: str | None = None
        while len(found) < _MOST:
            page = await client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if not page.tools or cursor is None:
                break
        self._tools = tuple(offered for tool in found[:_MOST] if (offered := self._offered(tool)) is not None)

    def _offered(self, tool: types.Tool) -> _Offered | None:
        try:
            if len(str(tool.input_schema)) > _SCHEMA:
                raise ValueError("its schema is too long")
            return _Offered(self, tool)
        except (SchemaError, ValueError, RecursionError) as fault:
            log.warning("tool left out", server=self.name, tool=tool.name[:100], error=str(fault)[:200])
            return None


class _Offered:
    """One tool of a server."""

    def __init__(self, server: Server, tool: types.Tool) -> None:
        kind = validator_for(tool.input_schema)
        kind.check_schema(tool.input_schema)
        # Without a way to fetch what a schema refers to: it may be anywhere.
        self._validator = kind(tool.input_schema, registry=Registry())
        self._server = server
        self.own = tool.name
        about = (tool.description or tool.title or "")[:_DESCRIPTION]
        self.tool = Tool(f"{server.name}_{tool.name}", about, tool.input_schema)

    def misfit(self, arguments: Mapping[str, Any]) -> str:
        try:
            misfit = best_match(self._validator.iter_errors(dict(arguments)))
        except Exception as fault:  # noqa: BLE001 - of the schema, which may refer to what is not there
            log.warning("schema cannot be used", tool=self.tool.name, error=_reason(fault))
            return ""  # the server has to look itself
        if misfit is None:
            return ""
        return f"Not called: {'.'.join(map(str, misfit.absolute_path)) or 'the arguments'}: {misfit.message[:500]}"

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> Result:
        if why := self.misfit(arguments):
            return Result(why, failed=True)
        return await self._server.call(self.own, arguments, caller.key)


class _Choice:
    """All tools of a server, or one, as a source."""

    def __init__(self, server: Server, only: str) -> None:
        self._server = server
        self._only = only

    async def tools(self) -> Sequence[Callee]:
        return [tool for tool in await self._server.tools() if self._only in ("", tool.own)]


def _keyed(key: str) -> types.RequestParamsMeta:
    """By which a server may know the same call again."""
    return cast(types.RequestParamsMeta, {"chatferry/key": key})


def _session_unknown(fault: MCPError) -> bool:
    """An HTTP server that was started anew does not know our session, and so has done nothing in it."""
    return fault.code == types.INVALID_REQUEST and fault.message == "Session terminated"


def _reason(fault: BaseException) -> str:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    if isinstance(fault, TimeoutError):
        return f"no word for {_HELLO:g} s"
    return f"{type(fault).__name__}: {fault}"[:300] if str(fault) else type(fault).__name__
