"""JSON schema in Gemini's dialect: it refuses a whole request for one keyword that it does not know. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEPT = {"description", "required", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength", "nullable"}
_FORMATS = {"string": {"date-time", "enum"}, "integer": {"int32", "int64"}, "number": {"float", "double"}}
_DEPTH = 12
"""A schema that is deeper, or that contains itself, ends there as anything."""


def narrowed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a function's declaration says of its parameters: nothing, where there are none."""
    schema = _narrow(parameters, parameters, 0)
    return {"parameters": schema} if schema.get("properties") else {}


def _narrow(schema: Any, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return {"type": "OBJECT"}
    schema = _resolved(schema, root)
    made: dict[str, Any] = {key: schema[key] for key in _KEPT if key in schema}
    kinds = schema.get("type")
    kinds = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)]
    choices = [choice for key in ("anyOf", "oneOf") for choice in schema.get(key) or () if isinstance(choice, Mapping)]
    choices += [{"type": kind} for kind in kinds if kind != "null"] if len(kinds) > 1 and not choices else []
    real = [choice for choice in choices if choice.get("type") != "null"]
    if "null" in kinds or len(real) < len(choices):
        made["nullable"] = True
    if len(real) == 1:
        return {**_narrow({**real[0], **_rest(schema)}, root, depth + 1), **made}
    if real:
        return {**made, "anyOf": [_narrow(choice, root, depth + 1) for choice in real]}
    values = schema.get("enum") if "enum" in schema else [schema["const"]] if "const" in schema else None
    if values is not None:  # it knows words alone
        words = [str(value) for value in values if value is not None]
        return {**made, "type": "STRING", "format": "enum", "enum": words}
    kind = next((kind for kind in kinds if kind != "null"), "object" if "properties" in schema else "string")
    made["type"] = kind.upper()
    if schema.get("format") in _FORMATS.get(kind, ()):
        made["format"] = schema["format"]
    if kind == "array":
        made["items"] = _narrow(schema.get("items", {"type": "string"}), root, depth + 1)
    if kind == "object":
        properties = schema.get("properties") or {}
        made["properties"] = {name: _narrow(its, root, depth + 1) for name, its in properties.items()}
        made["required"] = [name for name in schema.get("required") or () if name in properties]
        made = {key: value for key, value in made.items() if value or key not in ("properties", "required")}
    return made


def _rest(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside the choices."""
    return {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf", "type", "nullable")}


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with what it refers to in its place; `allOf` counts as one."""
    for _ in range(_DEPTH):
        if isinstance(place := schema.get("$ref"), str):
            found: Any = root
            for step in place.removeprefix("#").strip("/").split("/"):
                found = found.get(step, {}) if isinstance(found, Mapping) else {}
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**found, **beside} if isinstance(found, Mapping) else beside
        elif isinstance(all_of := schema.get("allOf"), list):
            merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
            for part in all_of:
                merged = {**part, **merged} if isinstance(part, Mapping) else merged
            schema = merged
        else:
            break
    return schema
