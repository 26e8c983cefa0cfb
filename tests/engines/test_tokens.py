"""What a prompt costs: an estimate that errs high, and learns."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from chatferry.engines.base import Prompt
from chatferry.engines.tokens import Gauge, estimate
from chatferry.model import File, Message, says

ENGLISH = "The ferry leaves at nine and comes back at six. " * 80
CHINESE = "渡輪早上九點出發，晚上六點回來。" * 120


def asked(text: str) -> Prompt:
    return Prompt("Be brief.", (says("user", text),))


def told(gauge: Gauge, text: str, count: Callable[[str], float], times: int = 1) -> None:
    for _ in range(times):
        gauge.learn(asked(text), int(count(text)))


def test_the_first_estimate_is_higher_than_what_tokenizers_count() -> None:
    assert estimate(ENGLISH) > len(ENGLISH) / 4
    assert estimate(CHINESE) > len(CHINESE) * 1.1


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
