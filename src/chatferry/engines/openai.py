"""OpenAI's chat completions, which nearly every provider and local server speaks."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from chatferry.clock import Clock, SystemClock
from chatferry.config import ModelSettings
from chatferry.engines import faults
from chatferry.engines.base import Call, Done, Event, Picture, Prompt, Round, Tool
from chatferry.engines.check import try_out
from chatferry.engines.http import Wire
from chatferry.errors import Fault, TryLater
from chatferry.model import Finding, Usage

_FINISH = {"length": "length", "max_tokens": "length", "content_filter": "filter"}
_UNSUPPORTED = re.compile(r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|not permitted", re.IGNORECASE)
_NOT_SHOWN = (400, 404, 415, 422)
_PICTURES = re.compile(r"image|vision|multi-?modal|content.{0,20}must be a string", re.IGNORECASE)
"""What servers say who are shown pictures that they do not take."""
_LIMITS = ("max_tokens", "max_completion_tokens")
_OPTIONAL = (*_LIMITS, "temperature", "top_p", "stop", "stream_options", "tool_choice")


class OpenAI:
    """One model behind one OpenAI-compatible API.

    Servers differ in the options they take: what one refuses is left out, or goes by its other name, from then on.
    Where pictures are refused, the question is asked again in words.
    """

    def __init__(
        self, name: str, settings: ModelSettings, http: aiohttp.ClientSession, clock: Clock | None = None
    ) -> None:
        self.name = name
        self._settings = settings
        self._key = settings.api_key.get_secret_value() if settings.api_key else ""
        self._url = settings.base_url.rstrip("/") + "/chat/completions"
        self._wire = Wire(name, http, timeout=settings.timeout, secret=self._key, clock=clock or SystemClock())
        self._refused: set[str] = set()

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        sees = self._settings.sees
        while True:
            request = self._request(prompt, sees=sees)
            reader = OpenAIReader(self.name, self._key)
            try:
                async with aclosing(
                    self._wire.ask(self._url, headers, msgspec.json.encode(request), reader, pace=pace)
                ) as events:
                    async for event in events:
                        yield event
            except Fault as fault:
                refused = fault if isinstance(fault, faults.Refused) else None
                if refused is not None and (option := _unsupported(request, refused)) is not None:
                    self._refused.add(option)
                elif refused is not None and sees and prompt.pictures and _unseen(refused):
                    sees = False  # a model that is taken to see does not, or not this picture
                else:
                    raise faults.of_tools(fault) if prompt.tools else fault from None
            else:
                return

    async def check(self) -> AsyncIterator[Finding]:
        yield await try_out(self, self._settings.model, self._wire.clock)

    def _request(self, prompt: Prompt, *, sees: bool = False) -> dict[str, Any]:
        messages: list[dict[str, Any]] = [
            {"role": said.role, "content": _content(read)}
            for said in prompt.messages
            if (read := prompt.read(said, sees=sees))
        ]
        if prompt.system:
            messages.insert(0, {"role": "system", "content": prompt.system})
        messages += [message for round_ in prompt.rounds for message in _called(round_)]
        options, settings = prompt.options, self._settings
        limits = [limit for limit in (options.max_tokens, settings.max_tokens) if limit is not None]
        wanted = {
            "stream_options": {"include_usage": True},
            # The caller may ask for less than the operator allows, not for more.
            self._limit_name(): min(limits, default=None),
            "temperature": settings.temperature if options.temperature is None else options.temperature,
            "top_p": options.top_p,
            "stop": options.stop or None,
            "tools": [_offered(tool) for tool in prompt.tools] or None,
            "tool_choice": "none" if prompt.tools and prompt.last else None,
        }
        given = {key: value for key, value in wanted.items() if value is not None and key not in self._refused}
        return {"model": settings.model, "messages": messages, "stream": True, **given}

    def _limit_name(self) -> str:
        """OpenAI itself now wants `max_completion_tokens`, and its newer models refuse the old name; the many other
        servers know `max_tokens`. The host tells which to begin with; a refusal teaches the other one."""
        host = urlsplit(self._url).hostname or ""
        ours = host.endswith((".openai.com", ".openai.azure.com"))
        first, second = reversed(_LIMITS) if ours else _LIMITS
        return second if first in self._refused else first


def _content(read: Sequence[str | Picture]) -> str | list[dict[str, Any]]:
    """What is said: in the simplest form, as not every server knows the other one."""
    if len(read) == 1 and isinstance(read[0], str):
        return read[0]
    return [{"type": "text", "text": part} if isinstance(part, str) else _image(part) for part in read]


def _image(picture: Picture) -> dict[str, Any]:
    data = base64.b64encode(picture.data).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{picture.media_type};base64,{data}"}}


def _unseen(fault: faults.Refused) -> bool:
    """Is that what a server says that takes no pictures?"""
    return fault.status in _NOT_SHOWN and _PICTURES.search(fault.message) is not None


def _unsupported(request: dict[str, Any], fault: faults.Refused) -> str | None:
    """The option of `request` that the server says it does not know, if that is what it says."""
    if fault.status not in (400, 422) or not _UNSUPPORTED.search(f"{fault.word} {fault.message}"):
        return None
    named = [option for option in _OPTIONAL if option in request and re.search(rf"\b{option}\b", fault.message)]
    return fault.param if fault.param in _OPTIONAL and fault.param in request else next(iter(named), None)


def _offered(tool: Tool) -> dict[str, Any]:
    about = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": about}


def _called(round_: Round) -> list[dict[str, Any]]:
    """A round as the messages that it was: what the model said and called, and a result for each call."""
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": msgspec.json.encode(call.given).decode()},
            # A token of another provider means nothing here.
            **({"extra_content": msgspec.Raw(call.token.encode())} if call.token.startswith("{") else {}),
        }
        for call in round_.calls
    ]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"Error: {result.text}" if result.failed else result.text}
        for call, result in zip(round_.calls, round_.results, strict=True)
    ]
    return [{"role": "assistant", "content": round_.said or None, "tool_calls": calls}, *results]


class _Begun(msgspec.Struct):
    """A call as far as it has come."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    token: str = ""


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    """JSON, in pieces; some servers send the object itself."""


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    extra_content: msgspec.Raw | None = None
    """Google's thought signature, which it wants to read again."""


