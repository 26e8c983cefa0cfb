"""A model provider without a model: speaks OpenAI's and Gemini's wire formats, fast, slowly, or badly, as told.

Imports nothing of the rest of chatferry, so that a mistake there is not repeated here.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from chatferry.simulator.model_calls import (
    Act,
    Offered,
    gemini_misuse,
    gemini_parts,
    gemini_results,
    offered,
    openai_deltas,
    openai_misuse,
    openai_whole,
)

Wire = Literal["openai", "gemini"]
Talk = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    path: str
    query: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Refuse:
    """Answer with this status instead."""

    status: int
    error: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Break:
    """Stream so many tokens, then: cut the connection, end the body early, send an error, or hang until released."""

    how: Literal["cut", "end", "error", "hang"]
    after: int = 0
    error: object = None
    held: bool = False
    """Wait there to be released."""


@dataclass(frozen=True)
class Pause:
    """Stream the reply, but hang before each of these tokens: one release lets go of one."""

    before: Sequence[int]


@dataclass(frozen=True)
class Odd:
    """Stream the reply with the habits of less careful servers."""

    crlf: bool = False
    comments: bool = False
    done: bool = True
    usage: bool = True
    whole: bool = False
    """Answer in one JSON body, though a stream was asked for."""
    lingers: bool = False
    """Keep the body open after its last event, until released."""
    indexes: bool = True
    """Number the calls of functions, as only some servers do; with `ids` they have names too."""
    ids: bool = True


@dataclass(frozen=True)
class Raw:
    """Answer with exactly these writes."""

    writes: Sequence[bytes]
    media_type: str = "text/event-stream"


Plan = Refuse | Break | Pause | Odd | Raw


class Wheel:
    """Sleeps that end within the same millisecond share one timer, which is what thousands of streams need."""

    def __init__(self) -> None:
        self._slots: dict[int, list[asyncio.Future[None]]] = {}

    async def until(self, when: float) -> None:
        """Sleep until `when` by the loop's clock."""
        loop = asyncio.get_running_loop()
        slot = math.ceil(when * 1000)
        if slot not in self._slots:
            self._slots[slot] = []
            loop.call_at(slot / 1000, self._wake, slot)
        sleeper = loop.create_future()
        self._slots[slot].append(sleeper)
        await sleeper

    def _wake(self, slot: int) -> None:
        for sleeper in self._slots.pop(slot):
            if not sleeper.done():
                sleeper.set_result(None)


def echo(text: str) -> str:
    return f"echo: {text}"


