"""The files of an imaginary shop in each language, and questions whose answers are in them, or in none of them.

Eight products with eight passages each, which differ in a word or a number only, and what a shop says beside that: a
question has to find both its product and what is asked of it.
"""

from __future__ import annotations

import csv
import io
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LANGUAGES = ("zh-TW", "zh-CN", "ja", "en")


@dataclass(frozen=True)
class Asked:
    """A question, and the title of the passage that answers it: the end of its way of headings."""

    text: str
    title: str


@dataclass(frozen=True)
class Shop:
    files: dict[str, str]
    answered: list[Asked]
    unknown: list[str]
    around: list[str]
    """What people say beside a question, which stands where the braces are: nothing, little, much, and what happens to
    be in a passage too."""


def shop(language: str) -> Shop:
    said = tomllib.loads((Path(__file__).parent / "corpus" / f"{language}.toml").read_text("utf-8"))
    files, answered = {}, []
    for number, name in enumerate(said["products"]):
        short, code = name.rsplit(maxsplit=1) if language != "ja" else (name.split("」")[0] + "」", name.split("」")[1])
        values = {"name": name, "short": short, "n": 150 + 35 * number, "m": 6 + number, "w": 6 + 3 * number}
        values |= {"d": 2 + number, "g": 80 + 15 * number, "k": 100 + 25 * number}
        page = [f"# {name}"]
        for place, aspect in enumerate(said["aspects"]):
            page.append(f"## {aspect['title']}\n\n{_of(aspect['passage'], number + place).format(**values)}")
            if (number + place) % 2:  # half of them, of each product and of each kind
                question = _of(aspect["question"], number // 2).format(**values)
                answered.append(Asked(question, f"{name} › {aspect['title']}"))
        files[f"products/{code.lower()}.md"] = "\n\n".join(page) + "\n"
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["topic", "text"])
    writer.writerows(policy[:2] for policy in said["policies"])
    files["policies.csv"] = table.getvalue()
    answered += [Asked(question, title) for title, _, question in said["policies"]]
    return Shop(files, answered, said["unknown"], ["{}", *said["around"]])


def _of(given: list[Any], number: int) -> Any:
    return given[number % len(given)]


def write(files: dict[str, str], folder: Path) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
