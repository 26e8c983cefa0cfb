"""Has files read, each in a process of its own (`chatferry.reading`) with no secrets, little memory and little time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import NamedTuple

import msgspec

from chatferry.reading.jobs import Found, Job

_AT_ONCE = 2
"""Files that are read at the same time, in this process."""
_SECONDS = 10
"""Of computing, for one file."""
_ON_THE_WALL = 4
"""Times as long as it may compute it may take by the clock: the machine may have other things to do."""
_SCAN = 3
"""Times as long, for a scan: each page costs what a picture of text costs."""
_OUTPUT = 9 << 20
"""Bytes of an answer, at most."""
_PASSED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG")
"""What of our environment is passed on: none of our secrets is there."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Reading(NamedTuple):
    """What was found in a file, and the picture or the sound that was made of it, if one was."""

    found: Found
    made: bytes = b""


class Readers:
    """Reads for all who ask in this process, a few at a time."""

    def __init__(self, seconds: int = _SECONDS) -> None:
        self._seconds = seconds
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def read(self, job: Job, data: bytes) -> Reading:
        """What comes of a job. A file that takes too much, or lets its reader break, is one that cannot be read."""
        seconds = self._seconds * (_SCAN if job.pages else 1)
        async with self._room:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "chatferry.reading", str(seconds)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={name: os.environ[name] for name in _PASSED if name in os.environ} | _ONE_THREAD,
            )
            try:
                async with asyncio.timeout(seconds * _ON_THE_WALL):
                    told = await _asked(child, msgspec.json.encode(job) + b"\n" + data)
            except TimeoutError:
                return Reading(Found(trouble="heavy"))
            finally:
                await _ended(child)
        head, _, made = told.partition(b"\n")
        try:
            return Reading(msgspec.json.decode(head, type=Found), made)
        except msgspec.MsgspecError:  # it was killed for what it took, or broke
            return Reading(Found(trouble="heavy" if child.returncode and child.returncode < 0 else "broken"))


async def _asked(child: asyncio.subprocess.Process, question: bytes) -> bytes:
    """What the child writes, once it has read the question; it may end before that."""
    assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018 - pipes were asked for
    asking = asyncio.ensure_future(_tell(child.stdin, question))
    try:
        told = bytearray()
        while chunk := await child.stdout.read(1 << 16):
            told += chunk
            if len(told) > _OUTPUT:
                return b""
        await child.wait()
        return bytes(told)
    finally:
        asking.cancel()
        await asyncio.wait([asking])


async def _tell(pipe: asyncio.StreamWriter, question: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        pipe.write(question)
        await pipe.drain()
    pipe.close()


async def _ended(child: asyncio.subprocess.Process) -> None:
    """Nothing of it is left."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    await asyncio.shield(child.wait())
