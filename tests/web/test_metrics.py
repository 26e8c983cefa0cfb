"""What the machines that watch for operators read, of gateways that really run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import sqlalchemy as sa
from openai import APIStatusError
from prometheus_client.parser import text_string_to_metric_families

from chatferry.clock import SystemClock
from chatferry.gateway import Gateway
from chatferry.ledger.database import Database, migrate, open_database
from chatferry.ledger.ledger import Ledger
from chatferry.model import Inbound, says
from chatferry.simulator.model import Break, Refuse
from chatferry.testing import ManualClock
from tests.scenarios.asking import ask, client, ending, text
from tests.scenarios.support import ended, until, world
from tests.stack import Stack, running

Counted = dict[tuple[str, ...], float]
WHO = ("default", "api", "default")
"""Assistant, channel and model of what the tests ask."""
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running(tmp_path) as stack:
        yield stack


async def test_with_a_token_only_those_who_bring_it_read(tmp_path: Path) -> None:
    token = "watchers-alone-0123456789"
    async with running(tmp_path, server={"metrics_token": token}) as stack, aiohttp.ClientSession() as http:
        for given, status in ((token, 200), (token[:-1], 401), ("é", 401), ("", 401)):
            headers = {"Authorization": f"Bearer {given}"} if given else {}
            async with http.get(f"{stack.url}/metrics", headers=headers) as answer:
                assert answer.status == status
                assert ("chatferry_running" in await answer.text()) is (status == 200)
        async with http.get(f"{stack.url}/healthz") as answer:
            assert answer.status == 200


async def counted(url: str) -> Counted:
    """Every sample, by its name and its labels, which come in the order of their names."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
        assert answer.status == 200
        return samples(await answer.text())


def samples(shown: str) -> Counted:
    families = text_string_to_metric_families(shown)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


async def becoming(url: str, *wanted: tuple[tuple[str, ...], float]) -> Counted:
    """All that is counted, once these are so."""
    async with asyncio.timeout(60):
        while True:
            found = await counted(url)
            if all(found.get(key) == value for key, value in wanted):
                return found


# ── models ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_call_to_a_model_is_counted_with_what_came_of_it(stack: Stack) -> None:
    stack.model.plans.extend([Refuse(500), Break("cut", after=1), ending("content_filter", "I should not")])
    async with client(stack) as api:
        answers = [await ask(api, "one"), await ask(api, "two")]
        stack.model.plans.append(Refuse(401))
        with pytest.raises(APIStatusError):
            await ask(api, "three")
    found = await counted(stack.url)
    calls = {key[-1]: value for key, value in found.items() if key[0] == "chatferry_model_calls_total"}
    assert calls == {"busy": 1, "unreached": 1, "filter": 1, "ok": 1, "refused": 1}
    assert found["chatferry_model_seconds_count", "default"] == 2, "of whole answers only"
    assert found["chatferry_first_token_seconds_count", "default"] == 3
    assert found["chatferry_turn_seconds_count", *WHO] == found["chatferry_answer_seconds_count", *WHO] == 3
    assert found["chatferry_first_words_seconds_count", *WHO] == 2, "where there were any"
    told = [answer.usage for answer in answers if answer.usage is not None]
    prompts, completions = sum(one.prompt_tokens for one in told), sum(one.completion_tokens for one in told)
    assert found["chatferry_tokens_total", *WHO[:2], "prompt", "default"] == prompts
    assert found["chatferry_tokens_total", *WHO[:2], "completion", "default"] == completions
    assert found["chatferry_turns_total", *WHO, "failed"] == 1


async def test_a_model_that_is_stopped_is_no_fault(stack: Stack) -> None:
    stack.model.plans.append(Break("hang", after=1))
    async with client(stack) as api:
        asking = asyncio.create_task(ask(api, "hello"))
        await stack.model.hanging.wait()
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        [entry] = await stack.gateway.ledger.entries()
        stack.gateway.worker.stop(entry.id)
        await becoming(stack.url, (("chatferry_model_calls_total", "default", "stopped"), 1.0))


