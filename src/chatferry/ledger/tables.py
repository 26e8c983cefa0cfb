"""The ledger's tables. Alembic's migrations create them; a test holds the two against each other.

Times are unix seconds. `conversation` is the key over all channels (`model.conversation_key`).
The states of a turn:

    due ──claim──▶ doing ──▶ done      answered, and every piece is out
     ▲               ├─────▶ failed    the model gave up; the person was told; `chatferry turns retry` asks again
     └──retry────────┤
                     ├─────▶ parked    answered, but there is no leave to send it: waits to be collected
                     ├─────▶ gone      nobody is there any more to be answered
    due ────────────▶ merged           another turn answers for it
    due, doing ─────▶ withdrawn        the person took the message back

A message that grows on the platform has a row in the outbox before its text is known: with a receipt, and not yet sent.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()

# SQLite counts rows only in a column that is called INTEGER; PostgreSQL gets 64 bits.
_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

turns = sa.Table(
    "turns",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("conversation", sa.Text, nullable=False),
    # Whose it is: the platform's id, empty where it tells none, or nobody did it.
    sa.Column("sender", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("due_at", sa.Double, nullable=False),
    sa.Column("inbound", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("grant", sa.Text),
    sa.Column("lease", sa.Integer, nullable=False),
    sa.Column("leased_until", sa.Double, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("accepted_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("first_token_at", sa.Double),
    sa.Column("answered_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("answer", sa.Text),
    sa.Column("finish", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("merged_into", _Id),
    # Somebody told us to stop, and the model is not asked any more, by whoever holds the turn.
    sa.Column("stopped", sa.Boolean, nullable=False, server_default=sa.false()),
    # How often the platform has delivered the event.
    sa.Column("deliveries", sa.Integer, nullable=False, server_default=sa.text("1")),
    # What the open request of the event was answered with: the same again, if the platform asks again.
    sa.Column("reply", sa.Text),
    # What has been said of an answer that is not kept yet, for those who read along in other processes.
    sa.Column("partial", sa.Text),
    # Who answered, by the configuration; empty where nobody has yet.
    sa.Column("assistant", sa.Text, nullable=False, server_default=sa.text("''")),
    # What its answer cost, in millionths of the currency.
    sa.Column("cost", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    # The same event twice is the same row, however often and wherever it is delivered.
    sa.UniqueConstraint("channel", "event", name="turns_event"),
    sqlite_autoincrement=True,
)


def _literals(*names: str) -> list[sa.ColumnClause[str]]:
    return [sa.literal_column(f"'{name}'") for name in names]


def state_is(*names: str) -> sa.ColumnElement[bool]:
    """The turn's state, written out: a bound parameter would hide from the planner that a partial index fits."""
    literals = _literals(*names)
    return turns.c.state == literals[0] if len(literals) == 1 else turns.c.state.in_(literals)


OPEN_STATES = _literals("due", "doing")
OPEN = turns.c.state.in_(OPEN_STATES)


def _partial(name: str, *columns: sa.Column[Any], where: sa.ColumnElement[bool], unique: bool = False) -> None:
    sa.Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


