"""Shipped for tests, ours and those of people who write a channel or an engine of their own."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

import msgspec

from chatferry.channels.base import Capabilities, Hook, Taken
from chatferry.clock import Clock
from chatferry.engines.base import Call as Wish
from chatferry.engines.base import Delta, Done, Event, Prompt, Restart
from chatferry.errors import Final, Rejected, Vanished
from chatferry.model import File, Finding, Grant, Inbound, Message, Receipt, Usage
from chatferry.text.cutting import length


class ManualClock:
    """A clock that stands still until it is turned. Whoever sleeps wakes in the order of the alarms."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._alarms: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._alarms, (self._now + seconds, next(self._numbers), alarm))
        await alarm

    def advance(self, seconds: float) -> None:
        """Turn the clock; who has slept long enough runs next."""
        self._now += seconds
        while self._alarms and self._alarms[0][0] <= self._now:
            _, _, alarm = heapq.heappop(self._alarms)
            if not alarm.done():
                alarm.set_result(None)


class ScriptedEngine:
    """A model that says what `script` makes of the prompt. A script that returns an exception raises it."""

    def __init__(self, script: Callable[[Prompt], str | Exception], *, name: str = "scripted") -> None:
        self.name = name
        self.prompts: list[Prompt] = []
        self._script = script

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        self.prompts.append(prompt)
        said = self._script(prompt)
        if isinstance(said, Exception):
            raise said
        yield Delta(said)
        yield Done(model=self.name)

    async def check(self) -> AsyncIterator[Finding]:
        yield Finding(True, f"model {self.name}", "scripted")


