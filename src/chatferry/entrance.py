"""What an event shows at the door of its channel: the operator's lists, and whether it is the code."""

from __future__ import annotations

import hmac
from typing import Literal

from chatferry.channels.base import Channel
from chatferry.config import Settings
from chatferry.config.people import EntranceSettings
from chatferry.ledger.guests import Knock
from chatferry.model import Inbound, conversation_key
from chatferry.text.likeness import folded


class Entrance:
    """The doors of all channels. Where nothing is set, there is none."""

    def __init__(self, settings: Settings) -> None:
        self._of: dict[str, EntranceSettings] = {
            name: its for name, its in settings.channels.items() if its.allow or its.deny or its.first_contact == "code"
        }

    def knock(self, channel: Channel, event: Inbound) -> Knock | None:
        """None where everybody may come in, and for what we do ourselves."""
        its = self._of.get(channel.name)
        if its is None or event.kind == "push":
            return None
        names = {event.sender, event.conversation} - {""}
        code = its.first_contact == "code"
        listed: Literal["", "in", "out"] = "out" if names & set(its.deny) else "in" if names & set(its.allow) else ""
        if not listed and its.allow and not code:
            listed = "out"
        said = event.message.text if event.message is not None else ""
        return Knock(
            conversation_key(channel.name, event.sender) if event.sender else "",
            conversation_key(channel.name, event.conversation) if event.shared else "",
            listed,
            code,
            code and its.code is not None and _same(said, its.code.get_secret_value()),
            its.denied,
        )


def _same(said: str, code: str) -> bool:
    """Compared in constant time, small and large, wide and narrow letters as one."""
    return hmac.compare_digest(folded(said[:200]).encode("utf-8", "replace"), folded(code).encode())
