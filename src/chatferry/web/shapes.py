"""The API's answers in OpenAI's form (platform.openai.com/docs/api-reference/chat): values in, JSON out."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import JSONResponse, Response

from chatferry.channels.api import Call
from chatferry.errors import Rejected
from chatferry.feed import Outcome
from chatferry.model import APOLOGY, Usage

_FINISHES = {"stop": "stop", "length": "length", "filter": "content_filter", "stopped": "stop"}
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}

dumps = msgspec.json.encode


def error_body(status: int, message: str, code: str) -> dict[str, object]:
    """OpenAI's error object."""
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code or None}}


def error(status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as a response."""
    return JSONResponse(error_body(status, message, code), status, headers)


def refused(refusal: Rejected) -> Response:
    """A refusal as a response."""
    return error(refusal.status, refusal.reason, refusal.code, refusal.headers)


def text_of(outcome: Outcome) -> str:
    """What was said."""
    return outcome.answer.text if outcome.answer is not None else ""


def failed(outcome: Outcome) -> bool:
    """There is no answer, only our word that there is none."""
    return outcome.finish == APOLOGY


def finish_of(outcome: Outcome) -> str:
    """`finish_reason`."""
    return _FINISHES.get(outcome.finish, "stop")


def usage_of(usage: Usage | None) -> dict[str, int]:
    """`usage`; zeros where the provider told none."""
    prompt, completion = (usage.prompt, usage.completion) if usage is not None else (0, 0)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


class Shape:
    """The frame of one answer: what all its chunks have in common is encoded once."""

    def __init__(self, turn: int, call: Call, created: int) -> None:
        self.turn = turn
        self.call = call
        self._head = {"id": f"chatcmpl-{turn}", "created": created, "model": call.model}
        head = dumps({**self._head, "object": "chat.completion.chunk"})[:-1]
        self._before = b"data: " + head + b',"choices":[{"index":0,"delta":{"content":'
        self._after = b'},"finish_reason":null}]}\n\n'
        self._chunk_head = head

    def whole(self, outcome: Outcome) -> Response:
        """The answer in one piece."""
        if failed(outcome):
            return error(502, text_of(outcome), "model_failed")
        message = {"role": "assistant", "content": text_of(outcome), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_of(outcome)}
        body = {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage_of(outcome.usage)}
        return Response(dumps(body), media_type="application/json")

    def first(self) -> bytes:
        """The chunk that says who speaks."""
        return self._event({"role": "assistant", "content": ""}, None)

    def delta(self, text: str) -> bytes:
        """A chunk of text. This is the hot path: one small encoding for each."""
        return self._before + dumps(text) + self._after

    def last(self, outcome: Outcome) -> bytes:
        """What ends the stream: the reason, the usage where it was asked for, or the error."""
        if failed(outcome):
            return self.broken(text_of(outcome), "model_failed")
        end = self._event({}, finish_of(outcome))
        if self.call.include_usage:
            end += b"data: " + self._chunk_head + b',"choices":[],"usage":' + dumps(usage_of(outcome.usage)) + b"}\n\n"
        return end + b"data: [DONE]\n\n"

    @staticmethod
    def broken(message: str, code: str) -> bytes:
        """The stream cannot go on."""
        return b"data: " + dumps(error_body(502, message, code)) + b"\n\n"

    def _event(self, delta: Mapping[str, object], finish: str | None) -> bytes:
        choice = dumps([{"index": 0, "delta": delta, "finish_reason": finish}])
        return b"data: " + self._chunk_head + b',"choices":' + choice + b"}\n\n"
