"""A Dockerfile carried out without an engine for containers.

A folder stands for the root of the image's file system: the places that the file names are found in it, and apart from
that each command runs as it is written. The files come from the working tree, as far as git knows them; Python and pip
are this machine's.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent.parent
_PLACE = re.compile(r"(?<![\w.])/(?=(?:data|etc|opt|src|usr)\b)")
"""Where an absolute path begins, in a command or an address of a file: `sqlite:////data/x.db` has one too."""
_PIPS = re.compile(r"HOME$|PIP_|.*_PROXY$|.*CERT_|.*CA_BUNDLE$", re.IGNORECASE)
"""What of this machine's environment the steps see: by it pip finds its packages."""
_PYTHONS = (Path(sys.base_prefix) / "bin/python3", Path("/usr/bin/python3"), Path("/usr/local/bin/python3"))


@dataclass(frozen=True)
class Step:
    """A line of the file, as `COPY` and what follows it."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        return [word for word in shlex.split(self.rest) if not word.startswith("--")]

    @property
    def flags(self) -> dict[str, str]:
        """`--chown=10001:10001` and its like, in front of the rest."""
        flags = {}
        for word in shlex.split(self.rest):
            if not word.startswith("--"):
                break
            name, _, value = word[2:].partition("=")
            flags[name] = value
        return flags

    @property
    def command(self) -> list[str]:
        """A command in exec form: what the list says, without a shell."""
        listed = json.loads(self.rest[self.rest.index("[") :])
        assert isinstance(listed, list)
        return listed


def steps(text: str) -> list[Step]:
    """The lines of a Dockerfile, those that go on over several as one."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Step(*line.split(maxsplit=1)) for line in joined.splitlines()]


@dataclass
class Image:
    """What becomes of the steps. Of several stages the last one is left."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    folder: Path = Path()
    user: int = 0
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    signal: signal.Signals = signal.SIGTERM
    stages: list[Path] = field(default_factory=list)
    names: dict[str, Path] = field(default_factory=dict)

    def build(self, text: str, python: Path) -> Image:
        for step in steps(text):
            if step.word == "FROM":
                self._begin(step, python)
            else:
                getattr(self, f"_{step.word.lower()}")(step)  # a word that is not known here fails the test
        return self

    def _begin(self, step: Step, python: Path) -> None:
        """A stage starts from an image with nothing but Python and pip. The one before it is put aside."""
        if self.root.exists():
            aside = self.root.with_name(f"{self.root.name}-{len(self.stages)}")
            self.root.rename(aside)
            self.stages.append(aside)
            self.names = {name: aside if place == self.root else place for name, place in self.names.items()}
        self.root.mkdir()
        if " AS " in step.rest:
            self.names[step.rest.split(" AS ")[1]] = self.root
        base = self.root / "usr/local"
        _do([str(python), "-m", "venv", "--without-pip", str(base)], env={})
        pip = base / "bin/pip"
        pip.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pip "$@"\n')
        pip.chmod(0o755)
        self.env = {"PATH": f"{base}/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        self.folder, self.user, self.command, self.health = self.root, 0, [], []

    def _arg(self, step: Step) -> None:
        """Which image a stage starts from, and here there is but one."""

    def _expose(self, step: Step) -> None:
        """Says something to people."""

    def _run(self, step: Step) -> None:
        machine = {name: value for name, value in os.environ.items() if _PIPS.match(name)}
        _do(["/bin/sh", "-c", self.at_home(step.rest)], env=machine | self.env, cwd=self.folder)

    def _copy(self, step: Step) -> None:
        *sources, target = step.words
        source = self.names[step.flags["from"]] if "from" in step.flags else None
        for name in sources:
            place = self._place(target)
            if source is not None:
                shutil.copytree(source / name.lstrip("/"), place, symlinks=True, dirs_exist_ok=True)
            else:
                self._copy_tracked(name, place, inside=target.endswith("/"))
            if os.geteuid() == 0 and "chown" in step.flags:
                user, group = map(int, step.flags["chown"].split(":"))
                for path in (place, *place.rglob("*")):
                    os.chown(path, user, group, follow_symlinks=False)

    def _copy_tracked(self, name: str, place: Path, *, inside: bool) -> None:
        files = subprocess.check_output(["git", "ls-files", "-z", name], cwd=REPOSITORY, text=True)  # noqa: S603, S607
        assert files, f"git knows no {name}"
        for file in files.rstrip("\0").split("\0"):
            to = place / (Path(file).name if inside else Path(file).relative_to(name))
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / file, to)

    def _env(self, step: Step) -> None:
        for word in step.words:
            name, _, value = word.partition("=")
            self.env[name] = re.sub(r"\$\{?(\w+)\}?", lambda found: self.env[found[1]], self.at_home(value))

    def _workdir(self, step: Step) -> None:
        self.folder = self._place(step.rest)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _user(self, step: Step) -> None:
        self.user = int(step.rest.split(":")[0])

    def _stopsignal(self, step: Step) -> None:
        self.signal = signal.Signals[step.rest]

    def _healthcheck(self, step: Step) -> None:
        self.health = step.command

    def _cmd(self, step: Step) -> None:
        self.command = step.command

    def at_home(self, text: str) -> str:
        """The same with every absolute path in the folder that stands for the root."""
        return _PLACE.sub(f"{self.root}/", text)

    def _place(self, path: str) -> Path:
        return self.root / path.lstrip("/") if path.startswith("/") else self.folder / path

    async def start(self, command: list[str], **variables: str) -> asyncio.subprocess.Process:
        """What `docker run -e NAME=value IMAGE COMMAND` starts."""
        return await asyncio.create_subprocess_exec(
            *map(self.at_home, command),
            env=self.env | variables,
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            **other(self.user),
        )

    def files(self) -> dict[Path, tuple[int, int]]:
        """All that is in the image, by what changes when it is written."""
        return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in self.root.rglob("*")}


def other(user: int) -> dict[str, Any]:
    """How a process is started as somebody else; whoever is not root stays who they are."""
    return {"user": user, "group": user, "extra_groups": ()} if os.geteuid() == 0 else {}


def pythons(user: int) -> Iterator[Path]:
    """The Pythons of this machine that this user may run and that are new enough."""
    asked = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
    for python in _PYTHONS:
        try:
            ended = subprocess.run([python, "-c", asked], cwd="/", capture_output=True, check=False, **other(user))  # noqa: S603
        except OSError:
            continue
        if ended.returncode == 0:
            yield python


def _do(command: list[str], *, env: dict[str, str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
