"""The API's answers in OpenAI's form (platform.openai.com/docs/api-reference/chat): values in, JSON out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from starlette.responses import JSONResponse, Response

from chatferry.channels.api import Call
from chatferry.errors import Rejected
from chatferry.feed import CUT, Outcome
from chatferry.ledger.sessions import Left
from chatferry.model import APOLOGY, Usage
from chatferry.web.http import RETRY_AFTER

_FINISHES = {"length": "length", "filter": "content_filter"}
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

dumps = msgspec.json.encode


def error_body(refusal: Rejected) -> dict[str, object]:
    """OpenAI's error object."""
    kind = _TYPES.get(refusal.status) or ("invalid_request_error" if refusal.status < 500 else "server_error")
    return {"error": {"message": refusal.reason, "type": kind, "param": None, "code": refusal.code or None}}


def error(refusal: Rejected) -> Response:
    """An error as a response."""
    return JSONResponse(error_body(refusal), refusal.status, refusal.headers)


def failure(outcome: Outcome) -> Rejected | None:
    """Why there is no answer, where there is none."""
    if outcome.finish == CUT:
        again = "this server stops; ask again with the same Idempotency-Key for the answer"
        return Rejected(503, again, code="unavailable", headers=RETRY_AFTER)
    if outcome.finish == APOLOGY or outcome.error:
        return Rejected(502, text_of(outcome) or "there is no answer; try again", code="model_failed")
    return None


def text_of(outcome: Outcome) -> str:
    """What was said."""
    return outcome.answer.text if outcome.answer is not None else ""


def finish_of(outcome: Outcome) -> str:
    """`finish_reason`."""
    return _FINISHES.get(outcome.finish, "stop")


def usage_of(usage: Usage | None) -> dict[str, int]:
    """`usage`; zeros where the provider told none."""
    prompt, completion = (usage.prompt, usage.completion) if usage is not None else (0, 0)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def left_of(left: Left) -> dict[str, int]:
    """What a caller may still ask today, of that which has an end."""
    return {name: number for name, number in msgspec.structs.asdict(left).items() if number is not None}


def model(name: str) -> dict[str, object]:
    """An assistant, which is what our callers call a model."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "chatferry"}


class Shape:
    """The frame of one answer: what all its chunks have in common is encoded once."""

    def __init__(self, turn: int, call: Call, created: int, left: Left) -> None:
        self._call = call
        self.headers = {f"X-Budget-Remaining-{name.title()}": str(number) for name, number in left_of(left).items()}
        """What is left for the caller."""
        self._head = {"id": f"chatcmpl-{turn}", "created": created, "model": call.inbound.assistant}
        self._chunk = b"data: " + dumps({**self._head, "object": "chat.completion.chunk"})[:-1] + b',"choices":'
        self._before = self._chunk + b'[{"index":0,"delta":{"content":'

    def whole(self, outcome: Outcome) -> Response:
        """The answer in one piece."""
        if refusal := failure(outcome):
            return error(refusal)
        message = {"role": "assistant", "content": text_of(outcome), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_of(outcome)}
        body = {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage_of(outcome.usage)}
        return Response(dumps(body), headers=self.headers, media_type="application/json")

    def first(self) -> bytes:
        """The chunk that says who speaks."""
        return self._event({"role": "assistant", "content": ""}, None)

    def delta(self, text: str) -> bytes:
        """A chunk of text. This is the hot path: one small encoding for each."""
        return self._before + dumps(text) + b'},"finish_reason":null}]}\n\n'

    @staticmethod
    def calling(tools: Sequence[str]) -> bytes:
        """What is being called: a comment, which every client of OpenAI's passes over."""
        return b": " + dumps({"calling": tools}) + b"\n\n"

    def last(self, outcome: Outcome) -> bytes:
        """What ends the stream: the reason, the usage where it was asked for, or the error."""
        if refusal := failure(outcome):
            return self.broken(refusal)
        end = self._event({}, finish_of(outcome))
        if self._call.include_usage:
            end += self._chunk + b'[],"usage":' + dumps(usage_of(outcome.usage)) + b"}\n\n"
        return end + b"data: [DONE]\n\n"

    @staticmethod
    def broken(refusal: Rejected) -> bytes:
        """The stream cannot go on."""
        return b"data: " + dumps(error_body(refusal)) + b"\n\n"

    def _event(self, delta: Mapping[str, object], finish: str | None) -> bytes:
        return self._chunk + dumps([{"index": 0, "delta": delta, "finish_reason": finish}]) + b"}\n\n"
