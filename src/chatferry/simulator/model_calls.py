"""Calls of functions as OpenAI and Gemini write them, and what each refuses of those who call back. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Wanted:
    """One function that the model wants to be called; `arguments` is JSON, or what a bad model takes for it."""

    name: str
    arguments: str = "{}"


@dataclass(frozen=True)
class Act:
    """What a model does in the place of an answer: it says something, perhaps, and calls."""

    calls: tuple[Wanted, ...]
    said: str = ""


@dataclass(frozen=True)
class Offered:
    """A function that may be called."""

    name: str
    description: str
    parameters: Mapping[str, Any]


def acts(*calls: tuple[str, Mapping[str, Any]], said: str = "") -> Act:
    """These calls, each a name and its arguments."""
    return Act(tuple(Wanted(name, json.dumps(given, ensure_ascii=False)) for name, given in calls), said)


def offered(body: Mapping[str, Any]) -> list[Offered]:
    """The functions of a request in either form, where it leaves the model free to call them."""
    if body.get("tool_choice") == "none" or "NONE" in json.dumps(body.get("toolConfig", "")):
        return []
    tools = _tables(body.get("tools"))
    given = [tool["function"] for tool in tools if isinstance(tool.get("function"), dict)]
    given += [one for tool in tools for one in _tables(tool.get("functionDeclarations"))]
    return [
        Offered(str(its.get("name")), str(its.get("description", "")), its.get("parameters") or {"type": "object"})
        for its in given
    ]


def _tables(given: Any) -> list[dict[str, Any]]:
    """The objects of a list, whatever somebody has sent for one."""
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


# ── OpenAI ───────────────────────────────────────────────────────────────────────────────────────────────────────


def openai_deltas(act: Act, *, indexes: bool = True, ids: bool = True) -> Iterator[dict[str, Any]]:
    """The deltas of a stream: the name of a function first, its arguments in pieces."""
    for place, call in enumerate(act.calls):
        known = {"index": place} if indexes else {}
        name = {"id": f"call_{place}"} if ids else {}
        half = len(call.arguments) // 2
        yield _delta({**known, **name, "type": "function", "function": {"name": call.name, "arguments": ""}})
        for piece in (call.arguments[:half], call.arguments[half:]):
            yield _delta({**known, "function": {"arguments": piece}})


def _delta(call: dict[str, Any]) -> dict[str, Any]:
    return {"tool_calls": [call]}


def openai_whole(act: Act) -> list[dict[str, Any]]:
    return [
        {"id": f"call_{place}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for place, call in enumerate(act.calls)
    ]


def openai_misuse(body: Mapping[str, Any]) -> str:
    """What OpenAI says to a request whose calls and results do not fit; empty: nothing."""
    for place, tool in enumerate(_tables(body.get("tools"))):
        [its] = _tables([tool.get("function")]) or [{}]
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(its.get("name"))):
            return f"Invalid 'tools[{place}].function.name': string does not match pattern."
        schema = its.get("parameters")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            return (
                f"Invalid schema for function '{its.get('name')}': schema must be a JSON Schema of 'type: \"object\"'."
            )
    waiting: set[str] = set()
    for message in _tables(body.get("messages")):
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                return "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            break
        calls = _tables(message.get("tool_calls"))
        waiting = {str(call.get("id", "")) for call in calls}
        if "" in waiting or len(waiting) != len(calls):
            return "Invalid 'messages': ids of tool calls must be unique and not empty."
    if waiting:
        return "An assistant message with 'tool_calls' must be followed by tool messages responding to each of them."
    return ""


# ── Gemini ───────────────────────────────────────────────────────────────────────────────────────────────────────

_KNOWN = {
    "type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties", "required",
    "minProperties", "maxProperties", "minLength", "maxLength", "pattern", "example", "anyOf", "propertyOrdering",
    "default", "items", "minimum", "maximum",
}  # fmt: skip
_TYPES = {"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT"}


def gemini_parts(act: Act) -> list[dict[str, Any]]:
    """Calls as parts: the first of them carries the model's thoughts, signed."""
    return [
        {
            "functionCall": {"name": call.name, "args": json.loads(call.arguments)},
            **({"thoughtSignature": "c2lnbmVk"} if not place else {}),
        }
        for place, call in enumerate(act.calls)
    ]


def gemini_results(parts: Any) -> list[str]:
    """What functions returned, where these parts tell it."""
    found = [its for part in _tables(parts) if isinstance(its := part.get("functionResponse"), dict)]
    return [str(next(iter(its["response"].values()), "")) for its in found if isinstance(its.get("response"), dict)]


def gemini_misuse(body: Mapping[str, Any]) -> str:
    """What Gemini says to a request whose schemas it does not know, or whose results do not fit the calls."""
    for tool in _tables(body.get("tools")):
        for its in _tables(tool.get("functionDeclarations")):
            if isinstance(its.get("parameters"), dict) and (wrong := _unknown(its["parameters"])):
                return f"Invalid JSON payload received. Unknown name \"{wrong}\" at 'tools': Cannot find field."
    contents = _tables(body.get("contents"))
    for said, after in zip(contents, [*contents[1:], {}], strict=True):
        calls = [part for part in _tables(said.get("parts")) if "functionCall" in part]
        if calls and not calls[0].get("thoughtSignature"):  # as Gemini 3 does
            return "Function call is missing a thought_signature in functionCall parts."
        if len(calls) != len(gemini_results(after.get("parts"))):
            return "Please ensure that function response parts are equal to the function call parts of the turn before."
    return ""


def _unknown(schema: Mapping[str, Any]) -> str:
    if wrong := sorted(schema.keys() - _KNOWN):
        return wrong[0]
    if "type" in schema and schema["type"] not in _TYPES:
        return str(schema["type"])
    properties = schema.get("properties")
    inner = [*(properties.values() if isinstance(properties, dict) else ()), *_tables(schema.get("anyOf"))]
    inner += [schema.get("items")]
    return next((found for child in _tables(inner) if (found := _unknown(child))), "")
