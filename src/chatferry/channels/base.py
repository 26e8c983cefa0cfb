"""The seam to chat platforms: what a channel takes in, what it can do, how it sends.

A channel knows its platform and nothing else: not the ledger, not the web framework, not the model.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, TypeGuard

import aiohttp
import msgspec

from chatferry.clock import Clock
from chatferry.model import File, Finding, Grant, Inbound, Message, Receipt
from chatferry.text.cutting import Measure
from chatferry.words import Words


class Capabilities(msgspec.Struct, frozen=True):
    """What a channel can do, as data: the core asks this, never the channel's name."""

    batch: int = 1
    """Messages that one call of `send` takes. 0: nothing is sent, whoever asked fetches the answer."""
    limit: int = 4000
    """Length of one text message, counted in `measure`."""
    measure: Measure = "chars"
    markdown: bool = False
    """The platform shows Markdown; else text is made plain before it is cut."""
    live: bool = False
    """Somebody reads along: tokens are passed on as they come, not paced."""
    typing: float = 0.0
    """Seconds for which one call of `typing` shows. 0: there is no such call."""
    unprompted: Literal["always", "never", "ask"] = "never"
    """May `send` be called without a grant? `ask`: `may_push` knows, for it changes."""
    overhears: bool = False
    """In groups, what people say without naming us comes too, be it as `heard`."""
    collect: bool = False
    """A `Button` with data `COLLECT` may be sent, and its tap comes back as an inbound of kind `collect`."""
    buttons: bool = False
    """A message may have buttons; a tap comes back as a message with their data."""
    notice: float = 0.0
    """Seconds before its end at which a grant is spent on "on its way" and a collect button, if no answer is there."""
    waiting: bool = False
    """Spend the grant at once on "please wait" and send the answer unprompted."""
    pages: bool = False
    """What does not fit, or is not ready in time, is told by a link to the page on which it appears."""
    keyless: bool = False
    """The platform knows no call again, whatever key or grant it has: one that was cut off and is made again may be
    carried out twice. The log says so then."""
    edits: float = 0.0
    """Seconds between two edits of a message that grows while the answer is made; the channel is an `Editing` then.
    0: a message that is out cannot be changed."""


COLLECT = "chatferry:collect"
"""The data of a button that fetches what waits."""
OURS = "chatferry:"
"""Before the data of all our buttons."""
STOP = "chatferry:stop"
"""The data of a button that stops the answer; its tap comes back as an inbound of kind `stop`."""


class Hook(msgspec.Struct, frozen=True):
    """One HTTP request of a platform: bytes in, no framework. Header names are in lower case."""

    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str] = {}
    at: float = 0.0
    """Unix seconds at which it came."""


class Hold(msgspec.Struct, frozen=True):
    """Leave to answer in the very response: the request stays open until there is something to say.

    Where there is not in time, it gets no response at all, and the platform delivers the event again; the last time
    it gets a link.
    """

    enclose: Callable[[str], bytes]
    """A text of at most `caps.limit` as the body of the response."""
    seconds: float
    """How long after it came the request may be answered."""
    limit: float
    """How long after it came the platform stops to listen, and delivers again."""
    calls: int
    """How often it delivers in all."""
    media_type: str = "application/xml"


