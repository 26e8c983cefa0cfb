"""A thin client for LINE's Messaging API: one call, and what its failure means.

The official SDK is not used because it costs 0.7 s and 60 MB at import for the few calls that are needed.
"""

from __future__ import annotations

from typing import Any, TypeVar

import aiohttp
import msgspec
from pydantic import SecretStr

from chatferry.channels.download import capped
from chatferry.errors import Ambiguous, Fault, Final, Gone, NoLeave, TooLarge, TryLater

TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
DOWNLOAD_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=5)

CONSOLE = "https://developers.line.biz/console/"


class Sent(msgspec.Struct):
    id: str = ""


class Detail(msgspec.Struct):
    message: str | None = None
    property: str | None = None


class Told(msgspec.Struct):
    """What reply and push answer, and what every error looks like (`ErrorResponse` in messaging-api.yml)."""

    message: str = ""
    details: list[Detail] | None = None
    sentMessages: list[Sent] | None = None

    def __str__(self) -> str:
        details = "; ".join(f"{detail.property or '?'}: {detail.message or '?'}" for detail in self.details or ())
        return f"{self.message} ({details})" if details else self.message


_Shape = TypeVar("_Shape")


class LineApi:
    """Calls with the channel's token. It goes to the configured hosts only: redirects are not followed."""

    def __init__(self, token: SecretStr, base: str, data_base: str, http: aiohttp.ClientSession) -> None:
        self._token = token
        self._base = base.rstrip("/")
        self._data_base = data_base.rstrip("/")
        self._http = http

    async def post(self, path: str, body: Any, *, key: str = "", once: bool = False) -> tuple[int, bytes]:
        """Status and body of any answer, good or bad.

        Raises `TryLater` when no answer came; with `once`, for a call that must not simply be made again,
        `Ambiguous` unless it is certain that LINE never saw it.
        """
        headers = {"Content-Type": "application/json"} | ({"X-Line-Retry-Key": key} if key else {})
        return await self._call("POST", path, data=msgspec.json.encode(body), headers=headers, once=once)

    async def get(self, path: str, shape: type[_Shape]) -> _Shape:
        """The answer, read as `shape`. Raises as `fault` says."""
        status, body = await self._call("GET", path)
        if status != 200:
            raise fault(path, status, body)
        try:
            return msgspec.json.decode(body, type=shape)
        except msgspec.MsgspecError as error:
            raise TryLater(f"LINE {path}: not the answer that is documented") from error

    async def content(self, message_id: str, limit: int) -> bytes:
        """The bytes of a message that is not text. `TryLater` while LINE still prepares them (202)."""
        path = f"/v2/bot/message/{message_id}/content"
        try:
            async with self._http.get(
                self._data_base + path, headers=self._auth(), timeout=DOWNLOAD_TIMEOUT, allow_redirects=False
            ) as answer:
                if answer.status == 202:
                    raise TryLater(f"LINE {path}: not ready yet", after=2.0)
                if answer.status != 200:
                    raise fault(path, answer.status, await answer.content.read(10_000))
                data = await capped(answer, limit)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TryLater(f"LINE {path}: {_named(error)}") from error
        if data is None:
            raise TooLarge(f"LINE {path}: more than {limit} bytes")
        return data

    async def _call(
        self,
        method: str,
        path: str,
        *,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        once: bool = False,
    ) -> tuple[int, bytes]:
        try:
            async with self._http.request(
                method,
                self._base + path,
                data=data,
                headers=self._auth() | (headers or {}),
                timeout=TIMEOUT,
                allow_redirects=False,
            ) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:  # nothing was sent
            raise TryLater(f"LINE {path}: {_named(error)}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise (Ambiguous if once else TryLater)(f"LINE {path}: {_named(error)}") from error

    def _auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token.get_secret_value()}"}


def told(body: bytes) -> Told:
    """An error's body; an empty one where something between us and LINE answered in its own words."""
    try:
        return msgspec.json.decode(body, type=Told)
    except (msgspec.MsgspecError, UnicodeError):
        return Told()


def fault(path: str, status: int, body: bytes) -> Fault:
    """What a refusal means, by status and, where LINE leaves no other way, by its words.

    Statuses: the Messaging API reference, "Status codes" and "Error responses". There are no numeric codes and no
    Retry-After header. A person who blocked us is no error (FAQ "Message": 200, and nothing is sent or counted).
    """
    said = told(body)
    reason = f"LINE {path}: {status} {said}".rstrip()
    match status:
        case 400 if said.message == "Invalid reply token":
            return NoLeave(reason)
        # FAQ "Message": the id does not exist, or belongs to another provider's accounts.
        case 400 if said.message == "Failed to send messages" or said.message.startswith("The property, 'to',"):
            return Gone(reason)
        case 401:
            return Final(f"{reason} (`chatferry check` says what to do)")
        case 403:
            return Final(f"{reason}. This account's plan does not include the call")
        case 429 if "monthly limit" in said.message:
            return NoLeave(reason)
        case 429:
            return TryLater(reason)
        case _ if status >= 500:
            return TryLater(reason)
    return Final(reason)


def _named(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
