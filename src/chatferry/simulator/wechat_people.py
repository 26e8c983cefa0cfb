"""The people on WeChat: what they do, as the messages and events that a bot is called with."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from typing import Literal

from chatferry.simulator.wechat_records import Fields

OPENID = re.compile(r"o[\w-]{27}", re.ASCII)
_numbers = itertools.count(1)


def address(name: str) -> str:
    """The openid that stands for a name here. An openid stands for itself."""
    if OPENID.fullmatch(name):
        return name
    return "o" + base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).decode()[:27]


def new_media_id() -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(f"media {next(_numbers)}".encode()).digest()).decode().rstrip("=")


def text(words: str) -> Fields:
    return _message("text", Content=words)


def image(media_id: str, pictures: str) -> Fields:
    """`pictures`: the host where pictures lie."""
    return _message("image", PicUrl=f"{pictures}/mmbiz_jpg/{media_id}/0", MediaId=media_id)


def voice(media_id: str, recognition: str | None) -> Fields:
    """None: the account does not get what WeChat understood."""
    heard = {} if recognition is None else {"Recognition": recognition}
    return _message("voice", MediaId=media_id, Format="amr", **heard)


def video(media_id: str, kind: Literal["video", "shortvideo"]) -> Fields:
    return _message(kind, MediaId=media_id, ThumbMediaId=new_media_id())


def location(latitude: float, longitude: float, label: str) -> Fields:
    return _message("location", Location_X=f"{latitude:f}", Location_Y=f"{longitude:f}", Scale=20, Label=label)


def link(title: str, description: str, url: str) -> Fields:
    return _message("link", Title=title, Description=description, Url=url)


def event(kind: str, **more: str) -> Fields:
    return {"MsgType": "event", "Event": kind, **more}


def xml(fields: Fields) -> str:
    """Strings in CDATA sections, numbers bare: WeChat's form."""
    return "<xml>" + "".join(f"<{name}>{_value(value)}</{name}>" for name, value in fields.items()) + "</xml>"


def _message(kind: str, **more: str | int) -> Fields:
    # The number is too long for a double, as WeChat's are: who reads it as one loses its end.
    return {"MsgType": kind, **more, "MsgId": 24_000_000_000_000_000 + next(_numbers)}


def _value(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    return f"<![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]>"
