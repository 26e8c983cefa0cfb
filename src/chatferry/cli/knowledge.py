"""Knowledge by hand: read the files now, see what is found for a question, and whether all is well."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from rich.console import Console
from rich.text import Text

from chatferry.cli.database import is_fresh
from chatferry.clock import SystemClock
from chatferry.config import Settings
from chatferry.errors import ChatferryError, ConfigError
from chatferry.knowledge.documents import named
from chatferry.knowledge.grounding import GROUND, Judged, judge
from chatferry.knowledge.library import Found, Library, Source
from chatferry.knowledge.questions import asked
from chatferry.knowledge.sync import Step, Sync, Synced, folder_of, wanted_of
from chatferry.knowledge.terms import Wanted, matches, wanted
from chatferry.ledger.database import connected
from chatferry.ledger.ledger import Ledger
from chatferry.model import Finding
from chatferry.reading.readers import Readers

_STYLES = {"read": "green", "gone": "yellow", "skipped": "red", "warning": "yellow", "unchanged": "dim"}
_MEND = "chatferry knowledge sync"


def sync(settings: Settings) -> int:
    """Bring the index up to date, and tell what became of each file. Returns 1 where one could not be read."""
    console = Console(highlight=False)
    known = wanted_of(settings)
    if not known:
        console.print("no assistant has knowledge: what was read before goes", soft_wrap=True)

    def tell(step: Step) -> None:
        what = f"{step.passages} passages" if step.how in ("read", "unchanged") else ""
        said = "  ".join(filter(None, (f"{step.how:9}", f"{step.base}: {step.path}" if step.path else step.base, what)))
        console.print(Text(f"{said}  {step.why}".rstrip(), style=_STYLES[step.how]), soft_wrap=True)

    async def run() -> Synced:
        async with connected(settings.server.database) as database, Ledger(database, SystemClock()).open() as ledger:
            return await Sync(ledger, database, SystemClock(), known, folder_of(settings), Readers()).run(tell=tell)

    synced = asyncio.run(run())
    if synced.busy:
        console.print("another process is reading the files just now: nothing was done", soft_wrap=True)
        return 1
    steps = synced.steps
    files = [step for step in steps if step.how in ("read", "unchanged")]
    read, gone, skipped = (sum(step.how == how for step in steps) for how in ("read", "gone", "skipped"))
    told = f"{len(files)} files, {sum(step.passages for step in files)} passages: {read} read, {gone} gone, "
    console.print(f"{told}{skipped} skipped", style="bold", soft_wrap=True)
    return 1 if skipped else 0


def search(settings: Settings, question: str, assistant: str) -> int:
    """Print what is found, best first, and whether it is a ground. Returns 1 where it is none."""
    base = _base(settings, assistant)

    async def run() -> Judged:
        async with connected(settings.server.database) as database:
            return await judge(Library(database), base, asked(question))

    judged, want = asyncio.run(run()), wanted(question)
    console = Console(highlight=False)
    for rank, one in enumerate(judged.found, 1):
        _print(console, rank, one, want)
    console.print(Text(_verdict(judged), style="bold"), soft_wrap=True)
    return 0 if judged.grounded or judged.idle else 1


def _base(settings: Settings, assistant: str) -> str:
    known = wanted_of(settings)
    if not known:
        raise ConfigError('no assistant has knowledge\n  mend: knowledge = ["docs/**/*.md"] in [assistants.NAME]')
    if assistant and assistant not in known:
        raise ConfigError(f"there is no assistant {assistant!r} with knowledge; known: {', '.join(known)}")
    if not assistant and len(known) > 1 and "default" not in known:
        raise ConfigError(f"several assistants have knowledge\n  mend: --assistant, one of {', '.join(known)}")
    return assistant or ("default" if "default" in known else next(iter(known)))


def _print(console: Console, rank: int, one: Found, want: Wanted) -> None:
    head = Text(f"{rank}  {one.coverage:4.0%}  ")
    head.append(f"{one.path}:{one.line}", style="cyan")
    head.append(f"  {one.title}", style="bold")
    console.print(head, soft_wrap=True)
    for line in one.text.splitlines():
        if line.strip():
            console.print(Text("         ") + _shown(line, want, marks=not console.is_terminal), soft_wrap=True)


def _shown(line: str, want: Wanted, *, marks: bool) -> Text:
    """A line with what was looked for made plain: in colour on a terminal, else between marks."""
    text, end = Text(), 0
    for begin, stop in _joined(matches(line, want)):
        text.append(line[end:begin])
        text.append(f"«{line[begin:stop]}»" if marks else line[begin:stop], style="bold yellow")
        end = stop
    text.append(line[end:])
    return text


def _joined(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for begin, end in places:
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined


def _verdict(judged: Judged) -> str:
    of = f"the best passage speaks of {judged.best:.0%} of what is asked for, and {GROUND:.0%} are needed"
    if judged.idle:
        return "nothing is asked for: also a strict assistant leaves small talk to its model"
    return f"a strict assistant {'would answer' if judged.grounded else 'would say that it does not know'}: {of}"


async def findings(settings: Settings) -> AsyncIterator[Finding]:
    """Does every pattern name files, and is what they say in the index? Nothing is changed."""
    patterned = wanted_of(settings)
    index = await _index(settings) if patterned else None
    for base, patterns in patterned.items():
        subject = f"knowledge of {base}"
        known = {one.path: one.passages for one in index or () if one.base == base}
        files = await asyncio.to_thread(named, patterns, folder_of(settings), known)
        for warning in files.warnings:
            mend = f'"{warning.meant}" in knowledge of' if warning.meant else "knowledge = [...] in"
            yield Finding(False, subject, warning.why, f"{mend} [assistants.{base}]")
        if index is None:
            continue
        detail = f"{len(known)} files, {sum(known.values())} passages"
        lacking = {file.name for file in files.documents} - known.keys()
        if lacking:
            yield Finding(True, subject, f"{detail}; not read yet: {', '.join(sorted(lacking)[:5])}", _MEND)
        else:
            yield Finding(True, subject, detail)


async def _index(settings: Settings) -> list[Source] | None:
    """What was read. None where there is no database yet, or it cannot be read, which is told already."""
    if is_fresh(settings.server):
        return None
    with contextlib.suppress(ChatferryError):
        async with connected(settings.server.database, migrated=False) as database:
            return [one for one in await Library(database).sources() if one.current]
    return None
