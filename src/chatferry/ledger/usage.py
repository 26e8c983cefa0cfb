"""What was asked and what it cost, by day, channel, assistant, model and person: told by the turns themselves.

Turns that are removed leave their sums behind, without the people. All functions are synchronous.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import turns
from chatferry.ledger.tables import usage as table
from chatferry.model import APOLOGY

_SLOT = 900.0
"""Seconds: no time zone's day begins within a quarter of an hour."""


class Used(msgspec.Struct, frozen=True):
    """What some turns cost together. Money in millionths; `person` is empty for turns that are removed."""

    day: str
    channel: str
    assistant: str
    model: str
    person: str
    turns: int
    prompt_tokens: int
    completion_tokens: int
    cost: int


_ANSWERED = turns.c.answered_at.is_not(None) & turns.c.finish.not_in(
    [sa.literal_column(f"'{finish}'") for finish in (APOLOGY, "stopped")]
)
"""Not what was stopped, failed or taken back: that has cost something, and answered nothing."""
_SUMS = (
    sa.func.sum(sa.case((_ANSWERED, 1), else_=0)).label("turns"),
    sa.func.sum(turns.c.prompt_tokens).label("prompt_tokens"),
    sa.func.sum(turns.c.completion_tokens).label("completion_tokens"),
    sa.func.sum(turns.c.cost).label("cost"),
)
_NAMES = (turns.c.channel, turns.c.assistant, turns.c.model)
_COUNTED = (
    turns.c.kind == sa.literal_column("'message'"),
    turns.c.answered_at.is_not(None) | (turns.c.prompt_tokens > sa.literal_column("0")),
)
_slot = sa.cast(sa.func.floor(turns.c.accepted_at / _SLOT), sa.BigInteger).label("slot")


def used(connection: sa.Connection, since: float, until: float, zone: ZoneInfo, *, people: bool = False) -> list[Used]:
    """What was answered and spent of what was accepted from `since` until before `until`; people: told apart."""
    first, last = _id_at(connection, since - _SKEW), _id_at(connection, until + _SKEW)
    within = turns.c.id >= first, turns.c.id < last, turns.c.accepted_at >= since, turns.c.accepted_at < until
    by = (*_NAMES, *((turns.c.sender,) if people else ()))
    query = sa.select(_slot, *by, *_SUMS).where(*within, *_COUNTED).group_by(_slot, *by)
    sums: dict[tuple[str, ...], list[int]] = {}
    for row in connection.execute(query):
        person = row.sender if people else ""
        _add(sums, (_day(row.slot * _SLOT, zone), row.channel, row.assistant, row.model, person), row)
    gone = sa.select(table).where(table.c.day >= _day(since, zone), table.c.day <= _day(until - 1.0, zone))
    for row in connection.execute(gone):
        _add(sums, (row.day, row.channel, row.assistant, row.model, ""), row)
    return _told(sums)


def fold(connection: sa.Connection, among: Collection[int], zone: str) -> None:
    """Keep the sums of turns that are about to be removed."""
    query = sa.select(_slot, *_NAMES, *_SUMS).where(turns.c.id.in_(among), *_COUNTED).group_by(_slot, *_NAMES)
    sums: dict[tuple[str, ...], list[int]] = {}
    for row in connection.execute(query):
        _add(sums, (_day(row.slot * _SLOT, ZoneInfo(zone)), row.channel, row.assistant, row.model), row)
    if sums:
        upsert = inserting(connection.dialect.name, table)
        more = {name: table.c[name] + upsert.excluded[name] for name in _NUMBERS}
        there = upsert.on_conflict_do_update(index_elements=list(table.primary_key), set_=more)
        names = ("day", "channel", "assistant", "model")
        rows: list[Mapping[str, str | int]] = [
            dict(zip((*names, *_NUMBERS), (*key, *numbers), strict=True)) for key, numbers in sorted(sums.items())
        ]
        connection.execute(there, rows)


NAMES = ("day", "channel", "assistant", "model", "person")
_NUMBERS = ("turns", "prompt_tokens", "completion_tokens", "cost")


def _add(sums: dict[tuple[str, ...], list[int]], key: tuple[str, ...], row: object) -> None:
    there = sums.setdefault(key, [0] * len(_NUMBERS))
    for place, name in enumerate(_NUMBERS):
        there[place] += int(getattr(row, name) or 0)


def _told(sums: Mapping[tuple[str, ...], Sequence[int]]) -> list[Used]:
    return [
        Used(day, channel, assistant, model, person, *numbers)
        for (day, channel, assistant, model, person), numbers in sorted(sums.items())
        if any(numbers)
    ]


def _day(at: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d")


def _id_at(connection: sa.Connection, at: float) -> int:
    """The first turn that was accepted at a time or later: ids grow with it, and so each look halves the search."""
    low, high = 0, (connection.execute(sa.select(sa.func.max(turns.c.id))).scalar() or 0) + 1
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(_AFTER, {"id": middle}).first()
        if found is None or found.accepted_at >= at:
            high = middle
        else:
            low = found.id + 1
    return low


_SKEW = 120.0
"""Seconds by which clocks of processes may differ, and ids so be out of order."""
_AFTER = (
    sa.select(turns.c.id, turns.c.accepted_at).where(turns.c.id >= sa.bindparam("id")).order_by(turns.c.id).limit(1)
)


def together(found: Iterable[Used], by: Sequence[str]) -> list[Used]:
    """The same, summed up by some of the names; the others are empty then."""
    sums: dict[tuple[str, ...], list[int]] = {}
    for one in found:
        _add(sums, tuple(getattr(one, name) if name in by else "" for name in NAMES), one)
    return _told(sums)
