"""What is for us and not for the model: commands, prepared answers, and whether a session lets a message in at all."""

from __future__ import annotations

from typing import get_args

from msgspec.structs import replace

from chatferry.assistant import Assistant, Staff
from chatferry.channels.base import Channel, whispering
from chatferry.clock import Clock
from chatferry.commands import Commands, Name, notice, pause, slow, spent
from chatferry.config import SessionSettings
from chatferry.ledger import consent, profiles
from chatferry.ledger.recalling import Recalling
from chatferry.ledger.sessions import Gate
from chatferry.links import Links
from chatferry.model import ASKING, Inbound, Text, Turn, says, talk_key
from chatferry.privacy import Notice, mark_of
from chatferry.replies import Replies, call

_DOOR = ("code_ask", "code_right", "code_wrong", "code_group")
"""Words to strangers (`guests`)."""


class Desk:
    """Looks at every message when it is accepted, and later answers those that are for us."""

    def __init__(
        self,
        commands: Commands,
        replies: Replies,
        staff: Staff,
        links: Links,
        clock: Clock,
        ledger: Recalling,
        notice: Notice | None = None,
    ) -> None:
        self._commands = commands
        self._replies = replies
        self._staff = staff
        self._links = links
        self._clock = clock
        self._notice = notice
        self._ledger = ledger

    def receive(self, channel: Channel, event: Inbound, *, longest: int | None = None) -> tuple[Inbound, Gate | None]:
        """The event as a command, if it is one; and the session that it has to be in, if any.

        Whoever brings the whole talk along has no session with us, and no commands.
        longest: characters that a message may have where there is somebody to be told so.
        """
        assistant = self._staff.of(channel.name, event)
        if event.message is None or event.context is not None or assistant is None:
            return event, None
        if event.kind == "heard" and assistant.settings.tools:
            return consent.read(event, assistant.words), None
        if event.kind not in ASKING:
            return event, None
        said, session = event.message.text, assistant.settings.session
        if longest is not None and len(said) > longest and channel.caps.batch:
            # Nothing of it is kept.
            told = assistant.words.too_long.replace("{number}", str(longest))
            if event.kind == "change":  # which may be of something that nobody asked us
                return replace(event, reply=told), None
            return replace(event, kind="command", command="reply", reply=told, message=None), None
        if event.kind == "change":
            return consent.read(event, assistant.words), None
        gate = self._gate(channel, event, assistant, session) if session else None
        command = self._commands.read(said, session)
        if command is not None and command.name == "start":
            asked = [Text(command.rest)] if command.rest else []
            files = [part for part in event.message.parts if not isinstance(part, Text)]
            if asked or files:  # begins a session, and asks at once
                message = replace(event.message, parts=(*asked, *files))
                return replace(event, command=command.name, message=message), gate
        if command is not None:
            # By whom something is forgotten has to be known when this is accepted.
            its = assistant.name if command.name == "forget" else event.assistant
            return replace(event, kind="command", command=command.name, assistant=its), gate
        if found := self._replies.find(said, channel.name):
            kind, reply = found
            return replace(event, kind="command", command=kind, reply=reply), None
        if assistant.settings.tools:
            event = consent.read(event, assistant.words, aside=whispering(channel))
        return event, gate

    def stale(self, channel: Channel, event: Inbound) -> str:
        """What whoever taps on a settled question, or on somebody else's, is told."""
        assistant = self._staff.of(channel.name, event)
        return assistant.words.confirm_over if assistant is not None else ""

    async def answer(self, turn: Turn, assistant: Assistant) -> str:
        """What a command is answered with; empty: nothing. Raises Final where a function of the operator's fails."""
        said = await self._said(turn, assistant)
        beside = turn.inbound.files and turn.inbound.command in get_args(Name)
        return f"{said}\n\n{assistant.words.passed_over}" if beside else said

    async def _said(self, turn: Turn, assistant: Assistant) -> str:
        inbound, settings = turn.inbound, assistant.settings
        if inbound.command == "reply":
            return inbound.reply
        if inbound.command == "slow":
            return slow(inbound.again_at - self._clock.now(), assistant.words)
        if inbound.command == "spent":
            return spent(inbound.reply, inbound.again_at - self._clock.now(), assistant.words)
        if inbound.command == "code_pause":
            return pause(inbound.again_at - self._clock.now(), assistant.words)
        if inbound.command in _DOOR:
            return str(getattr(assistant.words, inbound.command))
        if inbound.command == "python":
            message = inbound.message or says("user", "")
            return await call(inbound.reply, message, inbound.conversation)
        if inbound.command == "privacy" and self._notice is not None and self._notice.there:
            base = self._links.base
            if not base:
                return self._notice.text(assistant.words, assistant.name)
            place = f"{base}/privacy?lang={settings.tongue}&of={mark_of(assistant.name)}"
            return assistant.words.privacy_here.replace("{link}", place)
        if inbound.command == "memory":
            return await self._memory(turn, assistant)
        link = self._links.history(turn.id, self._clock.now())
        return self._commands.answer(
            inbound.command,
            turn.finish,
            assistant.words,
            settings.session,
            link,
            remembers=settings.remembers,
            public=_public(inbound, assistant),
        )

    async def _memory(self, turn: Turn, assistant: Assistant) -> str:
        """What is kept, as far as it is used where the question comes from."""
        settings, person = assistant.settings, turn.inbound.confidant if assistant.settings.profile else ""
        key = profiles.key(turn.channel, person, assistant.name)
        across = settings.memory == "conversation"
        talk = talk_key(turn.conversation)
        found = await self._ledger.recalled(talk, turn.id, across=across, person=key, paged=False)
        summary = found.summary if settings.summary_model else ""
        facts, public = [fact.text for fact in found.facts], _public(turn.inbound, assistant)
        return self._commands.memory(facts, summary, assistant.words, public=public)

    def notice(self, turn: Turn, assistant: Assistant) -> str:
        """What stands before the answer: that a session had ended by silence, that most of a budget is used up."""
        said = assistant.words.near if turn.inbound.near else ""
        return "\n\n".join(filter(None, (self._expired(turn, assistant), said)))

    def _expired(self, turn: Turn, assistant: Assistant) -> str:
        if not turn.inbound.expired:
            return ""
        if turn.inbound.kind == "message" and turn.inbound.reply:
            return turn.inbound.reply
        return notice(assistant.words, assistant.settings.session)

    def _gate(self, channel: Channel, event: Inbound, assistant: Assistant, session: SessionSettings) -> Gate:
        outside: Inbound | None
        if session.outside in self._staff:
            # Whoever answers there knows nothing of this session.
            outside = replace(event, assistant=session.outside, reply=notice(assistant.words, session))
        elif session.outside != "ignore":
            outside = replace(event, kind="command", command="reply", reply=session.outside)
        else:
            # Where whoever asks waits for the answer, there has to be one.
            outside = None if channel.caps.batch else replace(event, kind="command", command="help")
        return Gate(session.ttl, session.always, outside)


def _public(inbound: Inbound, assistant: Assistant) -> bool:
    """Is something known of people that is not for here, as others read along?"""
    return assistant.settings.profile and not inbound.confidant
