"""An answer's Markdown as HTML that can do nothing: a list of blocks, so that one that grows need not be sent anew.

Two walls: the renderer writes every tag itself, for HTML in the text is text to it; and what it wrote goes through a
sanitiser that knows no tag, attribute or address beyond what it may write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping, Sequence
from functools import cache, lru_cache
from html import escape
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import nh3
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES, _TokenType

from chatferry.text.plain import parsed

LONGEST = 400_000
"""Characters of one message that a page shows."""
HIGHLIGHTED = 20_000
"""Characters of code that are coloured; more stay black."""
_PATIENCE = 0.2
"""Seconds after which a piece of code stays black: some lexers take long over some texts."""
_RAW = 4_000
"""Characters, or a line more, in one block of a text that is shown as it is."""
_TASK = re.compile(r"\[([ xX])\] (?=\S)")
_BREAK = re.compile(r"&lt;br ?/?&gt;", re.IGNORECASE)
# What may be in an address and can be nothing else, up to the last sign that is not the sentence's.
_BARE = re.compile(
    r"\bhttps?://(?=[\w\[])(?:[\w!#$%'+,\-./:;=?@~]|&(?!#?\w+;))*[A-Za-z0-9/=#%+@$_-]", re.ASCII | re.IGNORECASE
)
# Languages whose lexers are simple and well tried: which one is run is the text's choice, so it may not be any.
_LANGUAGES = frozenset(
    re.findall(
        r"\S+",
        "bash c c++ cpp c# cs csharp css dart diff docker dockerfile go golang graphql html ini java javascript js "
        "json jsx kotlin lua make makefile nginx perl php powershell ps1 protobuf python py py3 r rb ruby rs rust "
        "scala sh shell sql swift toml ts tsx typescript vim xml yaml yml zsh",
    )
)

_TAGS = {
    *("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "hr", "pre", "code", "span", "div"),
    *("table", "thead", "tbody", "tr", "th", "td", "strong", "em", "s", "a", "br"),
}
_CLASSES = {
    "span": set(STANDARD_TYPES.values()) - {""},
    "div": {"code", "table", "raw"},
    "li": {"task"},
    "a": {"picture"},
    "th": {"center", "right"},
    "td": {"center", "right"},
}
_REL = "noopener nofollow noreferrer"


@lru_cache(maxsize=32)
def blocks(markdown: str) -> tuple[str, ...]:
    """The text as HTML: one element for each block, closed and harmless in itself.

    What is too long or too deep to be laid out is shown as it is.
    """
    text = markdown if len(markdown) <= LONGEST else f"{markdown[:LONGEST]}…"
    # Half a character, which no HTML can hold, would be an error further down.
    text = text.encode("utf-8", "replace").decode()
    tokens = parsed(text)
    if tokens is None:
        return tuple(_clean(f'<div class="raw">{escape(part)}</div>') for part in _raw(text))
    pen = _Pen()
    return tuple(_clean(pen.render(block, _options(), {})) for block in _top(tokens))


def _clean(html: str) -> str:
    """The second wall."""
    cleaned: str = _cleaner().clean(html)
    return cleaned


@cache
def _cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=_TAGS,
        attributes={"a": {"href"}, "ol": {"start"}, "code": {"tabindex"}, "div": {"tabindex", "data-language"}},
        allowed_classes=_CLASSES,
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        link_rel=_REL,
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


@cache
def _options() -> OptionsDict:
    from chatferry.text.markdown import parser

    return parser().options


def _top(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The blocks that stand in no other."""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


