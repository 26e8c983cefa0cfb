"""Sound that no service takes, as MP3, which all take: 16,000 samples a second are enough for speech."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import av
from av.container import InputContainer

from chatferry.reading.jobs import Unreadable
from chatferry.sniffing import AIFF, AMR, CAF, THREE_GP

_FORMS = {AMR: "amr", CAF: "caf", AIFF: "aiff", THREE_GP: "mov"}
"""Nothing is guessed: among what FFmpeg knows are lists of other files, which it would open."""
_CODECS = "amrnb,amrwb,aac,alac,mp3,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_f32le,pcm_f32be,pcm_alaw,pcm_mulaw"
_RATE, _BITS = 16_000, 32_000
_LONGEST, _PACKETS = 5 * 60, 30_000
"""Seconds, and what they may come in. WeChat's last a minute; a packet may be a single byte."""


def converted(media_type: str, data: bytes) -> bytes:
    """Raises Unreadable."""
    into = io.BytesIO()
    options = {"codec_whitelist": _CODECS, "protocol_whitelist": "none"}
    try:
        with (
            av.open(io.BytesIO(data), "r", format=_FORMS[media_type], options=options) as given,
            av.open(into, "w", format="mp3") as made,
        ):
            stream = made.add_stream("libmp3lame", rate=_RATE, layout="mono", bit_rate=_BITS)
            for frame in _heard(given):
                made.mux(stream.encode(frame))
            made.mux(stream.encode(None))
    except av.FFmpegError:
        raise Unreadable("broken") from None
    return into.getvalue()


def _heard(given: InputContainer) -> Iterator[av.AudioFrame]:
    """What is in it, all alike. Raises Unreadable where there is nothing, or no end."""
    resampler, samples = av.AudioResampler("s16p", "mono", _RATE), 0
    for frame in _decoded(given):
        # A rate that nobody records at would make much of little.
        if not 4000 <= frame.sample_rate <= 192_000:
            raise Unreadable("broken")
        for heard in resampler.resample(frame):
            samples += heard.samples
            yield heard
        if samples > _LONGEST * _RATE:
            raise Unreadable("heavy")
    if not samples:
        raise Unreadable("broken")
    yield from resampler.resample(None)


def _decoded(given: InputContainer) -> Iterator[av.AudioFrame]:
    if not given.streams.audio:
        raise Unreadable("broken")
    for number, packet in enumerate(given.demux(given.streams.audio[0])):
        if number > _PACKETS:
            raise Unreadable("heavy")
        # FFmpeg refuses the packets by which phones say that nobody speaks.
        with contextlib.suppress(av.FFmpegError):
            yield from packet.decode()
