"""An assistant at run time: who it is, how it talks, and the model behind it."""

from __future__ import annotations

from dataclasses import dataclass

from chatferry.config import AssistantSettings
from chatferry.engines.base import Engine
from chatferry.words import Words


@dataclass(frozen=True, slots=True)
class Assistant:
    """One persona. `engine` asks the model that the settings name, and its fallbacks."""

    name: str
    settings: AssistantSettings
    engine: Engine
    words: Words

    @property
    def greeting(self) -> str:
        """What whoever meets us is told; empty: nothing."""
        return self.words.greeting if self.settings.greeting is None else self.settings.greeting
