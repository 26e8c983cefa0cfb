"""What the script calls, where an assistant has tools."""

from __future__ import annotations

import json

import pytest

from chatferry.playground.acting import act
from chatferry.playground.stage import script
from chatferry.simulator.model_calls import Offered

ORDER = Offered("order_status", "Where an order is. 訂單到哪裡了；订单到哪里了", {"required": ["number"]})
HOURS = Offered("opening_hours", "When it is open. 營業時間", {})
STOCK = Offered("stock", "庫存；库存", {"properties": {"tea": {"enum": ["金萱", "烏龍"]}}, "required": ["tea"]})


@pytest.mark.parametrize(
    ("said", "calls"),
    [
        ("where is my order 1234?", [("order_status", {"number": "1234"})]),
        ("訂單 12 和 13 到哪裡了", [("order_status", {"number": "12"}), ("order_status", {"number": "13"})]),
        ("你們的營業時間？", [("opening_hours", {})]),
        ("金萱的庫存", [("stock", {"tea": "金萱"})]),
        ("where is my order?", None),
        ("my number is 1234", None),
        ("hello", None),
    ],
)
def test_it_calls_what_the_words_ask_for_and_only_where_it_knows_enough(said: str, calls: object) -> None:
    made = act([{"role": "user", "content": said}], [HOURS, ORDER, STOCK])
    assert calls == ([(call.name, json.loads(call.arguments)) for call in made.calls] if made else None)


def test_what_was_found_is_told_in_the_language_of_the_question() -> None:
    talk = [
        {"role": "user", "content": "你好"}, {"role": "assistant", "content": "你好"},
        {"role": "user", "content": "訂單 12 到哪裡了"}, {"role": "assistant", "content": ""},
        {"role": "tool", "content": "在海上"}, {"role": "tool", "content": "到了"},
    ]  # fmt: skip
    assert script(talk) == "幫你查到了：\n\n在海上\n\n到了"
    assert act(talk, [ORDER]) is None
