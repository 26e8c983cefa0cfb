"""Finds passages: the database picks those that may fit, in bounded time, and they are ranked here.

Ranked by BM25 over our own terms, so that SQLite and PostgreSQL find the same. How rare a term is stands in a table:
candidates are looked for by the rarest terms of a question only, and never more than a few thousand of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, reduce
from operator import or_
from typing import Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError

from chatferry.knowledge.questions import Asked, joined
from chatferry.knowledge.terms import Unit, Wanted
from chatferry.ledger.commit import unavailable
from chatferry.ledger.database import Database, Work
from chatferry.ledger.rows import padded
from chatferry.ledger.tables import passages, sources, terms

T = TypeVar("T")

BEST = 8
"""Passages that a search finds at the most."""
_CANDIDATES = 3000
"""Passages in which a term may be that candidates are looked for by, over all of them."""
_RANKED = 60
"""Candidates that are ranked."""
_LOOKED = 255
"""Terms of a message whose rarity is looked up: what is asked for, and then what stands beside it."""
_TERMS = 40
"""Terms that candidates are looked for and ranked by: those that tell most."""
_BESIDE = 0.25
"""What a term is worth that stands beside a question: of two answers, it tells which product they are about."""
_USUAL = 250
"""Terms of a passage of the usual length."""
_FEW = 64
"""Passages below which nothing can be told from how many there are: a word that is in one of three is not common."""
_SATURATION, _LENGTH = 1.2, 0.6
"""BM25's k1 and b."""
_HINTED = 0.3
"""How far a character counts as spoken of that is there, but not beside its neighbour."""


class Source(msgspec.Struct, frozen=True):
    """A version of a file in the index."""

    id: int
    base: str
    path: str
    digest: str
    passages: int
    current: bool


class Found(msgspec.Struct, frozen=True):
    """A passage that fits. `path` is its file's name as people know it."""

    path: str
    title: str
    line: int
    text: str
    score: float
    coverage: float
    """The share, from 0 to 1, of what the question asks for that the passage speaks of."""

    @property
    def source(self) -> str:
        return f"{self.path} › {self.title}" if self.title else self.path


class Library:
    """What is in the index. Raises Unavailable where the database does not answer."""

    def __init__(self, database: Database, *, candidates: int = _CANDIDATES) -> None:
        """candidates: how many passages a search looks at, however many there are."""
        self._database = database
        self._candidates = candidates

    async def sources(self) -> list[Source]:
        """All files, old versions included."""
        columns = sources.c.id, sources.c.base, sources.c.path, sources.c.digest, sources.c.passages, sources.c.current
        query = sa.select(*columns).order_by(sources.c.base, sources.c.path, sources.c.id)
        rows = await self._look(lambda connection: connection.execute(query).all())
        return [Source(*row) for row in rows]

    async def search(self, base: str, asked: Asked) -> list[list[Found]]:
        """The passages of an assistant's knowledge for each question, and last for the message as a whole; best first.

        One look for all.
        """
        if not any(want.weights for want in asked.questions):
            return []
        return await self._look(lambda connection: _search(connection, base, asked, self._candidates))

    async def _look(self, work: Work[T]) -> T:
        try:
            return await self._database.read(work)
        except (SQLAlchemyError, OSError) as fault:
            raise unavailable(fault) from fault


class _Rarity(NamedTuple):
    """How much each term tells, in one base."""

    known: Mapping[str, float]
    unknown: float
    looked: frozenset[str]
    """Terms that were looked up. How rare others are is not known."""

    def of(self, term: str) -> float:
        return self.known.get(term, self.unknown)


def _search(connection: sa.Connection, base: str, asked: Asked, most: int) -> list[list[Found]]:
    wants = [*asked.questions, asked.beside]  # what is asked first: there may be more than is looked up
    rarity, everywhere = _counted(connection, base, wants)
    weights = [{t: weight * rarity.of(t) for t, weight in want.weights.items() if t in everywhere} for want in wants]
    *questions, beside = weights
    if not any(questions):
        return []
    # What the whole message says counts a little for each question: it may tell which product is meant.
    every = {term: _BESIDE * weight for its in weights for term, weight in its.items()}
    first = dict(sorted(reduce(or_, questions, every).items(), key=lambda item: (-item[1], item[0]))[:_TERMS])
    rows = _candidates(connection, base, _query(questions, beside, everywhere, most), first, most)
    counts = [Counter(row.terms.split()) for row in rows]
    candidates = [(row, terms, _score(terms, every)) for row, terms in zip(rows, counts, strict=True)]
    ranked = zip((*asked.questions, joined(wants)), (*questions, reduce(or_, weights)), strict=True)
    return [_ranked(candidates, want, its, rarity) for want, its in ranked]


