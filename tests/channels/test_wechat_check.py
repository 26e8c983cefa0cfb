"""What `chatferry check` finds out about WeChat."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatferry.channels.base import Surroundings
from chatferry.channels.wechat import WeChat
from chatferry.model import Finding
from chatferry.simulator.wechat_records import Fault
from chatferry.words import words
from tests.channels.wechat_world import SEND, STABLE, World, opened, settings

HOOK = "https://bot.example.com/hooks/wechat"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


async def found(world: World, hook_url: str | None = HOOK, **more: Any) -> dict[str, Finding]:
    """All findings by subject, as the command has them: without a database."""
    ours = {"app_id": world.sim.app_id, "app_secret": world.sim.app_secret, "api_base": world.url}
    wechat = WeChat("wechat", settings(**(ours | more)), Surroundings(world.http, world.clock, words("en")))
    told = {finding.subject: finding async for finding in wechat.check(hook_url)}
    assert world.sim.app_secret not in str(told)
    return told


async def test_where_all_is_well_only_the_address_is_left_to_look_at(world: World) -> None:
    told = await found(world)
    assert [finding.subject for finding in told.values() if finding.ok] == ["credentials", "answers", "server URL"]
    assert [finding.subject for finding in told.values() if finding.mend] == ["server URL"]
    assert "customer-service" in told["answers"].detail
    assert HOOK in told["server URL"].detail
    assert world.sim.chats == {}


async def test_an_account_that_may_not_send_says_which_way_answers_go(world: World) -> None:
    world.sim.verified = False
    answers = (await found(world))["answers"]
    assert answers.ok
    assert "in the response" in answers.detail
    answers = (await found(world, mode="service"))["answers"]
    assert not answers.ok
    assert 'mode = "auto"' in answers.mend
    assert (await found(world, mode="passive"))["answers"].ok
    assert len(world.calls(SEND)) == 2


async def test_without_credentials_answers_go_in_the_response(world: World) -> None:
    told = await found(world, app_id="", app_secret=None)
    assert "in the response" in told["answers"].detail
    assert "app_secret" in told["answers"].mend
    assert (await found(world, app_id="", app_secret=None, mode="passive"))["answers"].mend == ""
    assert world.sim.calls == []


async def test_an_address_that_is_not_on_the_list_is_named_with_where_to_put_it(world: World) -> None:
    world.sim.whitelist = {"192.0.2.1"}
    told = await found(world)
    fault = told["credentials"]
    assert not fault.ok
    assert "127.0.0.1" in fault.detail
    assert "IP 白名单: add 127.0.0.1" in fault.mend
    assert "answers" not in told
    world.sim.fail(STABLE, Fault(40164, "in other words"))
    assert "the address from which" in (await found(world))["credentials"].mend


@pytest.mark.parametrize(
    ("wrong", "name"), [({"app_id": "wx1"}, "`app_id` is wrong"), ({"app_secret": "guess"}, "`app_secret` is wrong")]
)
async def test_wrong_credentials_are_named(world: World, wrong: dict[str, str], name: str) -> None:
    fault = (await found(world, **wrong))["credentials"]
    assert (fault.ok, fault.detail.startswith(name)) == (False, True)
    assert "copy the App" in fault.mend


async def test_what_we_do_not_know_is_told_with_where_to_look_it_up(world: World) -> None:
    world.sim.fail(STABLE, Fault(89503, "the admin must confirm"))
    fault = (await found(world))["credentials"]
    assert "89503" in fault.mend
    world.sim.fail(SEND, Fault(99999, "brand new"))
    fault = (await found(world))["answers"]
    assert (fault.ok, "99999" in fault.mend) == (False, True)
    world.sim.fail(SEND, Fault(status=500))
    assert (await found(world))["answers"].mend == "try again later"


async def test_where_wechat_is_not_reached_the_network_is_to_be_looked_at(world: World) -> None:
    told = await found(world, api_base="http://127.0.0.1:9")
    assert list(told) == ["reach", "server URL"]
    assert "network" in told["reach"].mend


async def test_an_address_that_wechat_does_not_call_is_a_fault_and_none_is_a_hint(world: World) -> None:
    fault = (await found(world, "http://bot.example.com:8080/hooks/wechat"))["server URL"]
    assert (fault.ok, "80 and 443" in fault.detail) == (False, True)
    for good in ("http://bot.example.com:80/x", "https://bot.example.com:443/x"):
        assert (await found(world, good))["server URL"].ok
    hint = (await found(world, None))["server URL"]
    assert (hint.ok, "CHATFERRY_PUBLIC_URL" in hint.mend) == (True, True)
