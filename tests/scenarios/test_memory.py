"""Memory over real sockets: a summary, facts that a model notes, and what people can say about both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatferry.simulator.model import Talk
from chatferry.simulator.model_calls import Act, Offered, acts
from chatferry.words import words
from tests.scenarios.asking import ask, client, text
from tests.scenarios.slack_support import slack_world
from tests.scenarios.support import CLUB, ended, screen, until, world
from tests.stack import running

WORDS = words("en")
FACT = re.compile(r"my ([a-z]+) is called (\w+)")
LONG = {"context_tokens": 600, "summary_model": "default"}


def forgetful(talk: Talk) -> str:
    """Knows what stands in the request and nothing else; keeps notes of names, where notes are asked for."""
    told = "\n".join(said["content"] for said in talk)
    asked = talk[-1]["content"]
    if asked.startswith("<notes>"):
        return "\n".join(f"my {what} is called {name}" for what, name in dict(FACT.findall(asked)).items()) or "none"
    if wanted := re.fullmatch(r"what is my ([a-z]+) called\?", asked):
        return str(dict(FACT.findall(told)).get(wanted[1], "I don't know."))
    return "I see."


async def test_what_was_said_early_in_a_long_talk_is_answered_from_the_summary(tmp_path: Path) -> None:
    async with running(tmp_path, assistant=LONG) as stack, client(stack) as openai:
        stack.model.converse = forgetful
        for said in ("my cat is called Momo", *(f"number {n}: " + "the sea is calm " * 8 for n in range(12))):
            await ask(openai, said, session="s")
            await stack.gateway.summaries.idle()
        assert text(await ask(openai, "what is my cat called?", session="s")) == "Momo"
        asked = stack.model.requests[-1].body["messages"]
        assert "Momo" in asked[0]["content"]
        assert not any("Momo" in said["content"] for said in asked[1:])
        shown = text(await ask(openai, "/memory", session="s"))
        assert shown.startswith(f"{WORDS.memory_summary}\nmy cat is called Momo")
        assert text(await ask(openai, "/memory clear", session="s")) == WORDS.forgotten
        assert text(await ask(openai, "what is my cat called?", session="s")) == "I don't know."


def attentive(talk: Talk, functions: Sequence[Offered]) -> Act | None:
    """Notes how somebody is called, when they say so."""
    wanted = [function.name for function in functions] == ["remember"] and talk[-1]["content"] == "I'm Ann."
    return acts(("remember", {"fact": "is called Ann"})) if wanted else None


def system(request: Any) -> str:
    return str(request.body["messages"][0]["content"])


async def test_a_fact_is_noted_in_private_and_known_in_the_next_session_but_not_in_a_group(tmp_path: Path) -> None:
    async with world(tmp_path, assistant={"profile": True}) as it, it.gateway() as gateway:
        it.model.act = attentive
        await it.line.say("ann", "I'm Ann.")
        await ended(gateway, 1)
        assert screen(it.line) == ["echo: I'm Ann."]
        assert "remember" in str(it.model.requests[0].body["tools"])
        await it.line.say("ann", "/clear")
        await ended(gateway, 2)
        await it.line.say("ann", "Who am I?")
        await ended(gateway, 3)
        assert "- is called Ann" in system(it.model.requests[-1])
        await it.line.say("ann", "Who am I?", group="club", mention_self=True)
        await it.line.seen(CLUB, 1)
        assert "Ann" not in system(it.model.requests[-1])
        assert "tools" not in it.model.requests[-1].body
        await ended(gateway, 4)
        in_public = (("/memory", WORDS.memory_no_summary), ("/memory clear", WORDS.forgotten_here))
        for number, (command, told) in enumerate(in_public, 2):
            await it.line.say("ann", command, group="club", mention_self=True)
            assert (await it.line.seen(CLUB, number))[-1].text == f"{told}\n\n{WORDS.memory_private}"
        await ended(gateway, 6)
        await it.line.say("ann", "/memory")
        await ended(gateway, 7)
        assert screen(it.line)[-1].startswith(f"{WORDS.memory_facts}\n• is called Ann\n")
        await it.line.say("ann", "/memory clear")
        await it.line.say("ann", "Who am I?")
        await ended(gateway, 9)
        assert "Ann" not in system(it.model.requests[-1])


async def test_on_slack_facts_are_for_direct_messages_and_not_for_channels(tmp_path: Path) -> None:
    async with slack_world(tmp_path, assistant={"profile": True}) as it, it.gateway() as gateway:
        it.model.act = attentive
        await it.slack.say("ann", "I'm Ann.")
        await ended(gateway, 1, it.clock)
        await it.slack.say("ann", "Who am I?")
        await ended(gateway, 2, it.clock)
        assert "- is called Ann" in system(it.model.requests[-1]), "each question is a thread of its own"
        requests = len(it.model.requests)
        await it.slack.say("ann", "Who am I?", channel="tea", mention=True)
        await until(lambda: len(it.model.requests) > requests, it.clock)
        assert "is called Ann" not in system(it.model.requests[-1])
        await ended(gateway, 3, it.clock)


def system_of(it: Any) -> str:
    return system(it.model.requests[-1])


async def test_what_was_noted_of_a_message_goes_with_it_unless_it_was_said_again(tmp_path: Path) -> None:
    async with world(tmp_path, assistant={"profile": True}) as it, it.gateway() as gateway:
        it.model.act = attentive
        sent = []
        for n in range(2):
            sent.append(await it.line.say("ann", "I'm Ann."))
            await ended(gateway, n + 1)
        for n, said in enumerate(sent):
            await it.line.unsend("ann", str(said.events[0]["message"]["id"]))
            await it.line.say("ann", f"Who am I? {n}")
            await ended(gateway, n + 3)
            assert ("is called Ann" in system_of(it)) == (n == 0)


async def test_on_slack_too_what_was_noted_of_a_message_goes_with_it(tmp_path: Path) -> None:
    async with slack_world(tmp_path, assistant={"profile": True}) as it, it.gateway() as gateway:
        it.model.act = attentive
        ts = await it.slack.say("ann", "I'm Ann.")
        await ended(gateway, 1, it.clock)
        await it.slack.say("ann", "Who am I?")
        await ended(gateway, 2, it.clock)
        assert "is called Ann" in system_of(it)
        await it.slack.delete("ann", it.slack.dm("ann"), ts)
        await it.slack.say("ann", "Who am I now?")
        await ended(gateway, 3, it.clock)
        assert "is called Ann" not in system_of(it)