def _raw(text: str) -> Iterator[str]:
    """Parts of about a screen, cut at lines, that never change once the next has begun."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + _RAW, start + 2 * _RAW)
        end = min(start + 2 * _RAW, len(text)) if end < 0 else end + 1
        yield text[start:end]
        start = end


class _Pen(RendererHTML):
    """Writes the tags. What markdown-it would let through, a picture or an odd address, becomes words."""

    def __init__(self) -> None:
        super().__init__()
        self._links: list[str] = []
        """The addresses of the links that are open."""

    def text(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
        text = tokens[idx].content
        if self._links:
            return _words(text)
        out, end = [], 0
        for found in _BARE.finditer(text):
            out += [_words(text[end : found.start()]), _link(found[0], _words(found[0]))]
            end = found.end()
        return "".join([*out, _words(text[end:])])

    def html_inline(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        return escape(tokens[idx].content)

    html_block = html_inline

    def code_inline(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        return f"<code>{escape(tokens[idx].content)}</code>"

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
        """A picture from elsewhere would tell elsewhere who reads, and when: only whoever taps on it fetches it."""
        token = tokens[idx]
        address = str(token.attrs.get("src", ""))
        words = self.renderInlineAsText(token.children, options, env) or (address if _good(address) else "…")
        if _good(address) and not self._links:
            return _link(address, escape(words), picture=True)
        return escape(words)

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
        address = str(tokens[idx].attrs.get("href", ""))
        self._links.append(address)
        return f'<a href="{escape(address)}">' if _good(address) else "<span>"

    def link_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
        address = self._links.pop()
        return "</a>" if _good(address) else f"</span> ({escape(address)})"

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
        token = tokens[idx]
        info = token.info.split()
        return _code(token.content, info[0] if info else "")

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
        return _code(tokens[idx].content, "")

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
        return '<div class="table" tabindex="0"><table>'

    def table_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        return "</table></div>"

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]) -> str:
        token = tokens[idx]
        side = re.search(r"center|right", str(token.attrs.get("style", "")))
        return f'<{token.tag} class="{side[0]}">' if side else f"<{token.tag}>"

    td_open = th_open

    def list_item_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        """A task's box is a sign: one that could be ticked would promise that somebody remembers it."""
        inline = tokens[idx + 2] if idx + 2 < len(tokens) else None
        first = inline.children[0] if inline is not None and inline.children else None
        if first is None or first.type != "text" or not (box := _TASK.match(first.content)):
            return "<li>"
        first.content = f"{'☐' if box[1] == ' ' else '☑'} {first.content[box.end() :]}"
        return '<li class="task">'


def _words(text: str) -> str:
    """Text as HTML. `<br>` is how models break lines within a table's cell."""
    return _BREAK.sub("<br>", escape(text))


def _good(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return bool(parts.netloc) if parts.scheme in ("http", "https") else parts.scheme == "mailto"


def _link(address: str, html: str, *, picture: bool = False) -> str:
    mark = ' class="picture"' if picture else ""
    return f'<a{mark} href="{escape(address)}">{html}</a>' if _good(address) else html


def _code(code: str, language: str) -> str:
    known = language.lower() in _LANGUAGES and len(code) <= HIGHLIGHTED
    inner = _coloured(code, _lexer(language.lower())) if known else escape(code)
    named = f' data-language="{escape(language[:20])}"' if re.fullmatch(r"[\w+#.-]+", language) else ""
    return f'<div class="code"{named}><pre><code tabindex="0">{inner}</code></pre></div>'


@cache
def _lexer(language: str) -> Lexer:
    """Kept for ever, so only for one of `_LANGUAGES`."""
    return get_lexer_by_name(language, stripnl=False, ensurenl=False)


def _coloured(code: str, lexer: Lexer) -> str:
    out: list[str] = []
    until = monotonic() + _PATIENCE
    for kind, value in lexer.get_tokens(code):
        if monotonic() > until:
            return escape(code)
        name, text = _class(kind), escape(value)
        out.append(f'<span class="{name}">{text}</span>' if name and not value.isspace() else text)
    return "".join(out)


def _class(kind: _TokenType) -> str:
    """The short name by which style sheets know it: its own, or that of what it is a kind of."""
    return next((STANDARD_TYPES[one] for one in reversed(kind.split()) if one in STANDARD_TYPES), "")
