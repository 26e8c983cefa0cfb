"""The values that everything here speaks: frozen, without I/O, equal when their content is equal.

They are msgspec structs because the ledger keeps them as JSON. A field that is added needs a default,
so that rows written by an older version can still be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant"]


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A run of text; Markdown when the assistant said it."""

    text: str


class File(msgspec.Struct, frozen=True, tag="file", omit_defaults=True):
    """Something that is not text. Its bytes stay with the platform until `Channel.download` fetches them.

    `ref` is the platform's own handle and means something only to the channel that gave it.
    """

    kind: Literal["image", "audio", "video", "file"]
    ref: str
    name: str = ""
    media_type: str = ""
    size: int | None = None
    kept: int = 0
    """Under which number the ledger keeps its bytes; 0: it does not."""
    text: str = ""
    """What it says: read from it, or heard in it."""
    note: str = ""
    """Why it says nothing, or not all of it: a sentence for whoever answers."""

    @property
    def looked(self) -> bool:
        """Somebody has looked into it: its bytes are not needed any more."""
        return bool(self.kept or self.text or self.note)


Part = Text | File


class Button(msgspec.Struct, frozen=True):
    """A choice shown under a message. A tap brings `data` back through the channel."""

    label: str
    data: str


class Task(msgspec.Struct, frozen=True):
    """Something that is called for an answer, as people see it."""

    id: str
    name: str
    """What is called."""
    title: str
    """The same in words for people."""
    state: Literal["running", "done", "failed"] = "running"


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing said by one side. Where there are several people, `author` is the id of one, `name` the name."""

    role: Role
    parts: tuple[Part, ...]
    author: str = ""
    buttons: tuple[Button, ...] = ()
    name: str = ""
    tasks: tuple[Task, ...] = ()
    """What was or is called for it, for channels that show that apart from the words."""

    @property
    def text(self) -> str:
        """The text parts, one paragraph each; files are left out."""
        return "\n\n".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def asks(self) -> str:
        """What was written, and what was spoken as it was written down."""
        said = (part for part in self.parts if isinstance(part, Text) or part.kind == "audio")
        return "\n\n".join(part.text for part in said if part.text)

    @property
    def words(self) -> str:
        """All of it in words, for who only reads."""
        return "\n\n".join(part.text for part in self.parts if part.text)

    @property
    def signed(self) -> tuple[Part, ...]:
        """The parts, with who said them before them, where there are several people."""
        if not self.name or self.role != "user":
            return self.parts
        first, *rest = self.parts or (Text(""),)
        if isinstance(first, Text):
            return Text(f"{self.name}: {first.text}"), *rest
        return Text(f"{self.name}:"), first, *rest


def says(role: Role, text: str, *buttons: Button) -> Message:
    """A message of one text."""
    return Message(role, (Text(text),), buttons=buttons)


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """Leave to answer: `uses` calls of `Channel.send`, at no cost, until `until` (unix seconds)."""

    token: str
    until: float
    uses: int = 1

    @property
    def spent(self) -> Grant | None:
        """What is left of it after one call."""
        return msgspec.structs.replace(self, uses=self.uses - 1) if self.uses > 1 else None


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one request may ask of the model beyond the assistant's own settings."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()


Kind = Literal["message", "command", "heard", "greeting", "collect", "push", "erase", "retract", "change", "stop"]
ASKING: tuple[Kind, ...] = ("message", "change")
"""What has a model asked, and so is counted and charged."""


class Inbound(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event that a platform delivered and that we owe something for.

    kind
        `message`  asks the assistant;
        `command`  is for us, not for the model: `command` says what, and it is answered past the queue;
        `heard`    said among people where we take part, not to us: remembered, not answered;
        `greeting` a person or group has just met us: answered with the assistant's greeting, not by the model;
        `collect`  a tap on our own button: brings a fresh grant for an answer that waits or is being made;
        `push`     nobody asked: `message` is what we want to say;
        `erase`    `sender` wants our answer, of which `ref` is a message, taken off the platform;
        `retract`  the person took back the message `ref`: nothing is owed, and what we kept of it goes, or may come;
        `change`   the person changed the message `ref` to `message`: counts as long as it is not answered;
        `stop`     the answer of which `ref` is a message, or that is being made, is to end here.

    The last three are done when they are accepted, and nobody works on them.
    """

    event: str
    """The platform's id of the event. The same id twice from one channel is the same event."""
    conversation: str
    """The platform's address of the talk: a user, a group, a session."""
    kind: Kind = "message"
    message: Message | None = None
    sender: str = ""
    ref: str = ""
    """The platform's id of the message, by which it may be retracted or changed later; or of the message meant."""
    grant: Grant | None = None
    at: float = 0.0
    """Unix seconds at which it happened, by the platform's clock."""
    assistant: str = ""
    """Which assistant is asked, where the event says so; else the channel's own."""
    context: tuple[Message, ...] | None = None
    """What was said before, where the caller brings it along; None: what the ledger remembers."""
    system: str = ""
    """What the caller tells the assistant about itself, beyond its own instructions."""
    options: Options = Options()
    joined: bool = False
    """It counts only where we take part in the conversation already; else it is passed over."""
    shared: bool = False
    """Several people are in the conversation."""
    earlier: bool = False
    """Something was said in the conversation before this, which we may not have heard."""
    briefed: bool = False
    """`message` was made readable by what the channel knows beside the event: names for ids."""
    command: str = ""
    """What a `command` asks for, by the name that it has in `commands`; or which prepared answer it gets."""
    reply: str = ""
    """The prepared answer, where the command is one; or what stands before the answer where a session has `expired`.

    Of a `change`: why it does not count, if it does not.
    """
    expired: bool = False
    """The session before this ended by silence, and the person has not been told yet."""
    again_at: float = 0.0
    """Unix seconds from which on there is room again, as the commands `slow` and `spent` tell."""
    near: bool = False
    """Most of what the person may ask in a day is used up, and they have not been told yet."""
    charged: tuple[tuple[str, float], ...] = ()
    """The days, by their keys and ends, that it was charged to as a message (`budgets`): once, and with each change."""
    also: tuple[Inbound, ...] = ()
    """Later messages of the conversation that are answered together with this one."""
    consent: Literal["", "yes", "no", "other"] = ""
    """What it says to a question whether something shall be called (`consent`)."""
    confirms: int = 0
    """The turn that asked."""
    person: str = ""
    """Whom we talk to, where the channel has a better name for that than `sender`, such as a program's."""

    @property
    def confidant(self) -> str:
        """Whom we talk to where nobody else reads along; empty elsewhere, and where that is not known."""
        shared = any(one.message is not None and one.message.author for one in (self, *self.also))
        return "" if shared else self.person or self.sender

    @property
    def consenting(self) -> Inbound | None:
        """What was said to the question of another turn: this, or one that is answered together with it."""
        return next((one for one in (self, *self.also) if one.confirms), None)

    @property
    def said(self) -> Message | None:
        """All that is to be answered, as one message; None where it was taken back, or never was one.

        It is the first one's; where somebody else goes on, their name stands there.
        """
        messages = [one.message for one in (self, *self.also) if one.message is not None]
        if not messages:
            return None
        parts = list(messages[0].parts)
        for before, said in pairwise(messages):
            parts += said.parts if said.name == before.name else said.signed
        return msgspec.structs.replace(messages[0], parts=tuple(parts))

    @property
    def files(self) -> tuple[File, ...]:
        """All files that came with it, what the caller brought along first."""
        messages = [*(self.context or ()), *([self.message] if self.message else [])]
        mine = tuple(part for message in messages for part in message.parts if isinstance(part, File))
        return mine + tuple(file for one in self.also for file in one.files)

    def filed(self, found: Mapping[File, File]) -> Inbound:
        """The same, with what was found in its files."""

        def filed(message: Message) -> Message:
            parts = tuple(found.get(part, part) if isinstance(part, File) else part for part in message.parts)
            return msgspec.structs.replace(message, parts=parts)

        return msgspec.structs.replace(
            self,
            message=filed(self.message) if self.message else None,
            context=tuple(map(filed, self.context)) if self.context is not None else None,
            also=tuple(one.filed(found) for one in self.also),
        )

    def without(self, ref: str) -> Inbound:
        """The same, with the message `ref` forgotten."""
        also = tuple(one for one in self.also if one.ref != ref)
        if self.ref != ref:
            return msgspec.structs.replace(self, also=also)
        return msgspec.structs.replace(self, also=also, message=None, consent="other" if self.confirms else "")

    def changed(self, event: Inbound) -> Inbound:
        """The same after a `change`, if its words are not older than those we know."""
        also = tuple(one.changed(event) for one in self.also)
        if self.ref != event.ref or self.message == event.message or 0.0 < event.at <= self.at:
            return msgspec.structs.replace(self, also=also)
        return msgspec.structs.replace(
            self,
            also=also,
            message=event.message,
            at=max(self.at, event.at),
            briefed=False,
            # A yes can become none, but nothing becomes a yes.
            consent=self.consent if event.consent == "yes" or not self.confirms else event.consent or "other",
            near=self.near or event.near,
            charged=(*self.charged, *event.charged),
        )

    @property
    def paid(self) -> tuple[tuple[str, float], ...]:
        """What it is charged to, and what is answered together with it."""
        return self.charged + tuple(one for other in self.also for one in other.paid)

    def unpaid(self) -> Inbound:
        """The same, charged to nobody."""
        return msgspec.structs.replace(self, charged=(), also=tuple(one.unpaid() for one in self.also))


