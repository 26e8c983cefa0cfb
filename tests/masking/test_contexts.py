"""Values between whatever people put beside them: slashes, dots, list numbers, tables, words of a line."""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from chatferry.masking.finding import Finder
from chatferry.masking.masks import KINDS, Masks
from tests.masking import people

FINDER = Finder(KINDS, ("TW", "CN", "JP", "HK", "US", "GB"))
EACH = 4
VALUES: dict[str, Callable[[random.Random], str]] = {
    **{f"phone {country}": partial(people.phone, country=country) for country in people.PREFIXES},
    "email": partial(people.email, country=""),
    "card": partial(people.card, country=""),
    "iban": people.iban,
    "TW": people.tw,
    "CN": people.cn,
    "JP": people.my_number,
    "HK": people.hkid,
    "US": people.ssn,
    "NHS": people.nhs,
    "NI": people.nino,
}
CONTEXTS = [
    "my ID is {}", "I am {}", "我的 ID {}", "ID card {}", "User {}:", "Here: {}", "call {} now", "Bob {}.", "it's {}!",
    "{}?", "{},", "...{}...", "…{}…", "→{}", "- {}", "* {}", "• {}", "1. {}", "1) {}", "(1) {}", "１） {}",
    "2 {}", "A {}",
    "1. {}\n2. {}", "1) {}\n2) {}", "1: {} 2: {}", "2024 {}", "{} (2024-01-02)", "Mr Bob {} age 45", "室 {} 樓",
    "{}, {}", "{}/{}", "{} / {}", "{}\n{}", "{}|{}", "{}、{}", "{}和{}", "{} or {}", "{}&{}", "{}+{}", "{};{}",
    "{}\t{}",
    "name,{},x", "a;{};b", "| Bob | {} |", "|{}|{}|", "({})", "[{}]", "<{}>", '"{}"', "'{}'", "“{}”", "「{}」", "`{}`",
    "k={}", "x={};", '{{"k":"{}"}}', "k: {}", "https://x.y/?p={}", "https://x.y/?p={}&q=1", "id={}&k=2", "k:{}",
    "請用 {} 謝謝", "請用{}謝謝", "我的是{}，快點", "王小明_{}", "王小明/{}", "王小明+{}", "王小明-{}", "王小明{}",
    "id:{}", "#{}", "@{}", "{}@", "~{}~", "*{}*", "_{}_", "**{}**", "No.{}", "No. {}", "(Bob/{})", "Bob/{}", "{}/Bob",
    "{}/DOB 1990", "{}/12/27", "Bob_{}", "{}_Bob", "Bob-{}", "{}-Bob", "Bob+{}", "Bob:{}", "Bob&{}", "ID{}", "{}=x",
]  # fmt: skip


def plain(chance: random.Random, kind: str) -> str:
    """A value that needs no word beside it to be known for what it is."""
    while True:
        value = VALUES[kind](chance)
        alone = value.isdigit() and (
            kind in ("JP", "US", "NHS", "phone US", "phone HK") or value.startswith(("86", "852"))
        )
        if not alone:
            return value


def filled(context: str, kind: str, chance: random.Random) -> tuple[str, list[str]]:
    values = [plain(chance, kind) for _ in range(context.replace("{{", "").count("{}"))]
    text = context.format(*values)
    return (f"マイナンバーのことです。\n{text}" if kind == "JP" else text), values


def matrix() -> Iterator[tuple[str, str, str, list[str]]]:
    chance = random.Random(9)  # noqa: S311
    for context in CONTEXTS:
        for kind in VALUES:
            for _ in range(EACH):
                yield context, kind, *filled(context, kind, chance)


def test_99_of_100_values_are_masked_whatever_stands_beside_them(capsys: pytest.CaptureFixture[str]) -> None:
    missed, all_ = Counter[tuple[str, str]](), 0
    for context, kind, text, values in matrix():
        all_ += 1
        masked = Masks(FINDER).mask(text)
        missed[context, kind] += any(value in masked for value in values)
    with capsys.disabled():
        sys.stdout.write(f"\nin {len(CONTEXTS)} contexts: {1 - missed.total() / all_:.2%} of {all_}\n")
        for (context, kind), times in missed.items():
            if times:
                sys.stdout.write(f"  missed {kind} in {context!r}: {times} of {EACH}\n")
    assert missed.total() <= 0.01 * all_


