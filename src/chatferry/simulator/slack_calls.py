"""The Web API's methods: who may call them, and what those do that are not `chat.*`."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from chatferry.simulator import slack_chat as chat
from chatferry.simulator import slack_people as people
from chatferry.simulator import slack_rules as rules
from chatferry.simulator.slack_chat import required
from chatferry.simulator.slack_records import Call, Post, Room
from chatferry.simulator.slack_rules import Json, Refused
from chatferry.simulator.slack_state import State

_JSON_FIELDS = ("blocks", "metadata", "chunks", "attachments", "view", "prompts", "loading_messages")
_STREAMS = ("chat.startStream", "chat.appendStream", "chat.stopStream")
_SESSIONS = ("agents.sessions.setStatus", "assistant.threads.setStatus")


def read(content_type: str, query: str, body: bytes) -> Json:
    """A call's fields, whichever way they came. Raises Refused."""
    fields: Json = dict(parse_qsl(query, keep_blank_values=True))
    if content_type.startswith("application/json"):
        try:
            read = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            raise Refused("invalid_json") from None
        if not isinstance(read, dict):
            raise Refused("json_not_object")
        fields |= {name: value for name, value in read.items() if value is not None}
    else:
        try:
            fields |= parse_qsl(body.decode("utf-8", "surrogatepass"), keep_blank_values=True)
        except ValueError:
            raise Refused("invalid_form_data") from None
    for name in _JSON_FIELDS:
        if isinstance(fields.get(name), str):
            try:
                fields[name] = json.loads(fields[name])
            except (ValueError, RecursionError):
                raise Refused("invalid_arguments", f"{name} is no JSON") from None
    return fields


def answer(sim: State, call: Call) -> Json:
    """Carry a call out. Raises Refused."""
    method = METHODS.get(call.method)
    if method is None or not (sim.streams or call.method not in _STREAMS):
        raise Refused("unknown_method", req_method=call.method)
    if not sim.sessions and call.method in _SESSIONS:
        raise Refused("unknown_method", req_method=call.method)
    if call.method != "oauth.v2.access":
        call.team = _team(sim, call)
    if sim.limits:
        sim.spend(call.team, call.method, str(call.fields.get("channel", "")))
    needed = rules.NEEDED.get(call.method.split(".")[0])
    if needed and not set(needed) & set(sim.scopes):
        raise Refused("missing_scope", needed=needed[0], provided=",".join(sim.scopes))
    return method(sim, call)


def _team(sim: State, call: Call) -> str:
    """Whose token this is."""
    if not call.token:
        raise Refused("not_authed")
    if call.method == "apps.connections.open":
        if call.token == sim.app_token:
            return people.TEAM
        raise Refused("not_allowed_token_type" if call.token in sim.workspaces.values() else "invalid_auth")
    if call.token in sim.dead:
        raise Refused(sim.dead[call.token])
    if sim.ends.get(call.token, math.inf) <= sim.clock():
        raise Refused("token_expired")
    team = sim.issued.get(call.token) or next((t for t, token in sim.workspaces.items() if token == call.token), None)
    if team is None:
        raise Refused("not_allowed_token_type" if call.token == sim.app_token else "invalid_auth")
    return team


def _auth_test(sim: State, call: Call) -> Json:
    ours = {"user": "ferry", "user_id": people.bot_user(call.team), "bot_id": people.BOT_ID}
    where = {"team": f"Simulated {call.team}", "team_id": call.team, "url": "https://simulated.slack.com/"}
    org = {"enterprise_id": sim.enterprise} if sim.enterprise else {}
    return {"ok": True, **where, **ours, **org, "is_enterprise_install": bool(sim.enterprise)}


def _auth_revoke(sim: State, call: Call) -> Json:
    if call.fields.get("test"):
        return {"ok": True, "revoked": False}
    sim.dead[call.token] = "token_revoked"
    return {"ok": True, "revoked": True}


def _replies(sim: State, call: Call) -> Json:
    room = _readable(sim, call)
    post = room.posts.get(required(call.fields, "ts"))
    if post is None or (post.deleted and post.ts not in room.threads):
        raise Refused("thread_not_found")
    root = post.thread_ts or post.ts
    return _page(sim, call, room, [*filter(None, [room.posts.get(root)]), *room.threads.get(root, ())])