class Taken(msgspec.Struct, frozen=True):
    """What was read from a hook, and the answer to give once it is kept."""

    events: tuple[Inbound, ...] = ()
    status: int = 200
    body: bytes = b""
    media_type: str = "text/plain"
    hold: Hold | None = None
    """The request of the one event may stay open; `body` is the response where there is nothing to say."""
    aside: msgspec.Struct | None = None
    """A courtesy besides, which may be lost (a dialog, a hint): for `Obliging.oblige` once the events are kept."""


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

        With a grant one use of it is spent, sent or not. Without one the same `key` (a UUID) sends at most once, or the
        channel is an `Editing` and can `find` it.
        Raises `TryLater`, `Ambiguous` (with a grant, or where it can be found), `NoLeave`, `Gone` or `Final`.
        """
        ...

    async def may_push(self) -> bool:
        """Is there quota left for sending without a grant? Asked only where `caps.unprompted` is `ask`."""
        ...

    async def typing(self, address: str) -> None:
        """Show that an answer is being made. Asked only where `caps.typing` is not 0."""
        ...

    async def download(self, file: File, limit: int) -> bytes:
        """The bytes of a file that came in through this channel, from the platform's own hosts and nowhere else.

        Raises `TooLarge` where there are more than `limit`, `TryLater` or `Final`.
        """
        ...

    def check(self, hook_url: str | None) -> AsyncIterator[Finding]:
        """Try what this channel needs by calling it. `hook_url`: where the platform should reach us, if known."""
        ...


class Editing(Channel, Protocol):
    """A channel on which a message that is out can be changed: `caps.edits` is not 0."""

    def patience(self, inbound: Inbound) -> float | None:
        """Seconds to wait for the first words before the growing message begins with a placeholder instead.

        0: a placeholder at once. `inf`: the platform shows by itself that we are at work. None: the answer to this
        cannot be shown before it is whole.
        """
        ...

    async def begin(self, inbound: Inbound, message: Message, *, key: str) -> Receipt:
        """Send a message that will grow. Raises as `send` does without a grant."""
        ...

    def appends(self, inbound: Inbound) -> bool:
        """May it be that a message which grows there can only go on, so that nothing may stand in it for a while?

        What is called for the answer is not in its text then, but in its `tasks`.
        """
        ...

    async def edit(self, inbound: Inbound, receipt: Receipt, message: Message, *, last: bool) -> bool:
        """Let a message that is out read as `message`. The same edit again changes nothing.

        Before the `last` one, False says that the platform's limits leave no room for it now; the last one waits for
        its turn. Raises `TryLater`, `Vanished`, `Gone` or `Final`.
        """
        ...

    async def remove(self, inbound: Inbound, receipt: Receipt) -> None:
        """Take a message of ours off the platform; one that is not there any more is fine. Raises as `edit` does."""
        ...

    async def find(self, inbound: Inbound, key: str) -> Receipt | None:
        """The message that a `send` or `begin` with this key left, or None if there is none. Raises `TryLater`."""
        ...

    async def reads(self, inbound: Inbound, receipt: Receipt) -> str:
        """What a message of ours says now, as we gave it to the platform; empty where that is not known."""
        ...

    async def may_remove(self, inbound: Inbound, asker: str) -> bool:
        """May `inbound.sender` have the answer to `asker` removed? If not, they are told so."""
        ...


class Briefing(Channel, Protocol):
    """A channel whose events do not tell all that the assistant should know."""

    async def brief(self, inbound: Inbound, *, first: bool) -> tuple[Inbound, Sequence[Message]]:
        """The inbound with names in the place of ids; and if it is the `first` and something was said `earlier`, that,
        oldest first. What cannot be had is left as it is: no fault of the platform's stops the question.
        """
        ...

    async def named(self, address: str, message: Message) -> Message:
        """The same for a message that was only heard, and of whose author we know no more than the id."""
        ...


class Resting(Channel, Protocol):
    """A channel on which what `typing` shows stays until it is taken away."""

    async def rest(self, address: str, *, inherited: bool) -> None:
        """No answer is being made there any more. Raises Fault; nobody tries again.

        inherited: another process began the turn, and what it showed may still show.
        """
        ...


class Obliging(Channel, Protocol):
    """A channel that does something besides: see `Taken.aside`."""

    async def oblige(self, aside: msgspec.Struct) -> None:
        """Do it. Raises Fault; nobody tries again."""
        ...


class Whispering(Channel, Protocol):
    """A channel on which one person in a talk can be told something that nobody else sees."""

    async def whisper(self, address: str, person: str, text: str) -> None:
        """Tell them. Raises Fault; nobody tries again."""
        ...


class Listening(Channel, Protocol):
    """A channel that has something to do as long as we serve, such as holding a connection on which events come."""

    async def listen(self, accept: Callable[[Taken], Awaitable[object]]) -> None:
        """Run until cancelled. `accept` keeps what was taken; it raises Unavailable if it could not."""
        ...


class Keeping(Channel, Protocol):
    """A channel that has to keep something current as long as messages are taken in."""

    async def keep(self) -> None:
        """Run until cancelled."""
        ...


class Visit(msgspec.Struct, frozen=True):
    """A person's browser at one of a channel's pages."""

    path: str
    query: Mapping[str, str]
    cookies: Mapping[str, str]
    at: float
    """Unix seconds."""


class Page(msgspec.Struct, frozen=True):
    """What the browser gets. `headers` as they are sent, `Location` and `Set-Cookie` among them."""

    body: str = ""
    status: int = 200
    headers: Mapping[str, str] = {}
    media_type: str = "text/html"


class Visited(Channel, Protocol):
    """A channel with pages for people, such as the ones through which it is installed."""

    pages: tuple[str, ...]
    """Their paths, such as `/slack/install`."""

    async def visit(self, visit: Visit) -> Page:
        """Answer a GET."""
        ...


class Vault(Protocol):
    """Secrets that a channel was given at run time, by name, encrypted where they lie."""

    async def get(self, name: str) -> bytes | None: ...

    async def put(self, name: str, secret: bytes) -> None: ...

    async def drop(self, name: str) -> None: ...


class Surroundings(NamedTuple):
    """What a channel may use beside its own settings."""

    http: aiohttp.ClientSession
    clock: Clock
    words: Words
    """The language of its assistant."""
    vault: Vault | None = None
    """None where `server.secret` is not set."""
    public_url: str | None = None


def editing(channel: Channel) -> TypeGuard[Editing]:
    """Can messages that are out be changed?"""
    return channel.caps.edits > 0


def briefing(channel: Channel) -> TypeGuard[Briefing]:
    return hasattr(channel, "brief")


def resting(channel: Channel) -> TypeGuard[Resting]:
    return hasattr(channel, "rest")


def keeping(channel: Channel) -> TypeGuard[Keeping]:
    return hasattr(channel, "keep")


def obliging(channel: Channel) -> TypeGuard[Obliging]:
    return hasattr(channel, "oblige")


def whispering(channel: Channel) -> TypeGuard[Whispering]:
    return hasattr(channel, "whisper")


def listening(channel: Channel) -> TypeGuard[Listening]:
    return hasattr(channel, "listen")


def visited(channel: Channel) -> TypeGuard[Visited]:
    return hasattr(channel, "visit")
