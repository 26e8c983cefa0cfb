"""`chatferry check` for LINE: what an operator gets wrong, found by calling LINE, with the step that mends it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from chatferry.channels.line_api import CONSOLE, LineApi, fault
from chatferry.errors import Fault, TryLater
from chatferry.model import Finding

MANAGER = "https://manager.line.biz/"


class Bot(msgspec.Struct):
    displayName: str = ""
    basicId: str = ""
    chatMode: str = "bot"


class Quota(msgspec.Struct):
    """`MessageQuotaResponse`: type `none` is no limit."""

    type: str = "none"
    value: int | None = None


class Consumption(msgspec.Struct):
    totalUsage: int = 0


class Endpoint(msgspec.Struct):
    endpoint: str = ""
    active: bool = False


class Tested(msgspec.Struct):
    success: bool = False
    statusCode: int = 0
    reason: str = ""
    detail: str = ""


async def quota(api: LineApi) -> tuple[float, float]:
    """What the month allows, and what of it is used. Infinity: no limit."""
    allowed = await api.get("/v2/bot/message/quota", Quota)
    used = await api.get("/v2/bot/message/quota/consumption", Consumption)
    limited = allowed.type == "limited" and allowed.value is not None
    return (float(allowed.value or 0) if limited else float("inf")), float(used.totalUsage)


async def findings(api: LineApi, hook_url: str | None) -> AsyncIterator[Finding]:
    """One finding for each thing that was tried. A token that is refused ends it: all else would fail the same way."""
    try:
        bot = await api.get("/v2/bot/info", Bot)
    except TryLater as error:
        yield Finding(False, "reach", str(error), "check the network, and `api_base` if it is set; then try again")
        return
    except Fault as error:
        yield Finding(False, "token", str(error), f"issue a channel access token at {CONSOLE} and set it as `token`")
        return
    yield Finding(True, "token", f"accepted for {bot.displayName} {bot.basicId}".rstrip())
    if bot.chatMode == "chat":
        mend = f"at {MANAGER} under Settings, Response settings: switch Chat off, or expect two answers"
        yield Finding(False, "chat mode", "people or auto-replies answer in LINE's own manager as well", mend)
    yield await _quota(api)
    async for finding in _webhook(api, hook_url):
        yield finding


async def _quota(api: LineApi) -> Finding:
    try:
        limit, used = await quota(api)
    except Fault as error:
        return Finding(False, "push quota", str(error), "try again later; replies are free and not affected")
    if limit == float("inf"):
        return Finding(True, "push quota", f"{used:.0f} used this month, no limit")
    mend = "late answers are offered by a button until the month ends; a larger plan is bought at " + MANAGER
    detail = f"{used:.0f} of {limit:.0f} used this month"
    return Finding(used < limit, "push quota", detail, mend if used >= limit else "")


async def _webhook(api: LineApi, hook_url: str | None) -> AsyncIterator[Finding]:
    place = f"at {CONSOLE}, in the channel's Messaging API tab"
    try:
        there = await api.get("/v2/bot/channel/webhook/endpoint", Endpoint)
    except Fault as error:
        mend = f"{place}: set the Webhook URL to {hook_url or 'where LINE reaches this gateway'}"
        yield Finding(False, "webhook", str(error), mend)
        return
    if hook_url and there.endpoint != hook_url:
        detail = f"LINE calls {there.endpoint or 'nobody'}"
        yield Finding(False, "webhook address", detail, f"{place}: set the Webhook URL to {hook_url}")
    else:
        yield Finding(True, "webhook address", there.endpoint)
    if not there.active:
        yield Finding(False, "webhook use", "switched off, so LINE sends nothing", f"{place}: switch on Use webhook")
        return
    path = "/v2/bot/channel/webhook/test"
    try:
        status, body = await api.post(path, {"endpoint": there.endpoint})
        if status != 200:
            raise fault(path, status, body)
        tested = msgspec.json.decode(body, type=Tested)
    except (Fault, msgspec.MsgspecError) as error:
        yield Finding(False, "webhook test", str(error), "LINE allows 60 tests an hour; try again later")
        return
    if tested.success:
        yield Finding(True, "webhook test", f"LINE reached us: {tested.statusCode} {tested.reason}".rstrip())
        return
    detail = f"{tested.statusCode} {tested.reason} {tested.detail}".strip()
    yield Finding(False, "webhook test", detail, _test_mend(tested))


def _test_mend(tested: Tested) -> str:
    """What usually lies behind the reasons of "Check webhook error statistics"."""
    if tested.statusCode == 400:
        return "`secret` must be the channel secret of this very channel (Basic settings tab)"
    if tested.statusCode == 403:
        return "the Webhook URL must end in ?token= and the value of `url_token`"
    if tested.statusCode == 404:
        return "the path of the Webhook URL must be the channel's `path`"
    if tested.reason.upper() == "REQUEST_TIMEOUT":
        return "the gateway must answer within 2 seconds: look at what lies between LINE and it"
    return "start `chatferry serve`; its address must be public, HTTPS with a whole chain of certificates"
