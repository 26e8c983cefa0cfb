"""The tool by which a model notes what it shall know of a person the next time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatferry.engines.base import Result, Tool
from chatferry.ledger import profiles
from chatferry.ledger.ledger import Ledger
from chatferry.ledger.profiles import LONGEST, MOST, Refused
from chatferry.tools.base import Caller

_TOLD = f"""\
Notes a fact about the person you are talking to, to be known in later conversations too: what they are called, which \
language they want, what they like or have. Note only what they told you about themselves and what lasts; no \
passwords, no numbers of cards, nothing about health or belief unless they ask you to. There is room for {MOST} facts. \
To replace one, say which; to forget one, say which and leave `fact` out."""

_FIELDS = {
    "fact": {"type": "string", "maxLength": LONGEST, "description": "One short sentence, such as: is called Ann."},
    "replaces": {
        "type": "string",
        "maxLength": LONGEST,
        "description": "The fact, word for word as you noted it, that is not true any more or is to be forgotten.",
    },
}


class Remember:
    """Offered only where nobody but that person reads along."""

    tool = Tool("remember", _TOLD, {"type": "object", "properties": _FIELDS, "additionalProperties": False})

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def misfit(self, arguments: Mapping[str, Any]) -> str:
        unknown = ", ".join(name for name in arguments if name not in _FIELDS)
        if not unknown and all(isinstance(arguments.get(name) or "", str) for name in _FIELDS):
            return ""
        return f"Not noted: {unknown or 'a fact'} is not as it should be; give `fact` as a text."

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> Result:
        if why := self.misfit(arguments):
            return Result(why, failed=True)
        # In one line, lest one fact look like several.
        fact, replaces = (" ".join((arguments.get(name) or "").split()) for name in _FIELDS)
        replaces = replaces.removeprefix("- ")
        if not fact and not replaces:
            return Result("Not noted: there is no fact.", failed=True)
        if len(fact) > LONGEST:
            return Result(f"Not noted: a fact has {LONGEST} characters at the most. Say it shorter.", failed=True)
        person = profiles.key(caller.channel, caller.person, caller.assistant)
        if not person:
            return Result("Not noted: it is not known who this is.", failed=True)
        noted = await self._ledger.noted(person, caller.turn, fact, replaces)
        if not isinstance(noted, Refused):
            return Result("Noted." if fact else "Forgotten.", idle=True)
        known = "\n".join(f"- {one.text}" for one in noted.facts) or "none"
        return Result(
            {
                "full": f"Not noted: there are {MOST} facts already. Replace or forget one of them:\n{known}",
                "unknown": f"Not done: no such fact was noted. These are:\n{known}",
            }.get(noted.reason, "Not noted: the person has just had everything forgotten."),
            failed=True,
        )
