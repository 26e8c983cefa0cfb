"""Functions as tools: what a model reads of them, and what comes of calling them."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from pydantic import BaseModel, Field

from chatferry.engines.base import Result
from chatferry.tools.base import Caller
from chatferry.tools.python import Python

DOCS = Path(__file__).parents[2] / "docs" / "tools.md"
CALLER = Caller("line", "room", "ann", "default", 7, "key-1")


class Parcel(BaseModel):
    """What is sent."""

    weight: int = Field(gt=0)


def ship(
    number: str,
    on: date | None = None,
    *,
    how: Literal["ship", "train"] = "ship",
    parcels: list[Parcel] = [],  # noqa: B006 - as people write it
    json: Annotated[bool, Field(description="As JSON.")] = False,
    whom: Caller,
) -> Any:
    """Sends an order.

    It goes by sea.

    Args:
        number (str): The number
            of the order.
        how: By what.
        json: Not this one.

    Returns:
        What became of it.
    """
    return {
        "number": number,
        "on": on,
        "how": how,
        "parcels": parcels,
        "by": threading.current_thread().name,
        "key": whom.key,
    }


def test_a_model_reads_the_signature_and_the_docstring() -> None:
    tool = Python(ship, "warehouse:ship").tool
    assert (tool.name, tool.description) == ("ship", "Sends an order.\n\nIt goes by sea.")
    properties = tool.parameters["properties"]
    assert tool.parameters["required"] == ["number"]
    assert "whom" not in properties
    assert properties["number"] == {"type": "string", "description": "The number of the order."}
    assert properties["how"] == {
        "default": "ship",
        "description": "By what.",
        "enum": ["ship", "train"],
        "type": "string",
    }
    assert properties["json"]["description"] == "As JSON."
    assert properties["on"] == {"anyOf": [{"format": "date", "type": "string"}, {"type": "null"}]}
    assert tool.parameters["$defs"]["Parcel"]["description"] == "What is sent."


async def test_it_is_called_with_what_the_types_make_of_the_arguments() -> None:
    result = await Python(ship).call({"number": 12, "on": "2026-05-01", "parcels": [{"weight": "3"}]}, CALLER)
    assert result == Result(
        '{"number":"12","on":"2026-05-01","how":"ship","parcels":[{"weight":3}],"by":"function ship","key":"key-1"}'
    )


async def test_what_does_not_fit_is_told_field_by_field() -> None:
    result = await Python(ship).call({"parcels": [{"weight": 0}], "how": "air", "colour": 1}, CALLER)
    assert result.failed
    for words in ("number: Field required", "parcels.0.weight: ", "how: Input should be 'ship' or 'train'", "colour: "):
        assert words in result.text


@pytest.mark.parametrize(
    ("doc", "about", "described"),
    [
        ("Looks.", "Looks.", None),
        ("Looks.\n\n:param at: Where\n  it is.\n:type at: str\n:returns: it", "Looks.", "Where it is."),
        ("Looks.\n\nParameters\n----------\nat : str\n    Where.\n\nReturns\n-------\nstr\n", "Looks.", "Where."),
        ("Looks.\n\nArguments:\n    at: Where: there.\n\nNot an argument.", "Looks.", "Where: there."),
        ("", "", None),
    ],
)
def test_docstrings_are_read_in_the_forms_that_people_use(doc: str, about: str, described: str | None) -> None:
    def look(at: str) -> str:
        return at

    look.__doc__ = doc
    tool = Python(look).tool
    assert tool.description == about
    assert tool.parameters["properties"]["at"].get("description") == described


async def test_what_is_returned_is_a_text() -> None:
    async def late() -> str:
        return "late"

    def later() -> Any:
        return late()

    for function, text in ((late, "late"), (later, "late"), (lambda: None, "Done."), (lambda: "", "(nothing)")):
        assert await Python(function, "x").call({}, CALLER) == Result(text)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda a, /: a, "cannot be given by name"),
        (eval("lambda a: a"), None),  # noqa: S307 - without annotations anything goes
    ],
)
def test_what_no_model_could_call_is_said_at_the_start(function: Any, why: str | None) -> None:
    if why is None:
        assert Python(function, "x").tool.parameters["required"] == ["a"]
        return
    with pytest.raises(TypeError, match=why):
        Python(function, "x")


def test_a_type_that_nobody_can_write_down_is_said_at_the_start() -> None:
    class Odd:
        pass

    def take(odd: Odd) -> None: ...

    take.__annotations__["odd"] = Odd
    with pytest.raises(TypeError, match="no model can give") as caught:
        Python(take)
    assert re.fullmatch(r"has a parameter of a type .*: Unable .* for <class '.*Odd'>", str(caught.value))


class Panic(BaseException):
    """As what is written in Rust raises it."""


async def test_what_is_no_exception_is_a_failed_call_like_others() -> None:
    def panics() -> None:
        raise Panic("unwrap on a None value")

    async def breaks() -> None:
        raise BaseExceptionGroup("several", [Panic()])

    for function, name in ((panics, "Panic"), (breaks, "BaseExceptionGroup")):
        assert await Python(function).call({}, CALLER) == Result(f"It failed: {name}.", failed=True)


async def test_a_function_for_which_there_is_no_room_waits_for_its_turn() -> None:
    begun, end = threading.Semaphore(0), threading.Event()

    def weigh(number: int) -> str:
        begun.release()
        end.wait(20)
        return f"{number} kg"

    calls = [asyncio.create_task(Python(weigh).call({"number": number}, CALLER)) for number in range(70)]
    await asyncio.to_thread(lambda: [begun.acquire(timeout=20) for _ in range(64)])
    assert not any(call.done() for call in calls), "nobody is turned away"
    end.set()
    assert await asyncio.gather(*calls) == [Result(f"{number} kg") for number in range(70)]


async def test_the_order_of_the_documentation_is_placed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    made: dict[str, Any] = {}
    exec(next(one for one in examples if "place_order" in one), made)  # noqa: S102 - our own words
    order = Python(made["place_order"])
    for key in ("key-1", "key-1", "key-2"):
        assert await order.call({"goods": "tea"}, msgspec.structs.replace(CALLER, key=key)) == Result("It is placed.")
    with closing(sqlite3.connect("orders.db")) as database:
        assert database.execute("SELECT key, goods FROM orders").fetchall() == [("key-1", "tea"), ("key-2", "tea")]