def _history(sim: State, call: Call) -> Json:
    room = _readable(sim, call)
    return _page(sim, call, room, list(reversed(room.top)), usual=100)


def _readable(sim: State, call: Call) -> Room:
    room = sim.room(required(call.fields, "channel"), call.team)
    if sim.is_absent(room):
        raise Refused("not_in_channel")
    return room


def _page(sim: State, call: Call, room: Room, posts: list[Post], *, usual: int = 1000) -> Json:
    asked = call.fields
    try:
        oldest, latest = float(asked.get("oldest") or 0), float(asked.get("latest") or "inf")
        start, most = int(asked.get("cursor") or 0), int(asked.get("limit") or usual)
    except ValueError:
        raise Refused("invalid_arguments") from None
    shown = [post for post in posts if not post.deleted or post.ts in room.threads]
    if oldest or latest < math.inf:
        ends = (oldest, latest) if _true(asked.get("inclusive")) else ()
        shown = [post for post in shown if oldest < float(post.ts) < latest or float(post.ts) in ends]
    if not 0 <= start <= len(shown):
        raise Refused("invalid_cursor")
    end = start + min(most, rules.MARKETPLACE_OBJECTS if sim.marketplace_limits else 1000)
    metadata = _true(asked.get("include_all_metadata"))
    told: Json = {"ok": True, "messages": [_told(post, room, metadata) for post in shown[start:end]]}
    more = end < len(shown)
    return told | {"has_more": more, "response_metadata": {"next_cursor": str(end) if more else ""}}


def _told(post: Post, room: Room, metadata: bool) -> Json:
    if post.deleted:
        gone = {"subtype": "tombstone", "hidden": True, "text": "This message was deleted.", "user": "USLACKBOT"}
        return people.wire(Post(post.ts, post.channel, "USLACKBOT"), room) | gone
    return people.wire(post, room, metadata=metadata)


def _true(value: Any) -> bool:
    return value in (True, 1, "1", "true", "True")


def _users_info(sim: State, call: Call) -> Json:
    id = required(call.fields, "user")
    ours = id == people.bot_user(call.team)
    if id not in sim.names and not ours:
        raise Refused("user_not_found")
    name = "ferry" if ours else sim.names[id]
    display = sim.display_names.get(name, name)
    profile = {"display_name": display, "real_name": display, "display_name_normalized": display}
    may = {"is_admin": name in sim.admins | sim.owners, "is_owner": name in sim.owners}
    user = {"id": id, "team_id": call.team, "name": name, "real_name": display, "profile": profile, "deleted": False}
    return {"ok": True, "user": user | may | {"is_bot": ours or name in sim.bots, "tz": "Etc/UTC", "locale": "en-US"}}


def _views_open(sim: State, call: Call) -> Json:
    trigger = sim.triggers.get(required(call.fields, "trigger_id"))
    if trigger is None or trigger.team != call.team:
        raise Refused("invalid_trigger_id")
    if trigger.spent:
        raise Refused("exchanged_trigger_id")
    if sim.clock() - trigger.born > rules.TRIGGER_SECONDS:
        raise Refused("expired_trigger_id")
    asked = call.fields.get("view")
    rules.check_view(asked)
    trigger.spent = True
    id = f"V{secrets.token_hex(5).upper()}"
    state = {"id": id, "team_id": call.team, "hash": secrets.token_hex(8), "state": {"values": {}}, "bot_id": "B0BOT"}
    view = {"private_metadata": "", "callback_id": "", **(asked or {}), **state}
    sim.open_view(trigger.user, view)
    return {"ok": True, "view": view}


def _session_status(sim: State, call: Call) -> Json:
    if call.fields.get("status") not in rules.SESSION_STATUSES:
        raise Refused("invalid_status")
    sim.tell_session(_thread(sim, call, "thread_ts_required"), call.fields["status"])
    return {"ok": True}


def _assistant_status(sim: State, call: Call) -> Json:
    sim.tell_status(_thread(sim, call), str(call.fields.get("status", "")))
    return {"ok": True}


