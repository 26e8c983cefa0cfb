"""Keeps the index like the files: in the background while we answer, and by hand.

One process at a time. What has not changed costs a look at its time and size; what has is read anew, beside the turns
that are being answered, in steps so small that none of them waits for it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import msgspec
import structlog

from chatferry.clock import Clock
from chatferry.config import Settings
from chatferry.errors import Unavailable
from chatferry.knowledge.cutting import EXTRACTED, Passage
from chatferry.knowledge.documents import LARGEST, Document, Named, Unread, contents, decoded, named, passages_of
from chatferry.knowledge.library import Library, Source
from chatferry.knowledge.shelves import BATCH, Add, Complete, Open, Remove, Retire, Shelved
from chatferry.knowledge.terms import terms
from chatferry.ledger.database import Database
from chatferry.ledger.ledger import Ledger
from chatferry.reading.jobs import Job
from chatferry.reading.readers import Readers
from chatferry.sniffing import sniff
from chatferry.words import words

log = structlog.get_logger(__name__)

_EVERY = 180.0
"""Seconds between two looks at the files."""
_ANEW = 3600.0
"""Seconds after which a file that could not be read is tried again, though it is the same: its reader may have been at
fault, or the machine too busy."""
_PAUSE = 0.02
"""Seconds between two steps, for what else wants to be written."""
_ERRAND = 0x6B_6E_6F_77
"""What processes name to the database, so that one at a time reads files."""

Stamp = tuple[int, int, int]


class Step(msgspec.Struct, frozen=True):
    """What became of one file."""

    base: str
    path: str
    how: str
    """`read`, `unchanged`, `gone`, `skipped`, or `warning`, where it is about a pattern."""
    passages: int = 0
    why: str = ""


class Synced(msgspec.Struct):
    """What a pass did. `busy`: nothing, as another process is at it."""

    steps: list[Step] = []
    busy: bool = False


def wanted_of(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The patterns of every assistant that has some."""
    return {name: its.knowledge for name, its in settings.assistants.items() if its.knowledge}


def folder_of(settings: Settings) -> Path:
    """From where patterns are counted: the folder of the configuration."""
    return Path(settings.source).absolute().parent


