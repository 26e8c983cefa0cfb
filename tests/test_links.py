"""Addresses of pages: whoever was given one gets in, for a time, and nobody else."""

from __future__ import annotations

import base64
import struct

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from chatferry.ledger.database import Database
from chatferry.ledger.shared import signing_key
from chatferry.ledger.tables import keys
from chatferry.links import Expired, Links, Page

NOW = 1_800_000_000.5
DAY = 86400.0


def links(key: bytes = b"k" * 32, ttl: float = DAY, base: str | None = "https://bot.example") -> Links:
    return Links(key, ttl, base)


@given(st.integers(1, 2**63 - 1), st.sampled_from(["a", "h"]), st.binary(min_size=32, max_size=32))
def test_a_token_opens_the_page_that_it_was_made_for(turn: int, page: Page, key: bytes) -> None:
    ours = links(key)
    token = ours.token(page, turn, NOW)
    assert ours.read(page, token, NOW) == turn
    assert Links(key, 1.0, None).read(page, token, NOW) == turn, "in any process"
    assert ours.read("h" if page == "a" else "a", token, NOW) is None, "and no other page"
    assert links(b"other").read(page, token, NOW) is None


def test_an_address_says_where_and_which_page() -> None:
    ours = links()
    assert ours.answer(7, NOW) == f"https://bot.example/a/{ours.token('a', 7, NOW)}"
    assert ours.history(7, NOW) == f"https://bot.example/h/{ours.token('h', 7, NOW)}"
    assert len(ours.token("a", 7, NOW)) < 40


def test_there_is_none_where_nobody_said_how_people_reach_us() -> None:
    ours = links(base=None)
    assert (ours.answer(7, NOW), ours.history(7, NOW)) == (None, None)
    ours.base = "https://found.example"
    assert (ours.answer(7, NOW) or "").startswith("https://found.example/a/")


def test_it_opens_until_its_time_is_over_and_then_says_so() -> None:
    ours = links(ttl=100.0)
    token = ours.token("a", 7, NOW)
    assert ours.read("a", token, NOW + 99) == 7
    for later in (100, 101, 10 * DAY):
        with pytest.raises(Expired):
            ours.read("a", token, NOW + later)


def test_only_who_had_a_good_one_is_told_that_it_is_over() -> None:
    ours = links(ttl=100.0)
    token = ours.token("a", 7, NOW)
    assert ours.read("h", token, NOW + DAY) is None
    assert links(b"other").read("a", token, NOW + DAY) is None


@pytest.mark.parametrize("place", range(38))
def test_any_other_character_makes_it_worthless(place: int) -> None:
    ours = links()
    token = ours.token("a", 7, NOW)
    for char in "A-_z9=+/ \n\x00é字":
        other = f"{token[:place]}{char}{token[place + 1 :]}"
        assert other == token or ours.read("a", other, NOW) is None


def test_so_does_any_that_is_missing_or_too_many() -> None:
    ours = links()
    token = ours.token("a", 7, NOW)
    for other in (
        *(token[:n] for n in range(len(token))),
        token + "A",
        token + "=",
        token + token,
        f" {token}",
        "=" * 5,
    ):
        assert ours.read("a", other, NOW) is None


def test_one_token_has_one_spelling() -> None:
    """Else what is not logged whole could be logged in another."""
    ours = links()
    for turn in range(1, 200):  # some with `-` and `_` in them
        token = ours.token("a", turn, NOW)
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        plain = base64.b64encode(raw).decode()
        for other in (
            plain,
            plain.rstrip("="),
            f"{token}==",
            token[:5] + "!" + token[5:],
            token[:5] + "\n" + token[5:],
        ):
            assert other == token or ours.read("a", other, NOW) is None


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_anything_else_is_none_of_ours(token: str) -> None:
    assert links().read("a", token, NOW) is None


def test_whoever_moves_the_end_of_its_time_has_no_signature_for_it() -> None:
    ours = links(ttl=100.0)
    token = ours.token("a", 7, NOW)
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    later = struct.pack(">QI", 7, 4_000_000_000) + raw[12:]
    assert ours.read("a", base64.urlsafe_b64encode(later).rstrip(b"=").decode(), NOW) is None


def test_the_longest_time_that_may_be_set_can_be_told() -> None:
    assert links(ttl=3650 * DAY).read("a", links(ttl=3650 * DAY).token("a", 1, NOW), NOW) == 1


async def test_the_key_is_made_once_and_the_same_for_all_processes(database: Database) -> None:
    first = await signing_key(database)
    assert len(first) == 32
    assert await signing_key(database) == first
    kept = await database.read(lambda connection: connection.execute(sa.select(keys.c.key)).scalars().all())
    assert [bytes(key) for key in kept] == [first]
