"""`chatferry` on a machine whose clock is wrong: `python -m tests.chaos.skewed SECONDS serve ...`."""

from __future__ import annotations

import sys
import time

if __name__ == "__main__":
    wrong, right = float(sys.argv.pop(1)), time.time
    time.time = lambda: right() + wrong
    from chatferry.cli.main import main

    main()
