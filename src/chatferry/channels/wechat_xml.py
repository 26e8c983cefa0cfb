"""WeChat's XML: what comes in as its parts by name, and a reply on its way out. Pure.

What comes in is read before anything is known about its sender, so there are no document types and no entities, and
nothing is kept of what is nested. How long it may be, the web layer says.
"""

from __future__ import annotations

from collections.abc import Mapping

from chatferry.errors import Rejected
from chatferry.text.cutting import clean


class _Flat:
    """Collects the text of the root's children; where one name comes twice, the first counts."""

    def __init__(self) -> None:
        self.root = ""
        self.parts: dict[str, str] = {}
        self._depth = 0
        self._said: list[str] = []

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth == 1:
            self.root = tag
        elif self._depth == 2:
            self._said.clear()

    def data(self, said: str) -> None:
        if self._depth == 2:
            self._said.append(said)

    def end(self, tag: str) -> None:
        if self._depth == 2:
            self.parts.setdefault(tag, "".join(self._said))
        self._depth -= 1

    def close(self) -> dict[str, str]:
        return self.parts


def read(body: bytes) -> dict[str, str]:
    """The parts of a message by their names. Raises Rejected(400)."""
    from defusedxml.ElementTree import DefusedXMLParser  # only where there is WeChat

    flat = _Flat()
    # Whatever the document says of its encoding, WeChat writes UTF-8.
    parser = DefusedXMLParser(target=flat, encoding="utf-8", forbid_dtd=True)
    try:
        parser.feed(body)
        parser.close()
    except (SyntaxError, ValueError) as error:  # ParseError is the one, what defusedxml forbids the other
        raise Rejected(400, "the body is not the XML that WeChat sends") from error
    if flat.root != "xml":
        raise Rejected(400, "the body is not the XML that WeChat sends")
    return flat.parts


def written(**parts: str | int) -> bytes:
    """A document of these parts, in their order."""
    inner = "".join(f"<{name}>{_value(value)}</{name}>" for name, value in parts.items())
    return f"<xml>{inner}</xml>".encode()


def _value(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    # The mark that ends a CDATA section is shared out between two of them.
    return f"<![CDATA[{clean(value).replace(']]>', ']]]]><![CDATA[>')}]]>"
