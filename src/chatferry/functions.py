"""Functions of the operator, named `module:function` in the configuration: found, imported, run beside our own work."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import importlib
import sys
import threading
from collections.abc import Callable, Iterable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from chatferry.errors import ConfigError, TryLater
from chatferry.model import Finding

_CROWD = 64
"""Functions that may run at once, those included that never end."""
_THREAD = "function "
"""What the names of their threads begin with."""


def reach(source: str) -> None:
    """Let modules be files beside the configuration."""
    folder = _folder(source)
    if folder not in sys.path:
        sys.path.append(folder)  # at the end: no file there can stand in for a module of anybody else's


def find(place: str, source: str, form: str) -> Callable[..., Any] | Finding:
    """The function, its module imported; or what is wrong with it. `form`: how it is to be defined, as `(text)`."""
    subject, (module, name) = f"python {place}", place.split(":")
    try:
        found = _load(module, source)
    except ModuleNotFoundError as missing:
        if missing.name is None or not f"{module}.".startswith(f"{missing.name}."):
            return Finding(False, subject, f"{module} needs {missing.name}, which is not there", "install it")
        mend = f"write {module.replace('.', '/')}.py beside {source}, or install it where chatferry is"
        parent = sys.modules.get(missing.name.rpartition(".")[0])
        where = f": {parent.__name__} is {next(iter(getattr(parent, '__path__', [])), parent)}" if parent else ""
        return Finding(False, subject, f"there is no module {missing.name}{where}", mend)
    except (Exception, SystemExit) as bug:  # noqa: BLE001 - anything may happen in there
        mend = f'`python -c "import {module}"` beside {source} shows where'
        return Finding(False, subject, f"{module} cannot be imported: {told(bug)}", mend)
    function = getattr(found, name, None)
    if not callable(function):
        mend = f"define {name}{form} in {getattr(found, '__file__', None) or module}"
        return Finding(False, subject, f"{module} has no function {name}", mend)
    made: Callable[..., Any] = function
    return made


def _load(module: str, source: str) -> ModuleType:
    """The module; one beside the configuration is meant where another has the same name, but for Python's own."""
    top = module.partition(".")[0]
    if top not in sys.modules and top not in sys.stdlib_module_names:
        spec = PathFinder.find_spec(top, [_folder(source)])
        if spec is not None and spec.loader is not None:
            sys.modules[top] = made = module_from_spec(spec)
            try:
                spec.loader.exec_module(made)
            except BaseException:
                sys.modules.pop(top, None)
                raise
    return importlib.import_module(module)


def _folder(source: str) -> str:
    return str(Path(source).parent.absolute())


def sound(source: str, section: str, findings: Iterable[Finding]) -> None:
    """Raises ConfigError where a function that a section of the configuration names cannot be called."""
    lines = [
        f"{source}  {section}, {found.subject}: {found.detail}\n    mend: {found.mend}"
        for found in findings
        if not found.ok
    ]
    if lines:
        raise ConfigError("\n".join(lines))


def crowded() -> bool:
    """Do as many functions run as may?"""
    return sum(thread.name.startswith(_THREAD) for thread in threading.enumerate()) >= _CROWD


async def threaded(work: Callable[[], Any], place: str) -> Any:
    """The result of a function that may block, or never end: in a thread of its own, for which no exit waits."""
    if crowded():
        raise TryLater(f"{place}: {_CROWD} functions run already", after=1.0)
    done: concurrent.futures.Future[tuple[Any, BaseException | None]] = concurrent.futures.Future()
    done.set_running_or_notify_cancel()  # from now on nobody can cancel it, and its result is welcome
    context = contextvars.copy_context()

    def run() -> None:
        try:
            done.set_result((context.run(work), None))
        except BaseException as bug:  # noqa: BLE001 - as a value, as some cannot be raised in a future
            done.set_result((None, bug))

    threading.Thread(target=run, name=f"{_THREAD}{place}", daemon=True).start()
    said, bug = await asyncio.wrap_future(done)
    if bug is not None:
        raise bug
    return said


def told(bug: BaseException) -> str:
    """What a fault of theirs says."""
    return f"{type(bug).__name__}: {bug}" if str(bug) else type(bug).__name__
