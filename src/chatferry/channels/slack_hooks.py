"""Slack's requests: is it Slack, and what is it? Events, slash commands and interactivity come to one address. Pure."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl

import msgspec

from chatferry.channels import slack_actions, slack_events
from chatferry.channels.base import Hook, Taken
from chatferry.channels.slack_events import Rules
from chatferry.channels.slack_place import COMMAND, TALK
from chatferry.errors import Rejected
from chatferry.words import Words

if TYPE_CHECKING:
    from chatferry.config import SlackSettings

WINDOW = 300.0
"""Seconds by which the signed time may differ from ours: "Verifying requests from Slack"."""
FORM = "application/x-www-form-urlencoded"

Kind = Literal["events_api", "slash_commands", "interactive"]
"""As Socket Mode names them."""


def hook(came: Hook, settings: SlackSettings, rules: Rules, words: Words, me: Mapping[str, str]) -> Taken:
    """Verify, then read. `me`: for each account our bot's user id, as far as we know it."""
    if settings.url_token and not _same(came.query.get("token", ""), settings.url_token.get_secret_value()):
        raise Rejected(403, "the address lacks its ?token=, which is url_token")
    form = came.headers.get("content-type", "").startswith(FORM)
    if form and b"ssl_check=1" in came.body.split(b"&"):
        return Taken()  # Slack tries our certificate: there is nothing to read, and no promise that it is signed
    _verify(came, settings.secret.get_secret_value() if settings.secret else "")
    if not form:
        return read("events_api", came.body, rules, words, me, at=came.at)
    try:
        fields = dict(parse_qsl(came.body.decode(), keep_blank_values=True))
    except ValueError as error:
        raise Rejected(400, "the form cannot be read") from error
    if "payload" in fields:
        return read("interactive", fields["payload"].encode(), rules, words, me, at=came.at)
    return read("slash_commands", msgspec.json.encode(fields), rules, words, me, at=came.at)


def read(kind: Kind, payload: bytes, rules: Rules, words: Words, me: Mapping[str, str], *, at: float) -> Taken:
    """What a payload that is known to come from Slack asks of us. `payload` is JSON, of a slash command its fields.

    Raises `Rejected` (400) if it isn't Slack's form.
    """
    try:
        match kind:
            case "events_api":
                taken = slack_events.event(payload, rules, me)
            case "slash_commands":
                taken = slack_actions.command(payload, rules, words, at=at)
            case "interactive":
                taken = slack_actions.interaction(payload, rules, words, me, at=at)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Rejected(400, "the body is not of a form that Slack sends") from error
    address = COMMAND if kind == "slash_commands" else TALK
    if not all(address.fullmatch(event.conversation) for event in taken.events):
        raise Rejected(400, "the body has an id that is none of Slack's")
    return taken


def _verify(came: Hook, secret: str) -> None:
    """The time is signed along, so that what was overheard cannot be sent again for long."""
    if not secret:
        raise Rejected(401, "no signing secret is set: events come by Socket Mode")
    signed = came.headers.get("x-slack-request-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,12}", signed) or abs(came.at - int(signed)) > WINDOW:
        raise Rejected(401, "the request is not of the last five minutes")
    right = hmac.digest(secret.encode(), b"v0:%b:%b" % (signed.encode(), came.body), "sha256").hex()
    if not _same(came.headers.get("x-slack-signature", ""), f"v0={right}"):
        raise Rejected(401, "the signature is not Slack's for this app: is `secret` right?")


def _same(given: str, right: str) -> bool:
    """Compared in constant time, whatever was given."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())
