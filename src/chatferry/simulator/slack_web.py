"""The simulated Slack's web server: the API, response URLs, files and the page that installs the app."""

from __future__ import annotations

import base64
import json
import time
from collections import defaultdict, deque
from dataclasses import replace
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from chatferry.simulator import slack_calls as calls
from chatferry.simulator import slack_rules as rules
from chatferry.simulator.scene import Exchange, known
from chatferry.simulator.slack_chat import composed, respond
from chatferry.simulator.slack_delivery import Courier, envelope
from chatferry.simulator.slack_people import TEAM
from chatferry.simulator.slack_records import Call, Fault
from chatferry.simulator.slack_rules import Json, Refused
from chatferry.simulator.slack_state import State

LIMITED_SECONDS = 1
"""What Retry-After says in a weather of 429."""


class Web:
    """What the app calls. No response means: the connection closes without one."""

    def __init__(self, sim: State, courier: Courier) -> None:
        self._sim = sim
        self._courier = courier
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)

    async def answer(self, request: Request, body: bytes) -> Response | None:
        match request.url.path.split("/")[1:]:
            case ["api", method]:
                return await self._api(request, method, body)
            case ["response", id]:
                return await self._late(request, id, body)
            case ["files", id, _]:
                return self._file(request, id)
            case ["oauth", "v2", "authorize"]:
                return self._authorize(request)
        return PlainTextResponse("not found", 404)

    async def _api(self, request: Request, method: str, body: bytes) -> Response | None:
        sim = self._sim
        call = Call(method, {}, sim.clock(), _bearer(request))
        sim.calls.append(call)
        malformed = None
        try:
            call.fields = calls.read(request.headers.get("content-type", ""), request.url.query, body)
            call.token = call.token or str(call.fields.pop("token", ""))
            call.fields |= _basic(request)
        except Refused as refused:
            malformed = refused
        exchange = self._begin(request, body, call.fields)
        start = time.monotonic()
        sim.changed()
        fault = await self._goes_wrong(request, method)
        if fault.lose:
            self._end(exchange, start, None, "unanswered")
            return None
        headers = {"x-oauth-scopes": ",".join(sim.scopes)}
        try:
            _refuse(fault)
            if malformed:
                raise malformed
            call.answer, status = calls.answer(sim, call), 200
        except Refused as refused:
            call.answer, call.error, status = refused.body, refused.body["error"], refused.status
            if refused.retry_after:
                headers["Retry-After"] = str(refused.retry_after)
        while sim.outbox:
            team, event = sim.outbox.pop(0)
            self._courier.later(envelope(sim, event, team))
        response = None if fault.drop else JSONResponse(call.answer, status, headers)
        call.status = 0 if fault.drop else status
        written = call.answer.get("ts") or call.answer.get("message_ts")
        exchange = replace(exchange, message=written) if isinstance(written, str) else exchange
        self._end(exchange, start, response, "lost" if fault.drop else call.error)
        sim.changed()
        return response

    async def _late(self, request: Request, id: str, body: bytes) -> Response | None:
        """What is posted to a response_url."""
        leave = self._sim.responses.get(id)
        about = {"channel": leave.room.id} if leave else {}
        exchange, start = self._begin(request, body, about), time.monotonic()
        fault = await self._goes_wrong(request, "response")
        if fault.lose:
            self._end(exchange, start, None, "unanswered")
            return None
        try:
            _refuse(fault)
            ts = self._responded(id, body)
            response: Response = PlainTextResponse("ok")
            error, exchange = "", replace(exchange, message=ts)
        except Refused as refused:
            headers = {"Retry-After": str(refused.retry_after)} if refused.retry_after else None
            response, error = JSONResponse(refused.body, refused.status, headers), refused.body["error"]
        self._end(exchange, start, None if fault.drop else response, "lost" if fault.drop else error)
        self._sim.changed()
        return None if fault.drop else response

    def _responded(self, id: str, body: bytes) -> str:
        """Show the answer; returns its `ts`. Raises Refused."""
        sim, leave = self._sim, self._sim.responses.get(id)
        old = leave is None or sim.clock() - leave.born > rules.RESPONSE_URL_SECONDS
        if leave is None or old or leave.uses >= rules.RESPONSE_URL_USES:
            raise Refused("expired_url", status=404)
        leave.uses += 1
        try:
            asked = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            raise Refused("invalid_payload", status=400)
        try:
            if leave.post and asked.get("delete_original"):
                leave.post.deleted = True
            elif leave.post and asked.get("replace_original"):
                said = composed(sim, leave.room, asked)
                leave.post.text, leave.post.blocks, leave.post.stream = said.text, said.blocks, said.stream
                leave.post.edits += 1
            else:
                leave.post = respond(sim, leave, asked)
        except Refused as refused:
            refused.status = 400
            raise
        sim.show(leave.post)
        return leave.post.ts

    async def _goes_wrong(self, request: Request, method: str) -> Fault:
        """What becomes of a call: what was planned for it, else what the weather does."""
        waiting = self.faults[method]
        if waiting:
            fault = waiting.popleft()
            if fault.delay:
                await fault.delay.wait()
            return fault
        match await self._sim.weather.strike(request.receive):
            case "timeout":
                return Fault(lose=True)
            case "429":
                return Fault(status=429, retry_after=LIMITED_SECONDS)
            case "500":
                return Fault(status=500)
            case "lost":
                return Fault(drop=True)
        return Fault()

    def _file(self, request: Request, id: str) -> Response:
        exchange, start, token = self._begin(request, b"", {}), time.monotonic(), _bearer(request)
        if token not in self._sim.workspaces.values() or token in self._sim.dead:
            response: Response = HTMLResponse(
                "<!DOCTYPE html><html><title>Sign in</title></html>"
            )  # as Slack does, with a 200
        elif id not in self._sim.contents:
            response = PlainTextResponse("not found", 404)
        else:
            response = Response(self._sim.contents[id], media_type="application/octet-stream")
        self._end(exchange, start, response, "")
        return response

    def _authorize(self, request: Request) -> Response:
        """Whoever comes here agrees at once. `team` says to which workspace they belong."""
        asked = {name: values[0] for name, values in parse_qs(request.url.query).items()}
        if asked.get("client_id") != self._sim.client_id:
            return PlainTextResponse("invalid client_id", 400)
        back = asked.get("redirect_uri", "")
        code = self._sim.new_code(asked.get("team", TEAM), redirect_uri=back)
        return RedirectResponse(f"{back}?{urlencode({'code': code, 'state': asked.get('state', '')})}", 302)

    def _begin(self, request: Request, body: bytes, fields: Json) -> Exchange:
        headers = known(request.headers, "authorization", "content-type")
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            body = json.dumps(fields, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")
        chat = str(fields.get("channel") or fields.get("channel_id") or "")
        message = str(fields.get("ts") or fields.get("thread_ts") or "")
        now, path = self._sim.clock(), request.url.path
        return self._sim.scene.begin(
            Exchange("slack", "call", request.method, path, now, body, headers, chat=chat, message=message)
        )

    def _end(self, exchange: Exchange, start: float, response: Response | None, reason: str) -> None:
        """None: it was not answered."""
        scene, seconds = self._sim.scene, time.monotonic() - start
        if response is None:
            scene.end(exchange, seconds, 0, reason=reason)
            return
        if "retry-after" in response.headers:
            exchange = replace(exchange, headers={**exchange.headers, "retry-after": response.headers["retry-after"]})
        scene.end(exchange, seconds, response.status_code, reason=reason, answer=bytes(response.body))


def _refuse(fault: Fault) -> None:
    """Raises Refused if that is what goes wrong."""
    if fault.status or fault.error:
        error = fault.error or ("ratelimited" if fault.status == 429 else "internal_error")
        raise Refused(error, status=fault.status or 200, retry_after=fault.retry_after)


def _bearer(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _basic(request: Request) -> Json:
    """Who an app is may also be said as HTTP's own user and password."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme != "Basic":
        return {}
    try:
        client_id, _, secret = base64.b64decode(given).decode().partition(":")
    except ValueError:
        return {}
    return {"client_id": client_id, "client_secret": secret}
