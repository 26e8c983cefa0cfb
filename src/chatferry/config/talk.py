"""What [commands], [[replies]] and the sessions of assistants owe each other and the rest; and languages by file.

Like `rules`, it looks at the draft, and so speaks also where a table has faults of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from chatferry.config.assistant import SessionSettings
from chatferry.config.file import Draft, Key, suggest
from chatferry.config.tables import CommandSettings
from chatferry.text.likeness import folded

_USUAL = CommandSettings().model_dump()
_START = SessionSettings().start


def locate(draft: Draft) -> None:
    """Let paths be counted from the folder of the configuration."""
    for table in draft.tables("assistants").values():
        language = table.get("language")
        if isinstance(language, str) and language.endswith(".toml"):
            table["language"] = str((Path(draft.source).parent / language).absolute())


def check(draft: Draft) -> None:
    """Pin faults to commands that are two things, to sessions that lead nowhere, and to replies that cannot be."""
    assistants = draft.tables("assistants")
    _check_commands(draft, assistants)
    for name, table in assistants.items():
        session = table.get("session")
        if isinstance(session, dict):
            _check_outside(draft, name, session.get("outside"), assistants)
        _check_knowledge(draft, ("assistants", name), table)
    replies = draft.tree.get("replies")
    known = {*draft.tables("channels"), *(("api",) if "api" in draft.tree else ())}
    for index, rule in enumerate(replies if isinstance(replies, list) else ()):
        if isinstance(rule, dict):
            _check_reply(draft, ("replies", index), rule, known)


def _check_commands(draft: Draft, assistants: Mapping[str, Mapping[str, object]]) -> None:
    owners: dict[str, str] = {}
    for setting, index, said in _commands(draft):
        owner = owners.setdefault(folded(said), setting)
        if owner != setting:
            key: Key = ("commands", setting, index) if setting in draft.table("commands") else ("commands", owner)
            draft.fault(key, f"is in {owner} and in {setting}", "leave it out of one of them")
    for name, table in assistants.items():
        session = table.get("session")
        start = session.get("start", _START) if isinstance(session, dict) else None
        if isinstance(start, str) and (owner := owners.get(folded(start), "")):
            key = ("assistants", name, "session", "start")
            draft.fault(key, f"is in commands.{owner} too", "leave it out of one of them")


def _commands(draft: Draft) -> Iterator[tuple[str, int, str]]:
    """The name of every command, with the setting and its place in it."""
    for setting, names in (_USUAL | draft.table("commands")).items():
        for index, said in enumerate(names if isinstance(names, list | tuple) else ()):
            if setting in _USUAL and isinstance(said, str):
                yield setting, index, said


def _check_outside(draft: Draft, name: str, outside: object, assistants: Collection[str]) -> None:
    key = ("assistants", name, "session", "outside")
    if outside == name:
        draft.fault(key, "is the assistant itself", '"ignore", another assistant, or a text that is said')
        return
    # A text of one word is rare, and one that is nearly a name is a slip, which people would be told as the answer.
    known = {*assistants, "ignore"}
    if isinstance(outside, str) and outside not in known and re.fullmatch(r"[\w-]+", outside):
        close = get_close_matches(outside.lower(), known, 1)
        if close:
            draft.fault(key, "is no text and names nothing that exists", f"did you mean `{close[0]}`?")


def _check_reply(draft: Draft, key: Key, rule: Mapping[str, object], known: Collection[str]) -> None:
    given = [setting for setting in ("reply", "python") if setting in rule]
    if len(given) != 1:
        problem = "has reply and python, and can do one" if given else "does nothing"
        draft.fault(key, problem, 'reply = "..." or python = "module:function"')
    match = rule.get("match")
    if rule.get("by") == "regex" and isinstance(match, str):
        import regex  # as `replies` does, and only for those who have one

        try:
            regex.compile(match, regex.IGNORECASE)
        except (regex.error, OverflowError, RecursionError) as error:
            at = getattr(error, "pos", None)  # what it says itself may quote the pattern
            problem = f"is no regular expression{'' if at is None else f', from character {at + 1} on'}"
            draft.fault((*key, "match"), problem, 'by = "exact" compares it as it stands')
    channels = rule.get("channels")
    for index, name in enumerate(channels if isinstance(channels, list) else ()):
        if isinstance(name, str) and known and name not in known:
            draft.fault((*key, "channels", index), "names nothing that exists", suggest(name, known))


def _check_knowledge(draft: Draft, key: Key, table: Mapping[str, object]) -> None:
    """Patterns that can name something to read, and nothing that has to rest on them where there are none."""
    patterns = table.get("knowledge")
    for index, pattern in enumerate(patterns if isinstance(patterns, list) else ()):
        if not isinstance(pattern, str):
            continue
        from chatferry.knowledge.cutting import READABLE  # only for those who have some

        place, suffix = (*key, "knowledge", index), Path(pattern).suffix.lower()
        if not pattern.strip() or "\0" in pattern:
            draft.fault(place, "names no file", 'a pattern such as "docs/**/*.md"')
        elif re.search(r"[^/]\*\*|\*\*[^/]", pattern):
            draft.fault(place, "has ** beside something else", 'a folder of its own: "docs/**/*.md"')
        elif re.fullmatch(r"\.[a-z0-9]+", suffix) and suffix not in READABLE:
            draft.fault(place, "names files that are not read", f"files that end in {', '.join(READABLE)}")
    if not patterns:
        for setting, value in (("ground", "strict"), ("checker", None)):
            if setting in table and value in (None, table[setting]):
                draft.fault((*key, setting), "needs something to rest on", 'knowledge = ["docs/**/*.md", "faq.csv"]')
