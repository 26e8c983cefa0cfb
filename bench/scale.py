"""Several processes on PostgreSQL: all measurements of them, in some eight minutes. Each can be had by its name."""

from __future__ import annotations

from collections.abc import Iterator

from bench import apart, bare, flight, growth, rates, recovery, starts


def main() -> Iterator[str]:
    for part in (rates, starts, bare, recovery, apart):
        yield from part.main()
    for long in (flight, growth):
        yield from long.main(whole=False)
