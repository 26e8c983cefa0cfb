"""A message as the questions in it: people greet, tell what happened, and ask at the end. Pure.

What is asked is judged by itself, clause by clause, and what stands around it only helps to rank: a story that happens
to match a passage is no ground for an answer to something else. A message without any question may ask by each of its
clauses ("returns", "I want to send it back").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chatferry.knowledge.terms import Wanted, vague, wanted
from chatferry.text.likeness import REACH, folded

_MOST = 8
"""Questions of a message: the last ones."""

_GREETING = 20
"""Characters that may be one: what is longer is not tried for it, again and again."""

_SENTENCE = re.compile(r"[^\n!?;~。｡؟…]*?(?:[\n!?;~。｡؟…]+|\.+(?=\s|$)|$)", re.DOTALL)
_COMMA = re.compile(r"(?<!\d)[,:]|[,:](?!\d)|[、—–]")
# Where a question begins, or what leads to it ends, though no mark tells.
_OPENING = re.compile(
    "(?=我?想(?:請問|请问|問|问|知道|了解)|(?<!想)(?:請問|请问|請教|请教)|不知道)"
    "|(?<=[嗎吗])(?!$)|(?<=ですが)|(?<=ますが)|(?<=ましたが)|(?<=ですけど)|(?<=ますけど)|(?<=ましたけど)"
)
_BLANK = re.compile("(?<=[\u3041-\u30ff\u3400-\u9fff])[ \t]+(?=[\u3041-\u30ff\u3400-\u9fff])")
# What tells of something, and does not only name it.
_TELLS = re.compile("[我您你妳他她了是們们過过到買买謝谢會会很想要在]|[ぁ-ん]{2}(?<!など)$")
_NAMES = re.compile(
    "^[^我您你妳他她了是們们過过到買买謝谢會会很想要在ぁ-んa-z]{1,12}[a-z0-9-]*$|(?:について|に関して|の件|は)$"
    "|^(?:關於|关于|有關|有关|至於|至于)|^(?:about|regarding|concerning|as for|re)\\b"
)
_MARK = re.compile("[?؟]")
_ASKS = re.compile(
    "[嗎吗呢誰谁]|什[麼么]|甚麼|怎[麼么樣样]|如何|哪|多[少久長长高大重遠远]|[為为][何什]|(?<!好)[幾几](?![乎經经次])"
    "|是否|能否|可否|(?P<twice>.)[不沒没](?P=twice)|有[沒没]有"
    "|か$|いくら|いつ|どこ|どの|どれ|どう|どちら|どんな|何|なに|なぜ|だれ|教えて"
)
_MAY = re.compile("[可能會会有要]")
# By themselves they only announce a question.
_REQUESTS = re.compile(
    "[請请][問问教]|想要?[問问]|想知道|想了解|告[訴诉]我|知りたい|聞きたい"
    r"|\b(?:tell me|let me know|explain|wonder|wondering|(?:like|want|need) to (?:know|ask))\b"
)
_ENGLISH = (
    r"(?:how (?:much|many|long|often|far|soon|big|large|heavy|do|does|did|can|could|should|would|is|are)"
    r"|what(?:'?s| is| are| was| does| do| kind| would)"
    r"|wh(?:ere|en|y|o)(?:'s)? (?:is|are|was|do|does|did|can|could|will|should|may)"
    r"|(?:can|could|may|do|does|did|is|are|will|would|should) (?:i|you|we|it|they|there|the|this|that|my|your))\b"
)
_FILLING = r"^(?:\W|(?:and|or|but|so|also|then|please|hi|hello|hey|well|ok|okay)\b)*"
_ASKS_ENGLISH = re.compile(rf"{_FILLING}(?:which|whose|how|why|what|is|are|do|does|can|may)\b|\b{_ENGLISH}")
_OPENING_ENGLISH = re.compile(rf"(?<=\S )(?={_ENGLISH})")


class Asked(NamedTuple):
    """What a message asks for, question by question, and what is said beside it."""

    questions: tuple[Wanted, ...]
    beside: Wanted
    vague: bool = False
    """It asks for a price or a time, or the like, of something that it does not name."""

    @property
    def idle(self) -> bool:
        """It asks for nothing: a greeting, thanks, a sign."""
        return not self.questions

    @property
    def size(self) -> float:
        """How many words it has, or characters of those that are written without blanks."""
        return sum(unit.share for want in (*self.questions, self.beside) for unit in want.units)


class _Clause(NamedTuple):
    want: Wanted
    asks: bool
    """By its words, and not only by a mark behind it."""
    marked: bool
    vague: bool
    names: bool
    """It may be no more than the name of what the next one asks about: "the teapot: how tall is it?"."""
    first: bool
    """Of its sentence."""


def asked(message: str) -> Asked:
    """What is asked for. Of a long message its beginning and its end are read."""
    if len(message) > REACH:
        message = f"{message[: REACH // 2]}\n{message[-REACH // 2 :]}"
    clauses = list(_clauses(message))
    put = _questions(clauses)
    questions = [want for want, _ in put]
    if not questions:
        questions = [clause.want for clause in clauses if not clause.want.idle]
        if len(questions) > 1:
            questions.append(joined(questions))
    taken = questions[-_MOST:]
    known = {unit for want in taken for unit in want.units}
    rest = joined([clause.want for clause in clauses if not known.issuperset(clause.want.units)])
    return Asked(tuple(taken), rest, bool(put) and all(empty for _, empty in put))


def behind(before: Sequence[Wanted], asks: Sequence[Wanted], *, vague: bool) -> Wanted:
    """One question that goes on from others. What is vague is looked for too, but says nothing of what it is about."""
    whole = joined([*asks, *before])
    return Wanted(whole.weights, joined(before).units) if vague else whole


def joined(wants: Sequence[Wanted]) -> Wanted:
    """What all of these ask for, as one question."""
    weights: dict[str, float] = {}
    for want in wants:
        for term, weight in want.weights.items():
            weights[term] = max(weight, weights.get(term, 0.0))
    return Wanted(weights, tuple(dict.fromkeys(unit for want in wants for unit in want.units)))


def _questions(clauses: Sequence[_Clause]) -> list[tuple[Wanted, bool]]:
    """The questions that are put, each with as much of what stands before it as it cannot be understood without.

    Beside each stands whether it is `vague` even so: it does not name what it is about.
    """
    put: list[tuple[Wanted, bool]] = []
    topic: _Clause | None = None
    going = False
    """A question of this sentence is the last one that was put."""
    for clause in clauses:
        going = going and not clause.first
        if clause.want.idle:
            # "I should like it engraved, is that possible?": it asks for what was said before it.
            if (clause.asks or clause.marked) and not (clause.first or going) and topic is not None:
                put.append((topic.want, False))
                going = True
            continue
        if clause.asks or (clause.marked and not going):
            if topic is not None and (clause.vague or (topic.names and not clause.first)):
                put.append((behind([topic.want], [clause.want], vague=clause.vague), False))
            if topic is None or not clause.vague:
                put.append((clause.want, clause.vague))
            going = True
        elif clause.marked:
            put.append((joined([put.pop()[0], clause.want]), False))
        topic = clause
    # "Is anybody in?" is no question beside another.
    told = any(not empty for _, empty in put)
    return [(want, empty) for want, empty in put if not (told and empty)]


def _clauses(message: str) -> Iterator[_Clause]:
    for sentence in _SENTENCE.findall(folded(message)):
        parts = [part for part in map(_bare, _parts(sentence)) if part]
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            marked = last and _MARK.search(sentence) is not None
            want = wanted(part)
            asks = _asks(part) or (marked and _MAY.match(part) is not None) or (last and part.endswith("は"))
            asks = asks or (not want.idle and _REQUESTS.search(part) is not None)
            yield _Clause(
                want, asks, marked, (asks or marked) and vague(part), _NAMES.search(part) is not None, place == 0
            )


def _parts(sentence: str) -> Iterator[str]:
    for clause in _COMMA.split(sentence):
        for part in _OPENING.split(clause):
            opening = _OPENING_ENGLISH.search(part)
            if opening is not None and not _asks(part[: opening.start()]):
                yield part[: opening.start()]
                part = part[opening.start() :]
            yield from _spaced(part)


def _spaced(clause: str) -> Iterator[str]:
    """Many write a blank for a comma in Chinese; but also between words that are looked for together."""
    begin = 0
    for blank in _BLANK.finditer(clause):
        before = clause[begin : blank.start()]
        if _asks(before) or _TELLS.search(before) or (len(before) <= _GREETING and wanted(before).idle):
            yield before
            begin = blank.end()
    yield clause[begin:]


def _bare(part: str) -> str:
    return part.strip("\n!?;~。｡؟….,:、 ")


def _asks(part: str) -> bool:
    return _ASKS.search(part) is not None or _ASKS_ENGLISH.search(part) is not None
