"""`chatferry export USER`: all that is kept of a person, as JSON for programs and as one page for people.

It is written as it is read, a few turns at a time. In talks with others it holds what the person said and what they
were answered, and no word of anybody else's. The JSON is described in docs/people.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, get_args

import msgspec
import sqlalchemy as sa
from rich.console import Console
from sqlalchemy.engine import RowMapping

from chatferry.cli.database import is_fresh, opened
from chatferry.cli.forget import known, newest, talks, unknown
from chatferry.clock import Clock
from chatferry.config import ServerSettings
from chatferry.errors import ConfigError
from chatferry.ledger import people
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.people import Person, Talk
from chatferry.ledger.rows import INBOUND, MESSAGE, MESSAGES
from chatferry.ledger.tables import answers, files, memories, messages, outbox, sessions, steps, turns
from chatferry.model import File, Inbound, Message
from chatferry.words import Language, language_of

VERSION = 1
"""Of the JSON. More may be added to it under the same number."""
_INTERNAL = ("due_at", "lease", "leased_until", "grant", "attempt", "conversation", "turn", "data")
"""Columns that say nothing about the person: how we work, leave to answer on their behalf, what stands around it."""
_JSON = ("inbound", "answer", "message", "body", "call", "result", "facts")
"""Columns that hold JSON themselves."""
_OURS = ("command", "greeting", "push")
"""Kinds of turns whose answers no model writes: lines, and no Markdown."""
_OF_A_TURN = {"messages": messages, "sent": outbox, "calls": steps, "files": files, "kept_answers": answers}
"""What belongs to a turn, under the name that it has in the export."""
_FEW = 50
"""Turns that are held at once."""
_MEND = "--output FOLDER, a new or empty one where you may write"

Row = Mapping[Any, Any] | RowMapping


def export(
    server: ServerSettings, user: str, channel: str, channels: Collection[str], *, output: Path | None, language: str
) -> int:
    """Returns the exit status: 0 when it is written, 1 when nobody is known. Raises ConfigError."""
    if language != "auto" and language not in get_args(Language):
        raise ConfigError(f"there is no language {language!r}; there are {', '.join(get_args(Language))}")
    if is_fresh(server):
        return unknown(user, channel, channels)
    return asyncio.run(write(server, user, channel, channels, output=output, language=language))


async def write(
    server: ServerSettings,
    user: str,
    channel: str = "",
    channels: Collection[str] = (),
    *,
    output: Path | None = None,
    language: str = "auto",
    clock: Clock | None = None,
) -> int:
    """The same, in a loop that runs."""
    console = Console(highlight=False, soft_wrap=True)
    async with opened(server, clock) as (ledger, _):
        found = await known(ledger, user, channel, channels)
        if not found:
            return unknown(user, channel, channels)
        at = datetime.now(UTC)
        for person in found:
            folder = output or Path(f"export-{person.channel}-{at:%Y%m%dT%H%M%SZ}")
            folder = folder / person.channel if output and len(found) > 1 else folder
            try:
                count = await _Export(ledger, person, folder, at, language).write()
            except OSError as fault:
                raise ConfigError(f"{fault.filename or folder}: {fault.strerror}\n  mend: {_MEND}") from None
            console.print(f"{count} turns of {person.key} are in {folder}: export.json, export.html", markup=False)
    return 0


class _Export:
    """One person's, into one folder, which only its owner may read."""

    def __init__(self, ledger: Ledger, person: Person, folder: Path, at: datetime, language: str) -> None:
        self._ledger = ledger
        self._person = person
        self._folder = folder
        self._at = at
        self._language = language
        self._addresses: list[str] = []
        self._count = 0
        self._begun = False

    async def write(self) -> int:
        """Returns how many turns there are."""
        await asyncio.to_thread(_make, self._folder)
        upto = await self._ledger.look(newest)
        with contextlib.ExitStack() as stack:
            self._json: IO[bytes] = stack.enter_context(_private(self._folder / "export.json"))
            self._html: IO[bytes] = stack.enter_context(_private(self._folder / "export.html"))
            person = {"channel": self._person.channel, "id": self._person.id}
            head = {
                "format": "chatferry-export",
                "version": VERSION,
                "at": _time(self._at.timestamp()),
                "person": person,
            }
            self._json.write(_encoded(head)[:-1] + b',"conversations":[\n')
            between = b""
            async for talk in talks(self._ledger, self._person):
                self._json.write(between)
                await self._talk(talk, upto)
                between = b",\n"
            rest = await self._ledger.look(self._elsewhere)
            self._json.write(b"\n]," + _encoded(rest)[1:] + b"\n")
            self._begin(())
            self._show("foot", rest=rest)
        return self._count

    async def _talk(self, talk: Talk, upto: int) -> None:
        about = await self._ledger.look(partial(talk_kept, talk=talk))
        self._json.write(_encoded(about)[:-1] + b',"turns":[')
        if not talk.shared:
            self._addresses.append(talk.address)
        past, first = 0, True
        while True:
            page = await self._ledger.look(partial(turns_kept, talk=talk, past=past, upto=upto))
            if first:
                self._begin(page)
                self._show("talk", talk=about)
            for turn in page:
                await self._keep(turn["files"])
                self._json.write((b"\n" if first else b",\n") + _encoded(turn))
                answer, ours = _answer(turn), turn["kind"] in _OURS
                self._show("turn", turn=turn, said=_said(turn), answer="" if ours else answer, told=answer)
                first = False
            self._count += len(page)
            if len(page) < _FEW:
                break
            past = page[-1]["id"]
        self._json.write(b"]}")

    async def _keep(self, found: Iterable[dict[str, Any]]) -> None:
        """Write the bytes of files beside, one at a time."""
        for file in found:
            data = await self._ledger.look(partial(_bytes, file=file["id"]))
            if data:
                # By our number: what it was called may be anything.
                ending = mimetypes.guess_extension(file["media_type"]) or ".bin"
                path = self._folder / "files" / f"{file['id']}{ending}"
                path.parent.mkdir(0o700, exist_ok=True)
                with _private(path) as out:
                    out.write(data)
                file["path"] = f"files/{path.name}"

    def _elsewhere(self, connection: sa.Connection) -> dict[str, list[dict[str, Any]]]:
        """What is kept by the person's id: notes, limits, whether they were let in."""
        found: dict[str, list[dict[str, Any]]] = {}
        for table, which in people.elsewhere(self._person, self._addresses, connection.dialect.name):
            found.setdefault(table.name, []).extend(
                _plain(row) for row in connection.execute(sa.select(table).where(which)).mappings()
            )
        return found

    def _begin(self, page: Sequence[dict[str, Any]]) -> None:
        """The page begins with the first turns, as these tell the language in which the person writes."""
        if self._begun:
            return
        self._begun = True
        if self._language == "auto":
            self._language = language_of(" ".join(text for turn in page for text in _said(turn)))
        self._show("head", person=self._person, at=self._at.timestamp())

    def _show(self, part: str, **given: Any) -> None:
        from chatferry.web import paper

        self._html.write(paper.part(part, self._language, **given).encode("utf-8", "replace"))