class Talk:
    """One question to a `LiveEngine`, and its answer as the test gives it."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.closed = asyncio.Event()
        """Set when nobody listens any more."""
        self._said: asyncio.Queue[Event | Exception] = asyncio.Queue()

    def says(self, text: str) -> None:
        self._said.put_nowait(Delta(text))

    def restarts(self) -> None:
        self._said.put_nowait(Restart())

    def ends(self, text: str = "", *, finish: str = "stop") -> None:
        """The last words, and the end."""
        if text:
            self.says(text)
        self._said.put_nowait(Done(finish))

    def calls(self, *calls: Wish) -> None:
        """The model waits for what these return."""
        self._said.put_nowait(Done("calls", Usage(10, 5), calls=calls))

    def fails(self, fault: Exception) -> None:
        self._said.put_nowait(fault)

    async def heard(self) -> Event:
        """What is said next."""
        said = await self._said.get()
        if isinstance(said, Exception):
            raise said
        return said


class LiveEngine:
    """A model that says what it is told, when it is told."""

    def __init__(self, *, name: str = "live") -> None:
        self.name = name
        self.talks: list[Talk] = []
        self._asked: asyncio.Queue[Talk] = asyncio.Queue()

    async def asked(self) -> Talk:
        """The next question, as soon as it is there."""
        return await self._asked.get()

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        talk = Talk(prompt)
        self.talks.append(talk)
        self._asked.put_nowait(talk)
        try:
            while not isinstance(event := await talk.heard(), Done):
                yield event
            yield event
        finally:
            talk.closed.set()

    async def check(self) -> AsyncIterator[Finding]:
        yield Finding(True, f"model {self.name}", "live")


class Post(msgspec.Struct):
    """A message on a `Board`."""

    conversation: str
    message: Message
    key: str
    growing: bool


class Call(msgspec.Struct, frozen=True):
    """A call to a `Board`; `post` is the receipt that it names."""

    method: str
    at: float
    post: str = ""
    text: str = ""
    last: bool = False


class Trouble(msgspec.Struct, frozen=True):
    """What becomes of one call: `fault` is raised, or the call hangs; before it is carried out or `after`."""

    fault: Exception | None
    after: bool


class Board:
    """A platform in memory on which messages can be changed. What comes in is a JSON list of `Inbound`.

    A key is not known again, as on most such platforms: `find` tells whether a send got through.
    """

    def __init__(self, clock: Clock, *, name: str = "board", caps: Capabilities | None = None) -> None:
        self.name = name
        self.caps = caps or Capabilities(markdown=True, unprompted="always", edits=1.0)
        self.waits: float | None = 0.0
        """What `patience` says."""
        self.room = True
        """May a growing message be edited now?"""
        self.append_only = False
        """What `appends` says."""
        self.admins: set[str] = set()
        self.posts: dict[str, Post] = {}
        """By receipt, in the order in which they appeared."""
        self.calls: list[Call] = []
        self.hanging = asyncio.Event()
        """Set when a call hangs."""
        self._clock = clock
        self._troubles: defaultdict[str, deque[Trouble]] = defaultdict(deque)
        self._numbers = itertools.count(1)

    def fails(self, method: str, *faults: Exception, after: bool = False) -> None:
        """Raise these in the next calls of `method`, one in each; `after`: what was asked is done all the same."""
        self._troubles[method].extend(Trouble(fault, after) for fault in faults)

    def hangs(self, method: str, *, after: bool = False) -> None:
        """Let the next call of `method` never come back."""
        self._troubles[method].append(Trouble(None, after))

    def screen(self, conversation: str) -> list[str]:
        """What people read there now."""
        return [post.message.text for post in self.posts.values() if post.conversation == conversation]

    # ── Channel ──────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, hook: Hook) -> Taken:
        try:
            return Taken(msgspec.json.decode(hook.body, type=tuple[Inbound, ...]))
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Rejected(400, "not a list of events") from None

    async def send(
        self, address: str, messages: Sequence[Message], *, key: str, grant: Grant | None
    ) -> Sequence[Receipt]:
        if not 1 <= len(messages) <= self.caps.batch:
            raise ValueError(f"{len(messages)} messages in one call")
        trouble = await self._call("send", text=messages[0].text)
        receipts = [self._post(address, message, key, growing=False) for message in messages]
        await self._after(trouble)
        return receipts

    async def may_push(self) -> bool:
        return True

    async def typing(self, address: str) -> None:
        await self._after(await self._call("typing"))

    async def download(self, file: File, limit: int) -> bytes:
        raise Final("there are no files on a board")

    async def check(self, hook_url: str | None) -> AsyncIterator[Finding]:
        yield Finding(True, f"channel {self.name}", "in memory")

    # ── Editing ──────────────────────────────────────────────────────────────────────────────────────────────

    def patience(self, inbound: Inbound) -> float | None:
        return self.waits

    def appends(self, inbound: Inbound) -> bool:
        return self.append_only

    async def begin(self, inbound: Inbound, message: Message, *, key: str) -> Receipt:
        trouble = await self._call("begin", text=message.text)
        receipt = self._post(inbound.conversation, message, key, growing=True)
        await self._after(trouble)
        return receipt

    async def edit(self, inbound: Inbound, receipt: Receipt, message: Message, *, last: bool) -> bool:
        trouble = await self._call("edit", receipt.id, message.text, last=last)
        if not last and not self.room:
            return False
        post = self.posts.get(receipt.id)
        if post is None:
            raise Vanished("the message is not there any more")
        self._fits(message)
        post.message, post.growing = message, not last
        await self._after(trouble)
        return True

    async def remove(self, inbound: Inbound, receipt: Receipt) -> None:
        trouble = await self._call("remove", receipt.id)
        self.posts.pop(receipt.id, None)
        await self._after(trouble)

    async def find(self, inbound: Inbound, key: str) -> Receipt | None:
        trouble = await self._call("find")
        found = next((receipt for receipt, post in self.posts.items() if post.key == key), None)
        await self._after(trouble)
        return Receipt(found) if found else None

    async def reads(self, inbound: Inbound, receipt: Receipt) -> str:
        post = self.posts.get(receipt.id)
        return post.message.text if post else ""

    async def may_remove(self, inbound: Inbound, asker: str) -> bool:
        return inbound.sender == asker or inbound.sender in self.admins

    # ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _post(self, conversation: str, message: Message, key: str, *, growing: bool) -> Receipt:
        self._fits(message)
        receipt = Receipt(f"p{next(self._numbers)}")
        self.posts[receipt.id] = Post(conversation, message, key, growing)
        return receipt

    def _fits(self, message: Message) -> None:
        if not message.text.strip():
            raise Final("no text")
        if length(message.text, self.caps.measure) > self.caps.limit:
            raise Final("too long")

    async def _call(self, method: str, post: str = "", text: str = "", *, last: bool = False) -> Trouble | None:
        self.calls.append(Call(method, self._clock.now(), post, text, last))
        troubles = self._troubles[method]
        trouble = troubles.popleft() if troubles else None
        if trouble is not None and not trouble.after:
            await self._suffer(trouble)
        return trouble

    async def _after(self, trouble: Trouble | None) -> None:
        if trouble is not None:
            await self._suffer(trouble)

    async def _suffer(self, trouble: Trouble) -> None:
        if trouble.fault is not None:
            raise trouble.fault
        self.hanging.set()
        await asyncio.Event().wait()
