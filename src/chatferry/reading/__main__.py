"""The reading process: one file, within its limits."""

from __future__ import annotations

import sys
from importlib import import_module

import msgspec

from chatferry.reading.jobs import Found, Job, Unreadable
from chatferry.sniffing import DOCUMENTS, MACROS, PICTURES
from chatferry.text.cutting import clean

_MEMORY = {"text": 768 << 20, "picture": 768 << 20, "ocr": 3 << 30}
"""Bytes of addresses, of which only a part is memory."""
_OUTPUT = 8 << 20
"""Bytes that we write, at most."""


def main() -> None:
    kind, seconds = sys.argv[1], int(sys.argv[2])
    _confine(_MEMORY[kind], seconds)
    head = sys.stdin.buffer.readline(1 << 16)
    job, data = msgspec.json.decode(head, type=Job), sys.stdin.buffer.read()
    picture = b""
    try:
        found, picture = read(job, data)
    except Unreadable as fault:
        found = Found(trouble=fault.trouble)
    except (MemoryError, RecursionError):
        found = Found(trouble="heavy")
    except ImportError:
        found = Found(trouble="missing")
    except Exception:  # noqa: BLE001 - libraries raise anything over what strangers made
        found = Found(trouble="broken")
    told = msgspec.json.encode(found) + b"\n" + picture
    if len(told) <= _OUTPUT:
        sys.stdout.buffer.write(told)
        sys.stdout.buffer.flush()


def read(job: Job, data: bytes) -> tuple[Found, bytes]:
    """What the job asks for. Raises Unreadable, and what the libraries raise."""
    if job.media_type in PICTURES:
        pictures = import_module("chatferry.reading.pictures")
        image = pictures.opened(data)
        made = pictures.made(image) if job.picture else ("", b"")
        text = import_module("chatferry.reading.letters").read(image) if job.text else ""
        return Found(text[: job.text], len(text) > job.text, made[0]), made[1]
    if job.media_type not in DOCUMENTS:
        raise Unreadable("macros" if job.media_type == MACROS else "unknown")
    text = clean(import_module("chatferry.reading.documents").read(job, data))
    if not text.strip():
        raise Unreadable("silent")
    return Found(text[: job.text].rstrip(), len(text) > job.text), b""


def _confine(memory: int, seconds: int) -> None:
    """From here on there is so much and no more."""
    try:
        import resource
        import signal
    except ImportError:  # Windows: whoever started us watches the clock
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes no file
    signal.alarm(2 * seconds)  # also where whoever started us is gone


if __name__ == "__main__":
    main()
