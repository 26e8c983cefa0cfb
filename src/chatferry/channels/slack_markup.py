"""Markdown as Slack's mrkdwn, and what people write in Slack as words that a model can read.

Slack's marks: https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from chatferry.text.cutting import wide
from chatferry.text.plain import Page, aligned, flat, linked, parsed, told

if TYPE_CHECKING:
    from markdown_it.token import Token

LIMIT = 4000
"""Characters that Slack takes in one edit (`chat.update`)."""

COLUMNS = 60
"""A table that is wider is told row by row: a block of code breaks its lines where the window ends."""

_GAP = "\u200b"
"""A zero-width space. Slack sees a mark only where no word touches it, and none that is followed by this."""

# What we mean as marks, while the marks that stand in the text have to be told from them: Unicode keeps these code
# points out of all text.
_BOLD, _ITALIC, _STRIKE, _CODE = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
_SHOWN = {ord(_BOLD): "*", ord(_ITALIC): "_", ord(_STRIKE): "~", ord(_CODE): "`"}
_OURS = f"{_BOLD}{_ITALIC}{_STRIKE}{_CODE}"
_STYLES = {"strong_open": _BOLD, "em_open": _ITALIC, "s_open": _STRIKE}

_MARKED = re.compile(r"[*_~`\[\]|\\&<>]|^[ \t]*(?:#|[-+=]|\d{1,9}[.)])|^(?: {4}|\t)", re.MULTILINE)
"""What a text without Markdown has none of."""
_LITERAL = re.compile(rf"{_CODE}[^{_CODE}]*{_CODE}|<[^>]*>|https?://[^\s<{_OURS}]+|(?<![^\W_])[*_~`](?=\S)")
"""A mark in the text that Slack would take for the first of a pair; code and addresses are passed over."""
_LAST = re.compile(rf"(?<=\S)[*_~`{_OURS}](?![^\W_])")
"""A mark that Slack would take for the second of a pair."""

_LINK = re.compile(r"(?:https?|mailto|tel):", re.IGNORECASE)
"""Only these become links: `<!channel>` and `<@U1>` have the form of links, and call people."""


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mrkdwn(markdown: str, *, limit: int = LIMIT) -> str:
    """The same text with Slack's marks, at most `limit` (> 0) characters long. What has no marks is only escaped.

    Any text may be given; nothing in it can call a person or a channel. It is measured by `chatferry.text.cutting` as
    "escaped": without tables, images and links the result is longer by at most one for each `*`, `_`, `~` and `` ` ``,
    eight for each line, and how far lists and quotes move in the lines that their author did not. What gets too long
    is sent as the Markdown it is, and if that is too long too, its beginning.
    """
    text = _converted(markdown)
    if len(text) > limit:
        text = escape(markdown)
    if len(text) > limit:
        text = re.sub(r"&[a-z]*$", "", text[: limit - 1]) + "…"
    return text


def _converted(markdown: str) -> str:
    escaped = escape(markdown)
    if not _MARKED.search(markdown):
        return escaped
    tokens = parsed(re.sub(f"[{_OURS}]", "\ufffd", markdown))
    if tokens is None:
        return escaped
    text = _SlackPage().render(tokens).rstrip()
    # The same words: there was no mark in it, only white space that Markdown does not count. And of "```py", with
    # which an answer may begin, nothing would be left; Slack takes no empty message.
    return escaped if not text or text.split() == escaped.split() else text


class _SlackPage(Page):
    code_moves_in = False  # or it would be copied with the spaces in front

    def words(self, token: Token, *, heading: bool = False) -> str:
        text = _Words([_BOLD] if heading else [])
        text.add(token.children or ())
        return "\n".join(map(_literal, str(text).split("\n")))

    def code(self, text: str) -> str:
        # Three in a row would end the block.
        return "```\n" + re.sub("``(?=`)", "``" + _GAP, escape(text)) + "\n```" if text.strip() else ""

    def table(self, rows: list[list[Token]]) -> str:
        columns = aligned([[flat(cell) for cell in row] for row in rows], COLUMNS)
        if columns is not None:
            return self.code(columns)
        return told([[self.words(cell, heading=not at) for at, cell in enumerate(row)] for row in rows])


