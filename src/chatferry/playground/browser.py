"""Show a page to whoever sits in front of this machine."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser


def show(url: str) -> None:
    """Open the page in the usual browser, if there is a screen to show it on. The address was printed in any case."""
    screen = sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if screen and "SSH_CONNECTION" not in os.environ:
        # Some browsers keep whoever starts them waiting.
        threading.Thread(target=webbrowser.open, args=(url,), name="browser", daemon=True).start()
