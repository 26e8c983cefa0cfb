"""Makes happen what the schedule says, and measures how soon others go on with what a dead worker did."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from chatferry.simulator.weather import Trouble as Weather
from tests.chaos.schedule import PROCESSES, WORKERS, Fault
from tests.chaos.world import World

_GRACE = 15.0
"""Seconds that a process has to end in when it is told to; then it is killed, as orchestrators do."""
_PATIENCE = 90.0
"""Seconds for which a turn's next holder is waited for."""


@dataclass(frozen=True)
class Takeover:
    """A turn whose worker was killed, and how many seconds later another one had it."""

    fault: Fault
    turn: int
    seconds: float
    calm: bool
    """Nothing else was wrong then."""

    def __str__(self) -> str:
        return f"{self.fault} turn {self.turn} was taken over after {self.seconds:.1f} s"


@dataclass
class Troubles:
    """The faults of one run."""

    world: World
    faults: Sequence[Fault]
    counts: Counter[str] = field(default_factory=Counter)
    takeovers: list[Takeover] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)
    """When something was wrong, from and to: unix seconds."""
    stubborn: int = 0
    """How many were told to end and did not in time, as while the database is away."""
    codes: list[str] = field(default_factory=list)
    """Who did not end well when told to."""

    async def run(self) -> None:
        """From now on; returns when all is well again."""
        self._began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as self._group:
            for fault in self.faults:
                self._group.create_task(self._when(fault), name=str(fault))

    async def _when(self, fault: Fault) -> None:
        await asyncio.sleep(self._began + fault.at - asyncio.get_running_loop().time())
        self.counts[fault.kind] += 1
        began = time.time()
        await self._happens(fault)
        self.spans.append((began, time.time()))

    def moments(self) -> list[float]:
        """All the time that something was wrong, a hundred moments a second: unix seconds."""
        return sorted(begin + n / 100 for begin, end in self.spans for n in range(round((end - begin) * 100) + 1))

    async def _happens(self, fault: Fault) -> None:
        match fault.kind:
            case "kill" | "skew" | "stop":
                async with self.world.fleet.processes[fault.whom].fate:
                    await self._dies(fault)
            case "freeze":
                process = self.world.fleet.processes[fault.whom]
                process.send(signal.SIGSTOP)
                await asyncio.sleep(fault.seconds)
                process.send(signal.SIGCONT)
            case "cut" | "hole":
                way = self.world.fleet.processes[fault.whom].database
                if fault.kind == "cut":
                    way.cut()
                else:
                    way.freeze()
                await asyncio.sleep(fault.seconds)
                way.mend()
            case "postgres":
                server = self.world.fleet.server
                await asyncio.to_thread(server.stop, cast("Literal['fast', 'immediate']", fault.how))
                await asyncio.sleep(fault.seconds)
                await asyncio.to_thread(server.start)
            case "model":
                model = self.world.models[fault.whom]
                model.spell = fault.how
                await asyncio.sleep(fault.seconds)
                model.spell = ""
            case "platform":
                weather = (self.world.line.line if fault.whom == "line" else self.world.slack.slack).weather
                weather.change(api=cast("Weather", fault.how))
                await asyncio.sleep(fault.seconds)
                weather.change(api="")
            case "again":
                sims = (self.world.line.line, self.world.slack.slack, self.world.wechat.wechat)
                for sim in sims:
                    sim.weather.change(duplicate=True)
                await asyncio.sleep(fault.seconds)
                for sim in sims:
                    sim.weather.change(duplicate=False)

    async def _dies(self, fault: Fault) -> None:
        process = self.world.fleet.processes[fault.whom]
        if fault.kind == "stop":
            code = await process.end(signal.SIGTERM, patience=_GRACE)
            if code == -signal.SIGKILL:
                self.stubborn += 1
            elif code:
                self.codes.append(f"{fault}: ended with {code}")
            await asyncio.sleep(fault.seconds)
            await process.start()
            return
        await process.end(signal.SIGKILL)
        died, held = time.monotonic(), {}
        if fault.whom in WORKERS:
            doing = "SELECT id, lease, leased_until FROM turns WHERE state = 'doing'"
            held = {row["id"]: (row["lease"], row["leased_until"]) for row in await self.world.fleet.ask(doing)}
        if held:
            self._group.create_task(self._taken_over(fault, held, died))
        await asyncio.sleep(fault.seconds)
        await process.start(fault.how)

    async def _taken_over(self, fault: Fault, held: dict[int, tuple[int, float]], died: float) -> None:
        """Wait until each of these turns has another holder; those that their own still holds are of no interest."""
        others = [one for one in self.faults if one is not fault and one.whom in (*PROCESSES, "postgres")]
        calm = not any(one.at <= fault.at + 10.0 and fault.at <= one.until for one in others)
        while held and time.monotonic() < died + _PATIENCE:
            ids = ", ".join(map(str, held))
            query = f"SELECT id, lease, state, leased_until FROM turns WHERE id IN ({ids})"  # noqa: S608
            for row in await self.world.fleet.ask(query):
                turn, lease, until = row["id"], *held[row["id"]]
                if row["lease"] > lease:
                    self.takeovers.append(Takeover(fault, turn, time.monotonic() - died, calm))
                if row["lease"] > lease or row["state"] != "doing" or row["leased_until"] > until:
                    del held[turn]
            await asyncio.sleep(0.1)
        for turn in held:
            self.takeovers.append(Takeover(fault, turn, _PATIENCE, calm))
