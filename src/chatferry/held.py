"""A turn while this process works on it."""

from __future__ import annotations

import asyncio

import msgspec

from chatferry.assistant import Assistant
from chatferry.channels.base import Capabilities, Channel
from chatferry.clock import Clock
from chatferry.errors import LeaseLost
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.patience import patiently
from chatferry.model import Grant, Message, Piece, Task, Turn, says
from chatferry.spending import Spending
from chatferry.text import cutting
from chatferry.text.plain import plain


class Held:
    """What is known of a turn only while it is worked on; `turn` itself is replaced as the ledger moves on."""

    def __init__(
        self,
        turn: Turn,
        channel: Channel,
        assistant: Assistant,
        nudged: asyncio.Event,
        until: float,
    ) -> None:
        self.turn = turn
        self.until = until
        """Unix seconds until which nobody else may have the turn."""
        self.channel = channel
        self.assistant = assistant
        self.nudged = nudged
        """Set when something else came in this conversation."""
        self.made = asyncio.Event()
        """Set when the model is done, well or not."""
        self.passed: Grant | None = None
        """A grant that may end unused, because the answer can be pushed."""
        self.stopped = turn.stopped
        self.asking: asyncio.Task[None] | None = None
        """The model call, while it runs."""
        self.layout = Layout(channel.caps)
        self.drafts: list[Piece] = []
        """The messages in which the answer grows on the platform, in their order."""
        self.final: dict[str, str] = {}
        """What the full ones among them say, by receipt: they need no other edit."""
        self.spending = Spending()
        """What its answer costs."""
        self.tasks: tuple[Task, ...] = ()
        """What was and is called for the answer."""
        self.places: dict[str, int] = {}
        """In which of the messages a task is shown, by its id."""
        self.room: int | None = None
        """Tokens that a prompt has for the history, where this one has hardly room for all of it."""
        self.removed: set[int] = set()
        """The turns, ours or ones that wait, whose answer somebody took off the platform while it grew."""
        self.note = ""
        """What happened on the platform that people who look at the turn should know."""
        self._task = asyncio.current_task()
        self._read_until = 0.0
        self._watched = asyncio.Event()

    async def secure(self, ledger: Ledger, clock: Clock) -> None:
        """Return when nobody else may have the turn now: to be awaited right before a platform is called.

        A process that was frozen, or cut off, finds here that another one has taken its place.
        Raises LeaseLost, Unavailable.
        """
        now = clock.now()
        if now < self.until:
            return
        if (await patiently(clock, lambda: ledger.renew([self.turn]))).lost:
            raise LeaseLost(f"turn {self.turn.id} was taken over")
        self.until = now + ledger.lease

    def shown(self, place: int, message: Message) -> Message:
        """The message at this place with what was called for it."""
        tasks = tuple(task for task in self.tasks if self.places.get(task.id) == place)
        return msgspec.structs.replace(message, tasks=tasks)

    def last(self, piece: Piece) -> Message:
        """What a message that grew says in the end."""
        places = (place for place, draft in enumerate(self.drafts) if draft.receipt == piece.receipt)
        return self.shown(next(places, -1), piece.message)

    def grant(self, turn: Turn) -> None:
        """The turn has this one's grant now. All else stays: somebody may be looking into what was said meanwhile."""
        self.turn = msgspec.structs.replace(self.turn, grant=turn.grant)

    def watch(self, until: float) -> None:
        """Somebody reads the answer along in another process, until then at least."""
        self._read_until = until
        self._watched.set()

    async def reading(self, clock: Clock) -> None:
        """Return while somebody reads along in another process."""
        while self._read_until <= clock.now():
            self._watched.clear()
            await self._watched.wait()

    def interrupt(self) -> None:
        """Stop the model, or do not even ask it; what it had said stands."""
        self.stopped = True
        if self.asking is not None:
            self.asking.cancel()

    def drop(self) -> None:
        """Stop all work on the turn: another worker has it."""
        if self._task is not None:
            self._task.cancel()


class Layout:
    """An answer as the messages in which it goes out: made plain where no Markdown is shown, cut to the limit.

    It may be asked again as the answer grows: a message that was full keeps its text, and the rest goes on behind it.
    """

    def __init__(self, caps: Capabilities) -> None:
        self._caps = caps
        self._full: list[str] = []
        self._past = ""
        """The beginning of the text that is in the full ones."""
        self._head = ""
        """What opens the block of code again that the last cut was in."""

    def pieces(self, answer: str) -> list[Message]:
        """The messages of an answer. White space alone has none, and what nobody can see is not sent."""
        answer = cutting.clean(answer)
        shown = answer if self._caps.markdown else plain(answer)
        if not shown.strip():  # nothing but Markdown, say an empty heading
            shown = answer
        if not shown.startswith(self._past):
            self._full, self._past, self._head = [], "", ""
        rest = self._head + shown[len(self._past) :]
        while (cut := cutting.first(rest, self._caps.limit, self._caps.measure)) is not None:
            self._full.append(cut.piece)
            self._past = shown[: len(self._past) + cut.rest - len(self._head)]
            self._head = cut.head
            rest = self._head + rest[cut.rest :]
        # `split`, for white space at the end may be more than fits.
        pieces = [*self._full, *cutting.split(rest, self._caps.limit, self._caps.measure)]
        return [says("assistant", piece) for piece in pieces if piece.strip()]
