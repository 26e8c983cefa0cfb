"""What Slack sends, signed: envelopes, commands and clicks with the fields that they really have."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, cast
from urllib.parse import urlencode

from chatferry.channels import slack_hooks
from chatferry.channels.base import Channel, Hook, Taken
from chatferry.channels.slack_events import Rules
from chatferry.config import SlackSettings
from chatferry.model import Inbound
from chatferry.words import words

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
NOW = 1_700_000_100.0
TEAM, APP, BOT, ANN, BOB = "T0001", "A0001", "U0BOT", "U0ANN", "U0BOB"
ROOM, DIRECT = "C0001", "D0001"
ROOT, TS = "1700000000.000100", "1700000050.000200"
RESPONSE_URL = "https://hooks.slack.com/commands/T0001/1/abc"
FORM = "application/x-www-form-urlencoded"
WORDS = words("en")


class Reading:
    """A channel as far as it takes."""

    def __init__(self, me: dict[str, str] | None = None, **settings: Any) -> None:
        self._settings = SlackSettings.model_validate({"secret": SECRET, "token": "xoxb-1"} | settings)
        self._me = me or {}

    def take(self, hook: Hook) -> Taken:
        return slack_hooks.hook(hook, self._settings, Rules.of(self._settings), WORDS, self._me)


def channel(me: dict[str, str] | None = None, **settings: Any) -> Channel:
    return cast(Channel, Reading(me, **settings))  # whoever takes nothing but `take` from it sees no difference


def signed(body: bytes, media_type: str, *, secret: str = SECRET, at: float = NOW, sent: float = NOW) -> Hook:
    stamp = str(int(sent))
    signature = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {
        "x-slack-request-timestamp": stamp,
        "x-slack-signature": f"v0={signature}",
        "content-type": media_type,
    }
    return Hook(body, headers, at=at)


def form(fields: dict[str, str]) -> Hook:
    return signed(urlencode(fields).encode(), FORM)


def clicked(payload: Any) -> Hook:
    return form({"payload": json.dumps(payload)})


def delivered(envelope: Any) -> Hook:
    return signed(json.dumps(envelope).encode(), "application/json")


def envelope(event: Any, **more: Any) -> dict[str, Any]:
    usual = {
        "token": "legacy",
        "team_id": TEAM,
        "context_team_id": TEAM,
        "context_enterprise_id": None,
        "api_app_id": APP,
        "event": event,
        "type": "event_callback",
        "event_id": "Ev0001",
        "event_time": 1_700_000_050,
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": TEAM,
                "user_id": BOT,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "event_context": "4-eyJldCI6Im1lc3NhZ2UifQ",
    }
    return usual | more


def message(text: str, **more: Any) -> dict[str, Any]:
    """Said in a channel, by Ann."""
    usual = {
        "type": "message",
        "user": ANN,
        "ts": TS,
        "client_msg_id": "7b3c2d9e-1111-4222-8333-444455556666",
        "text": text,
        "team": TEAM,
        "blocks": [{"type": "rich_text", "block_id": "b1", "elements": []}],
        "channel": ROOM,
        "event_ts": TS,
        "channel_type": "channel",
    }
    return usual | more


def direct(text: str, **more: Any) -> dict[str, Any]:
    return message(text, channel=DIRECT, channel_type="im") | more


def mention(text: str, **more: Any) -> dict[str, Any]:
    """The same thing said, as Slack tells it to whom is mentioned."""
    told = message(text, type="app_mention") | more
    del told["channel_type"]
    return told


def posted(text: str, **more: Any) -> dict[str, Any]:
    """What we said ourselves."""
    profile = {"id": "B0001", "app_id": APP, "user_id": BOT, "name": "ferry", "team_id": TEAM}
    return message(text, user=BOT, bot_id="B0001", app_id=APP, bot_profile=profile) | more


def inner(event: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A message inside of an event about it: without what the event itself says."""
    return {key: value for key, value in event.items() if key not in ("channel", "channel_type", "event_ts")} | more


def about(subtype: str, event: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An event about a message, later than it."""
    later = {"ts": "1700000090.000900", "event_ts": "1700000090.000900", "hidden": True}
    place = {"channel": event["channel"], "channel_type": event["channel_type"]}
    return {"type": "message", "subtype": subtype} | later | place | more


def changed(before: dict[str, Any], **after: Any) -> dict[str, Any]:
    edited = {"user": ANN, "ts": "1700000090.000000"}
    now = inner(before, edited=edited) | after
    return about("message_changed", before, message=now, previous_message=inner(before))


def deleted(before: dict[str, Any]) -> dict[str, Any]:
    return about("message_deleted", before, deleted_ts=before["ts"], previous_message=inner(before))


def command(**more: str) -> dict[str, str]:
    usual = {
        "token": "legacy",
        "team_id": TEAM,
        "team_domain": "acme",
        "channel_id": ROOM,
        "channel_name": "general",
        "user_id": ANN,
        "user_name": "ann",
        "command": "/ask",
        "text": "why is the sky blue?",
        "api_app_id": APP,
        "is_enterprise_install": "false",
        "response_url": RESPONSE_URL,
        "trigger_id": "111.222.abc",
    }
    return usual | more


def interaction(kind: str, **more: Any) -> dict[str, Any]:
    usual = {
        "type": kind,
        "token": "legacy",
        "team": {"id": TEAM, "domain": "acme"},
        "user": {"id": ANN, "username": "ann", "name": "ann", "team_id": TEAM},
        "enterprise": None,
        "is_enterprise_install": False,
        "trigger_id": "111.222.abc",
    }
    return usual | more


def shortcut(callback: str, of: dict[str, Any], **more: Any) -> dict[str, Any]:
    """From the menu of a message. It does not say which app it is for."""
    usual = {
        "callback_id": callback,
        "action_ts": "1700000099.000100",
        "channel": {"id": of["channel"], "name": "general"},
        "message_ts": of["ts"],
        "message": inner(of),
        "response_url": "https://hooks.slack.com/app/T0001/1/abc",
    }
    return interaction("message_action", **usual) | more


def tap(value: str, of: dict[str, Any], **more: Any) -> dict[str, Any]:
    """On a button under a message."""
    held = {"type": "message", "message_ts": of["ts"], "channel_id": of["channel"], "is_ephemeral": False}
    button = {"action_id": "stop", "block_id": "b1", "type": "button", "value": value, "action_ts": "1700000099.1"}
    usual = {
        "api_app_id": APP,
        "container": held,
        "channel": {"id": of["channel"], "name": "general"},
        "message": inner(of),
        "state": {"values": {}},
        "response_url": "https://hooks.slack.com/actions/T0001/1/abc",
        "actions": [button],
    }
    return interaction("block_actions", **usual) | more


def submitted(callback: str, metadata: str, **more: Any) -> dict[str, Any]:
    """A dialog, answered with its button."""
    view = {
        "id": "V0001",
        "team_id": TEAM,
        "type": "modal",
        "blocks": [],
        "private_metadata": metadata,
        "callback_id": callback,
        "state": {"values": {}},
        "hash": "1700000099.abc",
        "root_view_id": "V0001",
        "app_id": APP,
        "app_installed_team_id": TEAM,
        "bot_id": "B0001",
    }
    return interaction("view_submission", api_app_id=APP, view=view, response_urls=[]) | more


def taken(event: Any, **settings: Any) -> list[Inbound]:
    """What an event asks of us."""
    return list(channel(**settings).take(delivered(envelope(event))).events)
