"""Slack as a server: the Web API with its rules on one side, people who chat on the other.

    async with SlackSimulator() as sim, serving(sim) as url:
        sim.url, sim.webhook = url, "http://127.0.0.1:8080/hooks/slack"     # the bot's api_base is `url + "/api"`
        ts = await sim.say("ann", "hello")
        await sim.until(lambda: len(sim.thread(sim.dm("ann"), ts)) == 2)

Or without a webhook: the bot opens a socket. What is refused, and how, is in `slack_rules`; what a method does in
`slack_chat` and `slack_calls`; what people send is in `slack_people`.
"""

from __future__ import annotations

import asyncio
import base64
import mimetypes
import secrets
from collections import defaultdict, deque
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from chatferry.simulator import slack_calls as calls
from chatferry.simulator import slack_people as people
from chatferry.simulator import slack_rules as rules
from chatferry.simulator.slack_chat import composed
from chatferry.simulator.slack_delivery import Courier, envelope, record
from chatferry.simulator.slack_people import APP, BOT, BOT_ID, TEAM
from chatferry.simulator.slack_records import Call, Delivery, Fault, Post, Room
from chatferry.simulator.slack_rules import Json, Refused
from chatferry.simulator.slack_socket import Sockets
from chatferry.simulator.slack_state import State

__all__ = ["APP", "BOT", "BOT_ID", "TEAM", "SlackSimulator"]


