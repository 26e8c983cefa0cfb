"""What a prompt costs: an estimate that errs high, and learns."""

from __future__ import annotations

import base64
import json
import random
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatferry.engines.base import Prompt
from chatferry.engines.tokens import Gauge, estimate
from chatferry.model import File, Message, says

ENGLISH = "The ferry leaves at nine and comes back at six. " * 80
CHINESE = "渡輪早上九點出發，晚上六點回來。" * 120

_chance = random.Random(3)  # noqa: S311
TEXTS = {
    "english": ENGLISH,
    "chinese": CHINESE,
    "japanese": "ご注文の品は、ただいま倉庫から発送の準備をしております。到着まであと二日ほどお待ちください。" * 30,
    "numbers": "\n".join(",".join(f"{_chance.random():.6f}" for _ in range(8)) for _ in range(200)),
    "json": json.dumps([{"id": each, "name": "Ann", "price": _chance.random(), "open": True} for each in range(100)]),
    "ids": " ".join(str(uuid.UUID(int=_chance.getrandbits(128))) for _ in range(100)),
    "base64": base64.b64encode(_chance.randbytes(3000)).decode(),
    "articles": " ".join("".join(_chance.choices("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", k=10)) for _ in range(200)),
}
COUNTED = {
    "english": (881, 881),
    "chinese": (1800, 3240),
    "japanese": (960, 1410),
    "numbers": (7999, 7999),
    "json": (2993, 2993),
    "ids": (2310, 2315),
    "base64": (2723, 2862),
    "articles": (1424, 1461),
}
"""Tokens of each, as OpenAI's `o200k_base` and `cl100k_base` count them."""


def asked(text: str) -> Prompt:
    return Prompt("Be brief.", (says("user", text),))


def told(gauge: Gauge, text: str, count: Callable[[str], float], times: int = 1) -> None:
    for _ in range(times):
        gauge.learn(asked(text), int(count(text)))


@pytest.mark.parametrize("kind", TEXTS)
def test_the_first_estimate_is_higher_than_what_tokenizers_count(kind: str) -> None:
    assert max(COUNTED[kind]) <= estimate(TEXTS[kind]) < 3.5 * min(COUNTED[kind])


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("learned", ["english", "chinese"])
def test_who_has_read_prose_for_a_while_still_counts_enough_for_all_else(learned: str, kind: str) -> None:
    gauge = Gauge()
    for _ in range(50):
        gauge.learn(asked(TEXTS[learned]), COUNTED[learned][0])
    assert gauge.text(TEXTS[learned]) < estimate(TEXTS[learned])
    assert gauge.text(TEXTS[kind]) >= COUNTED[kind][0]


def test_what_costs_more_than_was_thought_is_known_from_the_next_prompt_on() -> None:
    gauge = Gauge()
    told(gauge, CHINESE, lambda text: len(text) * 2)
    assert gauge.prompt(asked(CHINESE)) >= len(CHINESE) * 2
    assert gauge.text(ENGLISH) <= estimate(ENGLISH) * 1.01 + 6, "English has no part in it"


def test_what_costs_less_is_believed_after_a_while_and_never_less_than_was_seen() -> None:
    gauge = Gauge()
    told(gauge, ENGLISH, lambda text: len(text) / 3, times=19)
    assert gauge.text(ENGLISH) == estimate(ENGLISH)
    told(gauge, ENGLISH, lambda text: len(text) / 4, times=5)
    assert len(ENGLISH) / 3 <= gauge.text(ENGLISH) < estimate(ENGLISH)
    assert gauge.text(CHINESE) == estimate(CHINESE), "of which nothing was seen"


def test_what_a_provider_adds_to_every_prompt_is_no_reason_to_think_that_texts_are_dear() -> None:
    gauge = Gauge()
    gauge.learn(asked("hello"), 350)
    assert gauge.fixed > 300
    assert gauge.text(ENGLISH) == estimate(ENGLISH)


def test_pictures_and_silence_teach_nothing() -> None:
    gauge = Gauge()
    gauge.learn(Prompt("", (Message("user", (File("image", "1"),)),)), 90_000)
    gauge.learn(asked(ENGLISH), 0)
    assert (gauge.fixed, gauge.text(ENGLISH)) == (0, estimate(ENGLISH))


@given(
    texts=st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=300), st.integers(1, 40)), max_size=12),
    rate=st.floats(0.1, 3.0),
    extra=st.integers(0, 400),
)
def test_what_was_counted_once_is_never_counted_lower(texts: list[tuple[str, int]], rate: float, extra: int) -> None:
    """The budget holds by the model's own count for all that it has seen."""
    gauge = Gauge()
    for text, times in texts:
        prompt = asked(text * times)
        counted = int(rate * len((text * times).encode()) / 2.5) + extra
        gauge.learn(prompt, counted)
        assert gauge.prompt(prompt) + gauge.fixed >= counted - 1
