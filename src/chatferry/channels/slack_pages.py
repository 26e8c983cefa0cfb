"""The pages that people see who install us: one shape, no scripts, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from typing import NamedTuple

from chatferry.channels.base import Page

_STYLE = """
:root { color-scheme: light dark }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; font: 17px/1.55 system-ui, sans-serif;
  color: #1d2129; background: #f4f5f7 }
main { box-sizing: border-box; width: min(30rem, 100vw - 2rem); padding: 2.25rem 2.5rem; border-radius: 16px;
  background: #fff; border-top: 5px solid #2b6cb0; box-shadow: 0 8px 30px #0002; overflow-wrap: anywhere }
main.bad { border-color: #c05621 }
h1 { margin: 0 0 .6rem; font-size: 1.45rem; line-height: 1.25 }
p { margin: 0 }
p + p { margin-top: 1.5rem }
a { display: inline-block; padding: .55rem 1.15rem; border-radius: 9px; color: #fff; background: #2b6cb0;
  text-decoration: none; font-weight: 600 }
a:hover, a:focus-visible { background: #2c5282 }
@media (prefers-color-scheme: dark) {
  body { color: #e6e8eb; background: #14161a }
  main { background: #1f2329; box-shadow: none }
}
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",  # the address has a code in it
    "X-Content-Type-Options": "nosniff",
}


class Link(NamedTuple):
    """What to do next."""

    label: str
    url: str


def page(
    title: str, text: str, link: Link | None = None, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Page:
    """A page of a title, a paragraph of plain text, and perhaps a button."""
    mood = ' class="bad"' if status >= 400 else ""
    button = f'<p><a href="{escape(link.url)}">{escape(link.label)}</a></p>' if link else ""
    body = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main{mood}><h1>{escape(title)}</h1><p>{escape(text)}</p>{button}</main></body></html>\n"
    )
    return Page(body, status, {**_HEADERS, **(headers or {})})


def redirect(url: str, headers: Mapping[str, str]) -> Page:
    """On to another page."""
    return Page("", 302, {"Location": url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", **headers})
