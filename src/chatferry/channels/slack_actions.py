"""What people do on Slack besides talking, as our `Inbound`: slash commands, shortcuts, buttons, dialogs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from chatferry.channels.base import OURS, STOP, Taken
from chatferry.channels.slack_events import Dialog, Hint, Rules, Side, account_of, named
from chatferry.channels.slack_place import Place
from chatferry.channels.slack_wire import Command, Container, Interaction, Kind, Named, Said, View
from chatferry.errors import Rejected
from chatferry.model import Grant, Inbound, says
from chatferry.words import Words

RESPONSE_SECONDS = 29 * 60.0
"""How long we count on a `response_url`. "Handling user interaction": five times within 30 minutes."""
RESPONSE_USES = 5


class Meant(msgspec.Struct, frozen=True):
    """The `private_metadata` of the dialog that asks whether to stop: which message, in which conversation."""

    address: str
    ts: str


def command(payload: bytes, rules: Rules, words: Words, *, at: float) -> Taken:
    """A slash command. What is answered at once says that the answer comes."""
    asked = msgspec.json.decode(payload, type=Command)
    account = account_of(asked.team_id, asked.enterprise_id, asked.is_enterprise_install)
    if not account or not asked.channel_id or not asked.user_id:
        raise Rejected(400, "the slash command does not say whose it is")
    text = asked.text.strip()
    if not text:
        return _reply("ephemeral", words.usage.replace("{command}", asked.command))
    if not _ours_to_call(asked.response_url):
        raise Rejected(400, "the response_url is not an address of Slack's")
    heard = Inbound(
        event=f"command/{asked.trigger_id}" if asked.trigger_id else "",
        conversation=str(Place(account, asked.channel_id, asker=asked.user_id)),
        message=replace(says("user", text), author=asked.user_id if rules.replies == "public" else ""),
        sender=asked.user_id,
        grant=Grant(asked.response_url, at + RESPONSE_SECONDS, RESPONSE_USES),
        at=at,
        assistant=rules.rooms.get(asked.channel_id, ""),
    )
    taken = _reply("in_channel" if rules.replies == "public" else "ephemeral", words.waiting)
    return replace(taken, events=(heard if heard.event else named(None, heard),))


def _reply(kind: str, text: str) -> Taken:
    return Taken(body=msgspec.json.encode({"response_type": kind, "text": text}), media_type="application/json")


def _ours_to_call(url: str) -> bool:
    """May we POST there? Over TLS, or to this machine, where tests and simulators are."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    near = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    return near or (parts.scheme == "https" and bool(parts.hostname))


def interaction(payload: bytes, rules: Rules, words: Words, me: Mapping[str, str], *, at: float) -> Taken:
    """A click, a shortcut or a dialog. Raises `MsgspecError` if it isn't one."""
    if msgspec.json.decode(payload, type=Kind).type not in ("message_action", "block_actions", "view_submission"):
        return Taken()
    done = msgspec.json.decode(payload, type=Interaction)
    side = _side(done, rules, me)
    if not side.account:
        return Taken()
    match done.type:
        case "message_action":
            return _shortcut(done, side, words, at)
        case "block_actions":
            return _tapped(done, side, at)
        case _:
            return _confirmed(done, side, at)


def _side(done: Interaction, rules: Rules, me: Mapping[str, str]) -> Side:
    """`team` is empty where an organisation installed us, and not ours where a dialog is shown abroad."""
    team, user, view = done.team or Named(), done.user or Named(), done.view or View()
    enterprise = (done.enterprise and done.enterprise.id) or team.enterprise_id
    place = view.app_installed_team_id or team.id or user.team_id or view.team_id
    account = account_of(place, enterprise, done.is_enterprise_install)
    return Side(account, done.api_app_id or "", me.get(account, ""), rules)


def _shortcut(done: Interaction, side: Side, words: Words, at: float) -> Taken:
    """A command from the menu of a message. `abort_openai_api` is what older installations call it."""
    stop = done.callback_id in ("stop_answer", "abort_openai_api")
    said, channel = done.message or Said(), (done.channel and done.channel.id) or ""
    user = (done.user and done.user.id) or ""
    ts = said.ts or done.message_ts or ""
    if not channel or not user or not ts or not (stop or done.callback_id == "delete_answer"):
        return Taken()
    if not side.ours(said):
        return Taken(aside=Hint(side.account, channel, user, words.not_mine, said.thread_ts or ""))
    address = str(side.place(channel, replace(said, ts=ts)))
    if stop:
        return Taken(aside=Dialog(side.account, done.trigger_id or "", address, ts))
    name = f"action/{done.trigger_id}" if done.trigger_id else ""
    return Taken((named(name, Inbound("", address, "erase", sender=user, ref=ts, at=at)),))


def _tapped(done: Interaction, side: Side, at: float) -> Taken:
    """A button under a message: Stop, or one that says something."""
    ours = next((action.value for action in done.actions or () if (action.value or "").startswith(OURS)), None)
    if ours is None:
        return Taken()
    held, said = done.container or Container(), done.message or Said()
    channel = (done.channel and done.channel.id) or held.channel_id
    ts = held.message_ts or said.ts
    if not channel or not ts:
        return Taken()
    address = str(side.place(channel, replace(said, ts=ts, thread_ts=said.thread_ts or held.thread_ts)))
    name = f"action/{done.trigger_id}" if done.trigger_id else ""
    if ours == STOP:
        return Taken((_stop(done, address, ts, name, at),))
    user, shared = (done.user and done.user.id) or "", not Place.of(address).alone
    message = replace(says("user", ours), author=user if shared else "")
    heard = Inbound("", address, message=message, sender=user, shared=shared, at=at)
    heard = replace(heard, assistant=side.rules.rooms.get(channel, ""))
    return Taken((named(name, heard),))


def _confirmed(done: Interaction, side: Side, at: float) -> Taken:
    """The dialog that a shortcut opened, with yes for an answer."""
    view = done.view or View()
    if view.callback_id != "stop_answer":
        return Taken()
    meant = msgspec.json.decode(view.private_metadata or "", type=Meant)
    # Where an organisation installed us as a whole, whoever says yes may sit in another of its workspaces.
    installation = meant.address.partition("/")[0].partition("+")[0]
    if installation != side.account.partition("+")[0] or not meant.ts:
        raise Rejected(400, "the dialog is about another workspace")
    return Taken((_stop(done, meant.address, meant.ts, f"view/{view.id}" if view.id else "", at),))


def _stop(done: Interaction, address: str, ref: str, name: str, at: float) -> Inbound:
    sender = (done.user and done.user.id) or ""
    return named(name, Inbound("", address, "stop", sender=sender, ref=ref, at=at))
