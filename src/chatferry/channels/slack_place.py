"""Where a talk on Slack takes place, as the address that the core keeps."""

from __future__ import annotations

import re
from typing import NamedTuple

# What Slack's own ids and `ts` make. With a slash in one of them an address could be that of somebody else's talk.
TALK = re.compile(r"[A-Z0-9+]+/[A-Z0-9]+(?:/[0-9.]+)?")
COMMAND = re.compile(r"[A-Z0-9+]+/[A-Z0-9]+/ask/[A-Z0-9]+")


class Place(NamedTuple):
    """`ACCOUNT/CHANNEL`, `ACCOUNT/CHANNEL/THREAD` or, for a slash command, `ACCOUNT/CHANNEL/ask/USER`.

    account: the workspace's id, or `ENTERPRISE+WORKSPACE` where the whole organisation installed us; empty where there
    is only one.
    """

    account: str
    channel: str
    thread: str = ""
    """The `ts` of the message that the thread hangs on."""
    asker: str = ""
    """Whose slash command it is."""

    def __str__(self) -> str:
        if self.asker:
            return f"{self.account}/{self.channel}/ask/{self.asker}"
        return "/".join(filter(None, (self.account, self.channel, self.thread)))

    @classmethod
    def of(cls, address: str) -> Place:
        """The place of an address that `str` made, or of a channel's id alone, as people write it."""
        if "/" not in address:
            return cls("", address)
        account, channel, *rest = (*address.split("/"), "")
        if rest[0] == "ask":
            return cls(account, channel, asker=rest[1])
        return cls(account, channel, rest[0])

    @property
    def alone(self) -> bool:
        """Is it between one person and us? Ids of direct messages begin with D."""
        return bool(self.asker) or self.channel.startswith("D")

    @property
    def team(self) -> str:
        """The workspace alone."""
        return self.account.rpartition("+")[2]
