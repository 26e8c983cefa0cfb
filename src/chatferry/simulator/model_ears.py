"""The provider's `/audio/transcriptions`: what was sent is noted, and a script says what is heard in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

ENDINGS = ("flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm")
"""Of the names of files that are taken."""


@dataclass(frozen=True)
class Listened:
    """One request as it came in."""

    fields: Mapping[str, str]
    name: str
    media_type: str
    sound: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Deaf:
    """Answer with this status instead."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


class Ears:
    """hears: the sound -> the words. plans: what becomes of the next requests, one each; None: nothing special."""

    def __init__(self, hears: Callable[[bytes], str] = lambda sound: "") -> None:
        self.hears = hears
        self.plans: deque[Deaf | None] = deque()
        self.requests: list[Listened] = []

    async def __call__(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "")
        body = await request.body()
        parsed = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        fields: dict[str, str] = {}
        name = media_type = ""
        sound: bytes | None = None
        for part in parsed.iter_parts() if parsed.is_multipart() else ():
            data = part.get_payload(decode=True)
            given = data if isinstance(data, bytes) else b""
            if part.get_filename():
                name, media_type, sound = part.get_filename() or "", part.get_content_type(), given
            else:
                fields[str(part.get_param("name", header="content-disposition"))] = given.decode("utf-8", "replace")
        if sound is None or "model" not in fields:
            return _error(400, "Missing required parameter: 'file' or 'model'.")
        self.requests.append(Listened(fields, name, media_type, sound, dict(request.headers)))
        if (plan := self.plans.popleft() if self.plans else None) is not None:
            return _error(plan.status, "as planned", plan.headers)
        if name.rpartition(".")[2] not in ENDINGS:
            return _error(400, f"Invalid file format. Supported formats: {', '.join(ENDINGS)}")
        return JSONResponse({"text": self.hears(sound)})


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": error}, status, headers)
