"""The statements that every turn costs, built once: to build one anew takes ten times as long as to run it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from chatferry.ledger.tables import OPEN, files, messages, outbox, sessions, state_is, turns

PAGE = 50
"""Messages that one look at a talk brings."""

TURN = (turns.c.id, turns.c.lease, turns.c.channel, turns.c.inbound, turns.c.grant, turns.c.accepted_at,
        turns.c.attempts, turns.c.answer, turns.c.finish, turns.c.error, turns.c.stopped)  # fmt: skip
"""What `rows.turn_of` reads."""

_TAKEN = 0.001
"""Seconds that the lease of a turn is longer if it was taken over."""


def _given(name: str, type_: sa.types.TypeEngine[Any], *, several: bool = False) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=type_, expanding=several)


_TALK = _given("talk", sa.Text())
_NOW, _UNTIL, _EXPIRED = (_given(name, sa.Double()) for name in ("now", "until", "expired"))
_IDS = _given("ids", sa.BigInteger(), several=True)
_LANES = _given("lanes", sa.Text(), several=True)

# ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────

# The one that is running comes first, even where an older turn was made due again behind it.
_running = sa.func.min(sa.case((state_is("doing"), turns.c.id)))
_oldest = (
    sa.select(sa.func.coalesce(_running, sa.func.min(turns.c.id)))
    # Without the third SQLite takes another index, and reads all turns that the conversation ever had.
    .where(turns.c.conversation.in_(_LANES), OPEN, turns.c.id > sa.literal_column("0"))
    .group_by(turns.c.conversation)
)
# A CASE where ids or conversations are given beside the state: PostgreSQL believes that hardly any turn is open, and
# would else read all that are, by the index of these.
_ready = sa.case(
    (state_is("due"), turns.c.due_at <= _NOW), (state_is("doing"), turns.c.leased_until < _EXPIRED), else_=sa.false()
)
_doing = sa.case((state_is("doing"), sa.true()), else_=sa.false())
# What another process is just writing about is left to it: to wait for it, holding rows of ours, may deadlock.
_claimed = (
    sa.select(turns.c.id)
    .where(turns.c.id.in_(_oldest.scalar_subquery()), _ready)
    .order_by(turns.c.id)
    .with_for_update(skip_locked=True)
)
CLAIM = (
    sa.update(turns)
    .where(turns.c.id.in_(_claimed.scalar_subquery()))
    .values(
        state="doing",
        lease=turns.c.lease + 1,
        # Nobody but a RETURNING, which sees new values only, minds the difference.
        leased_until=sa.case((state_is("doing"), _UNTIL + _TAKEN), else_=_UNTIL),
        attempts=turns.c.attempts + 1,
        started_at=sa.func.coalesce(turns.c.started_at, _NOW),
    )
    .returning(*TURN, (turns.c.leased_until > _UNTIL).label("taken_over"))
)
"""The oldest open turn of each of the `lanes`, where it is due, or was held by somebody whose lease has `expired`."""

LOCK = sa.select(turns.c.id).where(turns.c.id.in_(_IDS)).order_by(turns.c.id).with_for_update()

HELD = (
    sa.select(turns.c.id, turns.c.lease, turns.c.stopped)
    .where(turns.c.id.in_(_IDS), _doing)
    .order_by(turns.c.id)
    .with_for_update()
)
"""Those of these turns that are running, locked in the order of their ids."""

RENEW = sa.update(turns).where(turns.c.id.in_(_IDS)).values(leased_until=_UNTIL)

RUNNING = sa.select(turns.c.id).where(turns.c.conversation.in_(_LANES), OPEN, _doing)


@cache
def changing(columns: tuple[str, ...]) -> sa.Update:
    """These columns of the turn `_id`; what is spent is added to what was."""
    values: dict[str, Any] = {name: sa.bindparam(name) for name in columns}
    values |= {name: turns.c[name] + values[name] for name in _SUMS if name in values}
    return sa.update(turns).where(turns.c.id == sa.bindparam("_id")).values(values)


_SUMS = ("prompt_tokens", "completion_tokens", "cost")


@cache
def accepting(dialect: str) -> Any:
    """A row for each event that has none."""
    kept = inserting(dialect, turns).on_conflict_do_nothing()
    return kept.returning(turns.c.id, turns.c.channel, turns.c.event)


@cache
def recorded(dialect: str) -> tuple[sa.Select[Any], Sequence[str]]:
    """The turns of events that were accepted before; and under which names the events are given."""
    query = sa.select(turns.c.channel, turns.c.event, turns.c.id)
    if dialect != "postgresql":
        # Not by `IN`: SQLite reads the whole index for two pairs or more.
        pair = sa.func.json_each(sa.bindparam("events", type_=sa.JSON)).table_valued("value", name="given").c.value
        its = turns.c.channel == sa.func.json_extract(pair, "$[0]"), turns.c.event == sa.func.json_extract(pair, "$[1]")
        return query.where(*its), ("events",)
    # One by one: for a list PostgreSQL reads the whole table, as long as it has no statistics that tell it better.
    columns = (sa.bindparam(name, type_=postgresql.ARRAY(sa.Text)) for name in ("channels", "events"))
    given = sa.func.unnest(*columns).table_valued("channel", "event", name="given").render_derived()
    mine = turns.c.channel == given.c.channel, turns.c.event == given.c.event
    one = query.where(*mine).limit(1).lateral("one")
    found = sa.select(one.c.channel, one.c.event, one.c.id).select_from(given.join(one, sa.true()))
    return found, ("channels", "events")


# ── the outbox ───────────────────────────────────────────────────────────────────────────────────────────────────

_piece = outbox.c.id == sa.bindparam("_id")
SAY = sa.insert(outbox)
REWRITE = sa.update(outbox).where(_piece).values(message=sa.bindparam("_message"))
BEGUN = sa.update(outbox).where(_piece).values(receipt=sa.bindparam("_receipt"), attempt=None)
# One that went out in the response to a request is out.
ATTEMPT = sa.update(outbox).where(_piece, outbox.c.sent_at.is_(None)).values(attempt=sa.bindparam("_attempt"))
SENT = sa.update(outbox).where(_piece).values(sent_at=sa.bindparam("_at"), receipt=sa.bindparam("_receipt"))
PENDING = (
    sa.select(outbox.c.id, outbox.c.turn, outbox.c.message, outbox.c.notice, outbox.c.attempt, outbox.c.receipt)
    .join(turns, turns.c.id == outbox.c.turn)
    .where(outbox.c.conversation == _TALK, outbox.c.sent_at.is_(None))
    .where(state_is("doing", "parked"))
    .order_by(outbox.c.id)
)

KEEP = sa.insert(files)
PICTURES = sa.select(files.c.id, files.c.media_type, files.c.data).where(files.c.id.in_(_IDS))
PICTURE = (
    sa.select(files.c.media_type, files.c.data)
    .join(turns, turns.c.id == files.c.turn)
    .where(files.c.id == _given("id", sa.BigInteger()), turns.c.conversation == _TALK)
)
"""One that was sent in this talk."""

# ── the talk ─────────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def remembering(dialect: str) -> Any:
    """What was said, once."""
    return inserting(dialect, messages).on_conflict_do_nothing()


def began(talk: Any, turn: Any) -> sa.ScalarSelect[int]:
    """The first turn of the session that a turn belongs to."""
    mine = sessions.c.conversation == talk, sessions.c.turn <= turn
    return sa.select(sa.func.coalesce(sa.func.max(sessions.c.turn), 0)).where(*mine).scalar_subquery()


@cache
def history(*, paged: bool) -> sa.Select[Any]:
    """A page of the session of a `turn` in a `talk`, newest first; and only what is `before` a place."""
    turn = _given("turn", sa.BigInteger())
    later = sessions.c.conversation == _TALK, sessions.c.turn > turn
    after = sa.select(sa.func.min(sessions.c.turn)).where(*later).scalar_subquery()
    query = sa.select(messages.c.turn, messages.c.id, messages.c.role, messages.c.body).where(
        messages.c.conversation == _TALK,
        messages.c.turn >= began(_TALK, turn),
        messages.c.turn < sa.func.coalesce(after, sys.maxsize),
    )
    if paged:
        place = sa.tuple_(_given("turn_before", sa.BigInteger()), _given("id_before", sa.BigInteger()))
        query = query.where(sa.tuple_(messages.c.turn, messages.c.id) < place)
    return query.order_by(messages.c.turn.desc(), messages.c.id.desc()).limit(PAGE)


def inserting(dialect: str, table: sa.Table) -> Any:
    """An INSERT that knows ON CONFLICT in this database's dialect."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def owned(column: sa.Column[str], channel: str, person: str, dialect: str) -> sa.ColumnElement[bool]:
    """What is kept for somebody on a channel, whatever the assistant: the key is a list in JSON, read by its beginning.

    By the index, in the order of bytes, whatever order the database has for people.
    """
    text = f"{msgspec.json.encode((channel, person)).decode()[:-1]},"
    least, less = ("~>=~", "~<~") if dialect == "postgresql" else (">=", "<")
    return sa.and_(column.op(least)(text), column.op(less)(text[:-1] + chr(ord(text[-1]) + 1)))
