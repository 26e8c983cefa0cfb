"""What was written on WeChat, held against what reached people."""

from __future__ import annotations

import html
import itertools
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from chatferry.model import talk_key
from chatferry.simulator.wechat_records import Seen
from tests.scenarios.crash import Account

if TYPE_CHECKING:
    from tests.scenarios.wechat_crash import Ordeal

LINK = re.compile(r"http://\S+/[ah]/[\w-]+")
RULE = "\n\n———\n\n"
"""Between two answers in one message."""

ON_ITS_WAY = 0.3
"""Seconds after a kill in which what was sent before it can still arrive; the next life takes longer to say a word."""

_ANSWER = re.compile(r"(p\d+ \d+): (\d+)((?: \d+)*)( end)?(?=\s|<|$)")
_MORE = re.compile(r"((?:\d+ ?)*)(end)?")
_NUMBERS = re.compile(r"\d+\s")
_COMMANDS = {
    "Everything we have talked about is here:": "/history",
    "Here is what you can send me:": "/help",
    "Done: a new conversation begins.": "/clear",
    "All right, I've stopped.": "/stop",
    "There is nothing to stop:": "/stop",
}
"""How answers to commands begin."""
_PENDING = "I'm still writing. Your answer appears here:"
_EARLIER = "(The answer to your earlier question:)\n\n"
_REST = "The rest is here:"


class Answer(NamedTuple):
    """An answer as it is shown somewhere, or its beginning."""

    words: str
    whole: bool


class Sighting(NamedTuple):
    """Something on the screen: an answer by its question, or a command's by its name."""

    what: str
    seen: Seen


def command_in(text: str) -> bool:
    """Is a command answered there?"""
    return any(begin in html.unescape(text) for begin in _COMMANDS)


def answers_in(text: str) -> list[Answer]:
    """The answers in a text, or on a page."""
    return [
        Answer(words, bool(end) and len(numbers.split()) == int(count))
        for words, count, numbers, end in _ANSWER.findall(html.unescape(text))
    ]


def answer_in(text: str) -> Answer | None:
    """The first of them."""
    return next(iter(answers_in(text)), None)


