"""Writes the index, a few passages at a time: what takes a connection runs inside the ledger's one transaction.

A file that is read anew is a new source beside the old one, and takes its place in one step when it is complete: a
search sees the old passages or the new ones. What was left over goes after that, a few passages at a time too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa

from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import passages, sources, terms

BATCH = 25
"""Passages of one write: some ten milliseconds of the writer's time."""


class Shelved(msgspec.Struct, frozen=True):
    """A passage, with what it is found by."""

    title: str
    line: int
    text: str
    terms: str


class Open(msgspec.Struct, frozen=True):
    """Begin a new version of a file. Results in the number of its source."""

    base: str
    path: str
    digest: str
    now: float


class Add(msgspec.Struct, frozen=True):
    """Put these passages into a version that is not complete."""

    source: int
    base: str
    passages: tuple[Shelved, ...]


class Complete(msgspec.Struct, frozen=True):
    """This version, of so many passages, is complete: it is searched in the place of the one before it."""

    source: int
    base: str
    path: str
    passages: int
    now: float


class Retire(msgspec.Struct, frozen=True):
    """These sources are searched no more."""

    sources: tuple[int, ...]


class Remove(msgspec.Struct, frozen=True):
    """Take passages out of a source that is not searched, and the source with the last. Results in how many went."""

    source: int
    base: str


Shelving = Open | Add | Complete | Retire | Remove


def _open(connection: sa.Connection, op: Open) -> int:
    row = {"base": op.base, "path": op.path, "digest": op.digest, "passages": 0, "current": False, "changed_at": op.now}
    number: int = connection.execute(sa.insert(sources).values(row).returning(sources.c.id)).scalar_one()
    return number


def _add(connection: sa.Connection, op: Add) -> int:
    rows = [{"source": op.source, **msgspec.structs.asdict(passage)} for passage in op.passages]
    connection.execute(sa.insert(passages), rows)
    _count(connection, op.base, (passage.terms for passage in op.passages), 1)
    return len(rows)


def _complete(connection: sa.Connection, op: Complete) -> int:
    before = sources.c.base == op.base, sources.c.path == op.path, sources.c.current
    connection.execute(sa.update(sources).where(*before).values(current=False))
    whole = {"current": True, "passages": op.passages, "changed_at": op.now}
    return connection.execute(sa.update(sources).where(sources.c.id == op.source).values(whole)).rowcount


def _retire(connection: sa.Connection, op: Retire) -> int:
    return connection.execute(sa.update(sources).where(sources.c.id.in_(op.sources)).values(current=False)).rowcount


def _remove(connection: sa.Connection, op: Remove) -> int:
    some = sa.select(passages.c.id, passages.c.terms).where(passages.c.source == op.source).limit(BATCH)
    rows = connection.execute(some).all()
    if rows:
        connection.execute(sa.delete(passages).where(passages.c.id.in_([row.id for row in rows])))
        _count(connection, op.base, (row.terms for row in rows), -1)
    if len(rows) < BATCH:
        connection.execute(sa.delete(sources).where(sources.c.id == op.source))
    return len(rows)


def _count(connection: sa.Connection, base: str, found_by: Iterable[str], sign: int) -> None:
    """In how many passages each term is, from here on."""
    counts: Counter[str] = Counter()
    for one in found_by:
        counts.update({"", *one.split()})
    rows = [{"term": term, "base": base, "passages": sign * counts[term]} for term in sorted(counts)]
    connection.execute(_counting(connection.dialect.name), rows)
    if sign < 0:
        none = terms.c.term == sa.bindparam("_term"), terms.c.base == sa.bindparam("_base"), terms.c.passages <= 0
        gone = [{"_term": term, "_base": base} for term in sorted(counts)]
        connection.execute(sa.delete(terms).where(*none), gone)


@cache
def _counting(dialect: str) -> Any:
    counted = inserting(dialect, terms)
    more = terms.c.passages + counted.excluded.passages
    return counted.on_conflict_do_update(index_elements=["term", "base"], set_={"passages": more})


_STEPS: Mapping[type, Any] = {Open: _open, Add: _add, Complete: _complete, Retire: _retire, Remove: _remove}


def _shelve(connection: sa.Connection, operations: Sequence[Shelving]) -> list[int]:
    return [_STEPS[type(op)](connection, op) for op in operations]


WRITES: dict[type, Any] = dict.fromkeys(_STEPS, _shelve)