def _prompts(sim: State, call: Call) -> Json:
    prompts = call.fields.get("prompts")
    if not isinstance(prompts, list) or not 1 <= len(prompts) <= 4:
        raise Refused("invalid_arguments", "must have 1 to 4 items [json-pointer:/prompts]")
    sim.prompts[_channel(sim, call).id, str(call.fields.get("thread_ts", ""))] = prompts
    return {"ok": True}


def _title(sim: State, call: Call) -> Json:
    sim.titles[_thread(sim, call)] = required(call.fields, "title")
    return {"ok": True}


def _channel(sim: State, call: Call) -> Room:
    return sim.writable(required(call.fields, "channel_id"), call.team)


def _thread(sim: State, call: Call, refusal: str = "invalid_arguments") -> tuple[str, str]:
    room = _channel(sim, call)
    if not call.fields.get("thread_ts"):
        raise Refused(refusal)
    return room.id, str(call.fields["thread_ts"])


def _connections_open(sim: State, call: Call) -> Json:
    ticket = secrets.token_hex(12)
    sim.tickets.add(ticket)
    address = "ws" + sim.url.removeprefix("http")
    return {"ok": True, "url": f"{address}/link/?ticket={ticket}&app_id={people.APP}"}


def _oauth_access(sim: State, call: Call) -> Json:
    asked = call.fields
    if asked.get("client_id") != sim.client_id:
        raise Refused("invalid_client_id")
    if asked.get("client_secret") != sim.client_secret:
        raise Refused("bad_client_secret")
    if asked.get("grant_type") == "refresh_token":
        team = sim.refreshes.pop(str(asked.get("refresh_token")), None)
        if team is None:
            raise Refused("invalid_refresh_token")
        return _installed(sim, team)
    grant = sim.grants.pop(str(asked.get("code")), None)
    if grant is None:
        raise Refused("invalid_code")
    if grant.redirect_uri and asked.get("redirect_uri") != grant.redirect_uri:
        raise Refused("bad_redirect_uri")
    return _installed(sim, grant.team)


def _installed(sim: State, team: str) -> Json:
    """A workspace has one token for good, unless tokens rotate: then an old one works until its own end."""
    token = sim.workspaces.get(team, "")
    if sim.rotation or not token or token in sim.dead:
        token = sim.workspaces[team] = f"xoxb-{team}-{secrets.token_hex(8)}"
        sim.issued[token] = team
    told: Json = {
        "ok": True,
        "access_token": token,
        "token_type": "bot",
        "scope": ",".join(sim.scopes),
        "bot_user_id": people.bot_user(team),
        "app_id": people.APP,
        "team": None if sim.enterprise else {"id": team, "name": f"Simulated {team}"},
        "enterprise": {"id": sim.enterprise, "name": "Simulated"} if sim.enterprise else None,
        "authed_user": {"id": sim.user("installer", team=team)},
        "is_enterprise_install": bool(sim.enterprise),
    }
    if sim.rotation:
        refresh = f"xoxe-1-{secrets.token_hex(12)}"
        sim.ends[token] = sim.clock() + rules.TOKEN_SECONDS
        sim.refreshes[refresh] = team
        told |= {"expires_in": rules.TOKEN_SECONDS, "refresh_token": refresh}
    return told


METHODS: dict[str, Callable[[State, Call], Json]] = {
    "auth.test": _auth_test,
    "auth.revoke": _auth_revoke,
    "chat.postMessage": chat.post_message,
    "chat.postEphemeral": chat.post_ephemeral,
    "chat.update": chat.update,
    "chat.delete": chat.delete,
    "chat.startStream": chat.start_stream,
    "chat.appendStream": chat.append_stream,
    "chat.stopStream": chat.stop_stream,
    "conversations.replies": _replies,
    "conversations.history": _history,
    "users.info": _users_info,
    "views.open": _views_open,
    "agents.sessions.setStatus": _session_status,
    "assistant.threads.setStatus": _assistant_status,
    "assistant.threads.setSuggestedPrompts": _prompts,
    "assistant.threads.setTitle": _title,
    "apps.connections.open": _connections_open,
    "oauth.v2.access": _oauth_access,
}
