"""What goes wrong, and when: worked out beforehand, from a seed, so that it can be gone through again."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

WEBS = ("web1", "web2")
WORKERS = ("worker1", "worker2", "worker3")
PROCESSES = (*WEBS, *WORKERS)
MODELS = ("line", "slack", "wechat", "api")
"""Each channel has a model of its own."""
PLATFORMS = ("line", "slack")
"""Those that are called; WeChat and the API only ask."""

Kind = Literal["kill", "stop", "freeze", "cut", "hole", "skew", "postgres", "model", "platform", "again"]

QUIET = 4.0
"""Seconds without a fault at the beginning."""
BIRTH = 5.0
"""Seconds that a process takes to start, with some to spare."""
MINUTE = 60.0
BEFORE, AFTER = 8.0, 10.0
"""Once a minute a worker is killed and nobody else is hit for so many seconds: others then go on in time."""
LONG = 180.0
"""Seconds from which on a run sees the database away for half a minute, once, and a rolling restart."""

_WEIGHTS: Mapping[Kind, int] = {
    "kill": 24,
    "freeze": 14,
    "cut": 8,
    "hole": 8,
    "skew": 8,
    "stop": 6,
    "postgres": 8,
    "model": 10,
    "platform": 10,
    "again": 8,
}
_FAULTS = {"line": ("429", "500", "lost", "timeout"), "slack": ("429", "500", "lost", "timeout")}


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    kill      SIGKILL, and started again after so many seconds
    stop      SIGTERM, and started again when it has ended and so many seconds have passed
    skew      the same as kill, and the new process's clock is wrong by `how` seconds
    freeze    SIGSTOP, and SIGCONT after so many seconds
    cut       the process's connections to the database are dropped, and none is let through
    hole      the same, but nobody is told: nothing arrives
    postgres  the database is stopped (`how`: fast, immediate) and is away for so many seconds
    model     calls of a channel's model go wrong (`how`: some, all)
    platform  calls of a platform go wrong (`how`)
    again     what people wrote is delivered twice
    """

    at: float
    """Seconds from the beginning."""
    kind: Kind
    whom: str
    seconds: float
    how: str = ""

    def __str__(self) -> str:
        how = f" ({self.how})" if self.how else ""
        return f"{self.at:6.1f}  {self.kind:<8} {self.whom:<8} {self.seconds:4.1f} s{how}"

    @property
    def until(self) -> float:
        """When all is well again."""
        born = self.kind in ("kill", "skew", "stop", "postgres")
        return self.at + self.seconds + (BIRTH if born else 1.0)


def schedule(seed: int, seconds: float, kinds: Iterable[Kind] | None = None) -> list[Fault]:
    """The faults of a run, in order; all is well again when its time is over.

    kinds: only these. Of the webs and of the workers, one always is left alone.
    """
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not for secrets
    weights = {kind: weight for kind, weight in _WEIGHTS.items() if kinds is None or kind in set(kinds)}
    faults: list[Fault] = []
    lone = [QUIET + n * MINUTE for n in range(int((seconds - QUIET - AFTER) // MINUTE) + 1)]
    if "kill" in weights:
        faults += [Fault(at, "kill", chance.choice(WORKERS), _span(chance, 0.2, 3.0)) for at in lone]
    if seconds >= LONG and "postgres" in weights:
        faults.append(Fault(_within(seconds * 0.3), "postgres", "postgres", 30.0, "fast"))
    if seconds >= LONG and "stop" in weights:
        faults += _rolling(_within(seconds * 0.7))
    at = QUIET
    while (at := at + chance.uniform(0.4, 3.0)) < seconds:
        fault = _fault(chance, round(at, 1), weights)
        alone = all(fault.until < at - BEFORE or at + AFTER < fault.at for at in lone)
        if fault.until < seconds and (alone or fault.whom in (*MODELS, "all")) and _bearable(fault, faults):
            faults.append(fault)
    return sorted(faults, key=lambda fault: fault.at)


def _within(at: float) -> float:
    """A moment in the same minute, after who was killed alone."""
    return at // MINUTE * MINUTE + QUIET + AFTER + 2.0


def _rolling(at: float) -> list[Fault]:
    """One process after the other is told to end, and replaced."""
    return [Fault(round(at + n * (BIRTH + 1.0), 1), "stop", name, 0.0) for n, name in enumerate(PROCESSES)]


def _fault(chance: random.Random, at: float, weights: Mapping[Kind, int]) -> Fault:
    [kind] = chance.choices(list(weights), list(weights.values()))
    match kind:
        case "kill":
            return Fault(at, kind, chance.choice(PROCESSES), _span(chance, 0.2, 3.0))
        case "skew":
            wrong = chance.choice((-1, 1)) * chance.randrange(30, 300)
            return Fault(at, kind, chance.choice(WORKERS), _span(chance, 0.2, 1.0), f"{wrong:+d}")
        case "stop":
            return Fault(at, kind, chance.choice(PROCESSES), _span(chance, 0.0, 1.0))
        case "freeze":
            return Fault(at, kind, chance.choice(PROCESSES), _span(chance, 3.0, 12.0))
        case "cut" | "hole":
            return Fault(at, kind, chance.choice(PROCESSES), _span(chance, 2.0, 15.0))
        case "postgres":
            return Fault(at, kind, "postgres", _span(chance, 0.5, 8.0), chance.choice(("fast", "immediate")))
        case "model":
            whom = chance.choice(MODELS)
            # On LINE an apology is an answer, and the API is asked again; elsewhere the model's own words are owed.
            how = chance.choice(("some", "all")) if whom in ("line", "api") else "some"
            return Fault(at, kind, whom, _span(chance, 2.0, 6.0), how)
        case "platform":
            whom = chance.choice(PLATFORMS)
            return Fault(at, kind, whom, _span(chance, 1.0, 4.0), chance.choice(_FAULTS[whom]))
    return Fault(at, "again", "all", _span(chance, 1.0, 4.0))


def _span(chance: random.Random, least: float, most: float) -> float:
    return round(chance.uniform(least, most), 1)


def _bearable(fault: Fault, others: Sequence[Fault]) -> bool:
    """Is nobody hit twice at once, and somebody of each role left?"""
    near = [other for other in others if other.at <= fault.until and fault.at <= other.until]
    hit = {other.whom for other in near}
    if fault.whom in hit and (fault.kind in ("again", "model", "platform", "postgres") or fault.whom in PROCESSES):
        return False
    return all(len(hit & {*role}) < len(role) - 1 for role in (WEBS, WORKERS) if fault.whom in role)
