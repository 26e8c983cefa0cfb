"""What the API is, for machines: an OpenAPI document, at `/v1/openapi.json`.

Its schemas are made of types: of the one by which requests are read, and of those below, by which a test reads what is
answered. So it cannot say what is not so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

import msgspec

from chatferry import __version__
from chatferry.channels.api import PARTS, REQUEST, ROLES


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    """Of what we say, all is known."""


class ErrorDetail(_Answer):
    message: str
    type: Literal[
        "authentication_error", "invalid_request_error", "permission_error", "rate_limit_error", "server_error"
    ]
    param: None
    code: str | None


class Error(_Answer):
    error: ErrorDetail


class Model(_Answer):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(_Answer):
    object: Literal["list"]
    data: list[Model]


class Usage(_Answer):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


Finish = Literal["stop", "length", "content_filter"]


class Reply(_Answer):
    role: Literal["assistant"]
    content: str
    refusal: None


class Choice(_Answer):
    index: int
    message: Reply
    logprobs: None
    finish_reason: Finish


class Completion(_Answer):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Delta(_Answer):
    role: Literal["assistant"] | msgspec.UnsetType = msgspec.UNSET
    content: str | msgspec.UnsetType = msgspec.UNSET


class ChunkChoice(_Answer):
    index: int
    delta: Delta
    finish_reason: Finish | None


class Chunk(_Answer):
    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | msgspec.UnsetType = msgspec.UNSET


_ABOUT = """\
OpenAI's chat completions, with your assistants as models, and conversations that are remembered.

The WebSocket `/v1/stream` takes the same requests as frames, which may bring `api_key`, a key or a token, for whoever
cannot set headers. Its answers are frames `{"delta": "..."}`, last `{"done": true, "finish_reason": "...", "usage":
{...}}`; without `stream` the last one alone, with `content`. `{"restart": true}`: what came is void.
Errors are as here.

Where the caller has a budget, `X-Budget-Remaining-Messages` and `X-Budget-Remaining-Tokens` tell what is left of the
day, before this answer has cost its tokens; on the WebSocket `remaining`, in the last frame.
"""

NOTES: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "Request": {
        "model": {"description": "The name of an assistant; left out: `default`."},
        "messages": {"description": "The last one must be from the user."},
        "session_id": {
            "description": "Chatferry remembers this talk, of this caller: send only what is new. "
            "Without it the messages are the whole context."
        },
        "stream": {"description": "Answer by server-sent events."},
        "max_tokens": {"description": "Of the answer. `max_completion_tokens` goes before it."},
        "n": {"enum": [1, None]},
    },
    "Said": {"role": {"enum": ROLES}},
    "Content": {"type": {"enum": PARTS}},
    "StreamOptions": {"include_usage": {"description": "One chunk more at the end, with the usage."}},
}
"""What is to be said of the fields of a request beside their types."""

_FAULTS = {
    400: ("The body is not valid JSON.", ()),
    401: ("The key or token is missing, wrong, expired or revoked.", ("WWW-Authenticate",)),
    403: ("The key or token lacks the scope.", ("WWW-Authenticate",)),
    404: ("There is no such model.", ()),
    408: ("The body took too long.", ()),
    413: ("The body, or the message, is too large.", ()),
    422: ("It cannot be meant like this.", ()),
    429: ("Too many requests.", ("Retry-After",)),
    502: ("The model gave no answer.", ()),
    503: ("Not now; nothing was kept.", ("Retry-After",)),
}
_HEADERS = {
    "WWW-Authenticate": ("What is wanted, as in RFC 6750.", {"type": "string"}),
    "Retry-After": ("Seconds after which to try again.", {"type": "integer", "minimum": 1}),
}
_ONCE = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A request that is made again with the same key is asked once, and gets the same answer.",
    "schema": {"type": "string", "maxLength": 200, "pattern": "^[ -~]*$"},
}
_EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {
            "type": "string",
            "anyOf": [
                {"const": "[DONE]"},
                {
                    "contentMediaType": "application/json",
                    "contentSchema": {
                        "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Chunk", "Error")]
                    },
                },
            ],
        }
    },
}
"""One event of a stream. OpenAPI has no place for it before 3.2; by custom it is the schema of the stream."""


@cache
def document() -> bytes:
    """The document, as JSON."""
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    answered = {
        "description": "The answer; with `stream` as server-sent events, of which an Error or `[DONE]` is the last.",
        "content": {"application/json": {"schema": _ref("Completion")}, "text/event-stream": {"schema": _EVENT}},
    }
    chat = {
        "operationId": "createChatCompletion",
        "summary": "Ask an assistant",
        "parameters": [_ONCE],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("Request")}}},
        "responses": {"200": answered, **_faults(*_FAULTS)},
    }
    models = {
        "operationId": "listModels",
        "summary": "The assistants that the caller may ask or see",
        "responses": {"200": _said("The models.", "Models"), **_faults(401, 503)},
    }
    model = {
        "operationId": "retrieveModel",
        "summary": "One assistant",
        "parameters": [name],
        "responses": {"200": _said("The model.", "Model"), **_faults(401, 403, 404, 503)},
    }
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Chatferry", "version": __version__, "description": _ABOUT},
            "security": [{"bearer": []}],
            "paths": {
                "/v1/chat/completions": {"post": chat},
                "/v1/models": {"get": models},
                "/v1/models/{name}": {"get": model},
            },
            "components": {
                "schemas": _schemas(),
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key (`cf_...`), or a JWT."}
                },
            },
        }
    )


def _schemas() -> dict[str, Any]:
    types = (REQUEST, Completion, Chunk, Models, Error)
    _, made = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    # What is private to the module that reads requests has names that begin so.
    plain = msgspec.json.encode(made).replace(b"/schemas/_", b"/schemas/").replace(b'"title":"_', b'"title":"')
    schemas: dict[str, Any] = {name.lstrip("_"): schema for name, schema in msgspec.json.decode(plain).items()}
    for name, fields in NOTES.items():
        for field, note in fields.items():
            schemas[name]["properties"][field] |= note
    schemas["Content"]["required"] = ["type"]
    return schemas


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _said(description: str, name: str, headers: Sequence[str] = ()) -> dict[str, Any]:
    told = {
        header: {"description": _HEADERS[header][0], "required": True, "schema": _HEADERS[header][1]}
        for header in headers
    }
    return {"description": description, "headers": told, "content": {"application/json": {"schema": _ref(name)}}}


def _faults(*statuses: int) -> dict[str, Any]:
    return {str(status): _said(_FAULTS[status][0], "Error", _FAULTS[status][1]) for status in statuses}
