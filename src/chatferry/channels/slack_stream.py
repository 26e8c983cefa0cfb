"""Slack's own streams: messages to which words are appended, and which Slack itself shows to be growing.

What was appended is known to this process alone. A stream that is older than it, or whose answer begins anew, is
stopped, and the same message goes on by `chat.update`. So it does where Slack has ended the stream, after five minutes.
"""

from __future__ import annotations

from typing import Any

import msgspec
import structlog

from chatferry.channels.slack_api import Refused, Told
from chatferry.channels.slack_limits import Kept, Paced
from chatferry.channels.slack_place import Place
from chatferry.clock import Clock
from chatferry.errors import Ambiguous, TryLater, Vanished
from chatferry.model import Inbound
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
CONFLICT = "streaming_state_conflict"
"""The refusal of `chat.update` for a message that streams."""

PLACEHOLDERS = frozenset(words(language).answering for language in LANGUAGES)
"""What stands where no word has been said yet. A stream needs none, and could not take it back."""
STOPPED = tuple(words(language).stopped for language in LANGUAGES)


class Stream(msgspec.Struct):
    """One that is open, as far as we know."""

    began: float
    metadata: dict[str, Any]
    said: str | None = ""
    """What it reads by now; None where a call failed on its way."""


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

    def usable(self, place: Place) -> bool | None:
        """Can an answer at this place be a stream? None: that was not tried yet."""
        if not self._wanted or not place.thread:
            return False
        if (place.account, "") in self._refused or (place.account, place.channel) in self._refused:
            return False
        return True if place.account in self._granted else None

    async def begin(self, place: Place, inbound: Inbound, text: str, metadata: dict[str, Any]) -> str | None:
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
        try:
            ts = await self._start(place, inbound, text) if starts.take() else None
        finally:
            stops.growing.drop(waits)
        if ts is None:
            return None
        self._granted.put(place.account, None)
        said = "" if text in PLACEHOLDERS else text
        self._open.put(_id(place, ts), Stream(began, metadata, said))
        stops.growing.put(_id(place, ts), None)
        return ts

    async def _start(self, place: Place, inbound: Inbound, text: str) -> str | None:
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
                markdown_text=None if text in PLACEHOLDERS else text,
            )
        except Refused as fault:
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
        return told.ts

    async def grow(self, place: Place, ts: str, text: str) -> bool | None:
        """Let the stream read `text`. False: no room now. None: this is no stream, or not any more."""
        stream = self._open.get(_id(place, ts))
        if stream is None:
            return None
        late = self._clock.now() - stream.began >= STREAM_SECONDS
        more = _more(stream, text)
        if late or more is None:
            await self._stop(place, ts, stream)
            return None
        if not more:
            return True
        before, stream.said = stream.said, None
        try:
            room = await self._paced.spare(
                "chat.appendStream", place.account, once=True, channel=place.channel, ts=ts, markdown_text=more
            )
        except Refused as fault:
            if fault.code not in OVER:
                raise
            self.forget(place, ts)
            return None
        except Ambiguous as fault:  # perhaps it reads so now: from here on the whole text is edited in
            raise TryLater(str(fault)) from fault
        stream.said = text if room else before
        return room

    async def end(self, place: Place, ts: str, text: str) -> bool:
        """Let the stream read `text`, and end it. False: what it shall read is to be edited in."""
        stream = self._open.get(_id(place, ts))
        if stream is None:
            return False
        # What is appended to a stream that somebody stopped by Slack's own button is not shown.
        more = None if text.endswith(STOPPED) else _more(stream, text)
        try:
            return await self._stop(place, ts, stream, more or None) and more is not None
        except Refused as fault:
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

    async def _stop(self, place: Place, ts: str, stream: Stream | None, more: str | None = None) -> bool:
        """False where it had ended before."""
        metadata = stream.metadata if stream else None
        try:
            await self._paced.call(
                "chat.stopStream",
                place.account,
                Told,
                channel=place.channel,
                ts=ts,
                markdown_text=more,
                metadata=metadata,
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


def _more(stream: Stream, text: str) -> str | None:
    """What is to be appended; None where the text does not go on as it began. White space at its end is no part."""
    if stream.said is None:
        return None
    if text.startswith(stream.said):
        return text[len(stream.said) :]
    return "" if text == stream.said.rstrip() else None
