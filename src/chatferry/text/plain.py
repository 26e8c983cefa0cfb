"""Markdown as text that reads well where an app shows no Markdown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from chatferry.text.cutting import wide

if TYPE_CHECKING:
    from markdown_it.token import Token

LONGEST = 50_000
"""Longer texts stay as they are, so that nobody can buy much of our time with one answer."""

CELLS = 5_000
"""A text that could make a table of more cells stays as it is: each row is filled up to the width of the first."""

DENSE = 2_000
"""A text stays as it is that has more marks of emphasis or links in one paragraph."""

PHONE = 32
"""Columns that a phone shows in one line: a wider table is told row by row."""

RULE = "———"
_MARKS = re.compile(r"[*_~]+|\[")
_BREAK = re.compile(r"(?<=\S) {2,}\n")
"""The mark of a line break; the only one that is white space."""
_PARAGRAPH = re.compile(r"\n\s*\n")


def plain(markdown: str) -> str:
    """The same text without the marks. What has no marks comes back as it is, line breaks and all.

    Any text may be given; HTML is text like any other. Nothing that a reader would see in the Markdown is left out.
    """
    tokens = parsed(markdown)
    if tokens is None:
        return markdown
    text = Page().render(tokens)
    # The same words: there was no other mark in it, only white space that Markdown does not count.
    return _BREAK.sub("\n", markdown) if text.split() == markdown.split() else text


def parsed(markdown: str) -> list[Token] | None:
    """None for a text beyond reason: too long, of too large a table, full of marks, or nested like nobody's prose."""
    if len(markdown) > LONGEST or _cells(markdown) > CELLS or _dense(markdown):
        return None
    from chatferry.text.markdown import NESTING, parser  # 40 ms that only those pay who send to an app without Markdown

    tokens = parser().parse(markdown)
    return None if any(token.level >= NESTING - 2 for token in tokens) else tokens


def _dense(markdown: str) -> bool:
    """Has one of its paragraphs more marks than anybody's? What they cost grows with their square."""
    return any(sum(1 for _ in _MARKS.finditer(part)) > DENSE for part in _PARAGRAPH.split(markdown))


def _cells(markdown: str) -> int:
    """The most cells that its tables can have."""
    lines = markdown.splitlines()
    return max((line.count("|") for line in lines), default=0) * len(lines)


class _Mark(NamedTuple):
    """What a quote or a list item puts in front of its lines."""

    first: str
    rest: str


class Page:
    """Blocks become lines; blank lines are kept where the author left them.

    An app that shows some marks says in a subclass what words, code and tables look like.
    """

    code_moves_in = True
    """Code in a list stands below the item's words, not at the margin."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._marks: list[_Mark] = []
        self._items: list[tuple[Token, int]] = []
        """The list items that are open, and the lines there were before each."""
        self._bottom = 0
        """The source line at which the last block ended."""

    def render(self, tokens: Sequence[Token]) -> str:
        rest = iter(tokens)
        heading = False
        for token in rest:
            match token.type:
                case "heading_open" | "heading_close":
                    heading = token.nesting > 0
                case "inline":
                    self._put(token, self.words(token, heading=heading))
                case "fence" | "code_block":
                    self._put(token, self.code(token.content.removesuffix("\n")), code=True)
                case "hr":
                    self._put(token, RULE)
                case "table_open":
                    self._put(token, self.table(_rows(rest)), code=True)
                case "blockquote_open":
                    self._marks.append(_Mark("> ", "> "))
                case "list_item_open":
                    mark = f"{token.info}{token.markup} " if token.info else "• "
                    self._marks.append(_Mark(mark, " " * len(mark)))
                    self._items.append((token, len(self._lines)))
                case "list_item_close":
                    item, before = self._items.pop()
                    if len(self._lines) == before:
                        self._put(item, "")
                    self._marks.pop()
                case "blockquote_close":
                    self._marks.pop()
        return "\n".join(self._lines)

    def words(self, token: Token, *, heading: bool = False) -> str:
        return flat(token)

    def code(self, text: str) -> str:
        return text

    def table(self, rows: list[list[Token]]) -> str:
        """Aligned columns where they fit a phone, else each row as "header: value" lines."""
        cells = [[flat(cell) for cell in row] for row in rows]
        return aligned(cells, PHONE) or told(cells)

    def _put(self, token: Token, text: str, *, code: bool = False) -> None:
        top, bottom = token.map or (self._bottom, self._bottom)
        if self._lines and top > self._bottom:
            self._lines.append("")
        self._bottom = bottom
        for line in text.split("\n"):
            at_margin = code and not self.code_moves_in and all(mark.first == mark.rest for mark in self._marks)
            before = "".join(mark.first for mark in self._marks if not (at_margin and mark.first.isspace()))
            self._lines.append(before + line if line else before.rstrip())
            self._marks = [_Mark(mark.rest, mark.rest) for mark in self._marks]


def flat(token: Token) -> str:
    """Words without emphasis, links as "text (address)"."""
    out: list[str] = []
    links: list[tuple[int, Token]] = []
    for child in token.children or ():
        match child.type:
            case "text" | "code_inline":
                out.append(child.content)
            case "softbreak" | "hardbreak":
                out.append("\n")
            case "image":
                out.append(linked(flat(child), str(child.attrs.get("src", ""))))
            case "link_open":
                links.append((len(out), child))
            case "link_close":
                start, opened = links.pop()
                text = "".join(out[start:])
                out[start:] = [text if opened.info == "auto" else linked(text, str(opened.attrs.get("href", "")))]
    return "".join(out)


def linked(text: str, address: str) -> str:
    if not address or text == address or f"mailto:{text}" == address:
        return text
    return f"{text} ({address})" if text else address


def _rows(tokens: Iterator[Token]) -> list[list[Token]]:
    """The cells of the table that has just been opened."""
    rows: list[list[Token]] = []
    for token in tokens:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(token)
    return rows


def aligned(rows: list[list[str]], room: int) -> str | None:
    """A table in columns; None where a line would be wider than `room`."""
    widths = [max(map(_width, column)) for column in zip_longest(*rows, fillvalue="")]
    across = sum(widths) + 2 * (len(widths) - 1)
    if across > room:
        return None
    lines = ["  ".join(map(_padded, row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "─" * across, *lines[1:]])


def told(rows: list[list[str]]) -> str:
    """A table row by row: what its first cell says, then a line for each of the others."""
    head, *body = rows
    if not body:
        return " | ".join(head)
    return "\n\n".join(
        "\n".join([row[0], *(f"• {name}: {value}" if name else f"• {value}" for name, value in _named(head, row))])
        for row in body
    )


def _named(head: list[str], row: list[str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in zip(head[1:], row[1:], strict=False) if value)


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _width(cell))


def _width(text: str) -> int:
    """Columns on the screen."""
    return sum(1 + wide(char) for char in text if not unicodedata.combining(char))
