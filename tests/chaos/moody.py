"""A model that has spells in which it fails: now and then, or whatever it is asked."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from chatferry.simulator.model import Break, ModelSimulator, Plan, Refuse, Talk, Wire

_PASSING: tuple[Plan, ...] = (Break("cut", 2), Break("end", 1), Refuse(429), Refuse(500))
"""What is worth asking again after."""
_BAD: tuple[Plan, ...] = (*_PASSING, Break("error"))
SOME = 0.25
"""How many requests fail in a spell that is not for all."""


class Moody(ModelSimulator):
    """`spell` is what it is in: "", "all", or "some", and then nothing fails that failed before.

    So a gateway that asks again has its answer, in all spells but the worst.
    """

    def __init__(self, chance: random.Random, **more: Any) -> None:
        super().__init__(**more)
        self.spell = ""
        self.failed = Counter[str]()
        """How often, by what was asked."""
        self._chance = chance

    async def _answer(self, wire: Wire, talk: Talk, *rest: Any) -> None:
        words = str(talk[-1]["content"])
        some = self.spell == "some" and not self.failed[words] and self._chance.random() < SOME
        if some or self.spell == "all":
            self.failed[words] += 1
            self.plans.append(self._chance.choice(_PASSING if some else _BAD))
        await super()._answer(wire, talk, *rest)
