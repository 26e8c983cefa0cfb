"""What people say to the gateway itself, and what it says to that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from chatferry.config import CommandSettings, SessionSettings
from chatferry.text.likeness import folded
from chatferry.words import Words

Name = Literal["start", "stop", "clear", "history", "memory", "forget", "privacy", "help"]

_LONGEST = 100
"""Characters of the longest text, or first word, that can be a command: their names have 40 at most."""
_START = SessionSettings().start


class Command(NamedTuple):
    """A command, and what was said behind it as it was said: the question that begins a session."""

    name: Name
    rest: str = ""


class Commands:
    """Tells commands from what is for the assistant. The whole text is the command; only `start` takes a question."""

    def __init__(self, settings: CommandSettings, *, notice: bool = False) -> None:
        """notice: there is one about privacy."""
        given: dict[Name, tuple[str, ...]] = {
            "stop": settings.stop,
            "clear": settings.clear,
            "history": settings.history,
            "memory": settings.memory,
            "forget": settings.forget,
            "privacy": settings.privacy if notice else (),
            "help": settings.help,
        }
        self._named: dict[str, Name] = {folded(said): name for name, names in given.items() for said in names}
        self._first = {name: names[0] for name, names in given.items() if names}

    def read(self, text: str, session: SessionSettings | None) -> Command | None:
        """The command that a text is, for an assistant with such sessions. Takes any text."""
        said = text.strip()
        if len(said) <= _LONGEST and (name := self._named.get(folded(said))):
            return Command(name)
        word = said[: _LONGEST + 1].split(maxsplit=1)[0] if said else ""
        if not word or len(word) > _LONGEST or folded(word) != folded(session.start if session else _START):
            return None
        return Command("start", said[len(word) :].lstrip())

    def answer(
        self,
        name: str,
        result: str,
        words: Words,
        session: SessionSettings | None,
        link: str | None,
        *,
        remembers: bool = False,
        public: bool = False,
    ) -> str:
        """What is said to a command, or to whoever comes after the session `expired`.

        result: what came of it (`sessions`). link: the history's page, where people can reach it. remembers: more is
        kept than what was said. public: what is known of whoever asks is not for here.
        """
        match name, result:
            case "start", "ongoing":
                return words.session_ongoing
            case "start", "open":
                return words.session_open
            case "start", _:
                return words.session_began
            case "stop", "ended":
                return _ended(words, session)
            case "stop", "stopped":
                return words.answer_stopped
            case "stop", _:
                return words.nothing_to_stop
            case "clear", _:
                return words.cleared
            case "forget", _:
                return f"{words.forgotten_here}\n\n{words.memory_private}" if public else words.forgotten
            case "history", _:
                return words.history_here.replace("{link}", link) if link else words.no_history
            case "expired", _:
                return _expired(words, session)
        return self._help(words, session, remembers)  # also to what another version called by another name

    def memory(self, facts: Sequence[str], summary: str, words: Words, *, public: bool = False) -> str:
        """What is kept of somebody, and of the talk, and how to end that. public: facts are not for here."""
        told = [f"{words.memory_facts}\n" + "\n".join(f"- {fact}" for fact in facts)] if facts else []
        told += [f"{words.memory_summary}\n{summary}"] if summary else []
        if told and (forget := self._first.get("forget")):
            told.append(words.memory_forget.replace("{forget}", forget))
        if public:
            told = [*(told or [words.memory_no_summary]), words.memory_private]
        return "\n\n".join(told) or words.memory_nothing

    def _help(self, words: Words, session: SessionSettings | None, remembers: bool) -> str:
        """Only what there is: an operator may do without a command."""
        gated = session is not None and not session.always
        does = {
            "stop": words.help_end if gated else words.help_stop,
            "clear": words.help_clear,
            "history": words.help_history,
            **({"memory": words.help_memory, "forget": words.help_forget} if remembers else {}),
            "privacy": words.help_privacy,
            "help": words.help_help,
        }
        lines = [f"{session.start} – {words.help_start}"] if session is not None and gated else []
        lines += [f"{said} – {does[name]}" for name, said in self._first.items() if name in does]
        return "\n".join([words.help, "", *lines])


def notice(words: Words, session: SessionSettings | None) -> str:
    """What stands before the first answer after a pause: that we begin anew, or how to; may be empty."""
    if session is None or session.ttl is None:
        return ""
    if not session.always:
        return _expired(words, session)
    return words.session_renewed.replace("{time}", span(session.ttl, words))


def slow(seconds: float, words: Words) -> str:
    """What is said to who is too fast: roughly when to go on, and never too early."""
    return words.slow.replace("{time}", _roughly(seconds, words))


def pause(seconds: float, words: Words) -> str:
    """What is said to who has guessed a code too often."""
    return words.code_pause.replace("{time}", _roughly(seconds, words))


def _roughly(seconds: float, words: Words) -> str:
    step = 60.0 if seconds > 60.0 else 10.0 if seconds > 10.0 else 1.0
    return span(math.ceil(max(seconds, 1.0) / step) * step, words)


def spent(which: str, seconds: float, words: Words) -> str:
    """What is said to whose budget, or whose assistant's, is used up."""
    if which == "month":
        return words.spent_month
    # Never too early, and in full hours: nobody waits for a minute of tomorrow.
    return words.spent_day.replace("{time}", span(math.ceil(max(seconds, 1.0) / 3600.0) * 3600.0, words))


def _ended(words: Words, session: SessionSettings | None) -> str:
    if session is None or session.always:
        return words.session_over
    return words.session_ended.replace("{start}", session.start)


def _expired(words: Words, session: SessionSettings | None) -> str:
    if session is None or session.always or session.ttl is None:
        return _ended(words, session)  # the settings have changed since
    said = words.session_expired.replace("{time}", span(session.ttl, words))
    return said.replace("{start}", session.start)


def span(seconds: float, words: Words) -> str:
    """A time in the largest unit that tells it well: 5 minutes, 90 minutes, 2 hours, 28 hours, 7 days."""
    units = (
        (86400.0, words.day, words.days),
        (3600.0, words.hour, words.hours),
        (60.0, words.minute, words.minutes),
        (1.0, words.second, words.seconds),
    )
    number, one, many = next(
        ((seconds / unit, one, many) for unit, one, many in units if seconds % unit == 0 or seconds >= 10 * unit),
        (max(seconds, 1.0), words.second, words.seconds),
    )
    return one if round(number) == 1 else many.replace("{number}", str(round(number)))
