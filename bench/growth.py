"""What a turn costs, without HTTP, in a ledger that is large and in a conversation that is long. It must stay flat."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import sqlalchemy as sa
import uvloop

from bench.bare import burst, steady, team
from bench.fleet import Server, Times, connected, load, server, settled
from bench.hands import ANSWER, CHANNEL, asks, hands
from chatferry.ledger.database import migrate
from chatferry.ledger.postgres import Postgres
from chatferry.ledger.rows import dump

LEDGERS = (1_000, 100_000, 3_000_000)
TALK = 20
"""Messages of a conversation, where the ledger is what grows."""
TALKS = (10, 10_000)
AMONG = 200_000
"""Messages of the ledger, where conversations are what grows."""
OTHERS = 10_000
"""Turns that other processes have in the making meanwhile: more than the planner's statistics tell of."""
TURNS, USERS = 2000, 500
FEW = 20
"""People with long conversations."""
RATE, SECONDS = 50, 6

_FILL = (
    # Nothing here is a reference that could be wrong, and to check 4.5 million of them takes a minute.
    "SET session_replication_role = replica",
    "SET synchronous_commit = off",
    "CREATE FUNCTION talk(number bigint) RETURNS text LANGUAGE sql IMMUTABLE AS"
    " $$ SELECT '{channel}:U' || lpad(to_hex(number), 32, '0') $$",
    """INSERT INTO turns (id, channel, event, conversation, kind, state, due_at, inbound, ref, lease, leased_until,
        attempts, accepted_at, started_at, answered_at, finished_at, answer, finish, model, prompt_tokens,
        completion_tokens, error)
        SELECT n, '{channel}', 'old-' || n, talk(n % {talks}), 'message', 'done', n, '{inbound}', n, 1, n,
        1, n, n, n, n, '{answer}', '', 'bench', 20, 20, '' FROM generate_series(1, {turns}) AS n""",
    """INSERT INTO outbox (turn, conversation, message, notice, attempt, sent_at, receipt)
        SELECT n, talk(n % {talks}), '{answer}', false, null, n, 'r' || n FROM generate_series(1, {turns}) AS n""",
    """INSERT INTO messages (conversation, turn, role, body, said_at)
        SELECT talk(n % {talks}), n, role, body, n FROM generate_series(1, {turns}) AS n,
        (VALUES ('user', '{question}'), ('assistant', '{answer}')) AS said (role, body)""",
    "SELECT setval('turns_id_seq', {turns})",
    "VACUUM ANALYZE",
    "CHECKPOINT",
    """INSERT INTO turns (channel, event, conversation, kind, state, due_at, inbound, ref, lease, leased_until,
        attempts, accepted_at, finish, model, prompt_tokens, completion_tokens, error)
        SELECT '{channel}', 'other-' || n, 'other:' || n, 'message', 'doing', n, '{inbound}', 'other-' || n, 1, 1e12,
        1, n, '', '', 0, 0, '' FROM generate_series(1, {others}) AS n""",
)


class Cost(NamedTuple):
    """Of one turn: CPU of the worker and of PostgreSQL, and how long it takes where there is little to do."""

    worker: float
    database: float
    took: float

    def __str__(self) -> str:
        return f"worker {self.worker:.2f}, PostgreSQL {self.database:.2f} ms of CPU a turn; {self.took:.1f} ms long"


async def _fill(one: Server, messages: int, talk: int, others: int) -> None:
    database = Postgres(sa.make_url(one.url))
    await migrate(database)
    await database.aclose()
    event = asks(0, 0)
    values: dict[str, Any] = {
        "channel": CHANNEL,
        "turns": messages // 2,
        "talks": messages // talk,
        "inbound": dump(event),
        "question": dump(event.said) if event.said else "",
        "answer": dump(ANSWER),
        "others": others,
    }
    async with connected(one.url) as connection:
        for statement in _FILL:
            await connection.execute(statement.format(**values))


async def _cost(one: Server, before: int, users: int, turns: int) -> Cost:
    numbers = count(1)
    with team(one.url, 1) as workers:
        async with hands(one.url, works=False) as producer, connected(one.url) as connection:
            await burst(producer, turns // 4, numbers, users)
            await settled(connection, before + turns // 4, since=before)
            cpu, database = workers.cpu(), one.cpu()
            await burst(producer, turns, numbers, users)
            await settled(connection, before + turns // 4 + turns, since=before)
            each, theirs = (workers.cpu() - cpu) / turns, (one.cpu() - database) / turns
            last = await connection.fetchval("SELECT max(id) FROM turns")
            await steady(producer, RATE, SECONDS, numbers, users)
            await settled(connection, last + RATE * SECONDS, since=before)
            rows = await connection.fetch("SELECT accepted_at, finished_at FROM turns WHERE id > $1", last)
        workers.end()
    return Cost(1000 * each, 1000 * theirs, statistics.median(Times(rows).wholes()))


def _measure(messages: int, talk: int, users: int, turns: int, *, others: int = 0) -> str:
    with server() as one:
        begin = time.monotonic()
        uvloop.run(_fill(one, messages, talk, others))
        filled, quiet = time.monotonic() - begin, load()
        cost = uvloop.run(_cost(one, messages // 2 + others, min(users, messages // talk), turns))
    meanwhile = f", {others} turns in the making elsewhere" if others else ""
    return f"{messages} messages, {talk} of each conversation{meanwhile}: {cost} (filled in {filled:.0f} s; {quiet})"


def main(*, whole: bool = True) -> Iterator[str]:
    """whole: the largest ledger, too, which takes minutes to fill."""
    for messages in LEDGERS if whole else LEDGERS[:-1]:
        yield _measure(messages, TALK, USERS, TURNS)
    yield _measure(LEDGERS[1], TALK, USERS, TURNS, others=OTHERS)
    for talk in TALKS:
        yield _measure(AMONG, talk, FEW, TURNS // 4)