@pytest.mark.parametrize(
    "text",
    [
        "my ID is A123456789", "I am A123456789", "我的 ID A123456789", "ID card A123456789", "User B123456780:",
        "0912345678/0987654321", "02-23456789/0912345678", "私の番号は090-1234-5678/080-1234-5678", "Bob/0912345678",
        "王小明_0912345678", "Visa 4111111111111111/12/27", "4111111111111111/4242424242424242",
        "SSN: 536-90-4399/DOB 1990", "HKID:A123456(3)/DOB", "A123456789/B123456780", "Card No.4111111111111111",
        "ID No.A123456789", "1. 415-536-9636\n2. 415-539-2481", "1) 9123 4567\n2) 9234 5678", "94107 415-536-9636",
        "TEL:02-2345-6790/FAX:02-2345-6791", "0912345678&0987654321", "bob@例え.jp", "bob@公司.台灣",
        "a@b.com.台灣謝謝", "4111111111111111=27/12", "王小明+0912345678", "1)0912345678",
    ],
)  # fmt: skip
def test_none_of_these_gets_through(text: str) -> None:
    masked = Masks(FINDER).mask(text)
    assert not re.search(r"[AB]\d{6}|\d{4}|\d{3}-\d|bob|a@b", masked.replace("1990", "").replace("94107", "")), masked


@pytest.mark.parametrize(
    "text",
    [
        "https://shop.tw/orders/0912345678", "see https://x.y/a/4111111111111111/b.jpg", "/var/log/0912345678.log",
        "./data/A123456789.json", "src/img/0912345678.png", "x.com/i/0912345678",
        "2026/11/28", "11/28/2026", "1/3", "2/1234567890123", "v1.0912345678", "3.0912345678", "1.2.3-0912345678",
        "IMG_20241103_091234", "IMG_0912345678.jpg", "order-0912345678", "ORD-0912345678", "訂單 0912345678",
        "user_0912345678", "550e8400-e29b-41d4-a716-446655440000", "$9123 4567", "4111 1111 1111 1112", "50%0912345678",
        "x@0912345678", "a1#0912345678", "9123 4567 8901 2345", "2345 678 901 234 567", "10.0.0.0/24",
    ],
)  # fmt: skip
def test_addresses_dates_versions_and_orders_stay(text: str) -> None:
    assert Masks(FINDER).mask(text) == text


def digits_of_all_kinds() -> dict[str, str]:
    chance = random.Random(3)  # noqa: S311
    return {
        "ones": "1 " * 10_000,
        "pairs": " ".join(people.digits(chance, 2) for _ in range(7_000)),
        "fours": " ".join(people.digits(chance, 4) for _ in range(4_000)),
        "dashes": "-".join(people.digits(chance, 4) for _ in range(4_000)),
        "one number": people.digits(chance, 20_000),
        "labels": "call 12 34 56 78 90 " * 1_000,
    }


@pytest.mark.parametrize("name", digits_of_all_kinds())
def test_digits_that_cannot_be_numbers_are_not_looked_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import phonenumbers
    from stdnum import iban, luhn

    asked = Counter[str]()

    def counted(what: str, judge: Callable[..., object]) -> Callable[..., object]:
        def ask(*values: object) -> object:
            asked[what] += 1
            return judge(*values)

        return ask

    for module, judge in ((phonenumbers, "parse"), (luhn, "is_valid"), (iban, "is_valid")):
        monkeypatch.setattr(module, judge, counted(f"{module.__name__}.{judge}", getattr(module, judge)))
    text = digits_of_all_kinds()[name]
    FINDER.find(text)
    assert asked.total() <= len(text) / 10, asked
