"""A document as passages: cut where its author has divided it, and none longer than a model reads at a glance. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser

import msgspec

from chatferry.text.cutting import clean, length, split
from chatferry.text.likeness import folded

MOST = 900
"""Bytes of a passage: three hundred Chinese characters, or a hundred and fifty English words."""
_TITLE = 150
"""Characters of a title."""

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_FRONT = re.compile(r"\A---[ \t]*\n.*?\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_LINE = 500
"""Characters of a line that can be a heading."""

_QUESTION = frozenset(["question", "questions", "q", "faq", "問題", "常見問題", "問", "问题", "常见问题", "问"])
_QUESTION |= {"質問", "ご質問", "よくある質問", "よくあるご質問"}
_ANSWER = frozenset(["answer", "answers", "a", "答案", "回答", "答覆", "答复", "答", "答え", "解答"])


class Passage(msgspec.Struct, frozen=True):
    """A part of a document. `title` is the way of headings that leads there; `line`, where it begins."""

    title: str
    line: int
    text: str


def cut_text(text: str) -> Iterator[Passage]:
    """Paragraphs, several together where there is room."""
    return _packed("", _paragraphs(text.splitlines(), 1))


def cut_markdown(text: str) -> Iterator[Passage]:
    """What stands below a heading, and under which headings; no passage goes over a heading."""
    text = _FRONT.sub(_blank, text, count=1)
    lines = _uncommented(text).splitlines()
    way: list[tuple[int, str]] = []
    fence, begin = "", 0
    for place, line in enumerate([*lines, "# "]):
        if mark := _FENCE.match(line):
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        written = bool(fence) and place < len(lines)
        heading = None if written or len(line) > _LINE else _HEADING.fullmatch(line)
        if heading is None:
            continue
        yield from _packed(_title(name for _, name in way), _paragraphs(lines[begin:place], begin + 1))
        level = len(heading[1])
        way = [*((depth, name) for depth, name in way if depth < level), (level, (heading[2] or "").strip())]
        begin = place + 1


def cut_table(text: str) -> Iterator[Passage]:
    """Rows, each with the names of its columns; a question and its answer read as such. Raises csv.Error."""
    first = text.split("\n", 1)[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    names = [name.strip() for name in next(rows, [])]
    kinds = [folded(name) for name in names]
    question = next((place for place, kind in enumerate(kinds) if kind in _QUESTION), None)
    answer = next((place for place, kind in enumerate(kinds) if kind in _ANSWER), None)
    line = rows.line_num + 1
    for row in rows:
        cells = [cell.strip() for cell in row]
        said = [cells[place] for place in (question, answer) if place is not None and place < len(cells)]
        others = [
            f"{names[place]}: {cell}" if place < len(names) and names[place] else cell
            for place, cell in enumerate(cells)
            if cell and place not in (question, answer)
        ]
        title = cells[question or 0] if cells else ""
        yield from _packed(_title([title]), [(line, "\n".join(filter(None, (*said, *others))))])
        line = rows.line_num + 1


def cut_html(text: str) -> Iterator[Passage]:
    """A page like Markdown: by its headings. Lines are those of its text, as nobody reads the source."""
    page = _Page()
    page.feed(text)
    page.close()
    return cut_markdown("".join(page.parts))


def _title(names: Iterator[str] | Sequence[str]) -> str:
    return " › ".join(" ".join(clean(name).split()) for name in names if name)[:_TITLE].rstrip()


def _uncommented(text: str) -> str:
    parts, place = [], 0
    while (begin := text.find("<!--", place)) >= 0 and (end := text.find("-->", begin)) >= 0:
        parts += [text[place:begin], "\n" * text.count("\n", begin, end)]
        place = end + len("-->")
    return "".join([*parts, text[place:]])


def _blank(found: re.Match[str]) -> str:
    """As many lines, with nothing in them: those behind keep their numbers."""
    return "\n" * found[0].count("\n")


def _paragraphs(lines: Sequence[str], first: int) -> Iterator[tuple[int, str]]:
    """What stands between blank lines, with the number of its first line."""
    begin = 0
    for place, line in enumerate([*lines, ""]):
        if not line.strip():
            if place > begin:
                yield first + begin, "\n".join(lines[begin:place])
            begin = place + 1


def _packed(title: str, paragraphs: Iterator[tuple[int, str]] | Sequence[tuple[int, str]]) -> Iterator[Passage]:
    begin, kept = 0, ""
    for line, paragraph in paragraphs:
        # Piece by piece, so that a long paragraph is cut at its sentences and not where the room before it ends.
        for piece in split(clean(paragraph), MOST, "utf8"):
            longer = f"{kept}\n\n{piece}" if kept else piece
            if kept and length(longer, "utf8") > MOST:
                yield Passage(title, begin, kept)
                longer, kept = piece, ""
            begin, kept = begin if kept else line, longer
    if kept:
        yield Passage(title, begin, kept)


class _Page(HTMLParser):
    """The text of a page, its headings marked as in Markdown."""

    _SILENT = frozenset({"script", "style", "template", "noscript", "head", "nav", "svg"})
    _BLOCKS = frozenset("p div section article main blockquote pre table ul ol dl header footer".split())  # noqa: SIM905
    _LINES = frozenset({"br", "li", "tr", "dt", "dd"})

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._SILENT:
            self._silent.append(tag)
        elif re.fullmatch("h[1-6]", tag):
            self.parts.append(f"\n\n{'#' * int(tag[1])} ")
        elif tag in self._BLOCKS:
            self.parts.append("\n\n")
        elif tag in self._LINES:
            self.parts.append("\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        elif tag in self._BLOCKS or re.fullmatch("h[1-6]", tag):
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(re.sub(r"\s+", " ", data))


CUTS: dict[str, Callable[[str], Iterator[Passage]]] = {
    ".md": cut_markdown,
    ".markdown": cut_markdown,
    ".txt": cut_text,
    ".csv": cut_table,
    ".tsv": cut_table,
    ".html": cut_html,
    ".htm": cut_html,
}
"""How a file is cut, by the ending of its name."""
EXTRACTED = (".pdf", ".docx", ".xlsx")
"""Their text has to be taken out of them first, by `readers`."""
READABLE = (*CUTS, *EXTRACTED)
