"""The tables [assistants.NAME]: who answers, how it talks, what it remembers, knows and can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from chatferry.configlimits import BudgetSettings, CacheSettings
from chatferry.configtypes import Duration, Filled, Name, Table, a_region, a_tool, a_word, wrong
from chatferry.words import LANGUAGES, MODEL, Language, Words, language_of, words, words_of


class SessionSettings(Table):
    start: Annotated[Name, AfterValidator(a_word)] = "/chatgpt"
    """What begins a session; a question may follow it at once."""
    always: bool = False
    """Everything is for the assistant; the commands only begin anew."""
    ttl: Duration | None = Field(default_factory=lambda told: None if told.get("always") else 300.0)
    """Silence that ends a session. None: it lasts until somebody ends it."""
    outside: Filled = "ignore"
    """What becomes of messages outside a session: `ignore`, another assistant by its name, or else this is said."""


def _language(value: str) -> str:
    """A language of ours, or a file: then it is read now, so that whoever has the settings has the words."""
    if value in ("auto", *LANGUAGES):
        return value
    if not value.endswith(".toml"):
        raise wrong(f"must be {', '.join(map(repr, LANGUAGES))}, 'auto' or a .toml file")
    try:
        words_of(Path(value))
    except ValueError as fault:
        raise wrong(f"is a file that cannot be used: it {fault}", f"translate {MODEL}") from None
    return value


def _spoken(language: str) -> Words:
    if language.endswith(".toml"):
        return words_of(Path(language))
    return words("en" if language == "auto" else language)


class AssistantSettings(Table):
    model: str = "default"
    language: Annotated[str, AfterValidator(_language)] = "auto"
    """What our own sentences are written in: one of ours, or the file of another. auto: that of `instructions`."""
    instructions: str = Field(default_factory=lambda told: _spoken(told.get("language", "auto")).instructions)
    context_tokens: int = Field(default=4000, ge=100)
    """Tokens that a prompt may cost in all: instructions, what is known, what was said before, and the question."""
    busy: Literal["queue", "merge", "interrupt"] = "queue"
    """What a message does that comes while another is being answered."""
    greeting: str | None = None
    """Said to whoever meets us. None: the sentence of the language; empty: nothing."""
    session: SessionSettings | None = None
    """The assistant answers in sessions. None: it answers everything."""

    budget: BudgetSettings = BudgetSettings()
    cache: CacheSettings | None = None
    """None: every question is asked."""

    memory: Literal["session", "conversation"] = "session"
    """What is remembered: what was said in the running session, or in those before it too, until /clear."""
    summary_model: str | None = None
    """The model that keeps a summary of what does not fit into `context_tokens` any more. None: that falls out."""
    profile: bool = False
    """The model may note a few facts about whom it talks to; `/memory` shows and clears them."""

    knowledge: tuple[str, ...] = ()
    """Files that the answers shall rest on, as patterns such as `docs/**/*.md`, from the configuration's folder on."""
    ground: Literal["prefer", "strict"] = "prefer"
    """strict: where nothing is found in `knowledge`, the answer is that we don't know."""
    checker: str | None = None
    """The model that rejects answers which what was found does not bear out. None: nobody checks."""

    tools: tuple[Annotated[str, AfterValidator(a_tool)], ...] = ()
    """What the model may call: functions as `module:function`, and what the servers of [mcp] offer, as `mcp:NAME`, or
    one tool of theirs as `mcp:NAME/tool`."""
    tool_rounds: int = Field(default=5, ge=1, le=50)
    """How often it may call, in one answer, before it has to answer."""
    tool_timeout: Duration = 30.0
    """Seconds that one call may take."""
    tool_limit: int = Field(default=16_000, ge=200)
    """Characters of a result that the model gets to read."""

    confirm: tuple[Annotated[str, AfterValidator(a_tool)], ...] = ()
    """Those of `tools` that are called only when the person has said yes; a function may demand it itself."""
    confirm_timeout: Duration = 600.0
    """Seconds for which a yes counts."""

    voice: str | None = None
    """The model that writes down what was spoken (OpenAI's `/audio/transcriptions`). None: nobody listens."""
    ocr: bool = False
    """Read the text in pictures, for models that cannot see."""
    file_limit: int = Field(default=10_000_000, ge=1000)
    """Bytes of a picture, a voice message or a file that are fetched."""
    file_text: int = Field(default=20_000, ge=200)
    """Characters of a file that are read."""

    redact: tuple[Literal["phone", "email", "card", "national_id", "iban", "url_credentials"], ...] = ()
    """What models are not told: a mask such as `[PHONE_1]` stands in its place, and the answer has it again."""
    redact_regions: tuple[Annotated[str, AfterValidator(a_region)], ...] = ("TW", "CN", "JP", "HK", "US", "GB")
    """The countries whose telephone numbers and national ids are known, by their letters in ISO 3166."""

    @property
    def remembers(self) -> bool:
        """Is anything kept of a talk but what was said in it?"""
        return self.profile or self.summary_model is not None

    @property
    def tongue(self) -> Language:
        """The language of our own sentences; where it is none of ours, the one that we take it for."""
        told = self.instructions if self.language == "auto" else _spoken(self.language).greeting
        return next((ours for ours in LANGUAGES if ours == self.language), language_of(told))

    @property
    def words(self) -> Words:
        """Our own sentences."""
        return words(self.tongue) if self.language == "auto" else _spoken(self.language)
