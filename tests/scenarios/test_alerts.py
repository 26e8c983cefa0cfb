"""Operators are told once when something goes wrong, and once when it is over: by everybody's own way."""

from __future__ import annotations

from pathlib import Path

from chatferry.config import BudgetSettings, PriceSettings
from chatferry.simulator.model import Break, Refuse
from tests.scenarios.alert_support import Watched, watched
from tests.scenarios.support import ended, said_while_it_hangs, until

BROKEN = Refuse(400, {"message": "no such model: the-secret-question"})


async def test_an_incident_is_told_once_and_cleared_once_by_two_processes_and_across_a_restart(
    tmp_path: Path, postgres_clean: str
) -> None:
    async with watched(tmp_path, {"when": "success", "threshold": 0.9}, database=postgres_clean) as it:
        clock = it.world.clock
        async with it.process("worker"), it.process("web") as web:
            it.world.model.plans.extend([BROKEN] * 2)
            await it.world.line.say("ann", "one")
            await it.world.line.say("bob", "two")
            await ended(web, 2, clock)
            await it.turned(30.0)
            assert it.told() == {"slack": [], "line": [], "webhook": []}, "two at night are no incident"
            it.world.model.plans.append(BROKEN)
            await it.world.line.say("eve", "three")
            await it.reached(1)
            raised = ["⚠️ Alert: success"]
            assert it.told() == {"slack": raised, "line": raised, "webhook": raised}
            assert {one: it.hook.told[0][one] for one in ("state", "value", "turns", "incident", "when")} == {
                "state": "raised", "value": 0.0, "turns": 3, "incident": 1, "when": "success",
            }  # fmt: skip
            await it.turned(30.0)
        async with it.process("worker"), it.process("web"):
            await it.turned(60.0)
            assert it.told() == {"slack": raised, "line": raised, "webhook": raised}, "it is not told again"
            await it.reached(2)
            await it.turned(120.0)
        over = [*raised, *it.told()["webhook"][1:]]
        assert it.told() == {"slack": over, "line": over, "webhook": over}
        assert over[1].startswith("Over: success. It lasted ")
        assert [one["state"] for one in it.hook.told] == ["raised", "over"]
        assert "secret-question" not in str(it.hook.told)


async def test_a_jam_slow_answers_and_a_model_that_is_left_alone_are_each_told_once(tmp_path: Path) -> None:
    alerts = (
        {"when": "queue", "threshold": 30, "name": "jam"},
        {"when": "latency", "threshold": "20s", "channel": "line", "model": "default", "least": 1},
        {"when": "latency", "threshold": "20s", "channel": "api", "name": "another channel", "least": 1},
        {"when": "circuit", "model": "default"},
    )
    async with watched(tmp_path, *alerts, server={"concurrency": 1}) as it, it.process() as gateway:
        it.world.model.plans.append(Break("hang", after=0))
        await said_while_it_hangs(it.world, "one")
        await it.world.line.say("bob", "two")
        await it.turned(25.0)
        assert it.hook.told == []
        it.hook.statuses.extend([503, 500])
        await until(lambda: it.hook.told, it.world.clock, turn=0.2)
        assert [(one["alert"], one["state"], one["window"]) for one in it.hook.told] == [("jam", "raised", 60.0)]
        assert it.hook.told[0]["value"] > 30.0
        assert it.hook.tries == 3, "who is down is asked again"
        it.world.model.release.set()
        await ended(gateway, 4, it.world.clock)
        slow = "latency line default"
        await until(lambda: (slow, "raised") in states(it), it.world.clock, turn=0.2)
        it.world.model.plans.extend([Refuse(503)] * 6)
        for who in ("eve", "zoe"):
            await it.world.line.say(who, "hello?")
        await until(lambda: ("circuit default", "raised") in states(it), it.world.clock, turn=0.2)
        await until(lambda: len(states(it)) == 6, it.world.clock, turn=0.2)
        await it.turned(30.0)
        assert sorted(states(it)) == [
            (one, how) for one in ("circuit default", "jam", slow) for how in ("over", "raised")
        ]
        assert {one: len(told) for one, told in it.told().items()} == {"slack": 6, "line": 6, "webhook": 6}


async def test_most_of_the_money_of_a_month_is_spent_which_is_told_once_and_over_with_the_month(tmp_path: Path) -> None:
    async with watched(tmp_path, {"when": "budget"}) as it:
        # An answer of three tokens to a prompt of 7, as the simulated model counts, costs 307 millionths.
        priced = it.settings.models["default"].model_copy(update={"price": PriceSettings(prompt=1.0, completion=100.0)})
        shop = it.settings.assistants["default"].model_copy(update={"budget": BudgetSettings(money=0.0007)})
        assistants = {"rich": shop.model_copy(update={"budget": BudgetSettings(money=100.0)}), "default": shop}
        changed = {"models": {"default": priced}, "assistants": assistants}
        it.settings = it.settings.model_copy(update=changed)
        async with it.process() as gateway:
            for n, who in enumerate(("ann", "bob"), start=1):
                assert it.hook.told == []
                await it.world.line.say(who, f"hi {n}")
                await ended(gateway, n, it.world.clock)
                await it.turned(12.0)
            await it.reached(1)
            assert [(one["state"], round(one["value"], 2), one["threshold"]) for one in it.hook.told] == [
                ("raised", 0.88, 0.8)
            ]
            assert "The assistant default has spent 87.7 % of its money" in it.hook.told[0]["text"]
            assert (it.hook.told[0]["alert"], it.hook.told[0]["assistant"]) == ("budget", "default")
            month = gateway.accounts.month(it.world.clock.now())
            it.world.clock.advance(month.ends_at - it.world.clock.now())
            await it.reached(2)
        assert [one["state"] for one in it.hook.told] == ["raised", "over"]


async def test_a_second_model_that_fails_while_the_first_does_is_told_of_too_and_each_by_its_name(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path, {"when": "circuit"}) as it:
        models = dict.fromkeys(("default", "spare", "well"), it.settings.models["default"])
        it.settings = it.settings.model_copy(update={"models": models})
        async with it.process() as gateway:
            for number, name in enumerate(("default", "spare"), start=1):
                for _ in range(5):
                    gateway.circuits[name].failed()
                    it.world.clock.advance(0.5)
                await it.reached(number)
            assert [one["model"] for one in it.hook.told] == ["default", "spare"]
            assert all(f"The model {one['model']} keeps failing" in one["text"] for one in it.hook.told)
            await it.reached(4)
        assert sorted(one["model"] for one in it.hook.told[2:]) == ["default", "spare"]
        assert {one["alert"] for one in it.hook.told} == {"circuit"}


def states(it: Watched) -> list[tuple[str, str]]:
    return [(one["alert"], one["state"]) for one in it.hook.told]
