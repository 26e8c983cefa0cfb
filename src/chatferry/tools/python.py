"""Functions of the operator as tools: what the model reads of them is their signature and their docstring."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import (
    Annotated,
    Any,
    NotRequired,  # pydantic wants these before Python 3.12
    get_origin,
    get_type_hints,
)

import structlog
from pydantic import ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError, with_config
from pydantic_core import to_json
from typing_extensions import TypedDict

from chatferry.engines.base import Result, Tool
from chatferry.errors import TryLater
from chatferry.functions import crowded, find, threaded, told
from chatferry.model import Finding
from chatferry.tools.base import Caller

log = structlog.get_logger(__name__)

_PATIENCE, _LOOK = 10.0, 0.1
"""Seconds that a plain function waits for others to end, and between two looks whether one has."""


class Python:
    """A function, plain or async. One that has a parameter `caller` is told for whom it is called."""

    def __init__(self, function: Callable[..., Any], place: str = "") -> None:
        """Raises TypeError where nobody could call it with what a model says."""
        self._function = function
        self._place = place or function.__name__
        self.confirm = bool(getattr(function, "confirm", False))
        """The function itself says that the person has to say yes first: `function.confirm = True`."""
        hints = _hints(function)
        given = [its for its in inspect.signature(function).parameters.values() if _told(its)]
        self._caller = next((its.name for its in given if _is_caller(its, hints)), None)
        doc = inspect.getdoc(function) or ""
        about, described = _read(doc)
        fields = {
            its.name: _field(its, hints.get(its.name), described.get(its.name, ""))
            for its in given
            if its.name != self._caller
        }
        # A dict and no model: a parameter may then have any name, and what is left out is left to the function.
        wanted = with_config(ConfigDict(extra="forbid", coerce_numbers_to_str=True))(TypedDict("Arguments", fields))  # type: ignore[operator]
        try:
            self._arguments: TypeAdapter[dict[str, Any]] = TypeAdapter(wanted)
            schema = self._arguments.json_schema()
        except PydanticUserError as fault:
            why = fault.message.partition(". ")[0]  # the rest is for who writes pydantic's models
            raise TypeError(f"has a parameter of a type that no model can give: {why}") from fault
        self.tool = Tool(self._place.rpartition(":")[2], about, _plain(schema))

    def misfit(self, arguments: Mapping[str, Any]) -> str:
        given = self._given(arguments)
        return given if isinstance(given, str) else ""

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> Result:
        given = self._given(arguments)
        if isinstance(given, str):
            return Result(given, failed=True)
        if self._caller is not None:
            given[self._caller] = caller
        work = partial(self._function, **given)
        try:
            said = work() if inspect.iscoroutinefunction(self._function) else await self._in_turn(work)
            if inspect.isawaitable(said):
                said = await said
            return Result(_words(said))
        except TryLater as fault:
            log.warning("tool not called", turn=caller.turn, tool=self._place, error=str(fault))
            return Result("Not called: too much is going on. Perhaps later.", failed=True)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as bug:  # a panic of Rust's is no Exception, and would end the process
            log.warning("tool failed", turn=caller.turn, tool=self._place, error=told(bug), exc_info=bug)
            return Result(f"It failed: {type(bug).__name__}.", failed=True)

    def _given(self, arguments: Mapping[str, Any]) -> dict[str, Any] | str:
        """What the function is called with; or why it cannot be."""
        try:
            return self._arguments.validate_python(arguments)
        except ValidationError as misfit:
            return f"Not called: {_misfit(misfit)}"

    async def _in_turn(self, work: Callable[[], Any]) -> Any:
        """What it returns, once there is room for it. Raises TryLater where there is none for too long."""
        until = asyncio.get_running_loop().time() + _PATIENCE
        while crowded() and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 - they end in threads
            await asyncio.sleep(_LOOK)
        return await threaded(work, self._place)


def look(place: str, source: str) -> Python | Finding:
    """The tool at `module:function`; or what is wrong with it, and what mends it."""
    function = find(place, source, "(...)")
    if isinstance(function, Finding):
        return function
    try:
        return Python(function, place)
    except TypeError as fault:
        mend = f"give the parameters of {place.rpartition(':')[2]} names, and types such as str, int, bool or Literal"
        return Finding(False, f"python {place}", str(fault), mend)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function if inspect.isroutine(function) else type(function).__call__, include_extras=True)
    except (NameError, AttributeError, TypeError) as fault:
        raise TypeError(f"has annotations that cannot be read: {fault}") from fault


def _told(its: inspect.Parameter) -> bool:
    """Is it a parameter that has to be given, by its name?"""
    if its.kind is its.POSITIONAL_ONLY and its.default is its.empty:
        raise TypeError(f"has a parameter {its.name} that cannot be given by name")
    return its.kind in (its.POSITIONAL_OR_KEYWORD, its.KEYWORD_ONLY)


def _is_caller(its: inspect.Parameter, hints: Mapping[str, Any]) -> bool:
    return its.name == "caller" or hints.get(its.name) is Caller


def _field(its: inspect.Parameter, hint: Any, described: str) -> Any:
    optional = its.default is not its.empty
    if hint is None:
        hint = type(its.default) if optional and its.default is not None else Any
    extra: dict[str, Any] = {}
    if optional and isinstance(its.default, str | int | float | bool):
        extra["json_schema_extra"] = {"default": its.default}
    if described and not (get_origin(hint) is Annotated and any(_describes(note) for note in hint.__metadata__)):
        extra["description"] = described
    hint = Annotated[hint, Field(**extra)] if extra else hint
    return NotRequired[hint] if optional else hint


def _describes(note: Any) -> bool:
    return bool(getattr(note, "description", None))


def _plain(schema: Any) -> Any:
    """Without the titles, which say a name again."""
    if isinstance(schema, list):
        return [_plain(child) for child in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: {name: _plain(its) for name, its in child.items()} if key in ("properties", "$defs") else _plain(child)
        for key, child in schema.items()
        if not (key == "title" and isinstance(child, str))
    }
    return {"properties": {}} | kept if kept.get("type") == "object" and "properties" not in kept else kept


def _misfit(misfit: ValidationError) -> str:
    """What is wrong with the arguments, for the model to do better."""
    lines = [
        f"{'.'.join(map(str, error['loc'])) or 'the arguments'}: {error['msg']}"
        for error in misfit.errors(include_url=False, include_context=False, include_input=False)[:5]
    ]
    return "; ".join(lines)


def _words(said: Any) -> str:
    """What a function returned, for a model to read: a text as it is, all else as JSON."""
    if said is None:
        return "Done."
    if isinstance(said, str):
        return said or "(nothing)"
    return to_json(said, fallback=str).decode()


# ── docstrings ───────────────────────────────────────────────────────────────────────────────────────────────────

_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Params|Returns?|Raises|Yields?|Examples?|Notes?):?\s*$", re.MULTILINE
)
_UNDERLINE = re.compile(r"^-{3,}\s*\n", re.MULTILINE)
_GOOGLE = re.compile(r"^\s+\*{0,2}(?P<name>\w+)\s*(?:\([^)]*\))?:\s*(?P<text>.*)$")
_NUMPY = re.compile(r"^(?P<name>\w+)\s*:.*$|^(?P<alone>\w+)$")
_SPHINX = re.compile(r"^\s*:param\s+(?:[^:]*\s)?(?P<name>\w+):\s*(?P<text>(?:.|\n(?!\s*:))*)", re.MULTILINE)
_FIELDS = re.compile(r"^\s*:(param|type|returns?|rtype|raises)\b", re.MULTILINE)


def _read(doc: str) -> tuple[str, dict[str, str]]:
    """A docstring as what the function does, and what its parameters are: in Google's, NumPy's or Sphinx's form."""
    described = {found["name"]: " ".join(found["text"].split()) for found in _SPHINX.finditer(doc)}
    begins = [found.start() for pattern in (_SECTION, _FIELDS) if (found := pattern.search(doc))]
    about = doc[: min(begins, default=len(doc))].strip()
    sections = list(_SECTION.finditer(doc))
    for place, found in enumerate(sections):
        if found[1] in ("Args", "Arguments", "Parameters", "Params"):
            end = sections[place + 1].start() if place + 1 < len(sections) else len(doc)
            body = doc[found.end() : end].lstrip("\n")
            numpy = _UNDERLINE.match(body)
            described |= _numpy(_UNDERLINE.sub("", body)) if numpy else _google(body)
    return about, described


def _google(body: str) -> dict[str, str]:
    """Lines as `name (type): what it is`, which may go on in lines that are further in."""
    found: dict[str, list[str]] = {}
    inner, name = None, ""
    for line in body.splitlines():
        margin = len(line) - len(line.lstrip())
        if not line.strip():
            continue
        inner = margin if inner is None else inner
        if margin < inner or not margin:
            break
        if margin == inner and (begins := _GOOGLE.match(line)):
            name = begins["name"]
            found[name] = [begins["text"]]
        elif name:
            found[name].append(line.strip())
    return {name: " ".join(text).strip() for name, text in found.items()}


def _numpy(body: str) -> dict[str, str]:
    """Lines as `name : type`, and below each, further in, what it is."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in body.splitlines():
        if line[:1].isspace() and name:
            found[name].append(line.strip())
        elif begins := _NUMPY.match(line):
            name = begins["name"] or begins["alone"]
            found[name] = []
    return {name: " ".join(text).strip() for name, text in found.items()}
