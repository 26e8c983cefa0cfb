"""JSON schema in Gemini's dialect."""

from __future__ import annotations

from typing import Any

import pytest

from chatferry.engines.gemini_schema import narrowed
from chatferry.simulator.model_calls import gemini_misuse


@pytest.mark.parametrize(
    ("schema", "narrow"),
    [
        ({"type": "string", "pattern": "x", "title": "T", "default": "a"}, {"type": "STRING"}),
        ({"type": ["integer", "null"], "exclusiveMinimum": 0}, {"type": "INTEGER", "nullable": True}),
        ({"type": ["integer", "string"]}, {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}]}),
        ({"oneOf": [{"type": "boolean"}, {"type": "null"}], "description": "d"},
         {"type": "BOOLEAN", "nullable": True, "description": "d"}),
        ({"const": 3}, {"type": "STRING", "format": "enum", "enum": ["3"]}),
        ({"type": "string", "format": "email"}, {"type": "STRING"}),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        ({"allOf": [{"type": "integer"}, {"description": "d"}]}, {"type": "INTEGER", "description": "d"}),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"type": "OBJECT"}),
        ({"type": "object", "properties": {"b": {}}, "required": ["b", "c"]},
         {"type": "OBJECT", "properties": {"b": {"type": "STRING"}}, "required": ["b"]}),
        ({"$ref": "#/nowhere/at/all"}, {"type": "STRING"}),
        (True, {"type": "OBJECT"}),
    ],
)  # fmt: skip
def test_only_what_it_knows_is_said(schema: Any, narrow: dict[str, Any]) -> None:
    parameters = narrowed({"type": "object", "properties": {"a": schema}})["parameters"]
    assert parameters["properties"]["a"] == narrow
    assert gemini_misuse({"tools": [{"functionDeclarations": [{"parameters": parameters}]}]}) == ""


def test_a_schema_that_contains_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    told = str(narrowed({"type": "object", "properties": {"a": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}))
    assert 5 < told.count("next") < 20


def test_a_tool_without_parameters_declares_none() -> None:
    assert narrowed({"type": "object", "properties": {}}) == {}
