"""What stands in a page of the repository, taken apart."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent


def text(page: str) -> str:
    return (REPOSITORY / page).read_text("utf-8")


def prose(page: str) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", text(page), flags=re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a language in a page."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text(page), re.MULTILINE | re.DOTALL)


def inline(page: str) -> list[str]:
    """What stands in the prose as code."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]


def known() -> set[str]:
    """The variables that the program reads."""
    sources = (REPOSITORY / "src/chatferry/config").glob("*.py")
    return {name for source in sources for name in re.findall(r'"([A-Z][A-Z_]+)"', source.read_text("utf-8"))}
