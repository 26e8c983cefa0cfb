"""`chatferry forget USER`: shows what there is of a person, removes it, looks again, and leaves a proof.

It works beside a running gateway, on both databases, and may be begun again after whatever stopped it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from rich.console import Console

from chatferry.cli.database import is_fresh, opened
from chatferry.cli.people import there
from chatferry.clock import Clock
from chatferry.config import ServerSettings
from chatferry.errors import ConfigError, Unavailable
from chatferry.ledger import people, tombstones
from chatferry.ledger.forgetting import Forgot
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.people import Person, Talk
from chatferry.ledger.tables import turns

REMAINS = (
    "what the platform itself keeps, such as the messages on people's screens",
    "what the provider of the model keeps of requests",
    "backups, and copies of the disk; on PostgreSQL the server's write-ahead log, and what it has archived",
    "the operator's own logs, which hold ids of turns and conversations, and no words",
    "what answers to others, and the lines of others, quote of this person",
)
"""What no command of ours reaches."""
_PATIENCE = 120.0
"""Seconds for which a step is tried while the database is away, or busy."""


def forget(
    server: ServerSettings,
    user: str,
    channel: str,
    channels: Collection[str],
    *,
    yes: bool,
    dry_run: bool,
    anew: bool,
    report: Path | None,
) -> int:
    """Returns the exit status: 0 when nothing is left, 1 when nothing was known, or it was not to be done.

    Raises ConfigError, with nothing removed, where the proof cannot be kept.
    """
    if is_fresh(server):
        return unknown(user, channel, channels)
    doing = remove(server, user, channel, channels, yes=yes, dry_run=dry_run, anew=anew, report=report)
    return asyncio.run(doing)


async def remove(
    server: ServerSettings,
    user: str,
    channel: str = "",
    channels: Collection[str] = (),
    *,
    yes: bool = False,
    dry_run: bool = False,
    anew: bool = False,
    report: Path | None = None,
    clock: Clock | None = None,
) -> int:
    """The same, in a loop that runs."""
    console = Console(highlight=False, soft_wrap=True)
    async with opened(server, clock) as (ledger, database):
        upto = await ledger.look(newest)
        found = await known(ledger, user, channel, channels)
        if not found:
            return unknown(user, channel, channels)
        for person in found:
            console.print(f"{person.key}: {told(await survey(ledger, person, upto))}", markup=False)
        if dry_run:
            console.print("nothing was removed: this was a dry run")
            return 0
        with contextlib.ExitStack() as stack:
            sheets = [stack.enter_context(_Sheet(place)) for place in _places(found, report)]
            if not yes and not _sure():
                Console(stderr=True).print("nothing was removed; --yes does it without asking")
                return 1
            status = 0
            for person, sheet in zip(found, sheets, strict=True):
                proof = await _remove(ledger, person, upto)
                left = await survey(ledger, person, upto)
                proof["database"] = await database.scrub(anew=anew)
                proof["left"] = dict(left)
                kept = sheet.write(proof)
                console.print(_summary(person, proof, sheet.place if kept else None), markup=False)
                if left or not kept:
                    status = 1
    return status


def unknown(user: str, channel: str, channels: Collection[str]) -> int:
    if channel and channels:  # one that is gone from the configuration may still have people
        there(channel, channels)
    where = f" on {channel}" if channel else ""
    Console(stderr=True, highlight=False).print(f"nobody is known by {user}{where}", soft_wrap=True, markup=False)
    return 1


def _sure() -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stdout.write("Remove all of it? There is no way back. [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def newest(connection: sa.Connection) -> int:
    newest: int = connection.execute(sa.select(sa.func.coalesce(sa.func.max(turns.c.id), 0))).scalar_one()
    return newest


async def known(ledger: Ledger, user: str, channel: str, channels: Collection[str] = ()) -> list[Person]:
    """As whom somebody is known, on one channel, or on these and all on which anything was ever said.

    The id may be written as `chatferry turns` shows it.
    """

    def look(connection: sa.Connection) -> list[Person]:
        names = [channel] if channel else sorted({*channels, *people.channels(connection)})
        persons = [Person(name, user.removeprefix(f"{name}:")) for name in names]
        return [person for person in persons if people.is_known(connection, person)]

    return await ledger.look(look)


async def survey(ledger: Ledger, person: Person, upto: int) -> Counter[str]:
    """How many rows there are of a person, by table, up to a turn."""
    counts: Counter[str] = Counter()
    addresses: list[str] = []
    async for talk in talks(ledger, person):
        if not talk.shared:
            addresses.append(talk.address)
        past = 0
        while True:
            some, past = await ledger.look(partial(people.extent, talk=talk, past=past, upto=upto))
            counts.update(some)
            if not past:
                break
    counts.update(await ledger.look(lambda connection: people.extent_elsewhere(connection, person, addresses)))
    return +counts


async def talks(ledger: Ledger, person: Person) -> AsyncIterator[Talk]:
    """The talks in which a person takes part, read a page at a time."""
    past: str | None = ""
    while past is not None:
        page, past = await ledger.look(partial(people.talks, person=person, past=past))
        for talk in page:
            yield talk


async def _remove(ledger: Ledger, person: Person, upto: int) -> dict[str, Any]:
    """Do it, and tell what was done."""
    removed: Counter[str] = Counter()
    rewritten: Counter[str] = Counter()
    digests: dict[str, bytes] = {}
    addresses: list[str] = []
    began = time.time()

    def note(forgot: Forgot) -> None:
        removed.update(forgot.removed)
        rewritten.update(forgot.rewritten)
        for table, digest in forgot.digests.items():
            digests[table] = hashlib.sha256(digests.get(table, b"") + digest).digest()

    note(await _patiently(lambda: ledger.withdraw(person, upto)))
    async for talk in talks(ledger, person):
        if not talk.shared:
            addresses.append(talk.address)
        while True:
            forgot = await _patiently(partial(ledger.forget, talk, upto))
            note(forgot)
            if not forgot.more:
                break
    note(await _patiently(lambda: ledger.forget_rest(person, addresses)))
    return {
        "format": "chatferry-forgotten",
        "version": 1,
        "at": _iso(time.time()),
        "seconds": round(time.time() - began, 3),
        # Whoever knows the id can see that it is this one; nobody else learns it from here.
        "person": _digest(person),
        "channel": person.channel,
        "upto": upto,
        "removed": {
            table: {"rows": rows, "sha256": digests.get(table, b"").hex()} for table, rows in sorted(removed.items())
        },
        "rewritten": dict(sorted(rewritten.items())),
        "kept_out_until": _iso(time.time() + tombstones.REDELIVERED),
        "remains": list(REMAINS),
    }


async def _patiently(step: Callable[[], Awaitable[Forgot]]) -> Forgot:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return await step()
        except Unavailable:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.5)


def _places(found: list[Person], report: Path | None) -> list[Path]:
    """Where the proofs go: one file for each person, as one id may be known on several channels."""
    if report is None:
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        return [Path(f"forgotten-{person.channel}-{stamp}-{_digest(person)[:8]}.json") for person in found]
    if len(found) == 1:
        return [report]
    return [report.with_name(f"{report.stem}-{person.channel}{report.suffix}") for person in found]


class _Sheet:
    """A file for a proof, open before anything is removed. One in which nothing was written goes again."""

    def __init__(self, place: Path) -> None:
        """Raises ConfigError."""
        mend = "--report FILE, in a folder that can be written"
        try:
            self._file = place.open("a", encoding="utf-8")
            if os.fstat(self._file.fileno()).st_size:
                self._file.close()
                raise ConfigError(f"{place} is there already; nothing was removed\n  mend: {mend}")
        except OSError as fault:
            raise ConfigError(
                f"the proof cannot be kept in {place}: {fault.strerror}; nothing was removed\n  mend: {mend}"
            ) from None
        self.place = place

    def __enter__(self) -> Self:
        return self

    def write(self, proof: dict[str, Any]) -> bool:
        """Sign it and write it down; where that fails after all, print it, as what it proves is done."""
        proof["sha256"] = hashlib.sha256(json.dumps(proof, sort_keys=True).encode()).hexdigest()
        text = json.dumps(proof, indent=2, ensure_ascii=False) + "\n"
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as fault:
            Console(stderr=True, highlight=False).print(
                f"the proof could not be written to {self.place}: {fault.strerror}; here it is",
                soft_wrap=True,
                markup=False,
            )
            sys.stdout.write(text)
            return False
        return True

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            if self.place.is_file() and not self.place.stat().st_size:
                self.place.unlink()


def _summary(person: Person, proof: dict[str, Any], place: Path | None) -> str:
    lines = [f"removed of {person.key}:"]
    lines += [f"  {table:20} {its['rows']:>8}  sha256 {its['sha256'][:16]}…" for table, its in proof["removed"].items()]
    lines += [f"  {table:20} {rows:>8}  freed of their words" for table, rows in proof["rewritten"].items()]
    lines += [f"  {line}" for line in proof["database"]]
    lines.append(f"looked again: {'nothing is left' if not proof['left'] else told(Counter(proof['left']))}")
    lines.append(f"proof: {place or 'printed above'} (sha256 {proof['sha256'][:16]}…)")
    lines += ["not reached by this:", *(f"  {line}" for line in proof["remains"])]
    return "\n".join(lines)


def _digest(person: Person) -> str:
    return hashlib.sha256(person.key.encode()).hexdigest()


def told(counts: Counter[str]) -> str:
    """Rows by table, in words."""
    return ", ".join(f"{rows} {table}" for table, rows in counts.items()) or "nothing"


def _iso(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