class Receipt(msgspec.Struct, frozen=True):
    """The platform's word that one message is out, with its id where it gives one."""

    id: str = ""


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the provider counted them, and what they cost."""

    prompt: int = 0
    completion: int = 0
    cost: int = 0
    """In millionths of the currency, by the price of the model."""

    def __add__(self, more: Usage) -> Usage:
        return Usage(self.prompt + more.prompt, self.completion + more.completion, self.cost + more.cost)


class Finding(msgspec.Struct, frozen=True):
    """One line of `chatferry check`: what was tried, what came of it, and what mends it."""

    ok: bool
    subject: str
    detail: str
    mend: str = ""


class Attempt(msgspec.Struct, frozen=True):
    """One call of `Channel.send`, noted before it is made: by a grant, or else under a key."""

    grant: Grant | None = None
    key: str = ""


class Piece(msgspec.Struct, frozen=True):
    """One message on its way out: a part of the answer of `turn`, or a notice that comes before it.

    On platforms where messages can be changed it may be out already, and grow; one without parts is to be removed.
    """

    id: int
    turn: int
    message: Message
    notice: bool = False
    attempt: Attempt | None = None
    """The send that was begun for it and whose end we don't know."""
    receipt: str = ""
    """The platform's id of it, where it is out but not final."""
    kind: Kind = "message"
    """Of the event that it is owed for, where that makes a difference."""


