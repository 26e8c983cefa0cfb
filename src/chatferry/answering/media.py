"""What people send beside words: fetched once, checked by what is in it, and made into what a model can take."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Mapping

import structlog
from msgspec.structs import replace

from chatferry.answering import prompt
from chatferry.clock import Clock
from chatferry.engines.base import Listener, Prompt
from chatferry.errors import Fault, TooLarge, TryLater
from chatferry.held import Held
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.operations import Kept
from chatferry.model import File
from chatferry.reading.jobs import Job
from chatferry.reading.readers import Readers
from chatferry.retry import next_try
from chatferry.sniffing import HEIC, PDF, PICTURES, RARE_SOUNDS, kind_of, sniff

log = structlog.get_logger(__name__)

MOST = 10
"""Files of one turn that are looked at: the newest."""
_OF_A_TURN, _AT_ONCE = 3, 8
"""Files that are fetched at the same time: of one turn, and of all in this process."""
_HANDLE = 4096
"""Characters of a platform's handle, at most: a longer one is the file itself."""
_TRIES = 4
_LONGEST = 60.0
"""Seconds for fetching one file, all tries together: others wait for the room that it takes."""
_LETTERS = 4000
"""Characters that are read in a picture, at most: as many as a dense page has."""
_PAGES = 5
"""Of a scan, that are read at most: each takes a second or two."""
_PATIENCE = 20.0
"""Seconds that a platform may ask us to wait for a file: somebody waits for the answer."""


