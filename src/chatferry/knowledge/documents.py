"""Files as passages: which ones the operator named, what is in them, and why one is not read."""

from __future__ import annotations

import csv
import glob
import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from chatferry.errors import ChatferryError
from chatferry.knowledge.cutting import CUTS, MOST, READABLE, Passage, cut_text
from chatferry.knowledge.terms import VERSION

LARGEST = 5_000_000
"""Bytes of a file: some three thousand passages. One that is larger is better divided."""
_FILES = 10_000
"""Files of an assistant."""


class Unread(ChatferryError):
    """A file cannot be read; says why, and what mends it."""


class Document(msgspec.Struct, frozen=True):
    """A file that the operator named. `name`: what people are told of where it is."""

    name: str
    path: Path


class Amiss(msgspec.Struct, frozen=True):
    """A pattern leads to nothing, or to less than it says: why, and which one may be meant, where that is known."""

    why: str
    meant: str = ""


class Named(msgspec.Struct, frozen=True):
    """What a list of patterns leads to."""

    documents: tuple[Document, ...]
    warnings: tuple[Amiss, ...]
    whole: bool
    """Every folder was there, and open to us: what is not among the documents is gone."""


def named(patterns: Sequence[str], folder: Path, known: Collection[str] = ()) -> Named:
    """The files that these patterns name, from the folder on. A link leads nowhere but to files of the same pattern.

    known: the names of those that were read before.
    """
    found: dict[str, Document] = {}
    warnings: list[Amiss] = []
    whole = True
    roots = {folder}
    for pattern in patterns:
        base = _base(folder, pattern)
        roots.add(base.parent)
        if not os.path.exists(base):
            inside = f"{_name(base, folder, base)}/"
            stays = "; what was read from it before stays" if any(name.startswith(inside) for name in known) else ""
            warnings.append(Amiss(f"{pattern}: {base} is not there{stays}"))
            whole = False
            continue
        before = len(found)
        for path in islice(_matching(folder, pattern, base), _FILES + 1):
            found.setdefault(_name(path, folder, base), Document(_name(path, folder, base), path))
        if len(found) == before and os.path.isdir(folder / pattern):
            meant = f"{pattern.rstrip('/')}/**/*.md"
            warnings.append(Amiss(f"{pattern}: is a folder, and names no file", meant))
        elif len(found) == before:
            warnings.append(Amiss(f"{pattern}: matches no file"))
        if len(found) > _FILES:
            warnings.append(Amiss(f"{pattern}: more than {_FILES} files; the rest is not read"))
    for name in sorted(set(known) - found.keys()):
        if why := _hidden(name, roots):
            warnings.append(Amiss(f"{name}: cannot be looked for: {why}; what was read before stays"))
            whole = False
            break
    return Named(tuple(sorted(found.values(), key=lambda one: one.name))[:_FILES], tuple(warnings), whole)


def contents(path: Path) -> tuple[str, bytes]:
    """The digest of a file, and what is in it. Raises Unread."""
    if path.suffix.lower() not in READABLE:
        raise Unread(f"cannot be read: a file is one of {' '.join(READABLE)}")
    raw = _bytes_of(path)
    return hashlib.sha256(f"{VERSION} {MOST} ".encode() + raw).hexdigest(), raw


def passages_of(path: Path, text: str) -> Iterator[Passage]:
    """The passages of a text, which are cut as they are taken, in the manner of its file. Raises Unread."""
    cut = CUTS.get(path.suffix.lower(), cut_text)
    try:
        yield from cut(text)
    except csv.Error as fault:
        raise Unread(f"is no table that can be read: {fault}") from None


def decoded(raw: bytes) -> str:
    """The text of a file that is one. Raises Unread."""
    try:
        text = raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        raise Unread('is not written in UTF-8; save it again as UTF-8 (in Excel: "CSV UTF-8")') from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _bytes_of(path: Path) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe must not keep us waiting
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Unread("is no file")
            raw = file.read(LARGEST + 1)
    except OSError as fault:
        raise Unread(f"cannot be read: {fault.strerror}") from None
    if len(raw) > LARGEST:
        raise Unread(f"is larger than {LARGEST // 1_000_000} MB; divide it into several files")
    return raw


def _base(folder: Path, pattern: str) -> Path:
    """The folder that a pattern does not leave: what stands before its first wildcard."""
    fixed: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return folder.joinpath(*fixed)


def _hidden(name: str, roots: Collection[Path]) -> str:
    """Why nobody can say whether a file is gone; empty: it can be said. What finds files passes over such folders."""
    for root in roots:
        try:
            (root / name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as fault:
            return fault.strerror or type(fault).__name__
    return ""


def _matching(folder: Path, pattern: str, base: Path) -> Iterator[Path]:
    inside = base.resolve()
    plain = not glob.has_magic(pattern)
    for match in glob.iglob(pattern, root_dir=folder, recursive=True):
        path = folder / match
        # One that is named itself may be a link to anywhere; of those that were only found, it may not.
        if path.is_file() and (plain or path.resolve().is_relative_to(inside)):
            yield path


def _name(path: Path, folder: Path, base: Path) -> str:
    """From the folder on; of a file elsewhere no more than the folder that was named, as people are told it."""
    path, folder = Path(os.path.normpath(path)), Path(os.path.normpath(folder))
    above = folder if path.is_relative_to(folder) else Path(os.path.normpath(base)).parent
    return path.relative_to(above).as_posix().encode("utf-8", "replace").decode()  # not every name is a text
