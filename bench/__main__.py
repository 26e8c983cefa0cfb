"""`python -m bench [NAME ...]`."""

from __future__ import annotations

import importlib
import sys

NAMES = ("start", "ack", "turns", "tokens", "memory", "slack", "wechat", "overhead", "scale")

for name in sys.argv[1:] or NAMES:
    print(f"\n## {name}\n", flush=True)
    for row in importlib.import_module(f"bench.{name}").main():
        print(row, flush=True)