APOLOGY = "apology"


class Turn(msgspec.Struct, frozen=True):
    """What is owed for one inbound event, held by one worker until its lease ends.

    `lease` numbers the holders: every write names it, and a write of an earlier holder fails.
    """

    id: int
    lease: int
    channel: str
    inbound: Inbound
    accepted_at: float
    attempts: int = 1
    grant: Grant | None = None
    answer: Message | None = None
    """The stored answer: from here on the model is not asked again."""
    finish: str = ""
    """How the answer ended; `APOLOGY` where it is only our word that there is none."""
    error: str = ""
    """Why there is none, for the log."""
    stopped: bool = False
    """Somebody has told us to stop: the model is not asked any more."""
    taken_over: bool = False
    """It was claimed while another held it, whose lease had run out."""

    @property
    def conversation(self) -> str:
        """The key under which turns are kept in order: unique over all channels."""
        return lane_key(self.channel, self.inbound)


def conversation_key(channel: str, address: str) -> str:
    """The key of a conversation over all channels."""
    return f"{channel}:{address}"


def lane_key(channel: str, inbound: Inbound) -> str:
    """The key of the queue that an event waits in: its conversation's, or the one beside it in which commands wait."""
    key = conversation_key(channel, inbound.conversation)
    return express_key(key) if inbound.kind == "command" else key


def express_key(conversation: str) -> str:
    """The queue of a conversation's commands. No channel's name begins like this."""
    return f"!{conversation}"


def talk_key(lane: str) -> str:
    """The conversation that a queue is of."""
    return lane.removeprefix(express_key(""))