def _counted(connection: sa.Connection, base: str, wants: Sequence[Wanted]) -> tuple[_Rarity, Mapping[str, int]]:
    """How rare terms are in a base; and in how many passages of all bases those are that it has."""
    looked = list(dict.fromkeys(term for want in wants for term in _looked(want)))[:_LOOKED]
    counted = connection.execute(_COUNTED, {"base": base, "terms": padded(["", *looked])}).all()
    ours = {row.term: row.ours for row in counted}
    total = ours.get("", 0)  # every passage counts for the empty term
    known = {term: _idf(total, number) for term, number in ours.items()}
    everywhere = {row.term: row.everywhere for row in counted if row.term and row.ours}
    return _Rarity(known, _idf(total, 0), frozenset(looked)), everywhere


def _ranked(
    candidates: Sequence[tuple[Any, Counter[str], float]], want: Wanted, weights: Mapping[str, float], rarity: _Rarity
) -> list[Found]:
    """The best for one question. Beside each candidate stand its terms, and what the whole message adds."""
    units = [unit for unit in want.units if not unit.rarity or unit.rarity in rarity.looked]
    found = [
        Found(row.path, row.title, row.line, row.text, score + more, _coverage(units, terms, rarity))
        for row, terms, more in candidates
        if (score := _score(terms, weights))
    ]
    return sorted(found, key=lambda one: (-one.score, one.path, one.line))[:BEST]


def _looked(want: Wanted) -> Iterator[str]:
    yield from want.weights
    yield from (unit.rarity for unit in want.units if unit.rarity)


def _idf(total: int, number: int) -> float:
    return math.log(1.0 + (max(total, number, _FEW) - number + 0.5) / (number + 0.5))


