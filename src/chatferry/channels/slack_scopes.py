"""What we ask of Slack, in one place: the manifest, the installation and the check all read it here."""

from __future__ import annotations

from collections.abc import Mapping

SCOPES: Mapping[str, str] = {
    "app_mentions:read": "hear who mentions us in a channel",
    "assistant:write": "be an agent: status, title and suggestions of a thread",
    "channels:history": "read the thread that we are asked into, in public channels",
    "chat:write": "answer",
    "commands": "the slash command and the shortcuts",
    "files:read": "fetch the files that people send with a question",
    "groups:history": "read the thread that we are asked into, in private channels",
    "im:history": "hear direct messages",
    "mpim:history": "hear direct messages among several people",
    "users:read": "write names in the place of ids, and know who is an admin",
}
"""The bot token's scopes, and what each is for."""

EVENTS: Mapping[str, str] = {
    "agent_session_stopped": "somebody pressed Slack's own stop button",
    "app_home_opened": "somebody opened the direct messages with us",
    "app_mention": "somebody mentions us",
    "app_uninstalled": "a workspace removed us",
    "message.channels": "threads in public channels in which we take part; edits and deletions there",
    "message.groups": "the same in private channels",
    "message.im": "direct messages",
    "message.mpim": "direct messages among several people",
    "tokens_revoked": "a token of ours was taken back",
}
"""The bot events that we subscribe to, and what each tells."""