class ModelSimulator:
    """The provider. `app` serves it; what it is to do, and what it saw, are plain attributes.

    reply       text asked -> text answered
    converse    all messages, {"role", "content"} with the content as text -> text answered; instead of `reply`
    act         all messages, the functions that are offered -> what is called, None: nothing, and it answers
    tokens      answer with so many tokens instead
    first, rate seconds before the first token, tokens per second after it (0: at once)
    burst       tokens per write
    key         the only API key that is let in ("": any)
    refuses     request options that are answered with OpenAI's "unsupported parameter"
    plans       what becomes of the next requests, one each
    """

    def __init__(
        self,
        *,
        reply: Callable[[str], str] = echo,
        converse: Callable[[Talk], str] | None = None,
        act: Callable[[Talk, Sequence[Offered]], Act | None] | None = None,
        tokens: int = 0,
        first: float = 0.0,
        rate: float = 0.0,
        burst: int = 1,
        key: str = "",
        refuses: Sequence[str] = (),
    ) -> None:
        self.reply = reply
        self.converse = converse
        self.act = act
        self.tokens = tokens
        self.first = first
        self.rate = rate
        self.burst = burst
        self.key = key
        self.refuses = set(refuses)
        self.plans: deque[Plan] = deque()
        self.requests: list[Asked] = []
        self.connections = 0
        """Answers under way."""
        self.cancelled = 0
        """Answers that their client walked away from."""
        self.release = asyncio.Event()
        """Lets go of what hangs."""
        self.hanging = asyncio.Event()
        """Something hangs."""
        self._idle = asyncio.Event()
        self._wheel = Wheel()
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", _Endpoint(self._openai), methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/v1beta/models/{call:path}", _Endpoint(self._gemini), methods=["POST"]),
            ]
        )

    async def idle(self) -> None:
        """Return when no answer is under way any more."""
        while self.connections:
            self._idle.clear()
            await self._idle.wait()

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "simulated", "object": "model"}]})

    async def _openai(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = await self._taken(scope, receive)
        key = asked.headers.get("authorization", "").removeprefix("Bearer ")
        error: dict[str, Any] | None = None
        status, talk = 400, _talk(asked.body.get("messages"), "content")
        if self.key and key != self.key:
            # As OpenAI does, it quotes the key: nobody must pass that on.
            told = f"Incorrect API key provided: {key[:8]}****{key[-4:]}."
            status, error = 401, {"message": told, "type": "invalid_request_error", "code": "invalid_api_key"}
        elif refused := next((option for option in asked.body if option in self.refuses), None):
            told = f"Unsupported parameter: '{refused}' is not supported with this model."
            error = {"message": told, "param": refused, "code": "unsupported_parameter"}
        elif talk is None:
            error = _misunderstood(asked)
        elif told := openai_misuse(asked.body):
            error = {"message": told, "type": "invalid_request_error", "param": None, "code": None}
        if error is not None or talk is None:
            await JSONResponse({"error": error}, status)(scope, receive, send)
            return
        act = self._act(talk, asked)
        await self._answer("openai", talk, act, bool(asked.body.get("stream")), scope, receive, send)

    async def _gemini(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = await self._taken(scope, receive)
        talk = _talk(asked.body.get("contents"), "parts")
        told = ""
        if self.key and asked.headers.get("x-goog-api-key") != self.key:
            told = "API key not valid. Please pass a valid API key."
        elif talk is None:
            told = "* GenerateContentRequest.contents: contents is not specified"
        else:
            told = gemini_misuse(asked.body)
        if told or talk is None:
            error = {"code": 400, "message": told, "status": "INVALID_ARGUMENT"}
            await JSONResponse({"error": error}, 400)(scope, receive, send)
            return
        act = self._act(talk, asked)
        await self._answer("gemini", talk, act, ":streamGenerateContent" in asked.path, scope, receive, send)

    async def _taken(self, scope: Scope, receive: Receive) -> Asked:
        """The request; what is no JSON object counts as an empty one."""
        request = Request(scope, receive)
        try:
            body = json.loads(await request.body())
        except (ValueError, RecursionError):
            body = None
        asked = Asked(
            request.url.path, request.url.query, dict(request.headers), body if isinstance(body, dict) else {}
        )
        self.requests.append(asked)
        return asked

    def _say(self, talk: Talk) -> str:
        if self.converse is not None:
            return self.converse(talk)
        return self.reply(next((said["content"] for said in reversed(talk) if said["role"] == "user"), ""))

    def _act(self, talk: Talk, asked: Asked) -> Act | None:
        functions = offered(asked.body)
        return self.act(talk, functions) if self.act is not None and functions else None

    async def _answer(
        self, wire: Wire, talk: Talk, act: Act | None, stream: bool, scope: Scope, receive: Receive, send: Send
    ) -> None:
        plan = self.plans.popleft() if self.plans else Odd()
        said = act.said if act else "" if self.tokens else self._say(talk)
        tokens = ("tok ",) * self.tokens if self.tokens and not act else tuple(split(said))
        if isinstance(plan, Refuse):
            error = plan.error or {"code": plan.status, "message": "as planned"}
            await JSONResponse({"error": error}, plan.status, plan.headers)(scope, receive, send)
        elif not stream or (isinstance(plan, Odd) and plan.whole):
            await Response(whole(wire, tokens, act), media_type="application/json")(scope, receive, send)
        else:
            self.connections += 1
            try:
                async with asyncio.TaskGroup() as group:
                    answer = group.create_task(self._stream(wire, tokens, act, plan, send))
                    watch = group.create_task(self._watch(receive, answer))
                    answer.add_done_callback(lambda _: watch.cancel())
            finally:
                self.connections -= 1
                self._idle.set()

    async def _watch(self, receive: Receive, answer: asyncio.Task[None]) -> None:
        """Once the request is read, all that `receive` has to tell is that the client is gone."""
        await receive()
        if not answer.done():
            self.cancelled += 1
            answer.cancel()

    async def _stream(self, wire: Wire, tokens: tuple[str, ...], act: Act | None, plan: Plan, send: Send) -> None:
        media = plan.media_type if isinstance(plan, Raw) else "text/event-stream"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", media.encode())]})

        async def write(body: bytes) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": True})

        if isinstance(plan, Raw):
            for body in plan.writes:
                await write(body)
        elif not await self._tokens(wire, tokens, act, plan, write):
            return  # without the end of the body: uvicorn then cuts the connection
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tokens(
        self,
        wire: Wire,
        tokens: tuple[str, ...],
        act: Act | None,
        plan: Plan,
        write: Callable[[bytes], Awaitable[None]],
    ) -> bool:
        """Write the reply as planned; False: and now cut the connection."""
        odd = plan if isinstance(plan, Odd) else Odd()
        head, body, tail = events(wire, tokens, odd, act)
        stop = plan.after if isinstance(plan, Break) else -1
        began = asyncio.get_running_loop().time() + self.first
        if self.first:
            await self._wheel.until(began)
        await write(head)
        for n in range(0, len(body), self.burst):
            if n == stop and isinstance(plan, Break) and not await self._break(wire, plan, write):
                return plan.how != "cut"
            if isinstance(plan, Pause) and n in plan.before:
                self.hanging.set()
                await self.release.wait()
                self.release.clear()
            if self.rate:
                await self._wheel.until(began + n / self.rate)
            await write(body[n] if self.burst == 1 else b"".join(body[n : n + self.burst]))
        await write(tail)
        if odd.lingers:
            self.hanging.set()
            await self.release.wait()
        return True

    async def _break(self, wire: Wire, plan: Break, write: Callable[[bytes], Awaitable[None]]) -> bool:
        """Do what is planned in mid-stream; True: and go on."""
        if plan.how == "hang" or plan.held:
            self.hanging.set()
            await self.release.wait()
        if plan.how == "hang":
            return True
        if plan.how == "error":
            await write(b"data: " + json.dumps({"error": plan.error or "as planned"}).encode() + b"\n\n")
        return False


class _Endpoint:
    """An ASGI app where Starlette would otherwise wrap a function: streams are written without its layers."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _talk(given: Any, content: Literal["content", "parts"]) -> list[dict[str, str]] | None:
    """The messages of a request with their content as text; None: these are none."""
    if not isinstance(given, list) or not all(isinstance(said, dict) for said in given):
        return None
    talk = [{**said, "content": _text(said.get(content))} for said in given]
    for said in talk if content == "parts" else ():
        said["role"] = "assistant" if said.get("role") == "model" else "user"
        if results := gemini_results(said.get("parts")):
            said |= {"role": "tool", "content": "\n".join(results)}
    return talk if all(isinstance(said.get("role"), str) for said in talk) else None


def _text(content: Any) -> str:
    """What is said in a message: text, or parts of which some are text."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _misunderstood(asked: Asked) -> dict[str, Any]:
    """OpenAI's error for a body without messages."""
    error = {"type": "invalid_request_error", "param": None, "code": None}
    if not asked.body:
        return error | {"message": "We could not parse the JSON body of your request."}
    if "messages" not in asked.body:
        told = "Missing required parameter: 'messages'."
        return error | {"message": told, "param": "messages", "code": "missing_required_parameter"}
    return error | {"message": "Invalid type for 'messages'.", "param": "messages", "code": "invalid_type"}


def split(text: str) -> list[str]:
    """Tokens, roughly: a word with the blank before it, or one character of a script without blanks."""
    return re.findall(r"\s*[\u2e80-\uffef]|\s*[^\s\u2e80-\uffef]+|\s+$", text)


@lru_cache(maxsize=256)
def events(wire: Wire, tokens: tuple[str, ...], odd: Odd, act: Act | None = None) -> tuple[bytes, list[bytes], bytes]:
    """The stream of a reply: what comes before its tokens, one event per token, what comes after them."""
    if wire == "openai":
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1760000000, "model": "simulated-1"}
        chunks = [base | {"choices": [_delta({"role": "assistant", "content": ""})]}]
        chunks += [base | {"choices": [_delta({"content": token})]} for token in tokens]
        calls = openai_deltas(act, indexes=odd.indexes, ids=odd.ids) if act else ()
        last = [base | {"choices": [_delta(delta)]} for delta in calls]
        last.append(base | {"choices": [_delta({}, "tool_calls" if act else "stop")]})
        if odd.usage:
            last.append(base | {"choices": [], "usage": _openai_usage(tokens)})
    else:
        base = {"modelVersion": "simulated-1", "responseId": "r1"}
        chunks = [base | {"usageMetadata": {"promptTokenCount": 7}}]
        chunks += [base | {"candidates": [_candidate(token)]} for token in tokens]
        last = [base | {"candidates": [_candidate("", "STOP", act)], "usageMetadata": _gemini_usage(tokens)}]
    end = b"\r\n" if odd.crlf else b"\n"
    comment = b": keep-alive" + end * 2 if odd.comments else b""
    lines = [comment + b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + end * 2 for chunk in chunks + last]
    done = b"data: [DONE]" + end * 2 if odd.done and wire == "openai" else b""
    return lines[0], lines[1 : len(chunks)], b"".join(lines[len(chunks) :]) + done


def whole(wire: Wire, tokens: Sequence[str], act: Act | None = None) -> bytes:
    """The reply in one JSON body."""
    text = "".join(tokens)
    if wire == "openai":
        said = {"role": "assistant", "content": text} | ({"tool_calls": openai_whole(act)} if act else {})
        choice = {"index": 0, "message": said, "finish_reason": "tool_calls" if act else "stop"}
        return json.dumps({"model": "simulated-1", "choices": [choice], "usage": _openai_usage(tokens)}).encode()
    candidate = _candidate(text, "STOP", act)
    return json.dumps({"candidates": [candidate], "usageMetadata": _gemini_usage(tokens)}).encode()


def _delta(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _candidate(text: str, finish: str | None = None, act: Act | None = None) -> dict[str, Any]:
    parts = [{"text": text}, *(gemini_parts(act) if act else ())]
    return {"content": {"parts": parts, "role": "model"}, "index": 0} | ({"finishReason": finish} if finish else {})


def _openai_usage(tokens: Sequence[str]) -> dict[str, int]:
    return {"prompt_tokens": 7, "completion_tokens": len(tokens), "total_tokens": 7 + len(tokens)}


def _gemini_usage(tokens: Sequence[str]) -> dict[str, int]:
    return {"promptTokenCount": 7, "candidatesTokenCount": len(tokens), "totalTokenCount": 7 + len(tokens)}