def _query(
    questions: Sequence[Mapping[str, float]], beside: Mapping[str, float], everywhere: Mapping[str, int], most: int
) -> list[list[str]]:
    """What to look for candidates by: any of these lists, each with all its terms. Every question has its share."""
    chosen: list[list[str]] = []
    asking = [its for its in questions if its]
    for its in asking:
        order = _rarest(its, everywhere)
        rare = _within(order, everywhere, most // len(asking))[: _TERMS // len(asking)]
        chosen += [[term] for term in rare] or [order[:2]]
    left = most - sum(min(everywhere[term] for term in together) for together in chosen)
    chosen += [[term] for term in _within(_rarest(beside, everywhere), everywhere, left)[: _TERMS // 4]]
    return list(map(list, dict.fromkeys(map(tuple, chosen))))


def _rarest(its: Iterable[str], everywhere: Mapping[str, int]) -> list[str]:
    return sorted(its, key=lambda term: (everywhere[term], term))


def _within(order: Sequence[str], everywhere: Mapping[str, int], room: int) -> list[str]:
    """As many as are in so many passages together."""
    chosen = []
    for term in order:
        room -= everywhere[term]
        if room < 0:
            break
        chosen.append(term)
    return chosen


def _score(counts: Counter[str], weights: Mapping[str, float]) -> float:
    longer = 1.0 - _LENGTH + _LENGTH * counts.total() / _USUAL
    return sum(
        weight * counts[term] * (_SATURATION + 1.0) / (counts[term] + _SATURATION * longer)
        for term, weight in weights.items()
        if term in counts
    )


def _coverage(units: Sequence[Unit], counts: Mapping[str, int], rarity: _Rarity) -> float:
    covered = asked = 0.0
    for unit in units:
        worth = unit.share * (rarity.of(unit.rarity) if unit.rarity else rarity.unknown)
        asked += worth
        if any(term in counts for term in unit.by):
            covered += worth
        elif unit.hint in counts:
            covered += _HINTED * worth
    return covered / asked if asked else 0.0


# ── statements ───────────────────────────────────────────────────────────────────────────────────────────────────

_ours = sa.func.sum(sa.case((terms.c.base == sa.bindparam("base", type_=sa.Text), terms.c.passages), else_=0))
_COUNTED = (
    sa.select(terms.c.term, _ours.label("ours"), sa.func.sum(terms.c.passages).label("everywhere"))
    .where(terms.c.term.in_(sa.bindparam("terms", type_=sa.Text, expanding=True)))
    .group_by(terms.c.term)
)
"""In how many passages each of the `terms` is: of a `base`, and of all."""


def _candidates(
    connection: sa.Connection, base: str, query: Sequence[Sequence[str]], weights: Mapping[str, float], most: int
) -> Sequence[Any]:
    given: dict[str, Any] = {"base": base, "most": most, "ranked": _RANKED}
    if connection.dialect.name == "postgresql":
        given["query"] = " | ".join(" & ".join(f"'{term}'" for term in together) for together in query)
        given |= {"terms": [f"'{term}'" for term in weights], "weights": list(weights.values())}
    else:
        given["query"] = " OR ".join(
            "({})".format(" AND ".join(f'"{term}"' for term in together)) for together in query
        )
    return connection.execute(_fitting(connection.dialect.name), given).all()


@cache
def _fitting(dialect: str) -> sa.Select[Any]:
    """The `ranked` passages of a `base` that fit a `query` best at first sight, of the `most` that are looked at."""
    return _fitting_postgresql() if dialect == "postgresql" else _fitting_sqlite()


def _fitting_sqlite() -> sa.Select[Any]:
    found = sa.table("passages_found", sa.column("rowid", sa.Integer))
    fits: sa.ColumnElement[bool] = sa.literal_column("passages_found").op("MATCH")(sa.bindparam("query"))
    rank: sa.ColumnElement[float] = sa.literal_column("bm25(passages_found)", sa.Double)
    some = sa.select(found.c.rowid, rank.label("rank")).where(fits).limit(sa.bindparam("most")).subquery("fitting")
    return (
        sa.select(sources.c.path, passages.c.title, passages.c.line, passages.c.text, passages.c.terms)
        .select_from(
            some.join(passages, passages.c.id == some.c.rowid).join(sources, sources.c.id == passages.c.source)
        )
        .where(sources.c.base == sa.bindparam("base"), sources.c.current)
        .order_by(some.c.rank)
        .limit(sa.bindparam("ranked"))
    )


def _fitting_postgresql() -> sa.Select[Any]:
    found: sa.ColumnElement[Any] = sa.literal_column("passages.found", postgresql.TSVECTOR)
    fits = found.op("@@", is_comparison=True)(sa.cast(sa.bindparam("query", type_=sa.Text), postgresql.TSQUERY))
    columns = (passages.c[name] for name in ("id", "source", "title", "line", "text", "terms"))
    # Apart from the limit, which would have the planner read the table and not its index.
    fitting = sa.select(*columns, found.label("found")).where(fits).cte("fitting").prefix_with("MATERIALIZED")
    some = sa.select(fitting).limit(sa.bindparam("most")).subquery("some")
    # By which terms there are, each by its weight: PostgreSQL's own ranking knows nothing of how rare they are.
    lists = (
        sa.bindparam("terms", type_=postgresql.ARRAY(sa.Text)),
        sa.bindparam("weights", type_=postgresql.ARRAY(sa.Double)),
    )
    given = sa.func.unnest(*lists).table_valued(
        sa.column("term", sa.Text), sa.column("weight", sa.Double), name="given"
    )
    given = given.render_derived()
    has = some.c.found.op("@@", is_comparison=True)(sa.cast(given.c.term, postgresql.TSQUERY))
    rank = sa.select(sa.func.sum(given.c.weight)).where(has).select_from(given).correlate(some).scalar_subquery()
    return (
        sa.select(sources.c.path, some.c.title, some.c.line, some.c.text, some.c.terms)
        .select_from(some.join(sources, sources.c.id == some.c.source))
        .where(sources.c.base == sa.bindparam("base"), sources.c.current)
        .order_by(rank.desc(), some.c.id)
        .limit(sa.bindparam("ranked"))
    )
