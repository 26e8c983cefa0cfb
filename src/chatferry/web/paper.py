"""The export as a page that stands alone: one file, no script, nothing that is loaded from anywhere."""

from __future__ import annotations

from functools import cache
from typing import Any

from markupsafe import Markup

from chatferry.web.rendering import blocks
from chatferry.web.sheets import environment, files
from chatferry.words import words


def part(name: str, language: str, **given: Any) -> str:
    """The page's `head`, the beginning of a `talk`, a `turn`, or its `foot`."""
    if "answer" in given:
        given["answer"] = Markup("\n".join(blocks(given["answer"])))  # noqa: S704 - `rendering` has sanitised them
    return str(getattr(_module(language), name)(**given))


@cache
def _module(language: str) -> Any:
    return (
        environment()
        .get_template("export.html")
        .make_module({"style": _style(), "words": words(language), "lang": language})
    )


@cache
def _style() -> Markup:
    """Ours, and so as it is."""
    return Markup(files()["pages.css"].body.decode() + files()["export.css"].body.decode())  # noqa: S704