class _Part(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None


class _Said(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct, gc=False):
    """A chunk of a stream, or a whole answer: they differ in `delta` and `message`."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class OpenAIReader:
    """Reads the chunks of one answer; whatever a server leaves out or adds is no error."""

    def __init__(self, name: str, secret: str = "") -> None:
        self.finish: str | None = None
        self.closed = False
        self._calls: list[_Begun] = []
        self._by_index: dict[int, _Begun] = {}
        self._name = name
        self._secret = secret
        self._usage: Usage | None = None
        self._model = ""

    def read(self, payload: bytes) -> str:
        if payload == b"[DONE]":
            self.closed = True
            return ""
        try:
            chunk = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TryLater(f"{self._name}: sent what is no chat completion: {error}") from error
        if chunk.error is not None:
            raise faults.fault(self._name, 0, faults.said(chunk.error), secret=self._secret)
        if chunk.usage is not None:
            self._usage = Usage(chunk.usage.prompt_tokens or 0, chunk.usage.completion_tokens or 0)
        if chunk.model:
            self._model = chunk.model
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        said = choice.delta or choice.message
        if choice.finish_reason is not None:
            self.finish = _FINISH.get(choice.finish_reason, "stop")
        if choice.message is not None and self.finish is None:
            self.finish = "stop"
        if said is None:
            return ""
        if said.tool_calls:
            self._collect(said.tool_calls)
        content = said.content
        if isinstance(content, list):
            return "".join([part.text for part in content if part.type == "text" and part.text])
        return content or ""

    def end(self) -> Done:
        if self.finish is None and not self.closed:
            raise TryLater(f"{self._name}: the stream broke off")
        calls = tuple(
            # A server that numbers nothing gets numbers: a result must name its call.
            Call(begun.id or f"call{place:05}", begun.name, begun.arguments, begun.token)
            for place, begun in enumerate(self._calls)
            if begun.name
        )
        finish = "calls" if calls and self.finish != "filter" else self.finish or "stop"
        return Done(finish, self._usage, self._model, calls if finish == "calls" else ())

    def _collect(self, pieces: list[_ToolCall]) -> None:
        """Put the pieces of calls together: by their index, or else by their id; one with neither goes on the last."""
        for piece in pieces:
            call = self._call_of(piece)
            call.id = call.id or piece.id or ""
            if piece.extra_content is not None and piece.extra_content.startswith(b"{"):
                call.token = bytes(piece.extra_content).decode()
            if piece.function is None:
                continue
            call.name = piece.function.name or call.name
            told = piece.function.arguments
            call.arguments += msgspec.json.encode(told).decode() if isinstance(told, dict) else told or ""

    def _call_of(self, piece: _ToolCall) -> _Begun:
        last = self._calls[-1] if self._calls else None
        named = piece.function is not None and bool(piece.function.name)
        if piece.index is not None:
            begun = self._by_index.get(piece.index)
            # Some servers number all calls 0, and tell them apart by their ids alone.
            if begun is not None and not (named and piece.id and begun.id and piece.id != begun.id):
                return begun
        elif piece.id:
            begun = next((call for call in self._calls if call.id == piece.id), None)
            if begun is not None:
                return begun
        elif last is not None and not (named and last.name):
            return last
        made = _Begun()
        self._calls.append(made)
        if piece.index is not None:
            self._by_index[piece.index] = made
        return made
