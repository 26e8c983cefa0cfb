"""What scenarios share: a whole gateway with its platforms, and what the crash tests need."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.scenarios.crash import Account
from tests.stack import Stack, running

Judge = Callable[[Account], None]


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running(tmp_path) as stack:
        yield stack


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Of the moments at which things happen. What happens then is the machine's choice too."""
    given: int | None = request.config.getoption("--seed")
    return random.SystemRandom().randrange(1_000_000) if given is None else given


@pytest.fixture
def judge(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], seed: int) -> Judge:
    """Says in a line how it went, and fails the test where something is lost, twice or out of order."""

    def judge(account: Account) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{request.node.name}: {account} (--seed {seed})\n")
        assert not account.faults, "\n".join([str(account), *account.faults[:20]])

    return judge


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    given: int | None = request.config.getoption("--kills")
    return given or (24 if request.config.getoption("--long") else 8)
