"""What Slack writes: events, commands and clicks, as far as we read them.

Shapes: docs.slack.dev, "Events" and "Interactivity". Every field is optional here, for the same thing comes with other
fields from other workspaces, organisations and years.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from chatferry.model import File, Part

_MEDIA: dict[str, Literal["image", "audio", "video"]] = {"image": "image", "audio": "audio", "video": "video"}


class Kind(msgspec.Struct):
    type: str = ""
    subtype: str | None = None


class Attached(msgspec.Struct):
    name: str | None = None
    mimetype: str | None = None
    size: int | None = None
    mode: str | None = None
    is_external: bool | None = None
    url_private: str | None = None
    url_private_download: str | None = None

    def part(self, account: str) -> Part:
        """`ref` is the account, whose token fetches it, and its address; empty where that is outside of Slack."""
        outside = self.is_external or self.mode == "external"
        address = "" if outside else self.url_private_download or self.url_private
        return File(
            _MEDIA.get((self.mimetype or "").partition("/")[0], "file"),
            f"{account} {address}" if address else "",
            self.name or "",
            self.mimetype or "",
            self.size,
        )


class Profile(msgspec.Struct):
    app_id: str | None = None


class Said(msgspec.Struct):
    """A message, in an event or as the thing that an event is about."""

    subtype: str | None = None
    user: str | None = None
    bot_id: str | None = None
    app_id: str | None = None
    bot_profile: Profile | None = None
    text: str | None = None
    ts: str | None = None
    thread_ts: str | None = None
    files: list[Attached] | None = None

    @property
    def root(self) -> str:
        """What it replies to. The first message of a thread does not: it names itself, once it has replies."""
        return self.thread_ts if self.thread_ts and self.thread_ts != self.ts else ""

    @property
    def author(self) -> str:
        return self.user or self.bot_id or ""


class MessageEvent(Said):
    channel: str = ""
    channel_type: str | None = None
    deleted_ts: str | None = None
    message: Said | None = None
    previous_message: Said | None = None


class Thread(msgspec.Struct):
    user_id: str | None = None
    channel_id: str = ""
    thread_ts: str = ""


class Started(msgspec.Struct):
    assistant_thread: Thread = msgspec.field(default_factory=Thread)


class Stopped(msgspec.Struct):
    channel: str = ""
    thread_ts: str | None = None
    user: str | None = None
    event_ts: str | None = None


class Tokens(msgspec.Struct):
    bot: list[str] | None = None


class Ended(msgspec.Struct):
    tokens: Tokens | None = None


class Authorization(msgspec.Struct):
    team_id: str | None = None
    enterprise_id: str | None = None
    user_id: str | None = None
    is_bot: bool | None = None
    is_enterprise_install: bool | None = None


class Envelope(msgspec.Struct):
    type: str = ""
    challenge: str = ""
    team_id: str | None = None
    enterprise_id: str | None = None
    api_app_id: str | None = None
    event_id: str | None = None
    event_time: float | None = None
    event: msgspec.Raw = msgspec.Raw(b"{}")
    authorizations: list[Authorization] | None = None


class Named(msgspec.Struct):
    """A person, a channel, a workspace or an organisation in a payload."""

    id: str | None = None
    team_id: str | None = None
    enterprise_id: str | None = None


class Container(msgspec.Struct):
    message_ts: str | None = None
    channel_id: str | None = None
    thread_ts: str | None = None


class Action(msgspec.Struct):
    value: str | None = None


class View(msgspec.Struct):
    id: str | None = None
    callback_id: str | None = None
    private_metadata: str | None = None
    team_id: str | None = None
    app_installed_team_id: str | None = None


class Interaction(msgspec.Struct):
    type: str = ""
    callback_id: str | None = None
    trigger_id: str | None = None
    api_app_id: str | None = None
    is_enterprise_install: bool | str | None = None
    enterprise: Named | None = None
    team: Named | None = None
    user: Named | None = None
    channel: Named | None = None
    container: Container | None = None
    message: Said | None = None
    message_ts: str | None = None
    actions: list[Action] | None = None
    view: View | None = None


class Command(msgspec.Struct):
    command: str = ""
    text: str = ""
    user_id: str = ""
    channel_id: str = ""
    team_id: str = ""
    enterprise_id: str | None = None
    is_enterprise_install: bool | str | None = None
    trigger_id: str = ""
    response_url: str = ""
