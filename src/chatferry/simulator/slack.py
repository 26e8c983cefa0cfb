"""Slack as a server: the Web API with its rules on one side, people who chat on the other.

    async with SlackSimulator() as sim, serving(sim) as url:
        sim.url, sim.webhook = url, "http://127.0.0.1:8080/hooks/slack"     # the bot's api_base is `url + "/api"`
        ts = await sim.say("ann", "hello")
        await sim.until(lambda: len(sim.thread(sim.dm("ann"), ts)) == 2)

Or without a webhook: the bot opens a socket. What is refused, and how, is in `slack_rules`; what a method does in
`slack_chat` and `slack_calls`; what people send is in `slack_people`; what they see in `slack_scene`. All of it can be
watched in `scene`, made worse by `weather`, and had from another process at `/_sim/` (`slack_control`).
"""

from __future__ import annotations

import asyncio
import mimetypes
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chatferry.simulator import slack_people as people
from chatferry.simulator.control import PREFIX
from chatferry.simulator.scene import Bubble
from chatferry.simulator.serving import hang_up
from chatferry.simulator.slack_chat import respond
from chatferry.simulator.slack_control import control
from chatferry.simulator.slack_delivery import Courier, envelope, record
from chatferry.simulator.slack_people import APP, BOT, BOT_ID, TEAM
from chatferry.simulator.slack_records import Delivery, Fault, Post, Room
from chatferry.simulator.slack_rules import Json
from chatferry.simulator.slack_scene import command_id
from chatferry.simulator.slack_socket import Sockets
from chatferry.simulator.slack_state import Leave, State
from chatferry.simulator.slack_views import filled
from chatferry.simulator.slack_web import Web

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
        self._web = Web(self, self._courier)
        self.control = control(self)
        self.control.put_weather()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.control.close()
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
        typed: bool = False,
        team: str = TEAM,
    ) -> str:
        """A person writes; returns the message's `ts`. `text` as Slack has it: escaped, with ids for who is named; or
        as it is `typed`, with names after an @.

        A message that names the bot (`mention`: put in front) makes two events. Where the bot is absent: none.
        """
        room = self._place(who, channel, team)
        bot = f"<@{people.bot_user(team)}>"
        text = self._typed(text, team) if typed else text
        post = Post(self.new_ts(), room.id, self.user(who, team=team), f"{bot} {text}" if mention else text)
        post.thread_ts, post.at, post.subtype = thread or "", self.clock(), subtype
        if who in self.bots:
            post.bot = people.address("U", who, team).replace("U", "B", 1)
        if files:
            post.subtype = post.subtype or "file_share"
            post.files = [self._upload(name, data) for name, data in files.items()]
        room.put(post)
        self.show(post)
        self.changed()
        events = [people.written(post, room)]
        if bot in post.text and room.id[0] != "D":
            events.insert(0 if self.mention_first else 1, people.mentioned(events[0]))
        if self.weather.disorder:
            await asyncio.gather(*(self._tell(room, event) for event in events))
        else:
            for event in events:
                await self._tell(room, event)
        return post.ts

    async def edit(self, who: str, channel: str, ts: str, text: str, *, typed: bool = False, team: str = TEAM) -> None:
        """A person changes a message of their own."""
        room = self._place(who, channel, team)
        post = room.find(ts)
        if post.user != self.user(who, team=team):
            raise ValueError(f"{who} did not write {ts}")
        before = people.wire(post, room)
        post.text = self._typed(text, team) if typed else text
        post.edits, post.edited_at = post.edits + 1, self.clock()
        self.show(post)
        self.changed()
        await self._tell(room, people.changed(before, post, room, self.new_ts()))

    async def delete(self, who: str, channel: str, ts: str, *, team: str = TEAM) -> None:
        """A person deletes a message: their own or, as an admin may, anybody's."""
        room = self._place(who, channel, team)
        post = room.find(ts)
        before = people.wire(post, room)
        post.deleted, post.streaming = True, False
        self.show(post)
        self.changed()
        await self._tell(room, people.deleted(before, room, self.new_ts()))

    async def shortcut(self, who: str, callback_id: str, channel: str, ts: str, *, team: str = TEAM) -> str:
        """A person picks a message's shortcut; returns the trigger that came with it."""
        room = self._place(who, channel, team)
        post = room.find(ts)
        trigger = self.new_trigger(self.user(who, team=team), team)
        more = {"callback_id": callback_id, "message_ts": ts, "message": people.wire(post, room)}
        url = self.new_response_url(room, self.user(who, team=team), post)
        await self._interact("message_action", who, room, team, **more, trigger_id=trigger, response_url=url)
        return trigger

    async def click(
        self, who: str, channel: str, ts: str, value: str, *, label: str = "", team: str = TEAM
    ) -> Delivery:
        """A person clicks the button with this value. Raises LookupError if the message shows none.

        value: empty for a button without. label: which of several with the same value.
        """
        room, user = self._place(who, channel, team), self.user(who, team=team)
        post = next((post for post in self.ephemeral(who, team=team) if post.ts == ts), None) or room.find(ts)
        found = [] if post.deleted else [pair for pair in post.clickable() if _is(pair[1], value, label)]
        if not found:
            raise LookupError(f"no button {value!r} on {post.markdown!r}")
        block, button = found[0]
        now = self.new_ts()
        action = {name: button[name] for name in ("type", "action_id", "text", "value", "style") if name in button}
        where = {"type": "message", "message_ts": ts, "channel_id": room.id, "is_ephemeral": bool(post.only)}
        return await self._interact(
            "block_actions",
            who,
            room,
            team,
            container=where | ({"thread_ts": post.thread_ts} if post.thread_ts else {}),
            trigger_id=self.new_trigger(user, team),
            **({} if post.only else {"message": people.wire(post, room)}),
            state={"values": {}},
            response_url=self.new_response_url(room, user, post),
            actions=[{"action_id": "button", "block_id": block.get("block_id", "block"), **action, "action_ts": now}],
        )

    async def submit(
        self, who: str, view: Json | None = None, *, values: dict[str, Any] | None = None, team: str = TEAM
    ) -> Delivery:
        """A person confirms the dialog that is open, which then closes unless the answer says otherwise.

        values: what was entered or chosen, by the `block_id` or `action_id` of the input.
        """
        user = self.user(who, team=team)
        ids = {name: people.address("U", name, team) for name in self.names.values()}
        view = filled(view or self._view(who, user), values or {}, ids)
        trigger = self.new_trigger(user, team)
        delivery = await self._interact("view_submission", who, None, team, trigger_id=trigger, view=view)
        answer = delivery.answer if isinstance(delivery.answer, dict) else {}
        if not 200 <= delivery.status < 300:
            return delivery  # Slack says that it did not work, and leaves the dialog open
        match answer.get("response_action"):
            case "update" | "push":
                self.open_view(user, view | {"state": {"values": {}}} | answer["view"])
            case "errors":
                self.open_view(user, view, answer.get("errors"))
            case _:
                self.close_view(user)
        return delivery

    async def dismiss(self, who: str, *, team: str = TEAM) -> Delivery | None:
        """A person closes the dialog that is open. The app is told if its `notify_on_close` says so."""
        user = self.user(who, team=team)
        view = self._view(who, user)
        self.close_view(user)
        if not view.get("notify_on_close"):
            return None
        return await self._interact("view_closed", who, None, team, view=view, is_cleared=False)

    async def command(
        self, who: str, name: str, text: str = "", *, channel: str | None = None, team: str = TEAM
    ) -> Any:
        """A person uses a slash command; returns what it was answered, which is shown if it is a message."""
        room, user = self._place(who, channel, team), self.user(who, team=team)
        trigger, now = self.new_trigger(user, team), self.clock()
        said = f"{name} {text}".rstrip()
        bubble = Bubble("slack", room.id, command_id(trigger), who, said, "action", now, only=who)
        self.scene.show(bubble)
        url = self.new_response_url(room, user, command=bubble)
        more = {"trigger_id": trigger, "response_url": url}
        payload = people.command(name, text, user, who, room, self.enterprise, **more)
        delivery = await self._courier.deliver(record(self, "slash_commands", payload))
        answer = delivery.answer
        if not 200 <= delivery.status < 300:  # seen; no page tells when it is which of the two
            error = "dispatch_failed" if delivery.status else "operation_timeout"
            told = f'{name} failed with the error "{error}"'
            self.scene.show(
                Bubble("slack", room.id, f"{bubble.message}/failed", "", told, "notice", self.clock(), only=who)
            )
        elif isinstance(answer, dict) and (answer.get("text") or answer.get("blocks")):
            respond(self, Leave(room, user, now, command=bubble), answer)
        return answer

    async def stop_session(self, who: str, channel: str | None, thread: str, *, team: str = TEAM) -> Delivery:
        """A person presses Slack's own stop: streams in the thread take nothing more, and the app is told."""
        room, user = self._place(who, channel, team), self.user(who, team=team)
        growing = [post for post in self.thread(room.id, thread) if post.streaming]
        for post in growing:
            post.stopped_by = user
            self.show(post)
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

    def _view(self, who: str, user: str) -> Json:
        if user not in self.views:
            raise LookupError(f"{who} has no dialog open")
        return self.views[user]

    def _typed(self, text: str, team: str) -> str:
        ids = {name: self.user(name, team=team) for name in set(self.names.values())}
        return people.typed(text, ids | {people.BOT_NAME: people.bot_user(team)})

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
        """The next calls of `method` go wrong like this, one fault each. `response`: what goes to a response_url."""
        self._web.faults[method].extend(faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.sockets.serve(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        path = scope["path"]  # as it was judged before it came here: a parsed URL has lost its tabs
        if path.startswith(PREFIX):
            await (await self.control.answer(request, path, body))(scope, receive, send)
            return
        self.url = self.url or f"http://{request.headers.get('host', '')}"
        response = await self.answer(request, body)
        if response is None:
            await hang_up(receive, send)
            return
        await response(scope, receive, send)

    async def answer(self, request: Request, body: bytes) -> Response | None:
        """Answer what the app asks; None: with silence."""
        return await self._web.answer(request, body)


def _is(button: Json, value: str, label: str) -> bool:
    return button.get("value", "") == value and (not label or button["text"]["text"] == label)
