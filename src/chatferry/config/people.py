"""Who may come in on a channel, the table [privacy], and what these owe each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from chatferry.config.file import Draft, Key
from chatferry.config.types import Filled, Secret, Table, at_least, wrong

LONGEST = 200_000
"""Characters of a notice of the operator's own."""


class EntranceSettings(Table):
    """What every channel has of it."""

    allow: tuple[Filled, ...] = ()
    """Ids of people and groups that are answered; where it is said, and no code is asked for, nobody else is."""
    deny: tuple[Filled, ...] = ()
    """Ids of people and groups that are not."""
    denied: str = ""
    """What whoever is not answered is told, once. Empty: nothing."""
    first_contact: Literal["open", "code"] = "open"
    """code: whoever is new is asked for the `code`."""
    code: Annotated[Secret, AfterValidator(at_least(8, "a few words, such as heron-tea-2026"))] | None = None


def _text(value: str) -> str:
    """The text of the file at this path, which `locate` has made absolute."""
    try:
        text = Path(value).read_text("utf-8-sig")
    except OSError as error:
        raise wrong(f"cannot be read: {error.strerror}", "write the notice there, in Markdown") from None
    except UnicodeDecodeError:
        raise wrong("is not written in UTF-8") from None
    if not text.strip() or len(text) > LONGEST:
        raise wrong("is empty" if not text.strip() else f"has more than {LONGEST} characters")
    return text


class PrivacySettings(Table):
    """What people are told about what becomes of their words: at /privacy, and by the command."""

    contact: str = ""
    """Whom they can write to: an address, a link, a sentence."""
    notice: Annotated[str, AfterValidator(_text)] | None = None
    """A file with words of the operator's own, in Markdown, read at the start."""
    facts: bool = True
    """The page tells what follows from this configuration, behind the notice. False: the notice alone."""


def locate(draft: Draft) -> None:
    """Let the notice's path be counted from the folder of the configuration."""
    table = draft.table("privacy")
    if isinstance(notice := table.get("notice"), str):
        draft.tree["privacy"] = table | {"notice": str((Path(draft.source).parent / notice).absolute())}


def check(draft: Draft) -> None:
    """Pin faults to doors that nobody can open, or that are open and shut."""
    for name, table in draft.tables("channels").items():
        key: Key = ("channels", name)
        code, first = table.get("code"), table.get("first_contact", "open")
        if first == "code" and not code:
            draft.fault((*key, "code"), 'is required with first_contact = "code"', 'code = "${CHATFERRY_CODE}"')
        if code and first == "open":
            draft.fault((*key, "code"), "is asked of nobody", 'first_contact = "code"')
        allow, deny = table.get("allow"), table.get("deny")
        for index, one in enumerate(deny if isinstance(deny, list) else ()):
            if isinstance(allow, list) and one in allow:
                draft.fault((*key, "deny", index), "is in allow too", "leave it out of one of them")
        if table.get("denied") and not allow and not deny and first == "open":
            draft.fault((*key, "denied"), "is said to nobody", "deny = [...], or leave it out")
    privacy = draft.table("privacy")
    if privacy.get("facts") is False and not privacy.get("notice"):
        draft.fault(("privacy", "facts"), "leaves nothing to be told", 'notice = "privacy.md"')