class Media:
    """Looks into the files of all turns of a process."""

    def __init__(self, ledger: Ledger, readers: Readers, listeners: Mapping[str, Listener], clock: Clock) -> None:
        """listeners: who writes down what is spoken, by the name of the model."""
        self._ledger = ledger
        self._readers = readers
        self._listeners = listeners
        self._clock = clock
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def look(self, held: Held) -> None:
        """Look into the files of a turn that nobody has looked into, and keep what was found with the turn.

        A file that cannot be had or read is no fault: the model is told why.
        """
        inbound = held.turn.inbound
        unseen = list(dict.fromkeys(file for file in inbound.files if _wanted(file, held)))
        # What came with the request is not kept where nobody looks at it.
        found = {file: replace(file, ref="") for file in inbound.files if len(file.ref) > _HANDLE}
        if not unseen and not found:
            return
        surplus = dict.fromkeys(unseen[:-MOST], MOST)
        unseen = unseen[-MOST:]
        if not (held.assistant.blind and held.assistant.settings.ocr):  # else they are read as well
            images = [file for file in unseen if file.kind == "image"]
            surplus |= dict.fromkeys(images[: -prompt.PICTURES], prompt.PICTURES)
        many = held.assistant.words.unread_many
        found |= {
            file: replace(file, ref="", note=many.replace("{number}", str(most))) for file, most in surplus.items()
        }
        pictures: list[Kept] = []
        room = asyncio.Semaphore(_OF_A_TURN)

        async def look(file: File) -> None:
            async with room, self._room:
                found[file], picture = await self._look(file, held)
            if picture is not None:
                pictures.append(picture)

        try:
            async with asyncio.TaskGroup() as group:
                for file in [file for file in unseen if file not in surplus]:
                    group.create_task(look(file))
        except BaseExceptionGroup as bugs:
            raise bugs.exceptions[0] from None
        inbound = inbound.filed(found)
        await self._ledger.looked(held.turn, inbound, pictures)
        held.turn = replace(held.turn, inbound=inbound)

    async def shown(self, asked: Prompt) -> Prompt:
        """The prompt with the pictures that it names, as far as they are kept."""
        named = {part.kept for said in asked.messages for part in said.parts if isinstance(part, File) and part.kept}
        return replace(asked, pictures=await self._ledger.pictures(named)) if named else asked

    async def _look(self, file: File, held: Held) -> tuple[File, Kept | None]:
        """The file with what was found in it, and the picture that is kept of it, if it is one."""
        words, settings = held.assistant.words, held.assistant.settings
        seen = replace(file, ref="")
        try:
            async with asyncio.timeout(_LONGEST):
                data = await self._fetched(file, held)
        except TooLarge:
            return replace(seen, note=words.unread_large.replace("{size}", _size(settings.file_limit))), None
        except (Fault, TimeoutError) as fault:
            log.warning("file not fetched", turn=held.turn.id, error=str(fault) or f"not within {_LONGEST:g} s")
            return replace(seen, note=words.unread_gone), None
        media_type = sniff(data)
        if media_type.startswith("video/") and file.kind == "audio":
            media_type = f"audio/{media_type.removeprefix('video/')}"  # the same box for both
        seen = replace(seen, kind=kind_of(media_type), media_type=media_type, size=len(data))
        if seen.kind == "audio":
            return await self._hear(seen, data, held), None
        return await self._read(seen, data, held)

    async def _fetched(self, file: File, held: Held) -> bytes:
        """Raises Fault, once trying again is of no use."""
        limit = held.assistant.settings.file_limit
        if (file.size or 0) > limit:
            raise TooLarge(f"{file.size} bytes")
        attempts = 0
        while True:
            try:
                return await held.channel.download(file, limit)
            except TryLater as fault:
                attempts += 1
                wait = next_try(fault, attempts, random=random.random, tries=_TRIES, patience=_PATIENCE)
                if wait is None:
                    raise
                await self._clock.sleep(wait)

    async def _read(self, file: File, data: bytes, held: Held) -> tuple[File, Kept | None]:
        words, assistant = held.assistant.words, held.assistant
        settings = assistant.settings
        picture = file.media_type in PICTURES
        letters = settings.file_text
        if picture:
            letters = min(letters, _LETTERS) if settings.ocr and assistant.blind else 0
        if picture and not (assistant.sees or letters):
            return replace(file, note=words.unseen), None
        job = Job(file.media_type, picture=picture and assistant.sees, text=letters, language=settings.tongue)
        found, made = await self._readers.read(job, data)
        if found.trouble == "silent" and file.media_type == PDF and settings.ocr:
            found, made = await self._readers.read(replace(job, pages=_PAGES), data)
        if found.trouble is not None:
            log.info("file not read", turn=held.turn.id, media_type=file.media_type, trouble=found.trouble)
            why = "heic" if found.trouble == "missing" and file.media_type == HEIC else found.trouble
            return replace(file, note=getattr(words, f"unread_{why}")), None
        note = words.read_cut.replace("{number}", f"{letters:,}") if found.cut else ""
        if found.pages and not found.cut:
            note = words.read_pages.replace("{number}", str(found.pages))
        if picture and not (found.made or found.text):
            note = words.unread_silent
        file = replace(file, text=found.text, note=note)
        if not found.made:
            return file, None
        kept = Kept(secrets.randbelow(2**53 - 1) + 1, found.made, made)
        return replace(file, kept=kept.id, media_type=found.made), kept

    async def _hear(self, file: File, data: bytes, held: Held) -> File:
        """The file with what was said in it, as it was written down."""
        words, settings = held.assistant.words, held.assistant.settings
        listener = self._listeners.get(settings.voice or "")
        if listener is None:
            return replace(file, note=words.unheard_format)
        media_type = file.media_type
        if media_type in RARE_SOUNDS:
            found, data = await self._readers.read(Job(media_type), data)
            if found.trouble is not None:
                log.info("sound not read", turn=held.turn.id, media_type=media_type, trouble=found.trouble)
                told = "unheard_format" if found.trouble == "missing" else f"unread_{found.trouble}"
                return replace(file, note=getattr(words, told))
            media_type = found.made
        # A language that we only guess would be forced upon who speaks another.
        language = "" if settings.language == "auto" else settings.tongue.partition("-")[0]
        attempts = 0
        while True:
            try:
                text = (await listener.listen(data, media_type, language)).strip()
                return replace(file, text=text[: settings.file_text], note="" if text else words.unheard)
            except Fault as fault:
                attempts += 1
                wait = next_try(fault, attempts, random=random.random, patience=_PATIENCE)
                log.warning("not heard", turn=held.turn.id, model=settings.voice, error=str(fault))
                if wait is None:
                    return replace(file, note=words.unheard)
                await self._clock.sleep(wait)


def _wanted(file: File, held: Held) -> bool:
    """Is there anything that the file could be good for?"""
    if file.looked:
        return False
    settings = held.assistant.settings
    match file.kind:
        case "image":
            return held.assistant.sees or settings.ocr
        case "audio":
            return settings.voice is not None
    return file.kind == "file"


def _size(bytes_: int) -> str:
    return f"{bytes_ / 1e6:.3g} MB" if bytes_ >= 1e6 else f"{bytes_ / 1e3:.3g} kB"