class Judge:
    """Goes through everybody's screen."""

    def __init__(self, trial: Ordeal, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self._trial = trial
        self._rows = rows
        self.figures: Counter[str] = Counter(
            {
                "never taken": 0,
                "stopped": 0,
                "read on the page alone": 0,
                "read and told": 0,
                "lost to the chat": 0,
                "sent twice": 0,
                "heard though late": 0,
                "overtaken": 0,
                "asked again": 0,
            }
        )
        self.account = Account({})
        self._too_late = defaultdict[int, list[float]](list)
        """When a response was noted to be too late for anybody to hear: unix seconds, by the turn that it answered."""
        for entry in trial.served.logged():
            if entry["event"] == "answered too late":
                self._too_late[entry["turn"]].append(datetime.fromisoformat(entry["timestamp"]).timestamp())
        self._doubts = self._sent_again()
        """How often the gateway said that it sends a text once more in doubt, by the conversation and the text."""
        self._read = {one.words for text in trial.opened.values() if (one := answer_in(text)) is not None and one.whole}

    def all(self) -> None:
        for name in self._trial.said:
            self._person(name)
        self._model()

    def _person(self, name: str) -> None:
        sightings = self._screen(name)
        questions, commands = Counter[str](), Counter[str]()
        order: dict[str, int] = {}
        for delivery, words in self._trial.said[name]:
            row = self._rows.get(delivery.id)
            if row is None:
                self.figures["never taken"] += 1
                if not delivery.reason:
                    self.account.lost.append(f"{words!r} was answered and not kept: {delivery}")
            elif words.startswith("/"):
                commands[words] += 1
            elif row["finish"] == "stopped":
                self.figures["stopped"] += 1
                order[words] = row["id"]
            else:
                questions[words] += 1
                order[words] = row["id"]
        seen = Counter(one.what for one in sightings if not one.what.startswith("/"))
        for words in questions:
            if not seen[words] and words in self._read:
                self.figures["read on the page alone"] += 1
            elif not seen[words] and not self._unheard(name, words):
                self.account.lost.append(self._story(name, words))
            elif seen[words] and words in self._read:
                self.figures["read and told"] += 1
        for words in seen:
            if words not in order:
                self.account.twice.append(f"{name} saw an answer to {words!r}, which is not theirs")
        self._commands(name, commands, [one for one in sightings if one.what.startswith("/")])
        self._order(name, order, [one for one in sightings if one.what in order])

    # ── the screen ───────────────────────────────────────────────────────────────────────────────────────────

    def _screen(self, name: str) -> list[Sighting]:
        """What is on it, each thing once; what is there for a second time is judged here."""
        sightings: list[Sighting] = []
        before: dict[str, Seen] = {}
        texts: dict[str, str] = {}
        first: dict[str, Seen] = {}
        last = ""
        for seen in self._trial.wechat.chats[self._trial.wechat.address(name)]:
            if seen.via == "notice":
                continue
            if seen.via == "custom":
                earlier = before.get(seen.text)
                before[seen.text] = seen
                if earlier is not None and not seen.text.startswith(tuple(_COMMANDS)):
                    self._again(name, seen.text, earlier)
                    continue
            for part in seen.text.split(RULE):
                what, text = self._part(name, part, last, texts)
                if not what:
                    continue
                if what in texts and text and self._late(first[what]):
                    self.figures["heard though late"] += 1
                    continue
                if what in texts and text:
                    self.account.twice.append(f"{self._story(name, what)}\n  once more in {seen}")
                    continue
                if not what.startswith("/"):
                    last = what
                if text or what.startswith("/"):
                    sightings.append(Sighting(what, seen))
                if text:
                    texts[what] = text
                    first[what] = seen
        for words, text in texts.items():
            shown = answer_in(text)
            if shown is None or not shown.whole:
                self.account.left.append(f"{name} did not see all of {self._story(name, words)}")
        return sightings

    def _part(self, name: str, part: str, last: str, texts: dict[str, str]) -> tuple[str, str]:
        """What one part of a message is; and the text of an answer that it begins, from its page where it is cut."""
        part = part.removeprefix(_EARLIER)
        for begin, command in _COMMANDS.items():
            if part.startswith(begin):
                return command, ""
        link = LINK.search(part)
        shown = answer_in(part)
        page = self._trial.pages.get(link[0], "") if link else ""
        behind = answer_in(page)
        if behind is not None and not behind.words.startswith(f"{name} "):
            self.account.twice.append(f"{name} was given a link to the answer to {behind.words!r}")
        if part.startswith(_PENDING):
            return "", ""
        for begin, command in _COMMANDS.items():
            if _REST in part and begin in html.unescape(page):
                return command, ""
        if _REST in part and behind is not None:
            if shown is not None and shown.words != behind.words:
                self.account.bugs.append(f"the rest of {shown.words!r} is said to be {behind.words!r}")
            whole = _ANSWER.search(html.unescape(page))
            if shown is None and behind.words == last and _NUMBERS.match(part):  # it had begun in another message
                texts[last] = whole[0] if whole else ""
                return "", ""
            return behind.words, whole[0] if whole else ""
        if shown is not None and part.startswith(shown.words):
            return shown.words, part
        if last in texts and _MORE.fullmatch(part.strip()):
            texts[last] += f" {part.strip()}"
            return "", ""
        self.account.left.append(f"{name} saw {part[:200]!r}")
        return "", ""

    def _sent_again(self) -> Counter[tuple[str, str]]:
        """What a kill met before it was noted, and nobody can know, as the log tells."""
        pieces = {piece["id"]: piece for row in self._rows.values() for piece in row.get("outbox", [])}
        doubts = [one for one in self._trial.served.logged() if one["event"] == "sent twice, perhaps"]
        again = [pieces[number] for doubt in doubts for number in doubt["pieces"] if number in pieces]
        return Counter((talk_key(piece["conversation"]), _text(piece)) for piece in again)

    def _again(self, name: str, text: str, earlier: Seen) -> None:
        """Sent twice: the first time, a kill came before that was noted."""
        doubt = self._conversation(name), text
        if self._doubts[doubt]:
            self._doubts[doubt] -= 1
            self.figures["sent twice"] += 1
        else:
            self.account.twice.append(f"{name} got it at {earlier.at} and again: {text[:80]!r}")

    def _commands(self, name: str, owed: Counter[str], sightings: list[Sighting]) -> None:
        seen = Counter(one.what for one in sightings)
        for command in owed | seen:
            missing = owed[command] - seen[command]
            if missing > 0:
                unheard = sum(row["reply"].count(begin) for row in self._carriers(name) for begin in _begins(command))
                read = self._followed(name, command)
                self.figures["lost to the chat"] += min(max(missing - read, 0), unheard)
                if missing > unheard + read:
                    self.account.lost.append(f"{name}: {missing} answers to {command}, {unheard} of them unheard")
            elif missing < 0:
                doubles = self._doubted(name, command)
                late = sum(one.what == command and self._late(one.seen) for one in sightings)
                self.figures["sent twice"] += min(-missing, doubles)
                self.figures["heard though late"] += min(-missing, late)
                if -missing > doubles + late:
                    self.account.twice.append(f"{name}: {-missing} answers to {command} too many")

    def _followed(self, name: str, command: str) -> int:
        """Links that this person followed at once and behind which the command's answer was."""
        shown = " ".join(one.text for one in self._trial.wechat.chats[self._trial.wechat.address(name)])
        texts = [html.unescape(text) for link, text in self._trial.opened.items() if link in shown]
        return sum(any(begin in text for begin in _begins(command)) for text in texts)

    def _doubted(self, name: str, command: str) -> int:
        """How often an answer to it was sent once more in doubt."""
        here, begins = self._conversation(name), _begins(command)
        return sum(times for (talk, text), times in self._doubts.items() if talk == here and text.startswith(begins))

    def _conversation(self, name: str) -> str:
        return f"wechat:{self._trial.wechat.address(name)}"

    def _late(self, seen: Seen) -> bool:
        """Did the gateway note that this response came too late for anybody to hear? WeChat heard it after all."""
        row = self._rows.get(seen.message)
        return row is not None and row["id"] in self._too_late

    # ── exceptions ───────────────────────────────────────────────────────────────────────────────────────────

    def _carriers(self, name: str) -> list[Mapping[str, Any]]:
        """The turns of messages of which no call heard the response, though one was written."""
        rows = [self._rows.get(delivery.id) for delivery, _ in self._trial.said[name] if delivery.reason]
        return [row for row in rows if row is not None and row["reply"]]

    def _unheard(self, name: str, words: str) -> bool:
        """Was it in a response that was cut off, and nothing asked for it again? Then the history has it."""
        if not any(f"{words}:" in row["reply"] for row in self._carriers(name)):
            return False
        # A long one is there twice, first as its beginning.
        found = answers_in(self._trial.histories.get(words, "").partition("<article")[2])
        if Answer(words, whole=True) not in found:
            return False
        self.figures["lost to the chat"] += 1
        return True

    def _order(self, name: str, order: Mapping[str, int], sightings: list[Sighting]) -> None:
        for place, late in enumerate(sightings):
            overtaking = [one for one in sightings[:place] if order[one.what] > order[late.what]]
            if not overtaking:
                continue
            if self._repeated(name, late) or self._in_vain(name, late):
                self.figures["overtaken"] += 1
            else:
                others = "; ".join(f"{one.what!r} in {one.seen}" for one in overtaking)
                self.account.disorder.append(f"{self._story(name, late.what)}\n  behind {others}")

    def _repeated(self, name: str, late: Sighting) -> bool:
        """Was an earlier response to the same message cut off, by a kill, or because WeChat hung up just then?"""
        seen = late.seen
        for delivery, _ in self._trial.said[name]:
            if delivery.id == seen.message:
                killed = any(one.reason == "unreachable" for one in delivery.attempts[: seen.call - 1])
                began = seen.at - delivery.attempts[seen.call - 1].seconds
                return killed or self._noted(name, late.what) < began
        return False

    def _noted(self, name: str, words: str) -> float:
        """When it was noted that the answer is out: unix seconds."""
        rows = [self._rows.get(delivery.id) for delivery, said in self._trial.said[name] if said == words]
        return max((row["finished_at"] or math.inf for row in rows if row is not None), default=math.inf)

    def _in_vain(self, name: str, late: Sighting) -> bool:
        """Was a response too late that may have had it in it, so that it had to wait again?"""
        rows = [(self._rows.get(delivery.id), words) for delivery, words in self._trial.said[name]]
        made = next((row["answered_at"] for row, words in rows if row is not None and words == late.what), late.seen.at)
        missed = [at for row, _ in rows if row is not None for at in self._too_late.get(row["id"], ())]
        return any(made <= at <= late.seen.at for at in missed)

    def _model(self) -> None:
        """Was it asked again only where a kill came before its answer was kept?"""
        turns = {words: self._rows.get(one.id) for said in self._trial.said.values() for one, words in said}
        for words, asked in self._trial.asked_for.items():
            row = turns.get(words)
            kept = (row and row["answered_at"]) or math.inf
            for before, after in itertools.pairwise(asked):
                self.figures["asked again"] += 1
                if not any(before.at - ON_ITS_WAY <= killed <= min(kept, after.at) for killed in self._trial.killed):
                    self.account.twice.append(f"the model was asked {words!r} again: {before}, {after}, kept {kept}")

    def _story(self, name: str, words: str) -> str:
        """What is known of one message."""
        told = [one for one, said in self._trial.said[name] if said == words]
        rows = [_short(self._rows[one.id]) for one in told if one.id in self._rows]
        ids = {row["id"] for row in rows}
        logged = [entry for entry in self._trial.served.logged() if entry.get("turn") in ids]
        calls = [[(one.status, round(one.seconds, 2), one.reason, one.body[:60]) for one in d.attempts] for d in told]
        screen = self._trial.wechat.chats[self._trial.wechat.address(name)]
        shown = [(one.via, one.at, one.call, _cut(one.text)) for one in screen]
        return f"{words!r}\n  turns {rows}\n  log {logged}\n  at {[d.at for d in told]} calls {calls}\n  screen {shown}"


def _begins(command: str) -> tuple[str, ...]:
    return tuple(begin for begin, known in _COMMANDS.items() if known == command)


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("id", "state", "finish", "lease", "attempts", "accepted_at", "answered_at", "finished_at", "error", "grant")
    pieces = [
        {name: _cut(value) if isinstance(value, str) else value for name, value in piece.items()}
        for piece in row.get("outbox", [])
    ]
    more = {"reply": _cut(row["reply"] or ""), "outbox": pieces}
    return {name: row[name] for name in (*kept, "deliveries", "stopped")} | more


def _text(piece: Mapping[str, Any]) -> str:
    """What a piece of the outbox says."""
    return "".join(part.get("text", "") for part in json.loads(piece["message"])["parts"])


def _cut(text: str) -> str:
    return text if len(text) <= 160 else f"{text[:80]} … {text[-80:]}"