class Sync:
    """Brings the index up to date with the files of all assistants."""

    def __init__(
        self,
        ledger: Ledger,
        database: Database,
        clock: Clock,
        patterns: Mapping[str, tuple[str, ...]],
        folder: Path,
        readers: Readers,
    ) -> None:
        self._ledger = ledger
        self._database = database
        self._library = Library(database)
        self._clock = clock
        self._patterns = patterns
        self._folder = folder
        self._readers = readers
        self._seen: dict[tuple[str, str], tuple[Stamp, str]] = {}
        """Of each file: its time and size when it was last read here, and its digest."""
        self._unread: dict[tuple[str, str], tuple[Stamp, str, float]] = {}
        """Of each file whose contents cannot be read: its time and size then, why, and when that was found out."""

    async def keep(self) -> None:
        """Do it now and every few minutes, until cancelled, if there is anything to do. Faults are logged."""
        known: set[tuple[str, str, str]] = set()
        while True:
            try:
                if not self._patterns and not await self._library.sources():
                    return
                synced = await self.run(pause=_PAUSE)
            except (Unavailable, OSError) as fault:
                log.error("knowledge not brought up to date", error=str(fault))
            except Exception:  # the top of the task: a file that we cannot cope with must not end the gateway
                log.exception("bug")
            else:
                told = {(step.base, step.path, step.why) for step in synced.steps if step.why}
                for base, path, why in sorted(told - known):
                    log.warning("knowledge", assistant=base, file=path, error=why)
                known = told
                changed = [step for step in synced.steps if step.how in ("read", "gone")]
                if changed:
                    read = sum(step.passages for step in changed)
                    log.info("knowledge brought up to date", files=len(changed), passages=read)
            await self._clock.sleep(_EVERY)

    async def run(self, *, pause: float = 0.0, tell: Callable[[Step], None] = lambda _: None) -> Synced:
        """One pass. `tell` hears of each file at once. Raises Unavailable, OSError."""
        synced = Synced()

        def note(step: Step) -> None:
            synced.steps.append(step)
            tell(step)

        async with self._database.errand(_ERRAND) as ours:
            if not ours:
                synced.busy = True
                return synced
            await self._clear([one for one in await self._library.sources() if not one.current], pause)
            current: defaultdict[str, dict[str, Source]] = defaultdict(dict)
            for source in await self._library.sources():
                current[source.base][source.path] = source
            for base, patterns in self._patterns.items():
                known = current.pop(base, {})
                found = await asyncio.to_thread(named, patterns, self._folder, known)
                for warning in found.warnings:
                    note(Step(base, "", "warning", why=warning.why))
                for document in found.documents:
                    note(await self._read(base, document, known.get(document.name), pause))
                await self._drop(self._gone(found, known), note, pause)
            # Of assistants that are not configured any more, or know nothing now.
            await self._drop([one for rest in current.values() for one in rest.values()], note, pause)
        return synced

    def _gone(self, found: Named, current: Mapping[str, Source]) -> list[Source]:
        if not found.whole:
            return []  # a disk that is not there now is no reason to forget everything
        names = {document.name for document in found.documents}
        return [source for path, source in current.items() if path not in names]

    async def _drop(self, gone: list[Source], note: Callable[[Step], None], pause: float) -> None:
        for source in gone:
            await self._ledger.shelve(Retire((source.id,)))
            self._seen.pop((source.base, source.path), None)
            note(Step(source.base, source.path, "gone"))
        await self._clear(gone, pause)

    async def _read(self, base: str, document: Document, known: Source | None, pause: float) -> Step:
        key, name = (base, document.name), document.name
        try:
            stamp = await asyncio.to_thread(_stamp, document.path)
            now = self._clock.now()
            if (left := self._unread.get(key)) is not None and left[0] == stamp and 0.0 <= now - left[2] < _ANEW:
                return Step(base, name, "skipped", why=left[1])
            seen = self._seen.get(key)
            if seen is not None and seen[0] == stamp and known is not None and known.digest == seen[1]:
                return _step(base, name, "unchanged", known.passages)
            digest, raw = await asyncio.to_thread(contents, document.path)
            if known is None or known.digest != digest:
                try:
                    parts = passages_of(document.path, await self._text(document.path, raw))
                    number = await self._shelve(base, name, digest, parts, pause)
                except Unread as fault:
                    self._unread[key] = stamp, str(fault), now
                    raise
                step = _step(base, name, "read", number)
                await self._clear([known] if known else [], pause)
            else:
                step = _step(base, name, "unchanged", known.passages)
            self._seen[key] = stamp, digest
            self._unread.pop(key, None)
            return step
        except Unread as fault:
            # What was in it when it could be read still is, as far as anybody knows.
            return Step(base, name, "skipped", why=str(fault))

    async def _text(self, path: Path, raw: bytes) -> str:
        """The text of a file. Raises Unread."""
        if path.suffix.lower() not in EXTRACTED:
            return await asyncio.to_thread(decoded, raw)
        found = (await self._readers.read(Job(sniff(raw), text=LARGEST), raw)).found
        if found.trouble is not None:
            raise Unread(str(getattr(words("en"), f"unread_{found.trouble}")))
        return found.text

    async def _shelve(self, base: str, path: str, digest: str, parts: Iterator[Passage], pause: float) -> int:
        source = await self._ledger.shelve(Open(base, path, digest, self._clock.now()))
        number = 0
        try:
            while batch := await asyncio.to_thread(_next, parts):
                number += await self._ledger.shelve(Add(source, base, batch))
                await self._clock.sleep(pause)
        except Unread:
            await self._clear([Source(source, base, path, digest, 0, current=False)], pause)
            raise
        await self._ledger.shelve(Complete(source, base, path, number, self._clock.now()))
        return number

    async def _clear(self, left: list[Source], pause: float) -> None:
        for source in left:
            while await self._ledger.shelve(Remove(source.id, source.base)) == BATCH:
                await self._clock.sleep(pause)


def _step(base: str, name: str, how: str, number: int) -> Step:
    return Step(base, name, how, number, "" if number else "there is nothing to read in it")


def _stamp(path: Path) -> Stamp:
    try:
        its = path.stat()
    except OSError as fault:
        raise Unread(f"cannot be read: {fault.strerror}") from None
    return its.st_mtime_ns, its.st_size, its.st_ino


def _next(parts: Iterator[Passage]) -> tuple[Shelved, ...]:
    """The next passages, made ready here: in a thread, as to find their terms takes longer than to write them."""
    return tuple(shelved(part) for part in islice(parts, BATCH))


def shelved(passage: Passage) -> Shelved:
    """The passage as it is kept. What a title says counts twice."""
    found_by = [*terms(passage.title), *terms(passage.title), *terms(passage.text)]
    return Shelved(passage.title, passage.line, passage.text, " ".join(found_by))
