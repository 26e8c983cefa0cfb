"""Slack's own streams: messages to which words and tasks are appended, and which Slack itself shows to be growing.

What was appended is known to this process alone. A stream that is older than it, or whose answer begins anew, is
stopped, and the same message goes on by `chat.update`. So it does where Slack has ended the stream, after five minutes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import structlog

from chatferry.channels.slack_api import Refused, Told
from chatferry.channels.slack_limits import Kept, Paced
from chatferry.channels.slack_place import Place
from chatferry.clock import Clock
from chatferry.errors import Ambiguous, TryLater, Vanished
from chatferry.model import Inbound, Message, Task
from chatferry.words import LANGUAGES, words

log = structlog.get_logger(__name__)

STREAM_SECONDS = 240.0
"""A stream is stopped so long after its start: at 300 Slack would end it (python-slack-sdk, issue 1859)."""
REFUSED_SECONDS = 3600.0
"""How long Slack's no is believed: an admin may install the app anew meanwhile."""
OURS = {"unknown_method", "missing_scope", "not_allowed_token_type", "team_not_found", "feature_not_enabled"}
"""Refusals that hold for the whole workspace. Others, such as `channel_type_not_supported`, hold for the channel."""
OVER = {"message_not_in_streaming_state", "stopped_by_user"}
"""Refusals that say that the stream has ended."""
NO_CHUNKS = {"invalid_chunks", "invalid_arguments", "invalid_array_arg"}
"""Refusals of a workspace that takes no chunks: its streams carry words alone."""
CONFLICT = "streaming_state_conflict"
"""The refusal of `chat.update` for a message that streams."""

PLACEHOLDERS = frozenset(words(language).answering for language in LANGUAGES)
"""What stands where no word has been said yet. A stream needs none, and could not take it back."""
STOPPED = tuple(words(language).stopped for language in LANGUAGES)
TITLE = 256
STATUS = {"running": "in_progress", "done": "complete", "failed": "error"}


class Stream(msgspec.Struct):
    """One that is open, as far as we know."""

    began: float
    metadata: dict[str, Any]
    said: str | None = ""
    """What it reads by now; None where a call failed on its way."""
    tasks: dict[str, Task] = {}
    """What it shows of them, by their ids."""
    chunks: bool | None = None
    """Is it made of chunks? What Slack gets first in a stream it wants to the end; None: nothing came yet."""