@dataclass
class SlackSimulator(State):
    """One app, and everybody who talks with it.

    People are called by name, in workspace `team`; channels by name or id. Without a channel, somebody writes to the
    bot directly. What people do returns once it is delivered, or was tried for the last time; without a webhook and
    before anybody opened a socket (`sockets.connected`), nothing is delivered.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sockets = Sockets(self.tickets, self.changed)
        self._courier = Courier(self, self.sockets)
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._tasks: set[asyncio.Task[object]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._courier.close()

    # What people do.

    async def say(
        self,
        who: str,
        text: str,
        *,
        channel: str | None = None,
        thread: str | None = None,
        mention: bool = False,
        files: Mapping[str, bytes] | None = None,
        subtype: str = "",
        team: str = TEAM,
    ) -> str:
        """A person writes; returns the message's `ts`. `text` as Slack has it: escaped, with ids for who is named.

        A message that names the bot (`mention`: put in front) makes two events. Where the bot is absent: none.
        """
        room = self._place(who, channel, team)
        bot = f"<@{people.bot_user(team)}>"
        post = Post(self.new_ts(), room.id, self.user(who, team=team), f"{bot} {text}" if mention else text)
        post.thread_ts, post.at, post.subtype = thread or "", self.clock(), subtype
        if who in self.bots:
            post.bot = people.address("U", who, team).replace("U", "B", 1)
        if files:
            post.subtype = post.subtype or "file_share"
            post.files = [self._upload(name, data) for name, data in files.items()]
        room.put(post)
        self.changed()
        events = [people.written(post, room)]
        if bot in post.text and room.id[0] != "D":
            events.insert(0 if self.mention_first else 1, people.mentioned(events[0]))
        for event in events:
            await self._tell(room, event)
        return post.ts

    async def edit(self, who: str, channel: str, ts: str, text: str, *, team: str = TEAM) -> None:
        """A person changes a message of their own."""
        room = self._place(who, channel, team)
        post = room.posts[ts]
        if post.user != self.user(who, team=team):
            raise ValueError(f"{who} did not write {ts}")
        before = people.wire(post, room)
        post.text, post.edits, post.edited_at = text, post.edits + 1, self.clock()
        self.changed()
        await self._tell(room, people.changed(before, post, room, self.new_ts()))

    async def delete(self, who: str, channel: str, ts: str, *, team: str = TEAM) -> None:
        """A person deletes a message: their own or, as an admin may, anybody's."""
        room = self._place(who, channel, team)
        post = room.posts[ts]
        before = people.wire(post, room)
        post.deleted, post.streaming = True, False
        self.changed()
        await self._tell(room, people.deleted(before, room, self.new_ts()))

    async def shortcut(self, who: str, callback_id: str, channel: str, ts: str, *, team: str = TEAM) -> str:
        """A person picks a message's shortcut; returns the trigger that came with it."""
        room = self._place(who, channel, team)
        post = room.posts[ts]
        trigger = self.new_trigger(self.user(who, team=team), team)
        more = {"callback_id": callback_id, "message_ts": ts, "message": people.wire(post, room)}
        url = self.new_response_url(room, self.user(who, team=team), post)
        await self._interact("message_action", who, room, team, **more, trigger_id=trigger, response_url=url)
        return trigger

    async def click(self, who: str, channel: str, ts: str, value: str, *, team: str = TEAM) -> Delivery:
        """A person clicks the button with this value. Raises LookupError if the message shows none."""
        room = self._place(who, channel, team)
        post = room.posts[ts]
        found = [] if post.deleted else [pair for pair in post.clickable() if pair[1].get("value") == value]
        if not found:
            raise LookupError(f"no button {value!r} on {post.markdown!r}")
        block, button = found[0]
        now = self.new_ts()
        action = {name: button[name] for name in ("type", "action_id", "text", "value", "style") if name in button}
        where = {"type": "message", "message_ts": ts, "channel_id": room.id, "is_ephemeral": False}
        return await self._interact(
            "block_actions",
            who,
            room,
            team,
            container=where | ({"thread_ts": post.thread_ts} if post.thread_ts else {}),
            trigger_id=self.new_trigger(self.user(who, team=team), team),
            message=people.wire(post, room),
            state={"values": {}},
            response_url=self.new_response_url(room, self.user(who, team=team), post),
            actions=[{"action_id": "button", "block_id": block.get("block_id", "block"), **action, "action_ts": now}],
        )

    async def submit(self, who: str, view: Json | None = None, *, team: str = TEAM) -> Delivery:
        """A person confirms the dialog that is open, which then closes unless the answer says otherwise."""
        user = self.user(who, team=team)
        view = view or self.views[user]
        trigger = self.new_trigger(user, team)
        delivery = await self._interact("view_submission", who, None, team, trigger_id=trigger, view=view)
        action = delivery.answer.get("response_action") if isinstance(delivery.answer, dict) else None
        if action == "update":
            self.views[user] = view | delivery.answer["view"]
        elif action != "errors" and delivery.status:
            self.views.pop(user, None)
        return delivery

    async def command(
        self, who: str, name: str, text: str = "", *, channel: str | None = None, team: str = TEAM
    ) -> Any:
        """A person uses a slash command; returns what it was answered, which is shown if it is a message."""
        room, user = self._place(who, channel, team), self.user(who, team=team)
        more = {"trigger_id": self.new_trigger(user, team), "response_url": self.new_response_url(room, user)}
        payload = people.command(name, text, user, who, room, self.enterprise, **more)
        answer = (await self._courier.deliver(record(self, "slash_commands", payload))).answer
        if isinstance(answer, dict) and (answer.get("text") or answer.get("blocks")):
            self._respond(room, user, answer)
        return answer

    async def stop_session(self, who: str, channel: str | None, thread: str, *, team: str = TEAM) -> Delivery:
        """A person presses Slack's own stop: streams in the thread take nothing more, and the app is told."""
        room, user = self._place(who, channel, team), self.user(who, team=team)
        growing = [post for post in self.thread(room.id, thread) if post.streaming]
        for post in growing:
            post.stopped_by = user
        self.changed()
        event = {"type": "agent_session_stopped", "user": user, "channel": room.id, "thread_ts": thread}
        event |= {"message_ts": growing[-1].ts} if growing else {}
        many = {"streaming_message_ts": [post.ts for post in growing], "event_ts": self.new_ts(), "team_id": team}
        return await self._courier.deliver(envelope(self, event | many, team))

    async def app_uninstalled(self, *, team: str = TEAM) -> Delivery:
        """A workspace removes the app: its token is of no more use."""
        self.dead[self.workspaces[team]] = "account_inactive"
        return await self._happens({"type": "app_uninstalled"}, team)

    async def tokens_revoked(self, *, team: str = TEAM) -> Delivery:
        self.dead[self.workspaces[team]] = "token_revoked"
        return await self._happens(
            {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [people.bot_user(team)]}}, team
        )

    async def tell(self, event: Json, *, team: str = TEAM) -> Delivery:
        """Any other event, as it is."""
        return await self._happens(event, team)

    async def deliver_again(self, delivery: Delivery) -> Delivery:
        """The same event once more, as Slack does when it missed the first answer."""
        return await self._courier.deliver(record(self, delivery.kind, delivery.payload), again=True)

    async def refresh_socket(self) -> None:
        """Ask for new connections in the place of those that are open."""
        await self.sockets.disconnect("refresh_requested")

    def _place(self, who: str, channel: str | None, team: str) -> Room:
        if channel is None:
            return self.rooms[self.dm(who, team=team)]
        return self.at(channel, team=team)

    def _upload(self, name: str, data: bytes) -> Json:
        id = f"F{secrets.token_hex(5).upper()}"
        self.contents[id] = data
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return people.file(id, name, len(data), kind, self.url)

    async def _tell(self, room: Room, event: Json) -> None:
        if not self.is_absent(room):
            await self._courier.deliver(envelope(self, event, room.team))

    async def _happens(self, event: Json, team: str) -> Delivery:
        return await self._courier.deliver(envelope(self, {"event_ts": self.new_ts(), **event}, team))

    async def _interact(self, kind: str, who: str, room: Room | None, team: str, **more: Any) -> Delivery:
        payload = people.interaction(
            kind, self.user(who, team=team), who, room, team, self.enterprise, action_ts=self.new_ts(), **more
        )
        return await self._courier.deliver(record(self, "interactive", payload))

    # The API.

    def faults(self, method: str, *faults: Fault) -> None:
        """The next calls of `method` go wrong like this, one fault each."""
        self._faults[method].extend(faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.sockets.serve(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        host = request.headers.get("host", "")
        self.url = self.url or f"http://{host}"
        match request.url.path.split("/")[1:]:
            case ["api", method]:
                response = await self._api(request, method, body, host)
            case ["response", id]:
                response = self._late(id, await request.json() if body else {})
            case ["files", id, _]:
                response = self._file(id, _bearer(request))
            case ["oauth", "v2", "authorize"]:
                response = self._authorize(request)
            case _:
                response = PlainTextResponse("not found", 404)
        if response is None:
            await _hang_up(receive, send)
            return
        await response(scope, receive, send)

    async def _api(self, request: Request, method: str, body: bytes, host: str) -> Response | None:
        """Answer a call; None: with silence."""
        call = Call(method, {}, self.clock(), _bearer(request), host=host)
        self.calls.append(call)
        self.changed()
        waiting = self._faults[method]
        fault = waiting.popleft() if waiting else Fault()
        if fault.delay:
            await fault.delay.wait()
        if fault.lose:
            return None
        try:
            call.fields = calls.read(request.headers.get("content-type", ""), request.url.query, body)
            call.token = call.token or str(call.fields.pop("token", ""))
            call.fields |= _basic(request)
            if fault.status or fault.error:
                error = fault.error or ("ratelimited" if fault.status == 429 else "internal_error")
                raise Refused(error, status=fault.status or 200, retry_after=fault.retry_after)
            call.answer = calls.answer(self, call)
            status, headers = 200, {"x-oauth-scopes": ",".join(self.scopes)}
        except Refused as refused:
            call.answer, call.error = refused.body, refused.body["error"]
            status, headers = refused.status, {"x-oauth-scopes": ",".join(self.scopes)}
            if refused.retry_after:
                headers["Retry-After"] = str(refused.retry_after)
        while self.outbox:
            team, event = self.outbox.pop(0)
            self._later(self._courier.deliver(envelope(self, event, team)))
        call.status = 0 if fault.drop else status
        self.changed()
        return None if fault.drop else JSONResponse(call.answer, status, headers)

    def _later(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _late(self, id: str, asked: Json) -> Response:
        """What is posted to a response_url."""
        leave = self.responses.get(id)
        old = leave is None or self.clock() - leave.born > rules.RESPONSE_URL_SECONDS
        if leave is None or old or leave.uses >= rules.RESPONSE_URL_USES:
            return JSONResponse({"ok": False, "error": "expired_url"}, 404)
        leave.uses += 1
        try:
            if leave.post and asked.get("delete_original"):
                leave.post.deleted = True
            elif leave.post and asked.get("replace_original"):
                said = composed(self, leave.room, asked)
                leave.post.text, leave.post.blocks, leave.post.stream = said.text, said.blocks, said.stream
                leave.post.edits += 1
            else:
                leave.post = self._respond(leave.room, leave.user, asked)
        except Refused as refused:
            return JSONResponse(refused.body, 400)
        self.changed()
        return PlainTextResponse("ok")

    def _respond(self, room: Room, user: str, asked: Json) -> Post:
        """An answer to a command or a click; the bot need not be in the channel for it."""
        post = composed(self, room, asked)
        if asked.get("response_type") == "in_channel":
            room.put(post)
        else:
            self.whisper(user, post)
        self.changed()
        return post

    def _file(self, id: str, token: str) -> Response:
        if token not in self.workspaces.values() or token in self.dead:
            return HTMLResponse("<!DOCTYPE html><html><title>Sign in</title></html>")  # as Slack does, with a 200
        if id not in self.contents:
            return PlainTextResponse("not found", 404)
        return Response(self.contents[id], media_type="application/octet-stream")

    def _authorize(self, request: Request) -> Response:
        """Whoever comes here agrees at once. `team` says to which workspace they belong."""
        asked = {name: values[0] for name, values in parse_qs(request.url.query).items()}
        if asked.get("client_id") != self.client_id:
            return PlainTextResponse("invalid client_id", 400)
        back = asked.get("redirect_uri", "")
        code = self.new_code(asked.get("team", TEAM), redirect_uri=back)
        return RedirectResponse(f"{back}?{urlencode({'code': code, 'state': asked.get('state', '')})}", 302)


def _bearer(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _basic(request: Request) -> Json:
    """Who an app is may also be said as HTTP's own user and password."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme != "Basic":
        return {}
    client_id, _, secret = base64.b64decode(given).decode().partition(":")
    return {"client_id": client_id, "client_secret": secret}


async def _hang_up(receive: Receive, send: Send) -> None:
    """Close the connection without a word. ASGI has no way to say that, so this goes through uvicorn's own cycle."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]  # uvicorn's, which ASGI does not know
    while (await receive())["type"] != "http.disconnect":
        pass