def _make(folder: Path) -> None:
    """Raises ConfigError where something is in it already: that may be somebody else's."""
    folder.mkdir(0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty\n  mend: {_MEND}")


def _private(path: Path) -> IO[bytes]:
    """A file that only its owner may read."""
    path.touch(0o600, exist_ok=False)
    return path.open("wb")


def _bytes(connection: sa.Connection, file: int) -> bytes:
    found = connection.execute(sa.select(files.c.data).where(files.c.id == file)).scalar()
    return bytes(found or b"")


def talk_kept(connection: sa.Connection, talk: Talk) -> dict[str, Any]:
    """What is kept of a talk as a whole. A summary of what several people said is nobody's alone."""
    row = people.before_row(connection, talk.key)
    said = MESSAGES.decode(row.body) if row is not None else ()
    theirs = [one for one in said if one.author == talk.sender or not (talk.shared or one.author)]
    about: dict[str, Any] = {
        "id": talk.key,
        "shared": talk.shared,
        "before": [msgspec.to_builtins(one) for one in theirs],
    }
    for name, table in (("sessions", sessions), ("summaries", memories)):
        query = sa.select(table).where(table.c.conversation == talk.key)
        found = connection.execute(query).mappings() if not talk.shared else ()
        about[name] = [_plain(row, keep=("turn",)) for row in found]
    return about


def turns_kept(connection: sa.Connection, talk: Talk, past: int, upto: int) -> list[dict[str, Any]]:
    """The next turns, with all that belongs to them."""
    ids = people.turn_ids(connection, talk, past, upto, _FEW)
    found = {row["id"]: _turn(row, talk) for row in people.whole(connection, turns, turns.c.id, ids)}
    if talk.shared:
        # The answer to a question that was answered together with others'.
        answers = {row["id"]: row["answer"] for row in people.merged(connection, ids)}
        for turn in found.values():
            if answers.get(turn["merged_into"]):
                turn["answer"] = msgspec.json.decode(answers[turn["merged_into"]])
    for name, table in _OF_A_TURN.items():
        # Bytes of files are fetched one by one.
        columns = [column for column in table.columns if not isinstance(column.type, sa.LargeBinary)]
        rows = connection.execute(sa.select(*columns).where(table.c.turn.in_(ids))).mappings().all()
        for row in people.in_order(table, rows):
            if row.get("role") != "before":
                found[row["turn"]][name].append(_plain(row))
    if talk.shared:
        for turn in found.values():
            _alone(turn)
    return [found[id] for id in sorted(found)]


def _turn(row: Row, talk: Talk) -> dict[str, Any]:
    inbound: Inbound | None = INBOUND.decode(row["inbound"])
    if talk.shared and inbound is not None:
        inbound = people.only(inbound, talk.sender)
    turn = _plain(row)
    turn["inbound"] = msgspec.to_builtins(_free(inbound)) if inbound is not None else None
    return turn | {name: [] for name in _OF_A_TURN}


def _alone(turn: dict[str, Any]) -> None:
    """Let what the history has of a turn be the person's own words."""
    inbound = msgspec.convert(turn["inbound"], Inbound) if turn["inbound"] else None
    said = inbound.said if inbound is not None else None
    for one in turn["messages"]:
        if one["role"] == "user":
            one["body"] = msgspec.to_builtins(said) if said is not None else None


def _free(inbound: Inbound) -> Inbound:
    """Without the leave to answer: whoever has it could speak for us."""
    also = tuple(msgspec.structs.replace(one, grant=None) for one in inbound.also)
    return msgspec.structs.replace(inbound, grant=None, also=also)


def _plain(row: Row, *, keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row as JSON has it."""
    return {
        name: _value(name, value)
        for name, value in row.items()
        if (name not in _INTERNAL or name in keep) and not isinstance(value, bytes)
    }


def _value(name: str, value: Any) -> Any:
    if name in _JSON and isinstance(value, str) and value:
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(value)
    if isinstance(value, float) and (name.endswith(("_at", "_until"))):
        return _time(value)
    return value


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _said(turn: dict[str, Any]) -> list[str]:
    """What the person said in a turn, for people to read; a file by its name."""
    inbound = msgspec.convert(turn["inbound"], Inbound) if turn["inbound"] else None
    told = [one.message for one in (inbound, *inbound.also) if one.message is not None] if inbound is not None else []
    if inbound is not None and inbound.kind == "push":
        return []
    return [_shown(message) for message in told] or ([f"/{inbound.command}"] if inbound and inbound.command else [])


def _shown(message: Message) -> str:
    named = (f"[{part.name or part.kind}]" if isinstance(part, File) else part.text for part in message.parts)
    return "\n\n".join(filter(None, named))


def _answer(turn: dict[str, Any]) -> str:
    answer = MESSAGE.decode(_encoded(turn["answer"])).text if turn["answer"] else ""
    return answer or "\n\n".join(_shown(MESSAGE.decode(_encoded(one["message"]))) for one in turn["sent"])