class _Words:
    """A block's words. Marks are set when it is known what stands on both sides, and hold for one line."""

    def __init__(self, styles: list[str]) -> None:
        self._out: list[str] = []
        self._styles = styles
        """Those that hold, from the outermost; empty for one that holds already."""
        self._set = 0
        """How many of them have their mark in this line."""
        self._after_mark = False

    def __str__(self) -> str:
        return "".join(self._out) + "".join(reversed(self._styles[: self._set]))

    def add(self, tokens: Iterable[Token]) -> None:
        rest = iter(tokens)
        for token in rest:
            match token.type:
                case "text":
                    self._put(escape(token.content))
                case "code_inline" if "`" in token.content:  # Slack's code cannot hold one
                    self._put(escape(token.content))
                case "code_inline":
                    self._put(escape(token.content), _CODE)
                case "softbreak" | "hardbreak":
                    self._break()
                case "strong_open" | "em_open" | "s_open":
                    style = _STYLES[token.type]
                    self._styles.append("" if style in self._styles else style)
                case "strong_close" | "em_close" | "s_close":
                    self._close()
                case "image":
                    self._put(_link(str(token.attrs.get("src", "")), _said(token.children or ())))
                case "link_open":
                    self._put(_link(str(token.attrs.get("href", "")), _said(_until_close(rest))))

    def _put(self, words: str, code: str = "") -> None:
        if not words:
            return
        marks = "".join(self._styles[self._set :]) + code
        if (self._after_mark and (marks or _touches(words[0], "`@&*(_|\\<>"))) or (
            marks and self._out and _touches(self._out[-1][-1], "`@*)_~|\\>")
        ):
            self._out.append(_GAP)
        self._out.append(marks + words + code)
        self._set, self._after_mark = len(self._styles), bool(code)

    def _close(self) -> None:
        style = self._styles.pop()
        if self._set > len(self._styles):
            self._set -= 1
            if style:
                self._out.append(style)
                self._after_mark = True

    def _break(self) -> None:
        self._out += [*reversed(self._styles[: self._set]), "\n"]
        self._set, self._after_mark = 0, False


def _touches(char: str, marks: str) -> bool:
    """Would Slack not see a mark beside it? Measured by users: not beside letters, what is wide, and some ASCII."""
    return char in marks or unicodedata.category(char)[0] in "LNM" or wide(char)


def _literal(line: str) -> str:
    """One line with our marks as Slack's, and those in the text told from them."""
    last = {found[0].translate(_SHOWN): found.start() for found in _LAST.finditer(line)}

    def apart(found: re.Match[str]) -> str:
        return found[0] + _GAP if found.start() < last.get(found[0], -1) else found[0]

    text = _LITERAL.sub(apart, line).translate(_SHOWN)
    return _GAP + text if text.startswith("&gt;") else text  # Slack takes this for a quote too


def _said(tokens: Iterable[Token]) -> str:
    """Words that can have no marks: the label of a link."""
    breaks = ("softbreak", "hardbreak")
    return "".join(
        _said(token.children or ()) if token.type == "image" else " " if token.type in breaks else token.content
        for token in tokens
    )


def _until_close(tokens: Iterator[Token]) -> Iterator[Token]:
    for token in tokens:
        if token.type == "link_close":
            return
        yield token


def _link(address: str, label: str) -> str:
    label = " ".join(label.split())
    if not _LINK.match(address):
        return escape(linked(label, address))
    target = escape(address.replace("|", "%7C").replace("<", "%3C").replace(">", "%3E"))
    return f"<{target}|{escape(label)}>" if label and label != address else f"<{target}>"


_TOKEN = re.compile(r"<([^<>]+)>|&(?:amp|lt|gt);")
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}
_UNSAID = re.compile(r"^(?:mailto|tel):", re.IGNORECASE)
_WEB = re.compile(r"^https?://", re.IGNORECASE)
_MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>")


def words_of(text: str, names: Mapping[str, str]) -> str:
    """Slack's text as people see it, links with their address. `names`: of users, by id."""
    return _TOKEN.sub(lambda found: _shown(found[1], names) if found[1] else _ENTITIES[found[0]], text)


def _shown(token: str, names: Mapping[str, str]) -> str:
    """What Slack shows for `<token>`."""
    target, _, label = (_unescaped(part) for part in token.partition("|"))
    kind, name = target[:1], target[1:]
    if kind == "@":
        return "@" + (names.get(name) or label or name)
    if kind == "#":
        return "#" + (label or name)
    if kind == "!":
        command, _, of = name.partition("^")
        if command == "date":
            return label or name
        return "@" + (label.removeprefix("@") or of or command)
    if ":" not in target:
        return f"<{_unescaped(token)}>"  # not Slack's
    address = _UNSAID.sub("", target)
    bare = _WEB.sub("", address)
    return address if label in ("", target, address, bare, bare.removesuffix("/")) else f"{label} ({address})"


def _unescaped(text: str) -> str:
    return _TOKEN.sub(lambda found: _ENTITIES.get(found[0], found[0]), text)


def mentioned(text: str) -> list[str]:
    """The ids of the users whom it mentions, each once, in the order of their first mention."""
    return list(dict.fromkeys(_MENTION.findall(text)))


def without_mention(text: str, user: str) -> str:
    """Without this user's mentions, wherever they stand, and without the blanks that were there for their sake."""
    mention = rf"<@{re.escape(user)}(?:\|[^<>]*)?>"
    # A run of blanks is looked at from its start only, or many blanks would cost their square.
    return re.sub(rf"(?<!\s)(\s*){mention}(?:\s*{mention})*(\s*)", _between, text)


def _between(found: re.Match[str]) -> str:
    """The blanks that stay where a mention stood."""
    left, right = found.groups()
    if found.start() == 0 or found.end() == len(found.string):
        return ""
    if "\n" in found[0]:
        return max(right, left, key=lambda blanks: blanks.count("\n"))
    return " " if right or (left and found.string[found.end()].isalnum()) else ""