# One answer in the making per conversation: the database holds it, not a lock with a timeout.
_partial("turns_one_doing", turns.c.conversation, where=state_is("doing"), unique=True)
_partial("turns_open", turns.c.conversation, turns.c.id, where=OPEN)
sa.Index("turns_ref", turns.c.conversation, turns.c.ref)
# All that is somebody's, conversation by conversation.
sa.Index("turns_sender", turns.c.channel, turns.c.sender, turns.c.conversation, turns.c.id)
_partial("turns_due", turns.c.due_at, where=state_is("due"))
# Messages that were taken back before they came: there are few.
_partial("turns_retracted", turns.c.accepted_at, where=turns.c.kind == sa.literal_column("'retract'"))
_partial("turns_asking", turns.c.channel, turns.c.sender, where=OPEN)
_partial("turns_leased", turns.c.leased_until, where=state_is("doing"))
ASKED = sa.and_(turns.c.kind == sa.literal_column("'message'"), turns.c.finished_at.is_not(None))
"""A message to an assistant that was closed. Written out, for the planner to see that the index of these fits."""
_partial("turns_finished", turns.c.finished_at, where=ASKED)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("turn", _Id, sa.ForeignKey("turns.id"), nullable=False),
    sa.Column("conversation", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("notice", sa.Boolean, nullable=False),
    # The grant that a send was begun with: while `sent_at` is empty we don't know how it ended.
    sa.Column("attempt", sa.Text),
    sa.Column("sent_at", sa.Double),
    sa.Column("receipt", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
_partial("outbox_open", outbox.c.conversation, outbox.c.id, where=outbox.c.sent_at.is_(None))
sa.Index("outbox_turn", outbox.c.turn)
OUT = outbox.c.receipt != sa.literal_column("''")
"""The message is on the platform. Written out, for the planner to see that the index of receipts fits."""
# Which answer a message belongs to that somebody points at.
_partial("outbox_receipt", outbox.c.conversation, outbox.c.receipt, where=OUT)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("conversation", sa.Text, nullable=False),
    sa.Column("turn", _Id, sa.ForeignKey("turns.id"), nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("said_at", sa.Double, nullable=False),
    # A turn is remembered once, however often its last write is tried.
    sa.UniqueConstraint("turn", "role", name="messages_turn"),
    sqlite_autoincrement=True,
)
sa.Index("messages_talk", messages.c.conversation, messages.c.turn, messages.c.id)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("conversation", sa.Text, primary_key=True),
    # The first turn that belongs to it; the next row of the conversation ends it. A place among the turns, and no
    # foreign key: it stays where it is when that turn is removed (`retention`).
    sa.Column("turn", _Id, primary_key=True, autoincrement=False),
    # Or else what was said between two sessions.
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("began_at", sa.Double, nullable=False),
    # When the person last said something in it, where silence ends it.
    sa.Column("seen_at", sa.Double, nullable=False),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    # Made here and shared by all processes, such as the one by which links to pages are signed.
    sa.Column("key", sa.LargeBinary, nullable=False),
)

pace = sa.Table(
    "pace",
    metadata,
    # Who, or which conversation, is counted.
    sa.Column("key", sa.Text, primary_key=True),
    # When all that was asked does not count any more: the row is worthless then.
    sa.Column("free_at", sa.Double, nullable=False),
    # Who is too fast was told to wait so long.
    sa.Column("pause_until", sa.Double, nullable=False),
)
sa.Index("pace_free", pace.c.free_at)

vault = sa.Table(
    "vault",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("changed_at", sa.Double, nullable=False),
)

steps = sa.Table(
    "steps",
    metadata,
    # What a model called while it made the answer of a turn: the calls of a round were made at once.
    sa.Column("turn", _Id, sa.ForeignKey("turns.id"), primary_key=True, autoincrement=False),
    sa.Column("round", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    # What it had said before the round.
    sa.Column("said", sa.Text, nullable=False),
    sa.Column("call", sa.Text, nullable=False),
    # By which whoever is called knows the same call again.
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("began_at", sa.Double, nullable=False),
    # Empty as long as it has not returned.
    sa.Column("result", sa.Text),
    sa.Column("ended_at", sa.Double),
)

files = sa.Table(
    "files",
    metadata,
    # Made up by whoever keeps it, so that it stands in the turn's `inbound` with the same write.
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("turn", _Id, sa.ForeignKey("turns.id"), nullable=False),
    # Of the picture as we made it. Of other files the words are kept, with the message.
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
sa.Index("files_turn", files.c.turn)

memories = sa.Table(
    "memories",
    metadata,
    sa.Column("conversation", sa.Text, primary_key=True),
    # Nothing that was said before this turn counts any more: it is the last /clear.
    sa.Column("since", _Id, nullable=False),
    # The summary holds what was said from one turn up to another; empty: there is none.
    sa.Column("first", _Id, nullable=False),
    sa.Column("upto", _Id, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    # When that was said which it begins with.
    sa.Column("began_at", sa.Double, nullable=False),
)

profiles = sa.Table(
    "profiles",
    metadata,
    # Somebody on a channel, for one assistant (`profiles.key`).
    sa.Column("person", sa.Text, primary_key=True),
    # What was asked before this turn notes nothing any more: it cleared the profile.
    sa.Column("since", _Id, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
    # When the oldest of them was noted; or when they were cleared.
    sa.Column("oldest_at", sa.Double, nullable=False),
)
sa.Index("profiles_oldest", profiles.c.oldest_at)
# By its beginning: somebody on a channel, whatever the assistant.
sa.Index("profiles_owner", profiles.c.person, postgresql_ops={"person": "text_pattern_ops"})

asks = sa.Table(
    "asks",
    metadata,
    # In which a person is asked whether something shall be called.
    sa.Column("conversation", sa.Text, primary_key=True),
    # The turn whose calls wait for that.
    sa.Column("turn", _Id, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)

guests = sa.Table(
    "guests",
    metadata,
    # Who, or which group, knocked at a channel that does not let everybody in: as `model.conversation_key` writes it.
    sa.Column("guest", sa.Text, primary_key=True),
    # `in`; `out`, by hand; or what a stranger was told (`guests`).
    sa.Column("standing", sa.Text, nullable=False),
    # When all their wrong guesses do not count any more.
    sa.Column("free_at", sa.Double, nullable=False),
    sa.Column("changed_at", sa.Double, nullable=False),
)


def strange() -> sa.ColumnElement[bool]:
    """Somebody who is not in was told so."""
    return guests.c.standing.in_(_literals("asked", "told", "paused"))


_partial("guests_strange", guests.c.changed_at, where=strange())

tombstones = sa.Table(
    "tombstones",
    metadata,
    # An event that was forgotten, by a keyed hash: it is not let in when the platform delivers it again.
    sa.Column("event", sa.LargeBinary, primary_key=True),
    # The platform does not do so after that.
    sa.Column("until", sa.Double, nullable=False),
)
sa.Index("tombstones_until", tombstones.c.until)

sources = sa.Table(
    "sources",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    # Whose knowledge it is: the assistant's name.
    sa.Column("base", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    # Of what was in the file, and of how we read it.
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("passages", sa.Integer, nullable=False),
    # A version that is complete, and not yet followed by another: only such are searched.
    sa.Column("current", sa.Boolean, nullable=False),
    sa.Column("changed_at", sa.Double, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("sources_path", sources.c.base, sources.c.path)

passages = sa.Table(
    "passages",
    metadata,
    sa.Column("id", _Id, primary_key=True),
    sa.Column("source", _Id, sa.ForeignKey("sources.id"), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("line", sa.Integer, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    # What it is found by, with a blank between two. From it the databases make what they search: on SQLite the FTS5
    # table `passages_found`, on PostgreSQL the tsvector `found` with an index of its own.
    sa.Column("terms", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("passages_source", passages.c.source)

terms = sa.Table(
    "terms",
    metadata,
    # In how many passages of a base a term is: how much it tells. The empty term is in all of them.
    sa.Column("term", sa.Text, primary_key=True),
    sa.Column("base", sa.Text, primary_key=True),
    sa.Column("passages", sa.Integer, nullable=False),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    # The part of a key that is no secret.
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    # Whose conversations they are: the same for a key and for what it was rotated from.
    sa.Column("caller", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    # A newer one is there, and this one is good for a while yet.
    sa.Column("replaced", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),
    sa.Column("used_at", sa.Double),
    # A name has one, and at most one before it.
    sa.UniqueConstraint("name", "replaced", name="api_keys_name"),
)

budgets = sa.Table(
    "budgets",
    metadata,
    # A person's day with an assistant, or an assistant's month.
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("ends_at", sa.Double, nullable=False),
    sa.Column("messages", sa.Integer, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    # In millionths of the currency.
    sa.Column("cost", sa.BigInteger, nullable=False),
    # How much of it, in hundredths, somebody was told to be used up.
    sa.Column("told", sa.Integer, nullable=False),
)
sa.Index("budgets_ends", budgets.c.ends_at)
# By its beginning: somebody on a channel, whatever the assistant and the day.
sa.Index("budgets_owner", budgets.c.key, postgresql_ops={"key": "text_pattern_ops"})

usage = sa.Table(
    "usage",
    metadata,
    # What turns cost that were removed since; those that are there say it themselves.
    sa.Column("day", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("assistant", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("turns", sa.Integer, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("cost", sa.BigInteger, nullable=False),
)

answers = sa.Table(
    "answers",
    metadata,
    # Of the assistant as it is configured, and the question.
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("assistant", sa.Text, nullable=False),
    # Whose answer it was: it goes with it where that has to be forgotten.
    sa.Column("turn", _Id, nullable=False),
    # By which it asks, where nothing is answered yet: the place is kept for as long as the turn is held by it.
    sa.Column("lease", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    # 0: it is not made yet.
    sa.Column("made_at", sa.Double, nullable=False),
    sa.Column("asked_at", sa.Double, nullable=False),
)
sa.Index("answers_asked", answers.c.assistant, answers.c.asked_at)
sa.Index("answers_turn", answers.c.turn)
incidents = sa.Table(
    "incidents",
    metadata,
    # An alert of the configuration, by its name.
    sa.Column("alert", sa.Text, primary_key=True),
    # Which process watches it, and until when it does.
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("held_until", sa.Double, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    # How many incidents there were, this one included.
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("began_at", sa.Double, nullable=False),
    # When it was last so bad that an incident would begin; and by how much, where that was measured.
    sa.Column("bad_at", sa.Double, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("turns", sa.Integer, nullable=False),
    sa.Column("looked_at", sa.Double, nullable=False),
)

alarms = sa.Table(
    "alarms",
    metadata,
    # What somebody is still to be told of an incident; gone as soon as he is.
    sa.Column("id", _Id, primary_key=True),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("told", sa.Text, nullable=False),
    sa.Column("made_at", sa.Double, nullable=False),
    sa.Column("due_at", sa.Double, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("alarms_target", alarms.c.target, alarms.c.id)
