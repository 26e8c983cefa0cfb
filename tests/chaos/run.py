"""One run from beginning to end: start, trouble, peace, account."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from tests.chaos.account import Verdict, judged
from tests.chaos.schedule import Fault
from tests.chaos.trouble import Troubles
from tests.chaos.world import World, world
from tests.postgres import Cluster

PEOPLE = 6
"""How many write on each channel: as many as two cores bear along with all that serves them."""
_TOLD_EVERY = 5.0
"""Seconds between two lines of progress."""

Tell = Callable[[str], None]


async def run(
    folder: Path, server: Cluster, seed: int, faults: list[Fault], seconds: float, people: int, tell: Tell
) -> Verdict:
    """So many seconds of load, with these faults; then everything may finish, and is counted."""
    async with world(folder, server, seed, people) as one:
        await one.fleet.start()
        await one.fleet.ready()
        tell("all processes are ready; people begin to write")
        troubles = Troubles(one, faults)
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(_progress(one, troubles, tell))
            async with asyncio.TaskGroup() as writing:
                for trial in one.trials.values():
                    trial.begin(writing)
                async with asyncio.TaskGroup() as happening:
                    happening.create_task(asyncio.sleep(seconds))
                    happening.create_task(troubles.run())
                for trial in one.trials.values():
                    trial.over.set()
                tell("all is well again; nobody writes any more")
            await one.line.settled()
            tell("all is answered; people take their leave")
            for trial in one.trials.values():
                await trial.leave()
            await one.line.settled()
            telling.cancel()
        tell("told to end")
        code = await one.fleet.end(signal.SIGTERM)
        await one.fleet.look()
        one.wechat.killed = troubles.moments()
        verdict = judged(one, troubles)
        if code:
            verdict.accounts["processes"].bugs.append(f"ended with {code}")
        return verdict


async def _progress(one: World, troubles: Troubles, tell: Tell) -> None:
    while True:
        await asyncio.sleep(_TOLD_EVERY)
        [row] = await one.fleet.ask("SELECT count(*) AS kept, count(finished_at) AS closed FROM turns")
        tell(f"accepted {row['kept']}, closed {row['closed']}, faults {sum(troubles.counts.values())}")
