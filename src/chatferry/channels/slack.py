"""Slack: answers that grow in a thread, in as many workspaces as installed us.

Events, commands and clicks come by HTTP or by Socket Mode. An answer is one of Slack's own streams where Slack grants
them, and else a message that is edited; both within the limits that all threads of a workspace share.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
import structlog

from chatferry.channels import slack_blocks, slack_check, slack_events, slack_hooks
from chatferry.channels.base import Capabilities, Hook, Page, Surroundings, Taken, Visit
from chatferry.channels.slack_api import OneToken, Refused, SlackApi, Tokens, Told
from chatferry.channels.slack_limits import Kept, Paced
from chatferry.channels.slack_place import Place
from chatferry.channels.slack_stream import CONFLICT, REFUSED_SECONDS, Streams
from chatferry.channels.slack_thread import Threads, metadata
from chatferry.errors import Ambiguous, Fault, Final, Gone, TryLater, Vanished
from chatferry.model import File, Finding, Grant, Inbound, Message, Receipt

if TYPE_CHECKING:
    from chatferry.channels.slack_install import Installations
    from chatferry.config import SlackSettings

log = structlog.get_logger(__name__)

LIMIT = 3900
"""Of one message: `text` of chat.update takes 4,000, and what turns Markdown into Slack's own may add to it."""
EDITS = 0.8
TYPING_SECONDS = 110.0
"""A status shows for two minutes."""
SHOWN_SECONDS = 600.0
FIRST_WORDS = 1.0
"""Seconds to wait for the first words where we don't know yet whether Slack shows that we are at work."""

NO_MARKDOWN = {"invalid_blocks", "invalid_blocks_format"}
TOO_LONG = "msg_blocks_too_long"
NO_THREAD = {"thread_not_found", "invalid_thread_ts"}
"""Refusals of a status that say nothing about the next thread."""
SESSION, STATUS = "agents.sessions.setStatus", "assistant.threads.setStatus"

_Result = TypeVar("_Result")


