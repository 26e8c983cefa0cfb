"""The OpenAI-compatible API as a channel: its requests are events, its answers are fetched by whoever asked.

The wire format is OpenAI's chat completions (platform.openai.com/docs/api-reference/chat), with one field more:
`session_id`, for a conversation that the gateway remembers.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated

import msgspec

from chatferry.channels.base import Capabilities, Hook, Taken
from chatferry.config import ApiSettings
from chatferry.errors import Final, Rejected
from chatferry.model import File, Finding, Grant, Inbound, Message, Options, Part, Receipt, Role, Text

_Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class _Content(msgspec.Struct):
    type: str = ""
    text: str = ""


class _Said(msgspec.Struct):
    role: str
    content: str | list[_Content] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Request(msgspec.Struct):
    messages: Annotated[list[_Said], msgspec.Meta(min_length=1, max_length=2000)]
    model: str = ""
    # It becomes part of the conversation's key, and not every database takes control characters in a text.
    session_id: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\Z")] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop: str | Annotated[list[str], msgspec.Meta(max_length=4)] | None = None
    n: int | None = None


class Call(msgspec.Struct, frozen=True):
    """A request that was read: the event that it is, and how its caller wants to have the answer."""

    inbound: Inbound
    stream: bool = False
    include_usage: bool = False
    fleeting: bool = False
    """Nobody could fetch the answer later: if the caller leaves, it need not be finished."""


_request = msgspec.json.Decoder(_Request)
_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
# Named to the model, not fetched: an address in a request is nothing to be trusted with.
_FILES: Mapping[str, File] = {
    "image_url": File("image", ""),
    "input_audio": File("audio", ""),
    "file": File("file", ""),
}


class Api:
    """All keys of the API together: `name` is always `api`."""

    name = "api"
    caps = Capabilities(batch=0, markdown=True, live=True)

    def __init__(self, settings: ApiSettings, assistants: frozenset[str]) -> None:
        self._keys = [_digest(key.get_secret_value().encode()) for key in settings.keys]
        self._assistants = assistants

    def take(self, hook: Hook) -> Taken:
        """The event of one request; `caller` and `read` are its two halves."""
        caller = self.caller(hook.headers)
        return Taken((self.read(hook.body, caller, hook.headers.get("idempotency-key", ""), hook.at).inbound,))

    def caller(self, headers: Mapping[str, str], *, key: str = "") -> str:
        """Who is asking: a short name of the key, fit for logs. `key` counts where no header brings one.

        Raises Rejected(401).
        """
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = _digest((bearer.strip() if scheme.lower() == "bearer" else key).encode())
        # All keys are compared, by digests of one length, so that time tells nothing.
        if not sum([hmac.compare_digest(given, known) for known in self._keys]):
            raise Rejected(
                401,
                "missing or wrong API key: send `Authorization: Bearer KEY`",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return given[:12]

    def read(self, body: bytes, caller: str, idempotency_key: str = "", at: float = 0.0) -> Call:
        """What a body asks for; unknown fields are ignored. Raises Rejected with 400, 404 or 422, and nothing else."""
        request = _decoded(body)
        assistant = request.model or "default"
        if assistant not in self._assistants:
            known = ", ".join(sorted(self._assistants))
            raise Rejected(404, f"there is no such model; known: {known}", code="model_not_found")
        if request.n not in (None, 1):
            raise _invalid("`n` can only be 1")
        if len(idempotency_key) > 200 or not (idempotency_key.isascii() and idempotency_key.isprintable()):
            raise _invalid("`Idempotency-Key` must be up to 200 printable ASCII characters")
        said = [_message(said) for said in request.messages]
        system = "\n\n".join(message.text for message in said if message.role == "system")
        talk = [message for message in said if message.role != "system"]
        if not talk or talk[-1].role != "user":
            raise _invalid("the last of `messages` must be from the user")
        message, context = (_news(talk), None) if request.session_id else (talk[-1], tuple(talk[:-1]))
        if not message.text.strip() and not any(isinstance(part, File) for part in message.parts):
            raise _invalid("the last of `messages` is empty")
        event = f"{caller}/{idempotency_key}" if idempotency_key else uuid.uuid4().hex
        inbound = Inbound(
            event=event,
            conversation=f"{caller}/{request.session_id}" if request.session_id else f"once/{event}",
            message=message,
            sender=caller,
            assistant=assistant,
            context=context,
            system=system,
            options=_options(request),
        )
        return Call(
            # The same question has the same `ref`, however its answer is to be shown.
            # A key is a program's: who is behind it, its sessions tell.
            msgspec.structs.replace(
                inbound, ref=_digest(msgspec.json.encode(inbound)), at=at, person=inbound.conversation
            ),
            stream=bool(request.stream),
            include_usage=request.stream_options is not None and request.stream_options.include_usage,
            fleeting=not idempotency_key and not request.session_id,
        )

    async def send(
        self, address: str, messages: Sequence[Message], *, key: str, grant: Grant | None
    ) -> Sequence[Receipt]:
        raise Final("answers of the API are fetched, not sent")

    async def may_push(self) -> bool:
        return False

    async def typing(self, address: str) -> None:
        """There is nobody to show it to."""

    async def download(self, file: File) -> bytes:
        raise Final("the API takes no files")

    async def check(self, hook_url: str | None) -> AsyncIterator[Finding]:
        yield Finding(True, "channel api", f"{len(self._keys)} key(s), {len(self._assistants)} assistant(s)")


def _decoded(body: bytes) -> _Request:
    try:
        return _request.decode(body)
    except msgspec.ValidationError as fault:
        raise _invalid(str(fault)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Rejected(400, "the body is not valid JSON", code="invalid_json") from None


def _invalid(reason: str) -> Rejected:
    return Rejected(422, reason, code="invalid_value")


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


def _message(said: _Said) -> Message:
    role = _ROLES.get(said.role)
    if role is None:
        raise _invalid(f"`role` must be one of {', '.join(_ROLES)}")
    if isinstance(said.content, str):
        return Message(role, (Text(said.content),))
    return Message(role, tuple(_part(content) for content in said.content or ()))


def _part(content: _Content) -> Part:
    if content.type == "text":
        return Text(content.text)
    if content.type not in _FILES:
        raise _invalid(f"the `type` of a part must be one of text, {', '.join(_FILES)}")
    return _FILES[content.type]


def _news(talk: Sequence[Message]) -> Message:
    """What is new in a session: the user's words after the last answer. What came before, the gateway remembers."""
    new: list[Message] = []
    for message in reversed(talk):
        if message.role == "assistant":
            break
        new.append(message)
    return Message("user", tuple(part for message in reversed(new) for part in message.parts))


def _options(request: _Request) -> Options:
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    return Options(
        max_tokens=request.max_completion_tokens or request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        stop=tuple(filter(None, stop)),
    )
