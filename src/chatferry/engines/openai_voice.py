"""OpenAI's audio transcriptions, which many local servers speak too: a voice message in, its words out."""

from __future__ import annotations

import io
import struct
from collections.abc import AsyncIterator

import aiohttp
import msgspec

from chatferry.channels.download import capped
from chatferry.clock import Clock, SystemClock
from chatferry.config import ModelSettings
from chatferry.engines import faults
from chatferry.errors import Fault, Final, TryLater
from chatferry.model import Finding

_ENDINGS = {
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/webm": "webm",
}
"""By the name's ending the server knows how to decode it."""
_WHOLE = 1 << 20
"""Bytes of an answer."""
_HALF_A_SECOND = 8000
"""Samples."""
_SILENCE = (
    b"RIFF" + struct.pack("<I", 36 + 2 * _HALF_A_SECOND) + b"WAVEfmt "
    + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    + b"data" + struct.pack("<I", 2 * _HALF_A_SECOND) + bytes(2 * _HALF_A_SECOND)
)  # fmt: skip


class _Heard(msgspec.Struct):
    text: str = ""


class Transcription:
    """One model behind one OpenAI-compatible API."""

    def __init__(
        self, name: str, settings: ModelSettings, http: aiohttp.ClientSession, clock: Clock | None = None
    ) -> None:
        self.name = name
        self._model = settings.model
        self._key = settings.api_key.get_secret_value() if settings.api_key else ""
        self._url = settings.base_url.rstrip("/") + "/audio/transcriptions"
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout)
        self._http = http
        self._clock = clock or SystemClock()

    async def listen(self, sound: bytes, media_type: str, language: str) -> str:
        """See `Listener.listen`."""
        form = aiohttp.FormData()
        form.add_field("model", self._model)
        if language:
            form.add_field("language", language)
        form.add_field("response_format", "json")
        name = f"voice.{_ENDINGS.get(media_type, 'bin')}"
        form.add_field("file", io.BytesIO(sound), filename=name, content_type=media_type)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            async with self._http.post(
                self._url, data=form, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as answer:
                body = await capped(answer, _WHOLE)
                if answer.status >= 300:
                    raise self._refusal(answer, body or b"")
        except TimeoutError as error:
            raise faults.Unreached(f"{self.name}: no words within {self._timeout.total:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            told = faults.scrub(str(error), self._key)
            raise faults.Unreached(f"{self.name}: {type(error).__name__}: {told}") from error
        if body is None:
            raise Final(f"{self.name}: an answer of more than {_WHOLE} bytes")
        try:
            return msgspec.json.decode(body, type=_Heard).text
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TryLater(f"{self.name}: sent what is no transcription") from error

    async def check(self) -> AsyncIterator[Finding]:
        subject, began = f"model {self.name}", self._clock.now()
        try:
            await self.listen(_SILENCE, "audio/wav", "")
        except Fault as fault:
            yield Finding(False, subject, str(fault), faults.mend(fault))
        else:
            yield Finding(True, subject, f"{self._model} listened for {self._clock.now() - began:.1f} s")

    def _refusal(self, answer: aiohttp.ClientResponse, body: bytes) -> Fault:
        after = faults.retry_after(answer.headers, self._clock.now())
        error = faults.said(faults.read(body))
        return faults.fault(self.name, answer.status, error, after=after, secret=self._key)
