"""Markdown as models write it: CommonMark, tables, strikethrough, and emphasis in languages without spaces."""

from __future__ import annotations

import re
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token
from markdown_it.utils import EnvType

from chatferry.text.cutting import wide

NESTING = 40
"""Depth of lists and quotes that is still followed; the parser leaves out what lies deeper."""

# What may be in an address and can be nothing else, up to the last sign that is not the sentence's.
_ADDRESS = re.compile(r"://(?:[\w!#$%'+,\-./:;=?@^{}~]|&(?!#?\w+;))*[A-Za-z0-9/=#%+@$-]", re.ASCII)


@cache
def parser() -> MarkdownIt:
    made = MarkdownIt()
    made.inline = _Inline()
    made.configure("commonmark", {"html": False, "maxNesting": NESTING}).enable(["table", "strikethrough"])
    made.inline.ruler.before("newline", "address", _address)
    # "[1]: https://..." is how models list their sources: as a definition it would vanish.
    return made.disable("reference")


def _address(state: StateInline, silent: bool) -> bool:
    """In a bare address nothing is a mark."""
    if state.src[state.pos] != ":" or not state.src.endswith(("http", "https"), 0, state.pos):
        return False
    found = _ADDRESS.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        state.append_pending(found[0])
    state.pos = found.end()
    return True


class _Inline(ParserInline):
    def parse(self, src: str, md: MarkdownIt, env: EnvType, tokens: list[Token]) -> list[Token]:
        state = _State(src, md, env, tokens)
        self.tokenize(state)
        for rule in self.ruler2.getRules(""):
            rule(state)
        return state.tokens


class _State(StateInline):
    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:
        """CommonMark does not see the end of emphasis in `**注意：**次に`, for punctuation followed by a letter may not
        close it. Beside what is wide, marks that may stand inside a word open and close wherever no space forbids it.

        Between digits there are no marks: `2*3*4` is arithmetic.
        """
        scanned = super().scanDelims(start, canSplitWord)
        end = start + scanned.length
        before = self.src[start - 1] if start else " "
        after = self.src[end] if end < self.posMax else " "
        if before.isdigit() and after.isdigit():
            return Scanned(False, False, scanned.length)
        if canSplitWord and (wide(before) or wide(after)):
            return Scanned(not after.isspace(), not before.isspace(), scanned.length)
        return scanned
