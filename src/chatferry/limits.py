"""By which limits a message is counted: those of [limits], or of its channel's own table."""

from __future__ import annotations

from chatferry.channels.base import Channel
from chatferry.config import Settings
from chatferry.ledger.pacing import Pace
from chatferry.model import ASKING, Inbound, conversation_key
from chatferry.rate import Rate


class Limits:
    """Where nothing is limited, nothing is counted."""

    def __init__(self, settings: Settings) -> None:
        usual = settings.limits
        self._of = {name: its.limits.over(usual) for name, its in settings.channels.items()}
        if settings.api is not None:
            rate = settings.api.rate
            self._of["api"] = usual.model_copy(update={"user": Rate(rate, 60.0)}) if rate else usual

    def longest(self, channel: Channel) -> int | None:
        """Characters that a message may have there."""
        its = self._of.get(channel.name)
        return its.message if its is not None else None

    def pace(self, channel: Channel, event: Inbound, *, held: bool = False) -> Pace | None:
        """What this event is counted by, if it asks the assistant. held: its request stays open for what we say."""
        its = self._of.get(channel.name)
        if its is None or not (event.kind in ASKING or event.consent):
            return None
        rates = []
        if its.user and event.sender:
            rates.append((f"user {channel.name}:{event.sender}", its.user))
        # Whoever brings the whole talk along has no conversation with us.
        if its.conversation and event.context is None:
            rates.append((f"talk {conversation_key(channel.name, event.conversation)}", its.conversation))
        whole = None
        if its.channel:
            own = conversation_key(channel.name, event.sender or event.conversation)
            whole = (f"channel {channel.name}", its.channel, f"wait {own}")
        if not rates and whole is None:
            return None
        # Where nothing is sent, there is somebody who waits for the response, a program mostly.
        return Pace(tuple(rates), "each" if held else "first" if channel.caps.batch else "caller", whole)
