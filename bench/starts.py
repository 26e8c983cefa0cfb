"""How soon a turn is taken up after it was accepted: in one process, and by another one."""

from __future__ import annotations

from collections.abc import Iterator

from bench.rates import starts


def main() -> Iterator[str]:
    for workers in (0, 2):
        yield starts(workers)
