"""`chatferry check` for WeChat: what an operator gets wrong, found by calling WeChat, with the step that mends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chatferry.channels.wechat_api import FORBIDDEN, SEND, WeChatApi
from chatferry.channels.wechat_tokens import NOT_LISTED, WRONG_ID, WRONG_SECRET, StableTokens, Token, seen_from
from chatferry.errors import Fault
from chatferry.model import Finding

if TYPE_CHECKING:
    from chatferry.config import WeChatSettings

PLACE = "at https://developers.weixin.qq.com/platform, 我的业务, 公众号, 基础信息"
"""Before it moved: mp.weixin.qq.com, 设置与开发, 基本配置."""
_CODES = "https://developers.weixin.qq.com/doc/offiaccount/Getting_Started/Global_Return_Code.html"
_NOBODY = "chatferry-check"
"""No openid: a message to it goes nowhere, and its refusal shows whether we may send at all."""
_NOBODYS = {40003, 45015, 45047}
_RESPONSE = "in the response to WeChat's call, within 15 seconds; later ones by a link, or with the next message"


async def findings(
    settings: WeChatSettings, tokens: StableTokens, api: WeChatApi, hook_url: str | None
) -> AsyncIterator[Finding]:
    """One finding for each thing that was tried. Nobody is sent anything."""
    if settings.app_secret is None:
        lacking = "`app_secret`" if settings.app_id else "`app_id` and `app_secret`"
        mend = "" if settings.mode == "passive" else f"if the account is verified, set {lacking}"
        yield Finding(True, "answers", f"go {_RESPONSE}", mend)
    else:
        try:
            told = await tokens.ask()
        except Fault as error:
            yield Finding(False, "reach", str(error), "check the network, and `api_base` if it is set; then try again")
        else:
            yield _credentials(settings.app_id, told)
            if told.access_token:
                yield await _way(settings, api)
    yield _hook(hook_url)


def _credentials(app_id: str, told: Token) -> Finding:
    subject = "credentials"
    if told.errcode == NOT_LISTED:
        ip = seen_from(told)
        mend = f"{PLACE}, API IP 白名单: add {ip or 'the address from which this machine reaches the internet'}"
        return Finding(False, subject, f"WeChat knows no such caller as {ip or 'us'}: {told}", mend)
    if told.errcode in WRONG_ID:
        return Finding(False, subject, f"`app_id` is wrong: {told}", f"copy the AppID (开发者ID) {PLACE}")
    if told.errcode in WRONG_SECRET:
        mend = f"copy the AppSecret (开发者密码) {PLACE}; it is shown only once, so it may have to be reset"
        return Finding(False, subject, f"`app_secret` is wrong: {told}", mend)
    if told.errcode or not told.access_token:
        return Finding(False, subject, f"WeChat gives no access token: {told}", f"look {told.errcode} up at {_CODES}")
    return Finding(True, subject, f"accepted for {app_id}")


async def _way(settings: WeChatSettings, api: WeChatApi) -> Finding:
    subject = "answers"
    if settings.mode == "passive":
        return Finding(True, subject, f"go {_RESPONSE}")
    try:
        told = await api.post(SEND, {"touser": _NOBODY, "msgtype": "text", "text": {"content": "?"}})
    except Fault as error:
        return Finding(False, subject, str(error), "try again later")
    if told.errcode == FORBIDDEN:
        refused = "the account may not send customer-service messages, for which it must be verified (认证)"
        if settings.mode == "service":
            return Finding(False, subject, refused, 'mode = "auto", or have the account verified')
        return Finding(True, subject, f"{refused}; they go {_RESPONSE}")
    if told.errcode in _NOBODYS:
        return Finding(True, subject, "go as customer-service messages, five after each message of a person's")
    return Finding(False, subject, f"whether we may send is not known: {told}", f"look {told.errcode} up at {_CODES}")


def _hook(hook_url: str | None) -> Finding:
    """WeChat has no call that tries the address, so this is for the operator to look at."""
    subject = "server URL"
    if hook_url is None:
        mend = 'CHATFERRY_PUBLIC_URL=https://..., or public_url = "https://..." in [server]'
        detail = "our public address is not set; links to long answers go by the address that WeChat calls"
        return Finding(True, subject, detail, mend)
    if urlsplit(hook_url).port not in (None, 80, 443):
        return Finding(False, subject, f"{hook_url}: WeChat calls the ports 80 and 443 only", "put a proxy before it")
    mend = (
        "let `chatferry serve` run, and your web server pass /hooks/, /a/, /h/ and /pages/ on to it; "
        f"see {PLACE}, 域名与消息推送配置: the URL must be this one, 令牌(Token) must be `token`, and it must be 启用; "
        "EncodingAESKey must be `aes_key` unless the mode is 明文模式"
    )
    return Finding(True, subject, f"{hook_url}; whether WeChat reaches it, only WeChat can tell", mend)
