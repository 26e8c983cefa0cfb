"""An answer reaches whoever asked, in a response, by itself or on a page, whenever the process dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.conftest import Judge
from tests.scenarios.wechat_crash import ordeal


@pytest.mark.parametrize(
    "verified", [pytest.param(False, id="passive"), pytest.param(True, id="service", marks=pytest.mark.long)]
)
async def test_a_gateway_that_is_killed_all_the_time_answers_everything_once_and_in_order(
    tmp_path: Path, kills: int, seed: int, judge: Judge, *, verified: bool
) -> None:
    async with ordeal(tmp_path, seed, verified=verified) as trial:
        account = await trial.endure(max(1, kills // 10))
    judge(account)
    # Only what a kill has cut off may be missing from the chat, or stand there twice.
    assert account.figures["sent twice"] == 0 or verified
    assert account.figures["lost to the chat"] <= 2 * account.figures["kills"]
