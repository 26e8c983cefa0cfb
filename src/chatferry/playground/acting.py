"""What the script of the demonstration calls, where an assistant has tools: guessed by the words of the question.

A model understands what a tool is for. The script only sees which words of its description were said, and calls where
it finds in the question all that the tool wants to know: a number, or one of the words that it knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from chatferry.simulator.model_calls import Act, Offered, acts

_NUMBER = re.compile(r"(?<![\w.])#?(\d{2,12})(?![\w.])", re.ASCII)
_MOST = 4
"""Calls at once."""


def act(talk: Sequence[Mapping[str, Any]], offered: Sequence[Offered]) -> Act | None:
    """What is called for the last message, if it is a question that a tool can answer."""
    if not talk or talk[-1]["role"] != "user":
        return None
    said = str(talk[-1]["content"])
    ranked = sorted(((_shared(said, tool), place, tool) for place, tool in enumerate(offered)), key=lambda its: its[:2])
    for shared, _, tool in reversed(ranked):
        calls = _given(said, tool) if shared else []
        if calls:
            return acts(*((tool.name, given) for given in calls[:_MOST]))
    return None


def _shared(said: str, tool: Offered) -> int:
    """How many words, or pairs of Chinese letters, the question and the tool's description have in common."""
    return len(_words(said) & _words(f"{tool.name.replace('_', ' ')} {tool.description}"))


def _words(text: str) -> set[str]:
    runs = re.findall(r"[\u3400-\u9fff]+", text)
    pairs = {run[i : i + 2] for run in runs for i in range(len(run) - 1)}
    return pairs | {word.lower().rstrip("s") for word in re.findall(r"[A-Za-z]{4,}", text)}


def _given(said: str, tool: Offered) -> list[dict[str, str]]:
    """The arguments of each call; none where something is missing that the tool has to know."""
    known: dict[str, list[str]] = {}
    required = tool.parameters.get("required") or []
    for name in required:
        schema = tool.parameters.get("properties", {}).get(name, {})
        words = schema.get("enum") or []
        found = [str(word) for word in words if str(word).lower() in said.lower()] if words else _NUMBER.findall(said)
        if not found:
            return []
        known[name] = list(dict.fromkeys(found))
    return [dict(zip(known, values, strict=True)) for values in product(*known.values())]
