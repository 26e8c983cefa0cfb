"""The people on Slack: what they do, as the events and payloads that an app gets. Shapes: docs.slack.dev."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote, urlencode
from uuid import uuid4

from chatferry.simulator.slack_records import Kind, Post, Room
from chatferry.simulator.slack_rules import Json

TEAM, APP, BOT, BOT_ID, BOT_NAME = "T0SIM", "A0SIM", "U0BOT", "B0BOT", "Ferry"
_ADDRESS = re.compile(r"[CDGUW][0-9A-Z]{3,}")
_SPECIAL = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_TYPED = re.compile(r"https?://[^\s<>]*[^\s<>.,;:!?)\]}'\"]|@([^\W_]+)|[&<>]")


def address(kind: Literal["U", "C", "D", "G"], name: str, team: str) -> str:
    """The id that stands for a name in a workspace. An id stands for itself."""
    if _ADDRESS.fullmatch(name):
        return name
    return kind + hashlib.sha256(f"{team}:{kind}:{name}".encode()).hexdigest()[:10].upper()


def bot_user(team: str) -> str:
    """Our bot is a user of its own in each workspace."""
    return BOT if team == TEAM else f"{BOT}{team}"


def event_id() -> str:
    return f"Ev{secrets.token_hex(5).upper()}"


def typed(text: str, names: Mapping[str, str]) -> str:
    """What Slack makes of what somebody types: mentions of the people in `names` (to their ids), links, escapes."""
    ids = {name.casefold(): id for name, id in names.items()}

    def made(found: re.Match[str]) -> str:
        if found[0] in _SPECIAL:
            return _SPECIAL[found[0]]
        if found[1] is None:
            return f"<{found[0].replace('&', '&amp;')}>"
        id = ids.get(found[1].casefold())
        return f"<@{id}>" if id else found[0]

    return _TYPED.sub(made, text)


def channel_type(room: Room) -> str:
    return {"D": "im", "G": "mpim"}.get(room.id[0], "channel")


def encoded(kind: Kind, payload: Json) -> tuple[bytes, str]:
    """Body and content type, as the three kinds come over HTTP."""
    if kind == "events_api":
        return json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass"), "application/json"
    form = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
    return urlencode(form).encode(), "application/x-www-form-urlencoded"


def signed(secret: str, body: bytes, now: float) -> dict[str, str]:
    """The headers that show that Slack sent this body."""
    at = str(int(now))
    digest = hmac.digest(secret.encode(), b"v0:" + at.encode() + b":" + body, "sha256").hex()
    return {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={digest}"}


def wire(post: Post, room: Room, *, metadata: bool = False) -> Json:
    """A message as the API and the events give it."""
    made: Json = {"type": "message", "user": post.user, "ts": post.ts, "text": post.text, "team": room.team}
    if post.subtype:
        made["subtype"] = post.subtype
    if post.bot:
        profile = {"id": post.bot, "app_id": _app(post), "user_id": post.user, "name": BOT_NAME, "deleted": False}
        made |= {"bot_id": post.bot, "app_id": _app(post), "bot_profile": profile | {"team_id": room.team}}
    else:
        made["client_msg_id"] = str(uuid4())
    if post.stream:
        made["text"] = post.markdown
    if post.blocks:
        made["blocks"] = post.blocks
    if post.files:
        made["files"] = post.files
    if post.edits:
        made["edited"] = {"user": post.user, "ts": f"{int(post.edited_at)}.000000"}
    if metadata and post.metadata:
        made["metadata"] = post.metadata
    if post.thread_ts:
        root = room.posts.get(post.thread_ts)
        made |= {"thread_ts": post.thread_ts} | ({"parent_user_id": root.user} if root else {})
    elif replies := [one for one in room.threads.get(post.ts, ()) if not one.deleted]:
        made |= {"thread_ts": post.ts, "reply_count": len(replies), "latest_reply": replies[-1].ts}
    return made


def _app(post: Post) -> str:
    return APP if post.bot == BOT_ID else f"A{post.bot}"


def written(post: Post, room: Room) -> Json:
    return wire(post, room) | {"channel": room.id, "event_ts": post.ts, "channel_type": channel_type(room)}


def mentioned(message: Json) -> Json:
    """The second event of a message that names the bot. It does not tell the kind of channel."""
    return {name: value for name, value in message.items() if name != "channel_type"} | {"type": "app_mention"}


def changed(before: Json, post: Post, room: Room, ts: str) -> Json:
    return _hidden("message_changed", room, ts) | {"message": wire(post, room), "previous_message": before}


def deleted(before: Json, room: Room, ts: str) -> Json:
    return _hidden("message_deleted", room, ts) | {"deleted_ts": before["ts"], "previous_message": before}


def _hidden(subtype: str, room: Room, ts: str) -> Json:
    where = {"channel": room.id, "channel_type": channel_type(room)}
    return {"type": "message", "subtype": subtype, "hidden": True, "ts": ts, "event_ts": ts, **where}


def envelope(event: Json, team: str, enterprise: str, now: float) -> Json:
    """What an event comes in."""
    ours = {"enterprise_id": enterprise or None, "team_id": team, "user_id": bot_user(team), "is_bot": True}
    return {
        "token": "simulated-verification",
        "team_id": team,
        **({"enterprise_id": enterprise} if enterprise else {}),
        "context_team_id": team,
        "context_enterprise_id": enterprise or None,
        "api_app_id": APP,
        "event": event,
        "type": "event_callback",
        "event_id": event_id(),
        "event_time": int(now),
        "authorizations": [ours | {"is_enterprise_install": bool(enterprise)}],
        "is_ext_shared_channel": False,
        "event_context": f"4-{secrets.token_hex(8)}",
    }


def interaction(kind: str, user: str, name: str, room: Room | None, team: str, enterprise: str, **more: Any) -> Json:
    """A shortcut, a click or a dialog that was sent."""
    made: Json = {
        "type": kind,
        "token": "simulated-verification",
        "api_app_id": APP,
        "team": {"id": team, "domain": "simulated"},
        "enterprise": {"id": enterprise, "name": "simulated"} if enterprise else None,
        "is_enterprise_install": bool(enterprise),
        "user": {"id": user, "username": name, "name": name, "team_id": team},
        **more,
    }
    if room:
        made["channel"] = {"id": room.id, "name": "directmessage" if room.id[0] == "D" else room.name}
    return made


def command(name: str, text: str, user: str, who: str, room: Room, enterprise: str, **more: str) -> Json:
    """The form of a slash command."""
    return {
        "token": "simulated-verification",
        "team_id": room.team,
        "team_domain": "simulated",
        **({"enterprise_id": enterprise} if enterprise else {}),
        "channel_id": room.id,
        "channel_name": "directmessage" if room.id[0] == "D" else room.name,
        "user_id": user,
        "user_name": who,
        "command": name,
        "text": text,
        "api_app_id": APP,
        "is_enterprise_install": "true" if enterprise else "false",
        **more,
    }


def file(id: str, name: str, size: int, mimetype: str, url: str) -> Json:
    place = f"{url}/files/{id}/{quote(name, safe='')}"
    return {
        "id": id,
        "name": name,
        "title": name,
        "mimetype": mimetype,
        "filetype": name.rpartition(".")[2],
        "size": size,
        "mode": "hosted",
        "url_private": place,
        "url_private_download": place,
    }
