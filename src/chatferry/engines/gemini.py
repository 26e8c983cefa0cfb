"""Gemini's own protocol: `streamGenerateContent`."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from chatferry.clock import Clock, SystemClock
from chatferry.config import ModelSettings
from chatferry.engines import faults
from chatferry.engines.base import Call, Done, Event, Picture, Prompt, Round
from chatferry.engines.check import try_out
from chatferry.engines.gemini_schema import narrowed
from chatferry.engines.http import Wire
from chatferry.errors import Fault, TryLater
from chatferry.model import Finding, Usage

_FINISH = {
    "MAX_TOKENS": "length",
    "SAFETY": "filter",
    "RECITATION": "filter",
    "LANGUAGE": "filter",
    "BLOCKLIST": "filter",
    "PROHIBITED_CONTENT": "filter",
    "SPII": "filter",
    "MODEL_ARMOR": "filter",
}
_MADE = "made-"
"""What the ids of calls begin with to which Gemini gave none."""
_UNSIGNED = "skip_thought_signature_validator"
"""Stands for the signature of a call that another model made, which Gemini 3 would else refuse."""


class Gemini:
    """One Gemini model."""

    def __init__(
        self, name: str, settings: ModelSettings, http: aiohttp.ClientSession, clock: Clock | None = None
    ) -> None:
        self.name = name
        self._settings = settings
        self._key = settings.api_key.get_secret_value() if settings.api_key else ""
        self._signs = re.search(r"gemini-(1|2)\b", settings.model) is None
        """It refuses calls without a thought signature, as all do since Gemini 3."""
        model = quote(settings.model.removeprefix("models/"), safe="")
        self._url = f"{settings.base_url.rstrip('/')}/models/{model}:streamGenerateContent?alt=sse"
        self._wire = Wire(name, http, timeout=settings.timeout, secret=self._key, clock=clock or SystemClock())

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        # In a header: a URL is written to logs on its way.
        headers = {"x-goog-api-key": self._key} if self._key else {}
        body = msgspec.json.encode(self._request(prompt))
        reader = GeminiReader(self.name, self._key)
        try:
            async with aclosing(self._wire.ask(self._url, headers, body, reader, pace=pace)) as events:
                async for event in events:
                    yield event
        except Fault as fault:
            raise faults.of_tools(fault) if prompt.tools else fault from None

    async def check(self) -> AsyncIterator[Finding]:
        yield await try_out(self, self._settings.model, self._wire.clock)

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        options, settings = prompt.options, self._settings
        system = [prompt.system, *(said.text for said in prompt.messages if said.role == "system")]
        limits = [limit for limit in (options.max_tokens, settings.max_tokens) if limit is not None]
        wanted = {
            # The caller may ask for less than the operator allows, not for more.
            "maxOutputTokens": min(limits, default=None),
            "temperature": settings.temperature if options.temperature is None else options.temperature,
            "topP": options.top_p,
            "stopSequences": options.stop or None,
        }
        talk = contents(prompt, sees=settings.sees)
        request: dict[str, Any] = {"contents": [*talk, *(said for its in prompt.rounds for said in self._called(its))]}
        if parts := [{"text": text} for text in system if text]:
            request["systemInstruction"] = {"parts": parts}
        if config := {key: value for key, value in wanted.items() if value is not None}:
            request["generationConfig"] = config
        if prompt.tools:
            offered = [
                {"name": tool.name, "description": tool.description, **narrowed(tool.parameters)}
                for tool in prompt.tools
            ]
            request["tools"] = [{"functionDeclarations": offered}]
            if prompt.last:
                request["toolConfig"] = {"functionCallingConfig": {"mode": "NONE"}}
        return request

    def _called(self, round_: Round) -> list[dict[str, Any]]:
        """A round as the two sides of the talk that it was."""
        said: list[dict[str, Any]] = [{"text": round_.said}] if round_.said else []
        back: list[dict[str, Any]] = []
        # A token of the other form is another provider's.
        signed = {call.id: call.token for call in round_.calls if call.token and not call.token.startswith("{")}
        for call, result in zip(round_.calls, round_.results, strict=True):
            known = {"id": call.id} if not call.id.startswith(_MADE) else {}
            part: dict[str, Any] = {"functionCall": {"name": call.name, "args": call.given, **known}}
            if call.id in signed:
                part["thoughtSignature"] = signed[call.id]
            elif self._signs and not back and not signed:
                part["thoughtSignature"] = _UNSIGNED
            said.append(part)
            told = {"error" if result.failed else "result": result.text}
            back.append({"functionResponse": {"name": call.name, "response": told, **known}})
        return [{"role": "model", "parts": said}, {"role": "user", "parts": back}]


def contents(prompt: Prompt, *, sees: bool) -> list[dict[str, Any]]:
    """The talk as Gemini wants it: the user begins, and the two sides take turns."""
    talk: list[dict[str, Any]] = []
    for said in prompt.messages:
        role = "model" if said.role == "assistant" else "user"
        parts = [{"text": part} if isinstance(part, str) else _inline(part) for part in prompt.read(said, sees=sees)]
        if said.role == "system" or not parts or (not talk and role == "model"):
            continue
        if talk and talk[-1]["role"] == role:
            talk[-1]["parts"] += parts
        else:
            talk.append({"role": role, "parts": parts})
    return talk


def _inline(picture: Picture) -> dict[str, Any]:
    return {"inlineData": {"mimeType": picture.media_type, "data": base64.b64encode(picture.data).decode()}}


class _FunctionCall(msgspec.Struct, gc=False):
    name: str | None = None
    id: str | None = None
    args: dict[str, Any] | None = None


class _Part(msgspec.Struct, rename="camel", gc=False):
    text: str | None = None
    thought: bool | None = None
    function_call: _FunctionCall | None = None
    thought_signature: str | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel", gc=False):
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(msgspec.Struct, rename="camel", gc=False):
    block_reason: str | None = None


class _Usage(msgspec.Struct, rename="camel", gc=False):
    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


class _Chunk(msgspec.Struct, rename="camel", gc=False):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class GeminiReader:
    """Reads the chunks of one answer; whatever the server leaves out or adds is no error."""

    def __init__(self, name: str, secret: str = "") -> None:
        self.finish: str | None = None
        self.closed = False
        self._name = name
        self._secret = secret
        self._usage: Usage | None = None
        self._model = ""
        self._answered = False
        self._begun = False
        self._calls: list[Call] = []

    def read(self, payload: bytes) -> str:
        try:
            chunk = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TryLater(f"{self._name}: sent what is no Gemini answer: {error}") from error
        if chunk.error is not None:
            raise faults.fault(self._name, 0, faults.said(chunk.error), secret=self._secret)
        self._answered = True
        if (usage := chunk.usage_metadata) is not None:
            # Thoughts are paid for like the answer.
            completion = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
            self._usage = Usage(usage.prompt_token_count or 0, completion)
        if chunk.model_version:
            self._model = chunk.model_version
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            self.finish = "filter"
        if not chunk.candidates:
            return ""
        candidate = chunk.candidates[0]
        self._begun = True
        if candidate.finish_reason:
            self.finish = _FINISH.get(candidate.finish_reason, "stop")
        if candidate.content is None or not candidate.content.parts:
            return ""
        text = ""
        for part in candidate.content.parts:
            if part.text and not part.thought:
                text += part.text
            elif part.function_call is not None:
                self._collect(part.function_call, part.thought_signature or "")
        return text

    def end(self) -> Done:
        # An answer without any candidate is Gemini's way to say nothing; one without a reason to stop broke off.
        if self.finish is None and (self._begun or not self._answered):
            raise TryLater(f"{self._name}: the stream broke off")
        finish = "calls" if self._calls and self.finish != "filter" else self.finish or "stop"
        return Done(finish, self._usage, self._model, tuple(self._calls) if finish == "calls" else ())

    def _collect(self, call: _FunctionCall, token: str) -> None:
        if call.name:
            arguments = msgspec.json.encode(call.args or {}).decode()
            self._calls.append(Call(call.id or f"{_MADE}{len(self._calls)}", call.name, arguments, token))