# ── the queue ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_queue_is_told_by_how_much_waits_and_for_how_long(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang", after=0))
        for words in ("one", "two", "three"):
            await it.line.say("ann", words)
        await it.model.hanging.wait()
        it.clock.advance(7.0)
        found = await looked(gateway)
        assert found["chatferry_queue_depth", "waiting"] == 2
        assert found["chatferry_queue_depth", "later"] == 0
        assert found["chatferry_oldest_waiting_seconds",] == pytest.approx(7.0, abs=1.0)
        assert found["chatferry_running",] == found["chatferry_running_everywhere",] == 1
        it.model.release.set()
        await ended(gateway, 3, it.clock)
        found = await looked(gateway)
        assert found["chatferry_start_seconds_count", "line"] == 3
        assert found["chatferry_start_seconds_sum", "line"] >= 14.0, "two of them waited"
        assert found["chatferry_queue_depth", "waiting"] == found["chatferry_oldest_waiting_seconds",] == 0


async def looked(gateway: Gateway) -> Counted:
    return samples(gateway.metrics.shown(await gateway.ledger.census()).decode())


async def test_what_is_put_off_is_told_apart_and_what_is_big_is_estimated(
    ledger: Ledger, clock: ManualClock, database: Database, database_url: str
) -> None:
    empty = await ledger.census()
    assert (empty.waiting, empty.later, empty.oldest, empty.running) == (0, 0, 0.0, 0)
    await ledger.accept("api", [Inbound(f"e{n}", f"room {n % 3}", message=says("user", "hi")) for n in range(5)])
    assert await ledger.claim("api:room 0") is not None
    later = await ledger.claim("api:room 1")
    assert later is not None
    await ledger.retry(later, 3600.0, "busy")
    clock.advance(40.0)
    census = await ledger.census()
    assert (census.waiting, census.later, census.oldest, census.running) == (3, 1, 40.0, 1)
    assert census.bytes > 10_000
    if database_url.startswith("postgresql"):  # which goes by its last look
        await database.write(lambda connection: connection.execute(sa.text("ANALYZE")))
        census = await ledger.census()
    assert census.rows == {"turns": 5, "outbox": 0, "messages": 0, "sessions": 0}


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_turn_that_was_cut_off_is_counted_as_taken_over(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/chatferry.db")
    await migrate(database)
    async with Ledger(database, SystemClock()).open() as ledger:
        await ledger.accept("api", [Inbound(f"e{n}", f"room {n}", message=says("user", "hi")) for n in range(3)])
        for _ in range(2):  # the second time it was given back
            turn = await ledger.claim("api:room 1")
            assert turn is not None
            assert not turn.taken_over
            await ledger.release(turn)
        assert await ledger.claim("api:room 0") is not None
        await ledger.accept("former", [Inbound("e", "room", message=says("user", "hi"))])
    await database.aclose()
    async with running(tmp_path) as stack:
        turns = "chatferry_turns_total"
        found = await becoming(stack.url, ((turns, *WHO, "done"), 3.0), ((turns, "", "former", "", "failed"), 1.0))
    assert found["chatferry_takeovers_total",] == 1
    assert found["chatferry_start_seconds_count", "api"] == 1, "the others had started before"
    assert found["chatferry_leases_lost_total",] == 0


async def test_a_lease_that_another_process_has_now_is_counted_as_lost(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        it.model.plans.append(Break("hang", after=0))
        await it.line.say("ann", "hello")
        await it.model.hanging.wait()
        [entry] = await gateway.ledger.entries()
        await gateway.ledger.adopt()
        it.clock.advance(0.01)
        stolen = await gateway.ledger.claim(entry.conversation)
        assert stolen is not None
        assert stolen.taken_over
        lost = ("chatferry_leases_lost_total",)
        await until(lambda: samples(gateway.metrics.shown(None).decode())[lost] == 1, it.clock, turn=1.0)


async def test_while_the_database_is_away_a_process_tells_what_it_knows_itself(tmp_path: Path, postgres: str) -> None:
    async with running(tmp_path, server={"database": postgres}) as stack, client(stack) as api:
        assert text(await ask(api, "hello")) == "echo: hello"
        found = await counted(stack.url)
        assert found["chatferry_database_up",] == 1
        assert found["chatferry_database_bytes",] > 10_000
        async with _shut(postgres):
            found = await counted(stack.url)
            assert found["chatferry_database_up",] == 0
            assert found["chatferry_turns_total", *WHO, "done"] == 1
            assert found["chatferry_running",] == 0
            assert ("chatferry_queue_depth", "waiting") not in found, "rather nothing than what was so a while ago"
        found = await counted(stack.url)
        assert (found["chatferry_database_up",], found["chatferry_queue_depth", "waiting"]) == (1, 0)


@contextlib.asynccontextmanager
async def _shut(database: str) -> AsyncIterator[None]:
    """Nobody gets into this database, and whoever is in is thrown out."""
    import asyncpg

    server, _, name = database.rpartition("/")
    admin = await asyncpg.connect(f"{server}/postgres")
    try:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()


# ── the past ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_gateway_removes_what_is_older_than_it_is_to_keep_and_counts_it(tmp_path: Path) -> None:
    day = 86_400.0
    async with world(tmp_path, server={"keep": day}) as it, it.gateway() as gateway:
        await it.line.say("ann", "old")
        await ended(gateway, 1, it.clock)
        it.clock.advance(day)
        await it.line.say("ann", "young")
        removed = ("chatferry_removed_total", "messages")
        await until(lambda: removed in samples(gateway.metrics.shown(None).decode()), it.clock, turn=30.0)
        found = samples(gateway.metrics.shown(None).decode())
        tables = ("turns", "outbox", "messages")
        assert [found["chatferry_removed_total", table] for table in tables] == [1, 1, 2]
        [entry] = await ended(gateway, 1, it.clock)
        assert entry.answer == says("assistant", "echo: young")


async def test_without_being_told_it_removes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        await it.line.say("ann", "old")
        await ended(gateway, 1, it.clock)
        assert "retention" not in {task.get_name() for task in asyncio.all_tasks()}


# ── the page about them ──────────────────────────────────────────────────────────────────────────────────────────


async def test_the_page_about_metrics_tells_of_all_of_them_and_of_no_other(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        shown = stack.gateway.metrics.shown(await stack.gateway.ledger.census()).decode()
    families = [family.name for family in text_string_to_metric_families(shown)]
    there = {name for name in families if not name.endswith("_created")}
    table = {line.split("`")[1].partition("{")[0] for line in DOCS.read_text("utf-8").splitlines() if _is_row(line)}
    assert {name.removesuffix("_total") for name in table} == there


def _is_row(line: str) -> bool:
    return line.startswith("| `chatferry_")


async def test_the_dashboard_asks_for_nothing_that_is_not_there(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        shown = stack.gateway.metrics.shown(await stack.gateway.ledger.census()).decode()
    there = {family.name for family in text_string_to_metric_families(shown)}
    labels = {name: set(told.split(",")) for name, told in _TABLE.findall(DOCS.read_text("utf-8"))}
    panels = json.loads((DOCS.parent / "grafana.json").read_text("utf-8"))["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(asked) > 10
    for expr in asked:
        for name, given in re.findall(r"(chatferry_\w+)(?:{([^}]*)})?", expr):
            assert re.sub("_(total|bucket)$", "", name) in there, expr
            known = labels.get(name, labels.get(name.removesuffix("_bucket"), set())) | {"le"}
            grouped = {one.strip() for by in re.findall(r"by \(([^)]*)\)", expr) for one in by.split(",")}
            used = grouped | {one.partition("!")[0].partition("=")[0] for one in given.split(",") if one}
            assert used <= known, expr


_TABLE = re.compile(r"^\| `(chatferry_\w+){([^}]*)}`", re.MULTILINE)
"""Each metric on the page, with its labels."""


async def test_the_page_tells_the_labels_that_are_there(tmp_path: Path) -> None:
    async with running(tmp_path) as stack, client(stack) as api:
        await ask(api, "hello")
        async with aiohttp.ClientSession() as http, http.get(f"{stack.url}/metrics") as answer:
            shown = await answer.text()
    told = {name: set(labels.split(",")) for name, labels in _TABLE.findall(DOCS.read_text("utf-8"))}
    for family in text_string_to_metric_families(shown):
        for one in family.samples:
            name = re.sub("_(bucket|count|sum)$", "", one.name)
            if not name.endswith("_created"):
                assert set(one.labels) - {"le"} == told.get(name, set()), one
