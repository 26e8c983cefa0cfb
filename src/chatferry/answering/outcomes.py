"""What came of asking a model: what the person reads of it, in which pieces, and what the history remembers. Pure."""

from __future__ import annotations

import msgspec

from chatferry.engines.base import Done
from chatferry.errors import Fault, TryLater
from chatferry.feed import Outcome
from chatferry.held import Held
from chatferry.ledger.consent import NO, YES
from chatferry.model import APOLOGY, Button, Message, Turn, says
from chatferry.text.cutting import clean, closed


class Asked(msgspec.Struct):
    """What came of asking the model."""

    first_token_at: float | None = None
    done: Done | None = None
    fault: Fault | None = None
    asks: bool = False
    """Calls wait for the person's yes: the answer is the question whether they shall be made."""


def outcome_of(asked: Asked, text: str, held: Held) -> Outcome:
    """What the person gets to read: a provider's fault becomes a kind sentence, the fault itself is for the log."""
    words, done, usage = held.assistant.words, asked.done, held.spending.all
    if asked.fault is not None:
        sorry = words.sorry_busy if isinstance(asked.fault, TryLater) else words.sorry_failed
        return Outcome(says("assistant", sorry), APOLOGY, usage, error=str(asked.fault))
    if done is None:
        # Interrupted. What somebody has read of it stands; what nobody has seen was never said.
        read = held.channel.caps.live or held.channel.caps.pages or held.drafts
        return Outcome(says("assistant", text) if text and read else None, "stopped", usage)
    silent = not clean(text).strip()
    if silent and done.finish == "filter":
        # To ask again would not help, so this is an answer, if a poor one.
        text = words.sorry_filtered
    elif silent:
        spent = "; its max_tokens were spent on thinking: raise them" if done.finish == "length" else ""
        error = f"the model said nothing{spent}"
        return Outcome(says("assistant", words.sorry_empty), APOLOGY, usage, done.model, error)
    if done.finish == "length" and held.channel.caps.batch:
        # Where nothing is sent the answer is fetched with its `finish`, by a program.
        text = f"{text}\n\n{words.cut_short}"
    buttons: tuple[Button, ...] = ()
    if asked.asks:
        turn = held.turn.id
        buttons = (Button(words.yes, f"{YES}{turn}"), Button(words.no, f"{NO}{turn}"))
    return Outcome(says("assistant", text, *buttons), done.finish, usage, done.model)


def pieces_of(held: Held, outcome: Outcome, notice: str) -> list[Message]:
    """The messages in which the answer goes out, behind a notice; one that was stopped while it grew says so."""
    if not held.channel.caps.batch or (held.turn.inbound.kind == "message" and held.turn.inbound.said is None):
        return []
    text = outcome.answer.text if outcome.answer is not None else ""
    if outcome.finish == "stopped" and held.channel.caps.pages and held.turn.inbound.kind == "message":
        return []  # whoever stopped it has read it where it grew
    if outcome.finish == "stopped" and held.drafts:
        text = f"{closed(text.rstrip())}…{held.assistant.words.stopped}"
    if notice and text:
        text = f"{notice}\n\n{text}"
    pieces = held.layout.pieces(text)
    if pieces and outcome.answer is not None and outcome.answer.buttons and held.channel.caps.buttons:
        pieces[-1] = msgspec.structs.replace(pieces[-1], buttons=outcome.answer.buttons)
    return pieces


def said_of(turn: Turn, outcome: Outcome) -> list[Message]:
    """What the history remembers of the turn: both sides, or nothing where the model gave no answer."""
    inbound, answer = turn.inbound, outcome.answer
    if outcome.finish == APOLOGY or inbound.kind in ("collect", "erase", "command") or inbound.context is not None:
        return []
    asked = inbound.said
    said = [asked] if inbound.kind == "message" and asked is not None else []
    return [*said, answer] if answer is not None and answer.text else said
