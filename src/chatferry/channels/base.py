"""The seam to chat platforms: what a channel takes in, what it can do, how it sends.

A channel knows its platform and nothing else: not the ledger, not the web framework, not the model.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from chatferry.model import File, Finding, Grant, Inbound, Message, Receipt


class Capabilities(msgspec.Struct, frozen=True):
    """What a channel can do, as data: the core asks this, never the channel's name."""

    batch: int = 1
    """Messages that one call of `send` takes. 0: nothing is sent, whoever asked fetches the answer."""
    limit: int = 4000
    """Length of one text message, counted in `measure`."""
    measure: Literal["chars", "utf16", "utf8"] = "chars"
    markdown: bool = False
    """The platform shows Markdown; else text is made plain before it is cut."""
    live: bool = False
    """Somebody reads along: tokens are passed on as they come, not paced."""
    typing: float = 0.0
    """Seconds for which one call of `typing` shows. 0: there is no such call."""
    unprompted: Literal["always", "never", "ask"] = "never"
    """May `send` be called without a grant? `ask`: `may_push` knows, for it changes."""
    collect: bool = False
    """A `Button` with data `COLLECT` may be sent, and its tap comes back as an inbound of kind `collect`."""
    notice: float = 0.0
    """Seconds before its end at which a grant is spent on "on its way" and a collect button, if no answer is there."""
    waiting: bool = False
    """Spend the grant at once on "please wait" and send the answer unprompted."""


COLLECT = "chatferry:collect"
"""The data of a button that fetches what waits."""


class Hook(msgspec.Struct, frozen=True):
    """One HTTP request of a platform: bytes in, no framework. Header names are in lower case."""

    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str] = {}
    at: float = 0.0
    """Unix seconds at which it came."""


class Taken(msgspec.Struct, frozen=True):
    """What was read from a hook, and the answer to give once it is kept."""

    events: tuple[Inbound, ...] = ()
    status: int = 200
    body: bytes = b""
    media_type: str = "text/plain"


class Channel(Protocol):
    """One account on one platform."""

    name: str
    caps: Capabilities

    def take(self, hook: Hook) -> Taken:
        """Verify, then read. Sync and pure.

        Raises `Rejected` when the signature or the form is wrong. Unknown fields and kinds are normal.
        """
        ...

    async def send(
        self, address: str, messages: Sequence[Message], *, key: str, grant: Grant | None
    ) -> Sequence[Receipt]:
        """Send 1 to `caps.batch` messages, all or none, and return a receipt for each.

        With a grant it is spent, sent or not. Without one the same `key` (a UUID) sends at most once.
        Raises `TryLater`, `Ambiguous` (only with a grant), `NoLeave`, `Gone` or `Final`.
        """
        ...

    async def may_push(self) -> bool:
        """Is there quota left for sending without a grant? Asked only where `caps.unprompted` is `ask`."""
        ...

    async def typing(self, address: str) -> None:
        """Show that an answer is being made. Asked only where `caps.typing` is not 0."""
        ...

    async def download(self, file: File) -> bytes:
        """The bytes of a file that came in through this channel."""
        ...

    def check(self, hook_url: str | None) -> AsyncIterator[Finding]:
        """Try what this channel needs by calling it. `hook_url`: where the platform should reach us, if known."""
        ...
