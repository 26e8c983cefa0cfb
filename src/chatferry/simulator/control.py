"""The control API of a simulator, `/_sim/...`: for a page, and for tests in other processes or languages.

POST /_sim/<act>           what a person does, with JSON as arguments (bytes in Base64); `?wait=no`: 202 at once,
                           unless it fails at once. If it fails later, the scene has a `fault`
GET  /_sim/state           what the simulator shows of itself
GET  /_sim/scene           all facts of its scene
GET  /_sim/file/<id>       what somebody sent
POST /_sim/weather         what goes wrong from now on
"""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from chatferry.simulator.scene import Scene
from chatferry.simulator.weather import Changing

PREFIX = "/_sim/"
Act = Callable[..., Awaitable[object]]

# Signatures of what browsers show. Anything else that somebody sent is only for saving.
_PICTURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}


class Control:
    """Acts by name; `state` is what can be looked at; `file` finds what somebody sent."""

    def __init__(
        self,
        platform: str,
        acts: Mapping[str, Act],
        *,
        scene: Scene,
        weather: Changing,
        state: Callable[[], object],
        file: Callable[[str], bytes | None],
    ) -> None:
        self._platform = platform
        self._acts = {"weather": self._weather, **acts}
        self._scene = scene
        self._its_weather = weather
        self._state = state
        self._file = file
        self._tasks: set[asyncio.Task[object]] = set()

    async def answer(self, request: Request, path: str, body: bytes) -> Response:
        """Answer a call of `path`, which begins with `/_sim/`."""
        name, _, rest = path.removeprefix(PREFIX).partition("/")
        if name == "state":
            return told(self._state())
        if name == "scene":
            return told(self._scene.all())
        if name == "file" and rest:
            return _shown(self._file(rest))
        act = self._acts.get(name)
        if act is None:
            return _fault(404, f"no such act; there are {', '.join(self._acts)}")
        if request.method != "POST":  # an image on anybody's page is fetched by GET
            return _fault(405, "acts are by POST")
        try:
            given = _arguments(act, json.loads(body or b"{}"))
        except (ValueError, TypeError, RecursionError, msgspec.ValidationError) as fault:
            return _fault(400, str(fault))
        task = asyncio.ensure_future(act(**given))
        if request.query_params.get("wait") == "no":
            await asyncio.sleep(0)
            if not task.done():
                watched = asyncio.create_task(self._watch(name, task))
                self._tasks.add(watched)
                watched.add_done_callback(self._tasks.discard)
                return told({}, 202)
        try:
            return told(await task)
        except (ValueError, LookupError) as fault:
            return _fault(400, str(fault))

    async def _watch(self, name: str, act: Awaitable[object]) -> None:
        """Let the scene have what becomes of an act that nobody waits for, if it fails."""
        try:
            await act
        except (ValueError, LookupError) as fault:
            self._scene.put(
                "fault", f"{self._platform}/{name}", platform=self._platform, why=str(fault), at=time.time()
            )

    def put_weather(self) -> None:
        """Let the scene have what goes wrong now."""
        self._scene.put("weather", self._platform, platform=self._platform, **asdict(self._its_weather))

    async def close(self) -> None:
        """Let go of what nobody waits for."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _weather(self, **changes: Any) -> object:
        self._its_weather.change(**changes)
        self.put_weather()
        return asdict(self._its_weather)


def _arguments(act: Act, given: Any) -> dict[str, Any]:
    """What an act is called with, each of the type that it asks for. Raises ValueError or TypeError."""
    if not isinstance(given, dict):
        raise ValueError("the body must be a JSON object")
    signature, hints = inspect.signature(act), get_type_hints(act)
    signature.bind(**given)
    return {
        name: msgspec.convert(value, hints[name], str_keys=True) if name in signature.parameters else value
        for name, value in given.items()
    }


def told(what: object, status: int = 200) -> Response:
    """Anything as JSON; bytes as text, as far as they are."""
    return Response(json.dumps(what, default=_plain, ensure_ascii=True), status, media_type="application/json")


def _plain(what: Any) -> Any:
    if is_dataclass(what) and not isinstance(what, type):
        return asdict(what)
    if isinstance(what, bytes):
        return what.decode("utf-8", "replace")
    if isinstance(what, set | frozenset | tuple):
        return list(what)
    return str(what)


def _fault(status: int, why: str) -> Response:
    return told({"error": why}, status)


def _shown(data: bytes | None) -> Response:
    if data is None:
        return _fault(404, "no such file")
    media = next((media for head, media in _PICTURES.items() if data.startswith(head)), "application/octet-stream")
    return Response(data, media_type=media, headers={"X-Content-Type-Options": "nosniff"})
