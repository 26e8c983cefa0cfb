"""`python -m tests.chaos --minutes 5 --seed N`: two webs, three workers, all channels, and a schedule of faults.

The schedule follows from the seed and the minutes alone, so the same two numbers go through the same faults again; what
was under way at each of them is the machine's choice. `--kinds kill,freeze` leaves the others out, `--people` is how
many write on each channel. Exit code 0: nothing lost, nothing twice, nothing out of order, and the ledger agrees.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import cast, get_args

from chatferry.serve import loop_factory
from tests.chaos.run import PEOPLE, run
from tests.chaos.schedule import Kind, schedule
from tests.postgres import Cluster, programs


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long people write and things go wrong")
    parser.add_argument("--seed", type=int, default=None, help="goes through the same faults again")
    parser.add_argument("--people", type=int, default=PEOPLE, help="how many write on each channel")
    parser.add_argument("--kinds", default="", help=f"only these faults: {', '.join(get_args(Kind))}")
    parser.add_argument("--keep", type=Path, default=None, help="where logs and the ledger are kept, good or bad")
    given = parser.parse_args()
    if programs() is None:
        say("PostgreSQL is not installed.")
        return 2
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    kinds = cast("list[Kind]", given.kinds.split(",")) if given.kinds else None
    faults = schedule(seed, given.minutes * 60.0, kinds)
    say(f"--minutes {given.minutes:g} --seed {seed}: {len(faults)} faults")
    for fault in faults:
        say(str(fault))
    folder = given.keep or Path(tempfile.mkdtemp(prefix="chatferry-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # the simulators', who hang up on purpose

    def tell(words: str) -> None:
        say(f"{time.monotonic() - began:6.1f}  {words}")

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does: nothing is left running
    with Cluster(durable=True) as database, asyncio.Runner(loop_factory=loop_factory()) as runner:
        verdict = runner.run(run(folder, database, seed, faults, given.minutes * 60.0, given.people, tell))
    verdict.keep(folder)
    say(str(verdict))
    for aside in verdict.asides:
        say(f"aside: {aside}")
    for wrong in verdict.wrong:
        say(f"wrong: {wrong}")
    if verdict.wrong or given.keep:
        say(f"logs and ledger: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if verdict.wrong else 0


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
