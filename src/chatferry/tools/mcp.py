"""Servers of the Model Context Protocol."""

from __future__ import annotations

from chatferry.config import McpSettings
from chatferry.tools.base import Source


class Server:
    """One server."""

    def __init__(self, name: str, settings: McpSettings, source: str) -> None:
        self.name = name

    def offering(self, only: str = "") -> Source:
        raise NotImplementedError
