"""The reading process: one file, within its limits."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import import_module

import msgspec

from chatferry.reading.jobs import Found, Job, Unreadable
from chatferry.sniffing import DOCUMENTS, MACROS, PICTURES, RARE_SOUNDS
from chatferry.text.cutting import clean

_MEMORY, _FOR_LETTERS = 768 << 20, 3 << 30
"""Bytes of addresses, of which only a part is memory; the second once everything is decoded."""
_OUTPUT = 8 << 20
"""Bytes that we write, at most."""


def main() -> None:
    seconds = int(sys.argv[1])
    _confine(seconds)
    head = sys.stdin.buffer.readline(1 << 16)
    job, data = msgspec.json.decode(head, type=Job), sys.stdin.buffer.read()
    made = b""
    try:
        found, made = read(job, data, seconds)
    except Unreadable as fault:
        found = Found(trouble=fault.trouble)
    except (MemoryError, RecursionError):
        found = Found(trouble="heavy")
    except ImportError:
        found = Found(trouble="missing")
    except Exception:  # noqa: BLE001 - libraries raise anything over what strangers made
        found = Found(trouble="broken")
    told = msgspec.json.encode(found) + b"\n" + made
    if len(told) <= _OUTPUT:
        sys.stdout.buffer.write(told)
        sys.stdout.buffer.flush()


def read(job: Job, data: bytes, seconds: int) -> tuple[Found, bytes]:
    """What the job asks for. Raises Unreadable, and what the libraries raise."""
    if job.media_type in PICTURES:
        pictures = import_module("chatferry.reading.pictures")
        image = pictures.opened(job.media_type, data)
        made = pictures.made(image) if job.picture else ("", b"")
        text = next(_letters([image])) if job.text else ""
        return Found(text[: job.text], len(text) > job.text, made=made[0]), made[1]
    if job.media_type in RARE_SOUNDS:
        return Found(made="audio/mpeg"), import_module("chatferry.reading.sounds").converted(job.media_type, data)
    if job.media_type not in DOCUMENTS:
        raise Unreadable("macros" if job.media_type == MACROS else "unknown")
    documents = import_module("chatferry.reading.documents")
    if job.pages:
        drawn, length = documents.drawn(data, job.pages)
        pages = list(_until(seconds / 2, _letters(drawn)))
        text, read = clean("\n\n".join(pages)), len(pages) if len(pages) < length else 0
    else:
        text, read = clean(documents.read(job, data)), 0
    if not text.strip():
        raise Unreadable("silent")
    return Found(text[: job.text].rstrip(), len(text) > job.text, read), b""


def _letters(images: Sequence[object]) -> Iterator[str]:
    """The text in pictures that are decoded: what reads it takes more room than what strangers made may take."""
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_FOR_LETTERS, _FOR_LETTERS))
    texts: Iterator[str] = import_module("chatferry.reading.letters").read(images)
    return texts


def _until(seconds: float, texts: Iterator[str]) -> Iterator[str]:
    """As many as begin within so much time: somebody waits."""
    began = time.monotonic()
    for text in texts:
        yield text
        if time.monotonic() - began > seconds:
            return


def _confine(seconds: int) -> None:
    """From here on there is so much and no more."""
    try:
        import resource
        import signal
    except ImportError:  # Windows: whoever started us watches the clock
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _FOR_LETTERS))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes no file
    signal.alarm(2 * seconds)  # also where whoever started us is gone


if __name__ == "__main__":
    main()
