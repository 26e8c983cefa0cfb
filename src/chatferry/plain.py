"""Markdown as text that reads well where an app shows no Markdown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

NESTING = 40
"""Depth of lists and quotes that is still followed; a text that goes deeper is nobody's prose and stays as it is."""

LONGEST = 50_000
"""Longer texts stay as they are, so that nobody can buy much of our time with one answer."""

PHONE = 32
"""Columns that a phone shows in one line: a wider table is told row by row."""

RULE = "———"

# CommonMark does not see the end of emphasis in `**注意：**次に`, for punctuation followed by a letter may not close
# it. Models write that all the time in languages without spaces, so what is left over is taken off here.
_CODE_STAR = "\ufdd0"  # stands for a star in code meanwhile; Unicode keeps this code point out of all text
_STARS = re.compile(r"\*\*(?=\S)([^*\n]+)(?<=\S)\*\*")


CELLS = 5_000
"""A text that could make a table of more cells stays as it is: each row is filled up to the width of the first."""


def plain(markdown: str) -> str:
    """The same text without the marks. What has no marks comes back as it is, line breaks and all.

    Any text may be given; HTML is text like any other. Nothing that a reader would see in the Markdown is left out.
    """
    if len(markdown) > LONGEST or _cells(markdown) > CELLS:
        return markdown
    tokens = _parser().parse(markdown)
    if any(token.level >= NESTING - 2 for token in tokens):
        return markdown  # the parser leaves out what lies deeper
    text = _Page().render(tokens)
    # The same words: there was no mark in it, only white space that Markdown does not count.
    return markdown if text.split() == markdown.split() else text


def _cells(markdown: str) -> int:
    """The most cells that its tables can have."""
    lines = markdown.splitlines()
    return max((line.count("|") for line in lines), default=0) * len(lines)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # 40 ms that only those pay who send to an app without Markdown

    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": NESTING}).enable(["table", "strikethrough"])
    # "[1]: https://..." is how models list their sources: as a definition it would vanish.
    return parser.disable("reference")


class _Mark(NamedTuple):
    """What a quote or a list item puts in front of its lines."""

    first: str
    rest: str


class _Page:
    """Blocks become lines; blank lines are kept where the author left them."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._marks: list[_Mark] = []
        self._items: list[tuple[Token, int]] = []
        """The list items that are open, and the lines there were before each."""
        self._bottom = 0
        """The source line at which the last block ended."""

    def render(self, tokens: Sequence[Token]) -> str:
        rest = iter(tokens)
        for token in rest:
            match token.type:
                case "inline":
                    self._put(token, _inline(token))
                case "fence" | "code_block":
                    self._put(token, token.content.removesuffix("\n"))
                case "hr":
                    self._put(token, RULE)
                case "table_open":
                    self._put(token, _table(rest))
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

    def _put(self, token: Token, text: str) -> None:
        top, bottom = token.map or (self._bottom, self._bottom)
        if self._lines and top > self._bottom:
            self._lines.append("")
        self._bottom = bottom
        for line in text.split("\n"):
            before = "".join(mark.first for mark in self._marks)
            self._lines.append(before + line if line else before.rstrip())
            self._marks = [_Mark(mark.rest, mark.rest) for mark in self._marks]


def _inline(token: Token) -> str:
    """Words without emphasis, links as "text (address)"."""
    out: list[str] = []
    links: list[tuple[int, Token]] = []
    for child in token.children or ():
        match child.type:
            case "text":
                out.append(child.content)
            case "code_inline":
                out.append(child.content.replace("*", _CODE_STAR))
            case "softbreak" | "hardbreak":
                out.append("\n")
            case "image":
                out.append(_linked(_inline(child), str(child.attrs.get("src", ""))))
            case "link_open":
                links.append((len(out), child))
            case "link_close":
                start, opened = links.pop()
                text = "".join(out[start:])
                out[start:] = [text if opened.info == "auto" else _linked(text, str(opened.attrs.get("href", "")))]
    text = "".join(out)
    return (text if text.isascii() else _STARS.sub(r"\1", text)).replace(_CODE_STAR, "*")


def _linked(text: str, address: str) -> str:
    if not address or text == address or f"mailto:{text}" == address:
        return text
    return f"{text} ({address})" if text else address


def _table(tokens: Iterator[Token]) -> str:
    """Aligned columns where they fit a phone, else each row as "header: value" lines."""
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_inline(token).replace("\n", " "))
    widths = [max(map(_width, column)) for column in zip_longest(*rows, fillvalue="")]
    if sum(widths) + 2 * (len(widths) - 1) <= PHONE:
        lines = ["  ".join(map(_padded, row, widths)).rstrip() for row in rows]
        return "\n".join([lines[0], "─" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])
    head, *body = rows
    told = [
        "\n".join([row[0], *(f"• {name}: {value}" if name else f"• {value}" for name, value in _named(head, row))])
        for row in body
    ]
    return "\n\n".join(told) if told else " | ".join(head)


def _named(head: list[str], row: list[str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in zip(head[1:], row[1:], strict=False) if value)


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _width(cell))


def _width(text: str) -> int:
    """Columns on the screen: Chinese, Japanese and Korean letters take two."""
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text if not unicodedata.combining(char))
