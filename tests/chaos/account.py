"""What the run came to: by channel what people saw, and whether the ledger says the same."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatferry.simulator.model import Asked
from tests.chaos.trouble import Takeover, Troubles
from tests.chaos.world import World
from tests.scenarios.crash import Account

_QUESTION = re.compile(r"p\d+ \d+")
_NOISE = re.compile(r"Flush failed, requeuing|CancelledError: Task cancelled, timeout graceful shutdown exceeded")
"""How PgQueuer says that its connection is gone, and uvicorn that a request was given up at the end."""
TAKEOVER = 10.0
"""Seconds within which others go on with what a dead worker did, where nothing else is wrong."""


@dataclass
class Verdict:
    """The accounts of all channels and of the ledger."""

    accounts: Mapping[str, Account]
    faults: Counter[str]
    takeovers: list[Takeover]
    asides: list[str] = field(default_factory=list)
    """What was cut off between the platform's 200 and our record, each with its story."""

    rows: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict, repr=False)

    def keep(self, folder: Path) -> None:
        """Write the ledger's tables down, a row a line."""
        for table, rows in self.rows.items():
            (folder / f"{table}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    @property
    def wrong(self) -> list[str]:
        return [f"{name}: {fault}" for name, account in self.accounts.items() for fault in account.faults]

    def __str__(self) -> str:
        lines = [f"{name}: {account}" for name, account in self.accounts.items()]
        lines.append("faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items())))
        calm = [one.seconds for one in self.takeovers if one.calm]
        every = [one.seconds for one in self.takeovers]
        if every:
            undisturbed = f", where nothing else was wrong {max(calm):.1f} s at most of {len(calm)}" if calm else ""
            lines.append(f"takeovers after a SIGKILL: {len(every)}, {max(every):.1f} s at most{undisturbed}")
        lines.append(f"cut off between the platform's 200 and our record: {len(self.asides)}")
        return "\n".join(lines)


def judged(world: World, troubles: Troubles) -> Verdict:
    """Hold everything against everything. All processes have ended, and the ledger was looked at."""
    accounts = {name: trial.account() for name, trial in world.trials.items()}
    for account in accounts.values():
        account.figures.pop("kills", None)
        account.bugs = [bug for bug in account.bugs if '"event": "bug"' not in bug]  # counted with the processes
    accounts["ledger"] = _ledger(world)
    accounts["processes"] = _processes(world, troubles)
    late = [f"{one}" for one in troubles.takeovers if one.calm and one.seconds > TAKEOVER]
    accounts["processes"].lost += late
    return Verdict(accounts, troubles.counts, troubles.takeovers, _asides(world), world.fleet.rows)


def _asides(world: World) -> list[str]:
    """What a platform carried out and we could not note, or noted late, or sent again in doubt, each with its story."""
    log, turns = world.fleet.logged(), {row["id"]: row for row in world.fleet.rows["turns"]}
    asides = [
        f"LINE carried out what we had no answer to: {piece} of {_short(turns[piece['turn']])}"
        for piece in world.fleet.rows["outbox"]
        if piece["sent_at"] and not piece["receipt"] and turns[piece["turn"]]["channel"] == "line"
    ]
    for entry in log:
        if entry.get("event") in ("sent twice, perhaps", "not known whether a message began"):
            about = [one for one in log if one.get("turn") == entry.get("turn")]
            asides.append(f"{entry}: {about}")
    return asides


def _ledger(world: World) -> Account:
    """Does the ledger say what the simulators say?"""
    turns, pieces = world.fleet.rows["turns"], world.fleet.rows["outbox"]
    states = Counter(row["state"] for row in turns)
    account = Account({"turns": len(turns), **{f"{state}": count for state, count in sorted(states.items())}})
    by_id = {row["id"]: row for row in turns}
    account.lost += [f"still open: {_short(row)}" for row in turns if row["state"] in ("due", "doing")]
    events = {row["event"] for row in turns}
    for name, said in world.line.said.items():
        account.lost += [f"taken and not kept: {name} {words!r}" for event, words in said if event not in events]
    waiting = [piece for piece in pieces if piece["sent_at"] is None]
    account.lost += [
        f"not sent, in a turn that is closed: {piece} of {_short(by_id[piece['turn']])}"
        for piece in waiting
        if by_id[piece["turn"]]["state"] == "done"
    ]
    account.figures |= {"pieces": len(pieces), "pieces that wait": len(waiting)}
    _seen(world, account, by_id)
    account.twice += list(_history(world.fleet.rows["messages"]))
    _models(world, account)
    return account


def _seen(world: World, account: Account, turns: Mapping[int, Mapping[str, Any]]) -> None:
    """Every piece that is said to be out is on a screen by its receipt, and the other way round."""
    on_line = {one.id for chat in world.line.line.chats.values() for one in chat}
    on_slack = {post.ts for room in world.slack.slack.rooms.values() for post in room.posts.values()}
    noted = defaultdict[str, set[str]](set)
    for piece in world.fleet.rows["outbox"]:
        channel = turns[piece["turn"]]["channel"]
        if piece["sent_at"] is None:
            continue
        noted[channel].add(piece["receipt"])
        shown = {"line": on_line, "slack": on_slack}.get(channel)
        if shown is not None and piece["receipt"] and piece["receipt"] not in shown:
            account.lost.append(f"nobody saw {piece}")
    account.figures["seen on LINE and not noted"] = len(on_line - noted["line"])


def _history(messages: list[dict[str, Any]]) -> Iterator[str]:
    """Within a conversation a turn's question comes before its answer, and each is there once."""
    said = Counter((row["turn"], row["role"]) for row in messages)
    yield from (f"remembered {count} times: {key}" for key, count in said.items() if count > 1)


def _models(world: World, account: Account) -> None:
    """Under one lease a model is asked once, and once more for each time that it failed."""
    often = Counter[int]()
    for name, model in world.models.items():
        asked, failed = (_questions(texts) for texts in (map(_last, model.requests), model.failed.elements()))
        often.update(asked.values())
        rows = [row for row in world.fleet.rows["turns"] if row["channel"] == name]
        turns = {found[-1]: row for row in rows if (found := _QUESTION.findall(_said(row)))}
        for words, count in asked.items():
            row = turns.get(words)
            if row is None or count > row["lease"] + failed[words]:
                told = f"the {name} model was asked {words!r} {count} times and failed {failed[words]} times"
                account.twice.append(f"{told}: {row and _short(row)}")
    account.figures |= {f"messages of which the model was asked {n} times": often[n] for n in sorted(often)}


def _questions(texts: Iterable[str]) -> Counter[str]:
    return Counter(found[-1] for text in texts if (found := _QUESTION.findall(text)))


def _last(request: Asked) -> str:
    return str(request.body["messages"][-1]["content"])


def _said(row: Mapping[str, Any]) -> str:
    """The words of a turn's message."""
    message = json.loads(row["inbound"]).get("message") or {}
    return " ".join(part.get("text", "") for part in message.get("parts", ()))


def _processes(world: World, troubles: Troubles) -> Account:
    """Did the processes end only as they were told to, and without a word that tells of a bug?"""
    told = Counter(entry.get("event", "") for entry in world.fleet.logged())
    account = Account({name: told[name] for name in _TOLD})
    account.bugs += troubles.codes
    born = 0
    for process in world.fleet.processes.values():
        for death in process.deaths:
            if "server.database: cannot be used" in death:
                born += 1
            else:
                account.bugs.append(death)
        for line in process.log.read_text(errors="replace").splitlines():
            if ("Traceback" in line and not _NOISE.search(line)) or '"event": "bug"' in line:
                account.bugs.append(f"{process.name}: {line[:2000]}")
    account.figures |= {"started without a database": born, "killed at last": troubles.stubborn}
    return account


_TOLD = ("lease lost", "turn taken over or withdrawn", "ledger unavailable", "claim failed", "leases not renewed",
         "model failed", "answered too late", "a write was refused")  # fmt: skip


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if not isinstance(value, str) else value[:120] for name, value in row.items() if value}
