"""What every channel promises (`channels/base.py`), as functions: a channel's tests call them with what they have."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatferry.channels.base import Channel, Hook
from chatferry.errors import Rejected
from chatferry.model import says


def take_raises_only_rejected(channel: Channel, hook: Hook) -> None:
    """Whatever came in, the caller is either read or told why not, with a status that says whose fault it is."""
    try:
        status = channel.take(hook).status
    except Rejected as rejected:
        status = rejected.status
    assert 200 <= status < 300 or 400 <= status < 500


def take_is_pure(channel: Channel, hook: Hook) -> None:
    """The same request is read the same way again, so that a redelivery finds the rows of the first delivery."""
    first, second = channel.take(hook), channel.take(hook)
    assert first == second
    ids = [event.event for event in first.events]
    assert all(ids)
    assert len(ids) == len(set(ids))


async def sends_no_more_than_its_batch(channel: Channel, address: str) -> None:
    for count in (0, channel.caps.batch + 1):
        with pytest.raises(ValueError, match="messages"):
            await channel.send(address, [says("assistant", "x")] * count, key="", grant=None)


async def gives_a_receipt_for_each_message(channel: Channel, address: str, key: str) -> None:
    messages = [says("assistant", f"number {number}") for number in range(channel.caps.batch)]
    receipts = await channel.send(address, messages, key=key, grant=None)
    assert len(receipts) == len(messages)
    assert len({receipt.id for receipt in receipts}) == len(messages)


async def pushes_once_for_one_key(channel: Channel, address: str, key: str, arrived: Callable[[], int]) -> None:
    before = arrived()
    first = await channel.send(address, [says("assistant", "once")], key=key, grant=None)
    second = await channel.send(address, [says("assistant", "once")], key=key, grant=None)
    assert arrived() == before + 1
    assert first == second