class Streams:
    """All streams of one channel."""

    def __init__(self, paced: Paced, clock: Clock, *, wanted: bool) -> None:
        self._paced = paced
        self._clock = clock
        self._wanted = wanted
        self._open: Kept[tuple[str, str, str], Stream] = Kept(clock, STREAM_SECONDS * 2)
        self._granted: Kept[str, None] = Kept(clock, REFUSED_SECONDS)
        self._refused: Kept[tuple[str, str], None] = Kept(clock, REFUSED_SECONDS)
        """By account, and by channel where it is the channel's."""
        self._wordy: Kept[str, None] = Kept(clock, REFUSED_SECONDS)
        """Accounts that take no chunks."""

    def usable(self, place: Place) -> bool | None:
        """Can an answer at this place be a stream? None: that was not tried yet."""
        if not self._wanted or not place.thread:
            return False
        if (place.account, "") in self._refused or (place.account, place.channel) in self._refused:
            return False
        return True if place.account in self._granted else None

    async def begin(self, place: Place, inbound: Inbound, message: Message, metadata: dict[str, Any]) -> str | None:
        """Start one and return its `ts`; None where there can be none, now or at all. Raises as a post does.

        None is started whose end would have to wait for the limit of `chat.stopStream`.
        """
        if self.usable(place) is False:
            return None
        starts = self._paced.budget("chat.startStream", place.account)
        stops = self._paced.budget("chat.stopStream", place.account)
        waits, began = object(), self._clock.now()  # Slack's five minutes begin before we hear of it
        if not stops.promise(waits):
            return None
        stream = Stream(began, metadata)
        try:
            ts = await self._start(place, inbound, stream, message) if starts.take() else None
        finally:
            stops.growing.drop(waits)
        if ts is None:
            return None
        self._granted.put(place.account, None)
        self._open.put(_id(place, ts), stream)
        stops.growing.put(_id(place, ts), None)
        return ts

    async def _start(self, place: Place, inbound: Inbound, stream: Stream, message: Message) -> str | None:
        text = _text(message)
        fields = self._fields(place, stream, text, message.tasks)
        try:
            told = await self._paced.send(
                "chat.startStream",
                place.account,
                Told,
                once=True,
                channel=place.channel,
                thread_ts=place.thread,
                recipient_user_id=inbound.sender or None,
                recipient_team_id=place.team if inbound.sender else None,
                **fields,
            )
        except Refused as fault:
            if self._wants_words(place, fields, fault):
                return await self._start(place, inbound, stream, message)
            log.info("no streams", account=place.account, channel=place.channel, error=str(fault))
            if fault.code == "no_text":  # so it takes no stream without words, which says nothing about others
                return None
            self._refused.put((place.account, "" if fault.code in OURS else place.channel), None)
            return None
        except Vanished as fault:
            log.info("no stream in this thread", place=str(place), error=str(fault))
            return None
        except TryLater as fault:
            if fault.after is None:
                raise
            return None
        if not told.ts:
            raise Ambiguous("Slack chat.startStream: it did not say which message it made")
        _shows(stream, text, message.tasks, fields)
        return told.ts

    def _fields(self, place: Place, stream: Stream, text: str, tasks: Iterable[Task]) -> dict[str, Any]:
        """What adds these words and tasks to a stream; nothing where there is nothing to add."""
        wordy = place.account in self._wordy
        if stream.chunks is False or (wordy and stream.chunks is None):
            return {"markdown_text": text} if text else {}
        said = [{"type": "markdown_text", "text": text}] if text else []
        cards = [(task.state, _card(task)) for task in tasks if not wordy and stream.tasks.get(task.id) != task]
        over = [card for state, card in cards if state != "running"]
        chunks = [*over, *said, *(card for state, card in cards if state == "running")]
        return {"chunks": chunks} if chunks else {}

    def _wants_words(self, place: Place, fields: dict[str, Any], fault: Refused) -> bool:
        """Was this refused for its chunks? From here on there are none."""
        if fault.code not in NO_CHUNKS or "chunks" not in fields or place.account in self._wordy:
            return False
        log.info("no chunks in streams", account=place.account, error=str(fault))
        self._wordy.put(place.account, None)
        return True

    async def grow(self, place: Place, ts: str, message: Message) -> bool | None:
        """Let the stream read so. False: no room now. None: this is no stream, or not any more."""
        stream = self._open.get(_id(place, ts))
        if stream is None:
            return None
        late = self._clock.now() - stream.began >= STREAM_SECONDS
        more = _more(stream, _text(message))
        if late or more is None:
            await self._stop(place, ts, stream)
            return None
        fields = self._fields(place, stream, more, message.tasks)
        if not fields:
            return True
        before, stream.said = stream.said, None
        try:
            room = await self._paced.spare(
                "chat.appendStream", place.account, once=True, channel=place.channel, ts=ts, **fields
            )
        except Refused as fault:
            if self._wants_words(place, fields, fault):
                stream.said = before
                return False
            if fault.code not in OVER:
                raise
            self.forget(place, ts)
            return None
        except Ambiguous as fault:  # perhaps it reads so now: from here on the whole text is edited in
            raise TryLater(str(fault)) from fault
        stream.said = before
        if room:
            _shows(stream, _text(message), message.tasks, fields)
        return room

    async def end(self, place: Place, ts: str, message: Message) -> bool:
        """Let the stream read so, and end it. False: what it shall read is to be edited in."""
        stream = self._open.get(_id(place, ts))
        if stream is None:
            return False
        # What is appended to a stream that somebody stopped by Slack's own button is not shown.
        more = None if message.text.endswith(STOPPED) else _more(stream, message.text)
        fields = self._fields(place, stream, more or "", _over(stream, message.tasks))
        try:
            return await self._stop(place, ts, stream, fields) and more is not None
        except Refused as fault:
            if self._wants_words(place, fields, fault):
                return await self.end(place, ts, message)
            log.warning("a stream does not end", place=str(place), error=str(fault))
            self.forget(place, ts)
            return False

    async def stop(self, place: Place, ts: str) -> None:
        """End a stream of which we know nothing."""
        await self._stop(place, ts, self._open.get(_id(place, ts)))

    def forget(self, place: Place, ts: str) -> None:
        """The stream has ended, or the message is gone."""
        self._open.drop(_id(place, ts))
        self._paced.budget("chat.stopStream", place.account).growing.drop(_id(place, ts))

    async def _stop(self, place: Place, ts: str, stream: Stream | None, fields: dict[str, Any] | None = None) -> bool:
        """False where it had ended before."""
        metadata = stream.metadata if stream else None
        try:
            await self._paced.call(
                "chat.stopStream",
                place.account,
                Told,
                channel=place.channel,
                ts=ts,
                metadata=metadata,
                **(fields or {}),
            )
        except Refused as fault:
            if fault.code not in OVER:
                raise
            self.forget(place, ts)
            return False
        self.forget(place, ts)
        return True


def _id(place: Place, ts: str) -> tuple[str, str, str]:
    return place.account, place.channel, ts


def _text(message: Message) -> str:
    return "" if message.text in PLACEHOLDERS else message.text


def _card(task: Task) -> dict[str, Any]:
    return {"type": "task_update", "id": task.id, "title": task.title[:TITLE], "status": STATUS[task.state]}


def _shows(stream: Stream, text: str, tasks: Iterable[Task], fields: dict[str, Any]) -> None:
    """The stream took these fields, and reads so by now."""
    stream.said = text
    if fields:
        stream.chunks = "chunks" in fields
        stream.tasks = stream.tasks | {task.id: task for task in tasks}


def _over(stream: Stream, tasks: Iterable[Task]) -> list[Task]:
    """The tasks as they are in the end. Where nobody knows any more how one ended, the answer goes on without it."""
    known = stream.tasks | {task.id: task for task in tasks}
    return [msgspec.structs.replace(one, state="done") if one.state == "running" else one for one in known.values()]


def _more(stream: Stream, text: str) -> str | None:
    """What is to be appended; None where the text does not go on as it began. White space at its end is no part."""
    if stream.said is None:
        return None
    if text.startswith(stream.said):
        return text[len(stream.said) :]
    return "" if text == stream.said.rstrip() else None
