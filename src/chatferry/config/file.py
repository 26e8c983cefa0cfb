"""A configuration before it is believed: its values, where each came from, and what is wrong with them.

No message made here shows a value: anything may be a secret, pasted into the wrong place.
"""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from dotenv import dotenv_values

from chatferry.errors import ConfigError

T = TypeVar("T")
Key = tuple[str | int, ...]
"""The way to a setting: `("models", "default", "api_key")`."""

_TOKEN = re.compile(
    r"""\"{3}(?:\\.|[^\\])*?\"{3,5} | '{3}.*?'{3,5} | "(?:\\.|[^"\\])*" | '[^']*' | \#[^\n]* | [\[\]{}\n]""",
    re.DOTALL | re.VERBOSE,
)
"""What may hide the end of a statement, or is it: strings, comments, brackets, line breaks."""

_REFERENCE = re.compile(r"(?P<escape>\$\$\{)|\$\{(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\$\{)")


def variables(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, and what `.env` in the folder adds to it.

    Blanks around a value go (a key read from a file often ends in a newline), and an empty variable is not set.
    """
    path = folder / ".env"
    # Without interpolation: python-dotenv would fill it from os.environ, and a `$` in a secret is a `$`.
    added = dotenv_values(stream=io.StringIO(read(path)), interpolate=False) if path.is_file() else {}
    both = {name: (value or "").strip() for name, value in {**added, **environ}.items()}
    return {name: value for name, value in both.items() if value}


def read(path: Path) -> str:
    """The text of a file. Raises `ConfigError`."""
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        problem = error.strerror or "cannot be read"
    except UnicodeDecodeError:
        problem = "is not written in UTF-8"
    raise ConfigError(f"{path}: {problem}")


class Draft:
    """The tree of settings, to which faults can be pinned."""

    def __init__(self, source: str, text: str = "") -> None:
        """Raises `ConfigError` where the text is no TOML, as nothing more can be said about it then."""
        self.source = source
        self.tree: dict[str, Any] = {}
        self._text = text
        self._origins: dict[Key, str] = {}
        self._faults: dict[Key, tuple[str, str]] = {}
        problem = ""
        try:
            self.tree = tomllib.loads(text)
        except ValueError as error:  # TOMLDecodeError, and what int() says to ten thousand digits
            problem = str(error)
        if problem:
            at = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", problem)
            line = (at[1] or str(text.count("\n") + 1)) if at else ""
            raise ConfigError(f"{source}{line and ':' + line}  this is not TOML: {problem}")

    def table(self, section: str) -> dict[str, Any]:
        """A section, or an empty table where there is none."""
        found = self.tree.get(section)
        return found if isinstance(found, dict) else {}

    def at(self, key: Key) -> Any:
        """What stands there; None: nothing."""
        node: Any = self.tree
        for part in key:
            known = (isinstance(node, dict) and part in node) or (isinstance(node, list) and part in range(len(node)))
            node = node[part] if known else None
        return node

    def tables(self, section: str) -> dict[str, dict[str, Any]]:
        """The tables in a section; what should be one and is not is left out, for the models to complain of."""
        return {name: table for name, table in self.table(section).items() if isinstance(table, dict)}

    def interpolate(self, environ: Mapping[str, str]) -> None:
        """Put variables in the place of `${NAME}` and `${NAME:-default}`; `$${` stands for `${`."""
        self.tree = self._interpolated(self.tree, (), environ)

    def _interpolated(self, node: Any, key: Key, environ: Mapping[str, str]) -> Any:
        if isinstance(node, dict):
            return {name: self._interpolated(child, (*key, name), environ) for name, child in node.items()}
        if isinstance(node, list):
            return [self._interpolated(child, (*key, index), environ) for index, child in enumerate(node)]
        if not isinstance(node, str):
            return node

        def value(found: re.Match[str]) -> str:
            if found["escape"]:
                return "${"
            if found["broken"]:
                self.fault(key, "`${` begins no ${NAME}", "write $${ for the two characters as they are")
                return found[0]
            given = environ.get(found["name"], found["default"])
            if given is None:
                self.fault(key, f"{found['name']} is not set", set_it(found["name"]))
            return found[0] if given is None else given

        return _REFERENCE.sub(value, node)

    def take(self, table: Key, names: Mapping[str, str], environ: Mapping[str, str]) -> None:
        """Put the variables that are set into a table, over what is there. `names`: setting to variable."""
        node: Any = self.tree
        for part in table:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                return
        for setting, name in names.items():
            key = (*table, setting)
            if name in environ:
                node[setting] = environ[name]
                self._faults.pop(key, None)
            if name in environ or setting not in node:
                self._origins[key] = name

    def only(self, section: str) -> Draft:
        """This draft with the faults of one section, as if the others had none."""
        self._faults = {key: fault for key, fault in self._faults.items() if key[0] == section}
        return self

    def origin(self, key: Key) -> str:
        """The variable that a setting was taken from, or would be; else empty."""
        return _nearest(self._origins, key, "")

    def fault(self, key: Key, problem: str, mend: str = "") -> None:
        """Note what is wrong with a setting. The first fault stays: those after it mostly follow from it."""
        self._faults.setdefault(key, (problem, mend))

    @property
    def sound(self) -> bool:
        return not self._faults

    def error(self) -> ConfigError:
        """All faults, each with its place and what mends it, in the order of the file."""
        lines = _lines(self._text)
        placed = []
        for key, (problem, mend) in self._faults.items():
            line = _nearest(lines, key, 0)
            name = ".".join(map(str, key))
            where = f"{self.source}:{line}  {name}" if line else f"{self.source}  {name}"
            if origin := self.origin(key):
                line, where = 0, f"environment  {origin}"
            placed.append((line, f"{where}: {problem}" + (f"\n    mend: {mend}" if mend else "")))
        placed.sort(key=lambda fault: fault[0])
        return ConfigError("\n".join(text for _, text in placed))


def set_it(name: str) -> str:
    """How to set a variable."""
    return f"{name}=... in .env or the environment"


def suggest(name: str, known: Iterable[str]) -> str:
    """What may have been meant by a name that is not known."""
    known = sorted(known)
    close = get_close_matches(name, known, 1)
    return f"did you mean `{close[0]}`?" if close else f"one of {', '.join(f'`{name}`' for name in known)}"


def _nearest(known: Mapping[Key, T], key: Key, default: T) -> T:
    """What is known of a key, or else of the table it is in."""
    return next((known[key[:end]] for end in range(len(key), 0, -1) if key[:end] in known), default)


def _lines(text: str) -> dict[Key, int]:
    """The line on which each table and key begins, in a text that is TOML."""
    found: dict[Key, int] = {}
    table: Key = ()
    listed: dict[Key, int] = {}
    for begin, statement in _statements(text):
        keys = list(_keys(tomllib.loads(statement)))
        header = statement.lstrip().startswith("[")
        if statement.lstrip().startswith("[["):
            array = keys[-1][:-1]
            listed[array] = listed.get(array, -1) + 1
            keys[-1] = (*array, listed[array])
        for key in keys:
            found.setdefault((() if header else table) + key, begin)
        table = keys[-1] if header else table
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The text in pieces that can be read alone, each with its first line: no bracket or string is open at an end."""
    begin, line, depth = 0, 1, 0
    for token in _TOKEN.finditer(text + "\n"):
        if token[0] == "\n" and not depth:
            yield line, text[begin : token.start()]
            line += text.count("\n", begin, token.start()) + 1
            begin = token.end()
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)


def _keys(node: Any, key: Key = ()) -> Iterator[Key]:
    """Every key in a tree, a table before what is in it."""
    if key:
        yield key
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children:
        yield from _keys(child, (*key, name))
