"""One message out of several answers: as much of each as fits, and where to read the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from chatferry.channels.base import Capabilities
from chatferry.model import Piece
from chatferry.text import cutting
from chatferry.text.plain import RULE
from chatferry.words import Words

_MOST = 8
"""Answers in one message at most; more of them, and those for whose links there is no room, wait for the next."""
_WORTH = 120
"""Below this room an answer is not even begun: its link says as much."""
_BETWEEN = f"\n\n{RULE}\n\n"


def compose(
    pieces: Sequence[Piece],
    pending: int,
    caps: Capabilities,
    words: Words,
    link: Callable[[int], str] | None,
    *,
    asked: int = 0,
) -> tuple[str, tuple[int, ...]]:
    """The text for these pieces, in their order, and the ids of those that go out with it or are reached by its links.

    pending: the turn of which only the link can be given yet, or 0. link: the address of a turn's page; None where
    nobody knows how people reach our pages. asked: the turn that is being answered, where answers of earlier ones are
    to be told apart from its own.
    """
    if link is None:
        return _unlinked(pieces, caps)
    later = words.ready_later.replace("{link}", link(pending)) if pending else ""
    groups = [(turn, list(of)) for turn, of in groupby(pieces, key=lambda piece: piece.turn)][:_MOST]
    answers = [
        "\n\n".join(
            [
                *([words.earlier] if asked not in (0, turn) and of[0].kind == "message" else []),
                *(_whole(piece, caps) for piece in of),
            ]
        )
        for turn, of in groups
    ]
    rests = [words.rest_here.replace("{link}", link(turn)) for turn, _ in groups]

    def size(said: str) -> int:
        return cutting.length(said, caps.measure)

    def joined(*parts: str) -> str:
        return _BETWEEN.join([*parts, later] if later else parts)

    # The room that each has at least: for its link, unless it is shorter than that.
    reserved = [min(answer, rest, key=size) for answer, rest in zip(answers, rests, strict=True)]
    while reserved and size(joined(*reserved)) > caps.limit:
        reserved.pop()
    groups = groups[: len(reserved)]
    if groups and size(answers[len(groups) - 1]) <= caps.limit // 4:
        # What was asked just now is not reduced to a link for what came before it, if it is short.
        whole = [*reserved[:-1], answers[len(groups) - 1]]
        reserved = whole if size(joined(*whole)) <= caps.limit else reserved
    said: list[str] = []
    ids: list[int] = []
    for place, (_, of) in enumerate(groups):
        room = caps.limit - size(joined(*said, "", *reserved[place + 1 :]))
        said.append(_fitting(answers[place], rests[place], room, caps))
        ids += [piece.id for piece in of]
    return joined(*said), tuple(ids)


def _unlinked(pieces: Sequence[Piece], caps: Capabilities) -> tuple[str, tuple[int, ...]]:
    """As many pieces as fit, each of which does alone; the others have to wait."""
    said = ""
    for place, piece in enumerate(pieces):
        between = "" if place == 0 else "\n\n" if piece.turn == pieces[place - 1].turn else _BETWEEN
        longer = f"{said}{between}{piece.message.text.rstrip()}"
        if place and cutting.length(longer, caps.measure) > caps.limit:
            return said, tuple(piece.id for piece in pieces[:place])
        said = longer
    return said, tuple(piece.id for piece in pieces)


def _whole(piece: Piece, caps: Capabilities) -> str:
    """A piece as something else may follow it."""
    said = piece.message.text.rstrip()
    return cutting.closed(said).rstrip() if caps.markdown else said


def _fitting(answer: str, rest: str, room: int, caps: Capabilities) -> str:
    """As much of an answer as there is room for, which is enough for its link."""
    if cutting.length(answer, caps.measure) <= room:
        return answer
    left = room - cutting.length(f"\n\n{rest}", caps.measure)
    cut = cutting.first(answer, left, caps.measure) if left >= _WORTH else None
    return f"{cut.piece}\n\n{rest}" if cut else rest
