"""The Web API's `chat.*`: messages, and streams that become messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chatferry.simulator import slack_people as people
from chatferry.simulator import slack_rules as rules
from chatferry.simulator.slack_records import Call, Post, Room
from chatferry.simulator.slack_rules import Json, Refused
from chatferry.simulator.slack_state import Leave, State


def post_message(sim: State, call: Call) -> Json:
    asked = call.fields
    room = sim.writable(required(asked, "channel"), call.team)
    post = composed(sim, room, asked)
    room.put(post)
    sim.tell_status((room.id, post.thread_ts))
    sim.show(post)
    sim.happened(room, people.written(post, room))
    return {"ok": True, "channel": room.id, "ts": post.ts, "message": people.wire(post, room, metadata=True)}


def post_ephemeral(sim: State, call: Call) -> Json:
    asked = call.fields
    room = sim.writable(required(asked, "channel"), call.team)
    user = required(asked, "user")
    if user not in sim.names:
        raise Refused("user_not_in_channel")
    post = composed(sim, room, asked)
    sim.whisper(user, post)
    sim.show(post)
    return {"ok": True, "message_ts": post.ts}


def respond(sim: State, leave: Leave, asked: Json) -> Post:
    """An answer to a command or a click; the bot need not be in the channel for it. Raises Refused."""
    post = composed(sim, leave.room, asked, via="response")
    if leave.command:
        post.answers = leave.command.message
    if asked.get("response_type") == "in_channel":
        leave.room.put(post)
        if leave.command:
            sim.scene.show(replace(leave.command, only=""))
    else:
        sim.whisper(leave.user, post)
    sim.show(post)
    sim.changed()
    return post


def composed(sim: State, room: Room, asked: Json, *, via: str = "post") -> Post:
    """A message as its fields say, if they may."""
    rules.check_message(asked, markdown=sim.markdown)
    metadata = _metadata(asked)
    said = asked.get("markdown_text")
    return sim.ours(
        room,
        text=(asked.get("text") or "")[: rules.POST_TEXT],
        blocks=asked.get("blocks") or [],
        thread_ts=asked.get("thread_ts") or "",
        metadata=metadata or None,
        stream=[said] if said else [],
        via=via,
    )


def update(sim: State, call: Call) -> Json:
    asked = call.fields
    room = sim.room(required(asked, "channel"), call.team)
    post = _written(sim, room, required(asked, "ts"), "cant_update_message")
    if post.streaming:
        raise Refused("streaming_state_conflict")
    keep = {"blocks": post.blocks} if "text" not in asked and "markdown_text" not in asked else {}
    rules.check_message(keep | asked, markdown=sim.markdown, longest=rules.UPDATE_TEXT)
    metadata = _metadata(asked)
    before = people.wire(post, room)
    if "text" in asked or "markdown_text" in asked or asked.get("blocks") is not None:
        post.stream = [asked["markdown_text"]] if asked.get("markdown_text") else []
        post.text = asked.get("text") or (post.text if asked.get("blocks") is not None else "")
        post.blocks = asked.get("blocks") or []
    if metadata is not None:
        post.metadata = metadata or None
    _edited(sim, post)
    sim.show(post)
    sim.happened(room, people.changed(before, post, room, sim.new_ts()))
    told = {"channel": room.id, "ts": post.ts, "text": post.text}
    return {"ok": True, **told, "message": people.wire(post, room, metadata=True)}


def delete(sim: State, call: Call) -> Json:
    asked = call.fields
    room = sim.room(required(asked, "channel"), call.team)
    post = _written(sim, room, required(asked, "ts"), "cant_delete_message")
    before = people.wire(post, room)
    post.deleted, post.streaming = True, False
    sim.show(post)
    sim.happened(room, people.deleted(before, room, sim.new_ts()))
    return {"ok": True, "channel": room.id, "ts": post.ts}


def start_stream(sim: State, call: Call) -> Json:
    asked = call.fields
    room = sim.writable(required(asked, "channel"), call.team)
    thread = required(asked, "thread_ts")
    if room.id[0] != "D":
        for name in ("recipient_user_id", "recipient_team_id"):
            if not asked.get(name):
                raise Refused(f"missing_{name}")
        if asked["recipient_user_id"] not in sim.names:
            raise Refused("user_not_found")
    if asked.get("markdown_text") == "":
        raise Refused("no_text")
    post = sim.ours(room, thread_ts=thread, streaming=True, via="stream")
    _grow(sim, post, asked)
    room.put(post)
    sim.tell_status((room.id, thread))
    sim.show(post)
    sim.happened(room, people.written(post, room))
    return {"ok": True, "channel": room.id, "ts": post.ts}


def append_stream(sim: State, call: Call) -> Json:
    asked = call.fields
    if not asked.get("markdown_text") and not asked.get("chunks"):
        raise Refused("markdown_text_or_chunks_required")
    room, post = _streamed(sim, call)
    if post.stopped_by:
        raise Refused("stopped_by_user")
    _grow(sim, post, asked)
    sim.show(post)
    return {"ok": True, "channel": room.id, "ts": post.ts}


def stop_stream(sim: State, call: Call) -> Json:
    asked = call.fields
    room, post = _streamed(sim, call)
    rules.check_blocks(asked.get("blocks"), markdown=sim.markdown)
    metadata = _metadata(asked)
    before = people.wire(post, room)
    if not post.stopped_by:
        _grow(sim, post, asked)
    post.blocks = [*post.blocks, *(asked.get("blocks") or ())]
    post.metadata = metadata or post.metadata
    post.streaming = False
    if (room.id, post.thread_ts) in sim.session_statuses:
        sim.tell_session((room.id, post.thread_ts), asked.get("session_status") or "active")
    sim.show(post)
    sim.happened(room, people.changed(before, post, room, sim.new_ts()))
    return {"ok": True, "channel": room.id, "ts": post.ts, "message": people.wire(post, room, metadata=True)}


def required(asked: Json, name: str) -> str:
    if not isinstance(asked.get(name), str) or not asked[name]:
        raise Refused("invalid_arguments", f"missing required field: {name}")
    return str(asked[name])


def _written(sim: State, room: Room, ts: str, refusal: str) -> Post:
    """A message of ours that is still there."""
    post = room.posts.get(ts)
    if post is None or post.deleted:
        raise Refused("message_not_found")
    if post.bot != people.BOT_ID:
        raise Refused(refusal)
    sim.refresh(post)
    return post


def _streamed(sim: State, call: Call) -> tuple[Room, Post]:
    room = sim.room(required(call.fields, "channel"), call.team)
    post = _written(sim, room, required(call.fields, "ts"), "message_not_owned_by_app")
    if not post.streaming:
        raise Refused("message_not_in_streaming_state")
    return room, post


def _grow(sim: State, post: Post, asked: Json) -> None:
    """Add what came, all or nothing."""
    said, chunks = asked.get("markdown_text"), asked.get("chunks")
    if said and chunks:
        raise Refused("cannot_provide_both_markdown_text_and_chunks")
    mode = "markdown_text" if said else "chunks" if chunks else post.mode
    if post.mode and mode != post.mode:
        raise Refused("streaming_mode_mismatch")
    rules.check_markdown(said)
    if not isinstance(chunks or [], list) or (chunks and not sim.chunks):
        raise Refused("invalid_chunks")
    pieces, blocks = [said] if said else [], list(post.blocks)
    for chunk in chunks or ():
        piece, more = _chunk(sim, chunk)
        pieces += piece
        if task := more and more[0].get("task_id"):  # the card of a task that is there already changes where it is
            at = next((at for at, block in enumerate(blocks) if block.get("task_id") == task), len(blocks))
            blocks[at : at + 1] = more
        else:
            blocks += more
    post.mode, post.blocks = mode, blocks
    post.stream += pieces


def _chunk(sim: State, chunk: Any) -> tuple[list[str], list[Json]]:
    match chunk:
        case {"type": "markdown_text", "text": str(text)}:
            rules.check_markdown(text)
            return [text], []
        case {"type": "blocks", "blocks": blocks}:
            rules.check_blocks(blocks, markdown=sim.markdown)
            return [], blocks
        case {"type": "task_update", "id": str(id), "title": str(title), "status": str(status)}:
            if status not in rules.TASK_STATUSES or len(title) > rules.TASK_TITLE:
                raise Refused("invalid_chunks")
            return [], [{"type": "task_card", "task_id": id, "title": title, "status": status}]
        case {"type": "plan_update", "title": str()}:
            return [], []
    raise Refused("invalid_chunks")


def _metadata(asked: Json) -> Json | None:
    """An empty one takes away what there was."""
    metadata = asked.get("metadata")
    if metadata is None or metadata == {}:
        return metadata
    if not isinstance(metadata, dict) or not isinstance(metadata.get("event_payload"), dict):
        raise Refused("invalid_metadata_format")
    if not isinstance(metadata.get("event_type"), str):
        raise Refused("invalid_metadata_schema")
    return metadata


def _edited(sim: State, post: Post) -> None:
    post.edits += 1
    post.edited_at = sim.clock()
