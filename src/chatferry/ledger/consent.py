"""Calls that need a person's yes: the question ends a turn, and the answer to it begins another, which makes the call.

What is asked is kept with the answer, for one conversation at a time. Who was asked answers by a button or in words,
and whatever else they say is no yes. All functions that take a connection are synchronous and run inside the ledger's
one transaction (`writes`): a question is answered once, whichever process hears it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from unicodedata import category

import msgspec
import sqlalchemy as sa

from chatferry.engines.base import Call
from chatferry.ledger.rows import padded
from chatferry.ledger.statements import inserting
from chatferry.ledger.tables import asks
from chatferry.model import Inbound, Text
from chatferry.text.likeness import folded
from chatferry.words import Words

YES = "chatferry:yes:"
NO = "chatferry:no:"
"""The data of the buttons, before the number of the turn that asks."""
_TAP = re.compile(r"chatferry:(yes|no):(\d{1,18})")
_YES = {
    folded(word)
    for word in (
        *("yes", "y", "yeah", "yep", "ok", "okay", "sure", "do it", "go ahead"),
        *("好", "好的", "好啊", "是", "是的", "對", "对", "可以", "確定", "确定", "確認", "确认", "同意", "麻煩了"),
        *("はい", "うん", "ええ", "お願いします", "おねがいします", "いいです", "いいですよ", "確認しました"),
    )
}
_NO = {
    folded(word)
    for word in (
        *("no", "n", "nope", "cancel", "stop", "don't"),
        *("不", "不要", "不用", "不是", "不可以", "不行", "否", "取消", "算了"),
        *("いいえ", "いや", "やめて", "やめます", "キャンセル", "だめ"),
    )
}
_ABOUT = 200
"""Characters of what a tool is for that are shown."""
_BLANK = "\u115f\u1160\u3164\uffa0\u2800\u034f"
"""Nobody sees these, though Unicode takes them for letters and signs."""
_VARIANT = re.compile("(?<=[\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""One says how the sign before it looks; more of them carry something that is not seen."""


class Ask(msgspec.Struct, frozen=True):
    """A turn asks this person, until then."""

    person: str
    until: float


def read(event: Inbound, words: Words, *, aside: bool = False) -> Inbound:
    """The event with what it says to a question, should one be open: a tap in the words of its button.

    What was only heard can be a yes or a no, and nothing else. aside: who taps in vain is told so besides the talk.
    """
    if event.message is None:
        return event
    said = event.message.text.strip()
    if event.kind == "message" and (tap := _TAP.fullmatch(said)):
        label = words.yes if tap[1] == "yes" else words.no
        message = msgspec.structs.replace(event.message, parts=(Text(label),))
        over = "" if aside else words.confirm_over
        return msgspec.structs.replace(event, message=message, consent=tap[1], confirms=int(tap[2]), reply=over)
    plain = folded(said).rstrip("!！。.~～ ")
    consent = "yes" if plain in _YES else "no" if plain in _NO else "other" if event.kind == "message" else ""
    return msgspec.structs.replace(event, consent=consent)


def question(calls: Sequence[tuple[Call, str]], words: Words, how: str) -> str:
    """What is to be called with which arguments, in words; each call with what its tool is for. how: to answer.

    All of the arguments is there, and shown as it is: as code, in which no sign is taken for a mark.
    """
    lines = [words.confirm_ask, ""]
    for call, about in calls:
        lines.append(f"- {_first(about) or call.name}")
        lines += [f"  - {_seen(name)}: {_code(value)}" for name, value in _arguments(call).items()]
    return "\n".join([*lines, "", how])


def _first(about: str) -> str:
    """The first sentence of a description."""
    line = about.strip().partition("\n")[0]
    return _seen(re.split(r"(?<=[.。!?])(?:\s|$)", line, maxsplit=1)[0].rstrip(".。")[:_ABOUT])


def _arguments(call: Call) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(call.arguments.strip() or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {"?": call.arguments}


def _code(value: Any) -> str:
    text = _seen(value if isinstance(value, str) and value.strip() else msgspec.json.encode(value).decode())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if len(fence) > 1 else f"`{text}`"


def _seen(text: str) -> str:
    """In one line, with the characters that nobody sees, or that turn others round, as their numbers."""
    text = _VARIANT.sub(lambda found: _number(found[0]), " ".join(text.split()))
    return "".join(_number(char) if category(char)[0] == "C" or char in _BLANK else char for char in text)


def _number(char: str) -> str:
    return f"⟨U+{ord(char):04X}⟩"


# ── the rows ─────────────────────────────────────────────────────────────────────────────────────────────────────


def keep(connection: sa.Connection, asked: Sequence[tuple[str, int, Ask]]) -> None:
    """These are asked now; what was asked in the same conversation before is not any more."""
    for conversation, turn, ask in asked:
        insert = inserting(connection.dialect.name, asks).values(
            conversation=conversation, turn=turn, person=ask.person, until=ask.until
        )
        new = {name: insert.excluded[name] for name in ("turn", "person", "until")}
        connection.execute(insert.on_conflict_do_update(index_elements=[asks.c.conversation], set_=new))


class Open:
    """The questions that are open in some conversations. Each is answered once: by what counts, which then drops it."""

    def __init__(self, connection: sa.Connection, conversations: Collection[str], now: float) -> None:
        self._now = now
        given = {"talks": padded(sorted(set(conversations)))}
        self._rows = {row.conversation: row for row in connection.execute(_OPEN, given)} if conversations else {}

    def answer(self, conversation: str, event: Inbound) -> Inbound | None:
        """The event as it counts: as the answer to the question of a turn, or as what it is without one.

        A tap in vain is answered once for each person and question; None: it is told besides the talk.
        """
        row = self._rows.get(conversation)
        mine = row is not None and row.person == event.sender and row.until > self._now
        if event.confirms and not (mine and row is not None and row.turn == event.confirms):
            if not event.reply:
                return None
            once = f"over/{event.confirms}/{event.conversation}/{event.sender}"
            changed = {"event": once, "kind": "command", "command": "reply", "message": None}
            return msgspec.structs.replace(event, **changed, consent="", confirms=0)
        if not mine or row is None:
            return msgspec.structs.replace(event, consent="")
        del self._rows[conversation]
        return msgspec.structs.replace(event, kind="message", confirms=row.turn, reply="")


def drop(connection: sa.Connection, conversation: str, turn: int | None = None) -> None:
    """Nothing is asked there any more, or not by this turn."""
    gone = sa.delete(asks).where(asks.c.conversation == conversation)
    connection.execute(gone if turn is None else gone.where(asks.c.turn == turn))


_OPEN = (
    sa.select(asks.c.conversation, asks.c.turn, asks.c.person, asks.c.until)
    .where(asks.c.conversation.in_(sa.bindparam("talks", expanding=True)))
    .order_by(asks.c.conversation)
    .with_for_update()
)