class Slack:
    """One app on Slack."""

    def __init__(self, name: str, settings: SlackSettings, around: Surroundings) -> None:
        self.name = name
        self.caps = Capabilities(
            limit=LIMIT,
            measure="escaped",
            markdown=True,
            typing=TYPING_SECONDS,
            unprompted="always",
            edits=EDITS,
            buttons=True,
            overhears=True,
        )
        self._settings = settings
        self._around = around
        self._clock = around.clock
        self._words = around.words
        self._rules = slack_events.Rules.of(settings)
        self._installations = _installations(name, settings, around)
        self.pages: tuple[str, ...] = self._installations.pages if self._installations else ()
        tokens: Tokens = OneToken(settings.token.get_secret_value()) if settings.token else _NoToken()
        self._api = SlackApi(self._installations or tokens, settings.api_base, around.http)
        self._paced = Paced(self._api, around.clock)
        self._streams = Streams(self._paced, around.clock, wanted=settings.stream == "auto")
        self._threads = Threads(self._paced, around.clock)
        self._plain: Kept[str, None] = Kept(around.clock, REFUSED_SECONDS)
        """Accounts that take no block of Markdown."""
        self._no_status: Kept[tuple[str, str], None] = Kept(around.clock, REFUSED_SECONDS)
        """Accounts and methods."""
        self._shown: Kept[str, str] = Kept(around.clock, SHOWN_SECONDS)
        """Where a status shows, and by which method."""

    # ── in ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, hook: Hook) -> Taken:
        return slack_hooks.hook(hook, self._settings, self._rules, self._words, self._threads.known)

    async def listen(self, accept: Callable[[Taken], Awaitable[object]]) -> None:
        """Learn who we are, and hold the connection of Socket Mode where there is one."""
        async with asyncio.TaskGroup() as group:
            if self._settings.token and not self._installations:
                group.create_task(self._introduce(), name=f"who is {self.name}")
            if self._settings.app_token:
                from chatferry.channels import slack_socket

                async def handle(kind: str, payload: bytes, attempt: int) -> bytes:
                    """Raises Rejected, or Unavailable if it was not kept."""
                    named = cast(slack_hooks.Kind, kind)  # the socket brings no others
                    known = self._threads.known
                    at = self._clock.now()
                    taken = slack_hooks.read(named, payload, self._rules, self._words, known, at=at)
                    await accept(taken)
                    return taken.body

                await slack_socket.listen(
                    self._settings.api_base, self._settings.app_token, self._around.http, self._clock, handle
                )

    async def _introduce(self) -> None:
        """Without knowing our own name, a mention of us in a thread is only known by its own event."""
        for pause in chain((1.0, 5.0, 30.0), repeat(60.0)):
            try:
                await self._threads.me("")
            except TryLater as fault:
                log.warning("not known who we are", channel=self.name, error=str(fault))
                await self._clock.sleep(max(pause, fault.after or 0.0))
            except Fault as fault:
                log.error("cannot speak", channel=self.name, error=str(fault))
                return
            else:
                return

    # ── out ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def send(
        self, address: str, messages: Sequence[Message], *, key: str, grant: Grant | None
    ) -> Sequence[Receipt]:
        """Answer a slash command by its `response_url`; post everything else."""
        if len(messages) != 1:
            raise ValueError(f"{len(messages)} messages: Slack takes 1 in one call")
        place, message = Place.of(address), messages[0]
        if grant is not None:
            kind = "in_channel" if self._settings.replies == "public" else "ephemeral"
            how = {"response_type": kind, "replace_original": False}
            await self._put(place, message, True, lambda body: self._api.respond(grant.token, body | how))
            return [Receipt()]
        receipt = Receipt(await self._post(place, message, key, last=True))
        await self._quiet(place)
        return [receipt]

    async def may_push(self) -> bool:
        return True

    def patience(self, inbound: Inbound) -> float | None:
        """What is answered once and whole is not shown growing: commands, greetings, what we say of ourselves."""
        place = Place.of(inbound.conversation)
        if place.asker or inbound.kind in ("push", "greeting"):
            return None
        return {True: math.inf, None: FIRST_WORDS, False: 0.0}[self._streams.usable(place)]

    def appends(self, inbound: Inbound) -> bool:
        return self._streams.usable(Place.of(inbound.conversation)) is not False

    async def begin(self, inbound: Inbound, message: Message, *, key: str) -> Receipt:
        """Start a stream, or post."""
        place = Place.of(inbound.conversation)
        ts = await self._streams.begin(place, inbound, slack_blocks.meek(message), metadata(key))
        if ts is None:
            ts = await self._post(place, message, key, last=False)
            if not ts:
                raise Ambiguous("Slack chat.postMessage: it did not say which message it made")
            self._grows(place, ts)
        return Receipt(ts)

    async def edit(self, inbound: Inbound, receipt: Receipt, message: Message, *, last: bool) -> bool:
        """Let a stream go on, or put the whole text in its place."""
        place, ts = Place.of(inbound.conversation), receipt.id
        meek = slack_blocks.meek(message)
        try:
            if not last:
                shown = await self._streams.grow(place, ts, meek)
                if shown is not None:
                    return shown
                self._grows(place, ts)
                return await self._update(place, ts, message, last=False)
            if await self._streams.end(place, ts, meek):
                self._forget_status(place)  # Slack does that by itself when a stream stops
            else:
                await self._update(place, ts, message, last=True)
                await self._quiet(place)
        except (Vanished, Gone):
            self._ends(place, ts)
            raise
        self._ends(place, ts)
        return True

    async def remove(self, inbound: Inbound, receipt: Receipt) -> None:
        place, ts = Place.of(inbound.conversation), receipt.id

        async def delete() -> object:
            return await self._paced.call("chat.delete", place.account, Told, channel=place.channel, ts=ts)

        with contextlib.suppress(Vanished):
            await self._unless_streaming(place, ts, delete)
        self._ends(place, ts)

    async def find(self, inbound: Inbound, key: str) -> Receipt | None:
        """By the key that our messages carry along. None also where Slack does not let us look."""
        ts = await self._threads.find(inbound, key)
        return Receipt(ts) if ts else None

    async def reads(self, inbound: Inbound, receipt: Receipt) -> str:
        return await self._threads.reads(Place.of(inbound.conversation), receipt.id)

    async def may_remove(self, inbound: Inbound, asker: str) -> bool:
        """Who asked may, and who administers the workspace."""
        place = Place.of(inbound.conversation)
        if asker and inbound.sender == asker:
            return True
        try:
            if (await self._threads.person(place.account, inbound.sender)).admin:
                return True
        except Final as fault:
            log.warning("not known whether an admin asks", account=place.account, error=str(fault))
        try:
            await self.whisper(inbound.conversation, inbound.sender, self._words.not_yours)
        except Fault as fault:
            log.info("could not be told", account=place.account, error=str(fault))
        return False

    async def _post(self, place: Place, message: Message, key: str, *, last: bool) -> str:
        """A new message, with the key by which it is found; returns its `ts`, "" where it has none."""
        if place.asker and self._settings.replies == "ephemeral":
            method: str = "chat.postEphemeral"
            how: dict[str, Any] = {"user": place.asker}
        else:
            method = "chat.postMessage"
            how = {"metadata": metadata(key), "unfurl_links": False, "unfurl_media": False}
        how |= {"channel": place.channel, "thread_ts": place.thread or None}

        async def post(fields: dict[str, Any]) -> str:
            return (await self._paced.call(method, place.account, Told, once=True, **how, **fields)).ts

        return await self._put(place, message, last, post)

    async def _update(self, place: Place, ts: str, message: Message, *, last: bool) -> bool:
        async def update(fields: dict[str, Any]) -> bool:
            fields |= {"channel": place.channel, "ts": ts}
            if not last:
                return await self._paced.spare("chat.update", place.account, **fields)
            # Any key will do: a stream that an earlier process began has none, and is not to be taken for another one.
            fields["metadata"] = metadata(ts)
            await self._paced.call("chat.update", place.account, Told, **fields)
            return True

        return await self._unless_streaming(place, ts, lambda: self._put(place, message, last, update))

    async def _unless_streaming(self, place: Place, ts: str, call: Callable[[], Awaitable[_Result]]) -> _Result:
        """A stream that another process has begun is stopped first."""
        try:
            return await call()
        except Refused as fault:
            if fault.code != CONFLICT:
                raise
        await self._streams.stop(place, ts)
        return await call()

    async def _put(
        self, place: Place, message: Message, last: bool, call: Callable[[dict[str, Any]], Awaitable[_Result]]
    ) -> _Result:
        """With a block of Markdown where that is taken."""
        markdown = place.account not in self._plain
        try:
            return await call(slack_blocks.fields(message, markdown=markdown, last=last))
        except Refused as fault:
            if not markdown or fault.code not in NO_MARKDOWN | {TOO_LONG}:
                raise
            if fault.code in NO_MARKDOWN:
                log.info("no blocks of Markdown", account=place.account, error=str(fault))
                self._plain.put(place.account, None)
        return await call(slack_blocks.fields(message, markdown=False, last=last))

    def _grows(self, place: Place, ts: str) -> None:
        self._paced.budget("chat.update", place.account).growing.put((place.channel, ts), None)

    def _ends(self, place: Place, ts: str) -> None:
        self._paced.budget("chat.update", place.account).growing.drop((place.channel, ts))
        self._streams.forget(place, ts)

    # ── besides ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def brief(self, inbound: Inbound, *, first: bool) -> tuple[Inbound, Sequence[Message]]:
        return await self._threads.brief(inbound, first=first)

    async def named(self, address: str, message: Message) -> Message:
        return await self._threads.named(address, message)

    async def typing(self, address: str) -> None:
        """Show in a thread that we are at work, by what the workspace grants; where that is nothing, ask nothing."""
        place = Place.of(address)
        if not place.thread:
            return
        for method, status in ((SESSION, "processing"), (STATUS, self._words.answering)):
            budget = self._paced.budget(method, place.account)
            if (place.account, method) in self._no_status:
                continue
            budget.growing.drop(address)
            if not budget.take():
                return
            self._shown.put(address, method)  # the call may be cut off, and be carried out all the same
            budget.growing.put(address, None)  # a call is kept that takes it away again
            try:
                await self._status(place, method, status)
            except Refused as fault:
                self._forget_status(place)
                if fault.code in NO_THREAD:
                    return
                log.info("no status", account=place.account, error=str(fault))
                self._no_status.put((place.account, method), None)
                continue
            return

    async def rest(self, address: str, *, inherited: bool) -> None:
        if inherited and address not in self._shown:
            self._shown.put(address, SESSION)  # the other method's status goes by itself
        await self._quiet(Place.of(address))

    async def _quiet(self, place: Place) -> None:
        """Nothing is being made any more."""
        method = self._forget_status(place)
        if method is None or (place.account, method) in self._no_status or not place.thread:
            return
        if not self._paced.budget(method, place.account).take():
            return
        try:
            await self._status(place, method, "active" if method == SESSION else "")
        except Fault as fault:
            log.info("a status stays", place=str(place), error=str(fault))
            if isinstance(fault, Refused) and fault.code not in NO_THREAD:
                self._no_status.put((place.account, method), None)

    def _forget_status(self, place: Place) -> str | None:
        method = self._shown.drop(str(place))
        if method is not None:
            self._paced.budget(method, place.account).growing.drop(str(place))
        return method

    async def _status(self, place: Place, method: str, status: str) -> None:
        await self._paced.send(
            method, place.account, Told, channel_id=place.channel, thread_ts=place.thread, status=status
        )

    async def download(self, file: File, limit: int) -> bytes:
        """The bytes of a file of Slack's. `ref` is its address, and before it, after a blank, the account."""
        account, _, url = file.ref.rpartition(" ")
        return await self._api.content(url, account, file.media_type, limit)

    async def oblige(self, aside: msgspec.Struct) -> None:
        """A dialog, a hint, or the end of an installation."""
        match aside:
            case slack_events.Dialog():
                view = slack_blocks.stop_dialog(self._words, {"address": aside.address, "ts": aside.ts})
                await self._paced.call("views.open", aside.account, Told, trigger_id=aside.trigger_id, view=view)
            case slack_events.Hint():
                await self._paced.call(
                    "chat.postEphemeral",
                    aside.account,
                    Told,
                    channel=aside.channel,
                    user=aside.user,
                    thread_ts=aside.thread or None,
                    text=aside.text,
                )
            case slack_events.Uninstalled():
                if self._installations:
                    await self._installations.drop(aside.account, said_at=aside.at)

    async def whisper(self, address: str, person: str, text: str) -> None:
        place = Place.of(address)
        await self.oblige(slack_events.Hint(place.account, place.channel, person, text, place.thread))

    async def visit(self, visit: Visit) -> Page:
        """The pages of the installation."""
        return await self._installations.visit(visit) if self._installations else Page(status=404)

    async def check(self, hook_url: str | None) -> AsyncIterator[Finding]:
        """Is the token good, which scopes are granted, and does Socket Mode work?"""
        public = self._around.public_url
        install = f"{public}{self.pages[0]}" if public and self.pages else None
        async for finding in slack_check.findings(self._around.http, self._settings, hook_url, install):
            yield finding


class _NoToken:
    async def token(self, account: str) -> str:
        raise Final("there is no bot token: set SLACK_BOT_TOKEN")


def _installations(name: str, settings: SlackSettings, around: Surroundings) -> Installations | None:
    """Only with them is the vault's cryptography needed."""
    if not settings.client_id:
        return None
    from chatferry.channels.slack_install import Installations

    return Installations(name, settings, around)
