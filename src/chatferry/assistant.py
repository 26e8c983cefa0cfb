"""An assistant at run time: who it is, how it talks, and the model behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from chatferry.config import AssistantSettings
from chatferry.engines.base import Engine
from chatferry.engines.tokens import Gauge
from chatferry.model import Inbound
from chatferry.tools.base import Source
from chatferry.words import Words


@dataclass(frozen=True, slots=True)
class Assistant:
    """One persona. `engine` asks the model that the settings name, and its fallbacks."""

    name: str
    settings: AssistantSettings
    engine: Engine
    words: Words
    checker: Engine | None = None
    """Asks the model that rejects answers; None: nobody checks."""
    sources: tuple[Source, ...] = ()
    """What the model may call while it makes an answer."""
    sees: bool = False
    """One of its models at least takes pictures."""
    blind: bool = True
    """One of its models at least does not."""
    gauge: Gauge = field(default_factory=Gauge)
    """What prompts cost its model."""
    summarizer: Engine | None = None
    """The model that keeps a summary of what does not fit into a prompt any more."""
    made_of: str = ""
    """What the configuration says of how it answers, as a hash: by that it is told from what it was."""

    @property
    def greeting(self) -> str:
        """What whoever meets us is told; empty: nothing."""
        session = self.settings.session
        if self.settings.greeting is not None:
            return self.settings.greeting
        if session is not None and not session.always:
            return self.words.greeting_session.replace("{start}", session.start)
        return self.words.greeting


class Staff(Mapping[str, Assistant]):
    """All assistants by name, and who of them answers what."""

    def __init__(self, assistants: Mapping[str, Assistant], assigned: Mapping[str, str]) -> None:
        """assigned: the assistant of each channel, by name; an event may ask for another."""
        self._assistants = assistants
        self._assigned = assigned

    def of(self, channel: str, inbound: Inbound) -> Assistant | None:
        """Who answers; None where the configuration does not name them any more."""
        return self._assistants.get(inbound.assistant) or self._assistants.get(self._assigned.get(channel, ""))

    def __getitem__(self, name: str) -> Assistant:
        return self._assistants[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._assistants)

    def __len__(self) -> int:
        return len(self._assistants)
