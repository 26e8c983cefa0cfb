"""An engine without a model, for people who have no key yet. It shows what the gateway does, and says what it is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec

from chatferry.clock import Clock, SystemClock
from chatferry.config import ModelSettings
from chatferry.engines.base import Delta, Done, Event, Prompt
from chatferry.model import Finding, Message, Usage
from chatferry.words import language_of

if TYPE_CHECKING:
    import aiohttp

_TOKEN = re.compile(r"\s*[\u2e80-\uffef]|\s*[^\s\u2e80-\uffef]+|\s+$")


class Demo:
    """Answers from a script, in the language of the question, and remembers what the prompt remembers."""

    def __init__(
        self, name: str, settings: ModelSettings, http: aiohttp.ClientSession | None = None, clock: Clock | None = None
    ) -> None:
        self.name = name
        self._settings = settings
        self._clock = clock or SystemClock()

    async def run(self, prompt: Prompt, *, pace: float = 0.0) -> AsyncGenerator[Event, None]:
        tokens = _TOKEN.findall(answer(prompt.messages))
        limits = [limit for limit in (prompt.options.max_tokens, self._settings.max_tokens) if limit is not None]
        shown = tokens[: min(limits, default=len(tokens))]
        speed = self._settings.pace
        together = max(1, round(pace / speed)) if speed else len(tokens)
        for start in range(0, len(shown), together):
            if start:
                await self._clock.sleep(speed * together)
            yield Delta("".join(shown[start : start + together]))
        asked = sum(len(_TOKEN.findall(text)) for text in (prompt.system, *(said.text for said in prompt.messages)))
        yield Done("stop" if len(shown) == len(tokens) else "length", Usage(asked, len(shown)), "chatferry-demo")

    async def check(self) -> AsyncIterator[Finding]:
        yield Finding(True, f"model {self.name}", "the built-in demonstration, no language model")


class _Rule(msgspec.Struct, frozen=True):
    match: str
    say: str


class _Tongue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All lines in one language; those that answer a topic bear its name."""

    label: str
    named: str
    my_name: str
    no_name: str
    first: str
    before: str
    nothing: str
    help: str
    table: str
    code: str
    long: str
    hello: str
    thanks: str
    found: str
    otherwise: tuple[str, ...]
    rules: tuple[_Rule, ...]

    def on(self, topic: str) -> str:
        return str(getattr(self, topic))


class _Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    names: tuple[str, ...]
    topics: dict[str, str]
    swap: dict[str, str]
    tongues: dict[str, _Tongue]


@cache
def _script() -> _Script:
    text = files("chatferry.engines").joinpath("demo_script.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), _Script)


def answer(messages: Sequence[Message], found: Sequence[str] = ()) -> str:
    """What the script says to the last message. The first answer of a talk begins with what this is.

    found: what it has looked up for this, if anything.
    """
    said = [message.text for message in messages if message.role == "user"]
    tongue = _script().tongues[language_of(said[-1] if said else "")]
    reply = "\n\n".join((tongue.found, *found)) if found else _reply(tongue, said).strip()
    return reply if any(message.role == "assistant" for message in messages) else f"{tongue.label}\n\n{reply}"


def _reply(tongue: _Tongue, said: list[str]) -> str:
    if not said:
        return tongue.hello
    *earlier, last = said
    if name := _name([last]):
        return tongue.named.replace("{name}", name)
    topics = _script().topics.items()
    match next((topic for topic, pattern in topics if re.search(pattern, last)), None):
        case "my_name":
            name = _name(earlier)
            return tongue.my_name.replace("{name}", name) if name else tongue.no_name
        case "first" | "before" as topic:
            recalled = earlier[0 if topic == "first" else -1] if earlier else ""
            return tongue.on(topic).replace("{said}", recalled) if recalled else tongue.nothing
        case str(topic):
            return tongue.on(topic)
    for rule in tongue.rules:
        if found := re.search(rule.match, last):
            return rule.say.replace("{rest}", _turned(found["rest"].strip()))
    return tongue.otherwise[len(earlier) % len(tongue.otherwise)]


def _name(said: Sequence[str]) -> str:
    """The name that was told last."""
    for text in reversed(said):
        for pattern in _script().names:
            if found := re.search(pattern, text):
                return found["name"]
    return ""


def _turned(text: str) -> str:
    """From the speaker's side to ours: "my cat" becomes "your cat"."""
    swap = _script().swap
    return re.sub(r"[A-Za-z']+|[我私僕]", lambda word: swap.get(word[0], word[0]), text)
