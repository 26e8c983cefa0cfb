"""The OpenAI-compatible API as a channel: its requests are events, its answers are fetched by whoever asked.

The wire format is OpenAI's chat completions (platform.openai.com/docs/api-reference/chat), with one field more:
`session_id`, for a conversation that the gateway remembers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from chatferry.access import Caller, Keys, asking
from chatferry.channels.base import Capabilities, Hook, Taken
from chatferry.config import ApiSettings
from chatferry.errors import Final, Rejected, TooLarge
from chatferry.model import File, Finding, Grant, Inbound, Message, Options, Part, Receipt, Role, Text

if TYPE_CHECKING:
    from chatferry.channels.api_tokens import Tokens

_Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class _Image(msgspec.Struct):
    url: str = ""


class _Sound(msgspec.Struct):
    data: str = ""


class _Attached(msgspec.Struct):
    filename: str = ""
    file_data: str = ""


class _Content(msgspec.Struct):
    type: str = ""
    text: str = ""
    image_url: _Image | None = None
    input_audio: _Sound | None = None
    file: _Attached | None = None


class _Said(msgspec.Struct):
    role: str
    content: str | list[_Content] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Request(msgspec.Struct):
    messages: Annotated[list[_Said], msgspec.Meta(min_length=1, max_length=2000)]
    model: str = ""
    # It becomes part of the conversation's key, and not every database takes control characters in a text.
    session_id: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")] | None = None
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
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
REQUEST, ROLES, PARTS = _Request, tuple(_ROLES), ("text", "image_url", "input_audio", "file")
"""What a body is read by, and what may stand in it as `role` and `type`, for whoever tells others about it."""


class Api:
    """All callers of the API together: `name` is always `api`.

    keys: those that are made at run time. tokens: how users of others are known.
    """

    name = "api"
    caps = Capabilities(batch=0, markdown=True, live=True)

    def __init__(
        self,
        settings: ApiSettings,
        assistants: frozenset[str],
        keys: Keys | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._made = keys
        self._longest = settings.message
        self._tokens = tokens
        self._keys = [_digest(key.get_secret_value().encode()) for key in settings.keys]
        self._assistants = assistants

    def take(self, hook: Hook) -> Taken:
        """The event of one request, as far as what we have at hand tells who is asking."""
        given = _given(hook.headers)
        caller = self._keyed(given) or self._tokened(given)
        return Taken((self.read(hook.body, caller, hook.headers.get("idempotency-key", ""), hook.at).inbound,))

    async def caller(self, headers: Mapping[str, str], *, key: str = "") -> Caller:
        """Who is asking. `key`, which may be a token too, counts where no header brings one.

        Raises Rejected with 401, or 503 where that cannot be told now.
        """
        given = _given(headers, key)
        if (caller := self._keyed(given)) is not None:
            return caller
        if self._tokens is not None and self._tokens.like(given):
            await self._tokens.learn(given)
        return self._tokened(given)

    def _keyed(self, given: str) -> Caller | None:
        digest = _digest(given.encode())
        # All keys are compared, by digests of one length, so that time tells nothing.
        if sum([hmac.compare_digest(digest, known) for known in self._keys]):
            return Caller(digest[:12])
        return self._made.find(given) if self._made is not None else None

    def _tokened(self, given: str) -> Caller:
        if self._tokens is not None and self._tokens.like(given):
            return self._tokens.read(given)
        raise Rejected(
            401,
            "missing or wrong API key: send `Authorization: Bearer KEY`",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def read(self, body: bytes, caller: Caller, idempotency_key: str = "", at: float = 0.0) -> Call:
        """What a body asks for; unknown fields are ignored.

        Raises Rejected with 400, 403, 404, 413 or 422, and nothing else.
        """
        request = _decoded(body)
        assistant = request.model or "default"
        if assistant not in self._assistants:
            known = ", ".join(filter(caller.sees, sorted(self._assistants)))
            raise Rejected(404, f"there is no such model; known: {known}", code="model_not_found")
        if not caller.asks(assistant):
            raise lacking(asking(assistant))
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
        if self._longest is not None and len(message.text) > self._longest:
            told = f"the message is longer than {self._longest} characters: send a shorter one"
            raise Rejected(413, told, code="message_too_long")
        event = f"{caller.name}/{idempotency_key}" if idempotency_key else uuid.uuid4().hex
        inbound = Inbound(
            event=event,
            conversation=f"{caller.name}/{request.session_id}" if request.session_id else f"once/{event}",
            message=message,
            sender=caller.name,
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

    async def download(self, file: File, limit: int) -> bytes:
        """`ref` is the file itself."""
        if not file.ref:
            raise Final("this file did not come with the request")
        if len(file.ref) * 3 // 4 > limit + 2:
            raise TooLarge(f"a file of about {len(file.ref) * 3 // 4} bytes")
        try:
            return base64.b64decode(file.ref, validate=True)
        except ValueError as error:
            raise Final("a file that is no base64") from error

    async def check(self, hook_url: str | None) -> AsyncIterator[Finding]:
        told = f"{len(self._keys)} key(s) in the configuration, {len(self._assistants)} assistant(s)"
        yield Finding(True, "channel api", told)
        if self._tokens is not None:
            async for finding in self._tokens.check():
                yield finding

    async def keep(self) -> None:
        """Have what tokens are verified with, until cancelled."""
        if self._tokens is not None:
            await self._tokens.keep()


def lacking(scope: str) -> Rejected:
    """Somebody whom we know asks for what their key was not made for."""
    challenge = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
    return Rejected(403, f"this key lacks the scope `{scope}`", code="missing_scope", headers=challenge)


def _given(headers: Mapping[str, str], key: str = "") -> str:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else key


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
    match content.type:
        case "image_url" if content.image_url is not None:
            return File("image", _inline(content.image_url.url, "`image_url`"))
        case "input_audio" if content.input_audio is not None:
            return File("audio", _base64(content.input_audio.data, "`input_audio`"))
        case "file" if content.file is not None:
            name = "".join(filter(str.isprintable, content.file.filename))[:200]
            return File("file", _inline(content.file.file_data, "`file_data`"), name)
        case "image_url" | "input_audio" | "file":
            raise _invalid(f"a part of the `type` {content.type} needs a `{content.type}`")
    raise _invalid("the `type` of a part must be one of text, image_url, input_audio, file")


def _inline(url: str, name: str) -> str:
    """The base64 in a data URL. An address in a request is nothing to be trusted with: it is not fetched."""
    head = _DATA_URL.match(url)
    if head is None:
        raise _invalid(f"{name} must be inline, as `data:TYPE;base64,DATA`: addresses and file ids are not fetched")
    return _base64(url[head.end() :], name)


def _base64(data: str, name: str) -> str:
    if not _BASE64.fullmatch(data):
        raise _invalid(f"{name} must hold base64")
    return data


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
