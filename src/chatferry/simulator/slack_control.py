"""What a page, or a test in another process, can have people do on the simulated Slack: the acts of `/_sim/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatferry.simulator.control import Control
from chatferry.simulator.slack_records import Fault, Post
from chatferry.simulator.slack_rules import Json

if TYPE_CHECKING:
    from chatferry.simulator.slack import SlackSimulator

_ACTS = (
    "say",
    "edit",
    "delete",
    "shortcut",
    "click",
    "submit",
    "dismiss",
    "command",
    "stop_session",
    "app_uninstalled",
)


def control(sim: SlackSimulator) -> Control:
    async def webhook(url: str) -> None:
        sim.webhook = url

    async def fail(
        method: str,
        status: int = 0,
        error: str = "",
        retry_after: int = 0,
        drop: bool = False,
        lose: bool = False,
        times: int = 1,
    ) -> None:
        sim.faults(method, *[Fault(status, error, retry_after, drop, lose)] * times)

    acts: dict[str, Any] = {name: getattr(sim, name) for name in _ACTS}
    return Control(
        "slack",
        acts | {"webhook": webhook, "fail": fail},
        scene=sim.scene,
        weather=sim.weather,
        state=lambda: state(sim),
        file=sim.contents.get,
    )


def state(sim: SlackSimulator) -> Json:
    """What is written where, and what the app called and was told."""
    return {
        "rooms": {
            room.id: {
                "name": room.name,
                "team": room.team,
                "posts": [_told(sim, post) for post in room.posts.values()],
            }
            for room in sim.rooms.values()
        },
        "ephemeral": {name: [_told(sim, post) for post in sim.ephemeral(name)] for name in set(sim.names.values())},
        "calls": [{"method": one.method, "status": one.status, "error": one.error, "at": one.at} for one in sim.calls],
        "deliveries": [{"kind": one.kind, "attempts": one.attempts} for one in sim.deliveries],
        "statuses": [{"channel": at[0], "thread": at[1], "status": said} for at, said in sim.statuses.items()],
        "sessions": [{"channel": at[0], "thread": at[1], "status": said} for at, said in sim.session_statuses.items()],
        "views": {sim.names[user]: view for user, view in sim.views.items()},
        "sockets": sim.sockets.connected,
        "webhook": sim.webhook,
    }


def _told(sim: SlackSimulator, post: Post) -> Json:
    sim.refresh(post)
    return {
        "ts": post.ts,
        "user": post.user,
        "bot": bool(post.bot),
        "text": post.markdown,
        "thread_ts": post.thread_ts,
        "buttons": post.buttons,
        "streaming": post.streaming,
        "edits": post.edits,
        "deleted": post.deleted,
        "files": [file["id"] for file in post.files],
    }
