"""What the words beside a number say that it is: `Order no.`, `電話：`, `マイナンバーは`."""

from __future__ import annotations

import re
from collections import deque
from typing import Literal, cast

Label = Literal["phone", "card", "id", "other"]


_JOINT = r"[\s_-]?"
_LETTER = "[^\\x00-\\x7f，、。；：]"


def _any(*words: str, then: str = "") -> str:
    """A pattern for any of the words, and what may follow them. `~` is what may join words, `+` a letter of CJK."""
    pattern = f"(?:{'|'.join(' '.join(words).split())}){then}"
    return pattern.replace("~", _JOINT).replace("+", _LETTER)


_THINGS = _any(
    "orders? tracking parcel shipment waybill consignment invoice receipt ref(?:erence)? serial s/n model",
    "version ver build isbn issn ean upc jan sku asin part item product ticket case batch lot transaction txn",
    "booking amount confirmation reservation price total subtotal imei barcode commit zip lat lon lng",
    "coordinates timestamp qty quantity account policy job issue bug flight member po rma code error port pid",
    "firmware bytes? release cost dhl ups fedex usps",
    then=r"(?:~(?:id|no\.?|number|ref|code))*",
)
_WORDS = {
    "id": _any(
        r"(?:national|resident|identity|identification)~(?:id|card|number|insurance) \bid~(?:card|no\.?|number)",
        r"\bhkid \bssn social~security \bsocial\b \bnhs \bnino\b \bni\b \bitin\b \barc\b my~number マイナンバー",
        r"個人番号 身[分份][證证]+{0,6} 居留[證证]+{0,4}",
        then=r"(?:~(?:card|no\b\.?|number))*",
    ),
    "phone": _any(
        r"phone \btele?\b telephone mobile \bcell landline \bcall \btext(?:ed|ing)?\b \bring \bdial \bfax whats~app",
        r"\bsms\b \bcontact \breach wa\.me \b(?:home|work|number)\b \bthis~is\b \bm(?:r|rs|s|iss)\b 電話 电话 手機",
        r"手机 手提 致電 致电 撥 拨 打(?![不開开算折包印]) 聯絡 联络 聯繫 联系 傳真 传真 簡訊 短信 熱線 热线 搵 先生",
        r"小姐 女士 我[係是] 携帯 ケータイ スマホ 連絡 ファックス",
    ),
    "card": _any(
        r"\b(?:credit|debit|bank)?~card\b \bvisa\b master~card \bamex\b \bjcb\b union~pay [卡咭] カード 銀聯 银联",
    ),
    "other": _any(
        rf"\b{_THINGS}\b",
        r"[訂订][單单購购]+{0,3} [單单][號号] 追[蹤踪跡迹]+{0,3} 物流+{0,2} [運运][單单] 快[遞递][單单]+?",
        r"[發发]票+{0,2} 序列?[號号] 型[號号番] 品番 版本+? 批[號号] [價价]+? 金[額额] [總总][額额計计價价]",
        r"合[計计] 流水[號号] 交易+{0,2} [經经]度 [緯纬]度 座標 坐[標标] [條条][碼码] [貨货][號号]",
        r"[郵邮][遞递編编]+{0,2} 日期 [時时]間戳 工[單单]+? 案[號号件] [驗验][證证][碼码] [編编][號号]",
        r"統[編一]+{0,3} 包裹+{0,2} [會会][員员]+{0,2} [產产]品+{0,2} 商品+{0,2} 件[號号] 號機 帳[號戶]",
        r"账[号户] 費用 順豐 顺丰 黑貓 注文+{0,2} 伝票+{0,2} 送り状+{0,2} [荷貨]物+{0,2} お?問い?合わ?せ番号",
        r"製造番号 バージョン 価格 請求+? 予約+{0,2} シリアル+{0,2} 会員+{0,2} 受付番号 代金 税込 口座+{0,2}",
        r"ヤマト 佐川",
    ),
}  # fmt: skip
_LABELS = re.compile("|".join(f"(?P<{label}>{words})" for label, words in _WORDS.items()), re.IGNORECASE | re.ASCII)
NEAR = 400
"""Characters around a number that tell the language of the text."""
_TOLD = re.compile(r"[^\W\d_]")
"""Without a letter nothing is said, and among many digits that is quickly seen."""
_REACH = 32
_BORDER = re.compile(r"\d{4,}|[。！？!?;；\n]")
_MONEY = re.compile(
    r"(?:[$¥￥£€₩]|\b(?:NTD?|TWD|USD|HKD|JPY|RMB|CNY|GBP|EUR)\b|人民幣|人民币|新台幣|新臺幣|港幣|港币)[ :]*$"
)
_UNIT = re.compile(
    r" ?(?:元|円|圓|圆|塊|块|萬|万|億|亿|個|个|件|台|張|张|枚|點|点|%|°"
    r"|(?:dollars?|yen|yuan|pounds?|NTD|TWD|USD|HKD|JPY|RMB|CNY|GBP|EUR|kg|g|km|m|mm|[KMG]i?B|bytes|ms|s|px|pcs)\b)"
)

_GLUED = re.compile(r"(?:(?<![a-z0-9])(?:id|no|hkid|ssn|card|tel|fax)|\\[nrt])$", re.IGNORECASE | re.ASCII)
"""What is written right at a number without belonging to it, such as a line's end in JSON."""
_NAME = re.compile(r"(?<![A-Za-z0-9_.-])[A-Z][a-z]+[-_]$")
_WORD = re.compile(r"[A-Za-z]{2,}(?![A-Za-z0-9])")
"""What goes on behind a value and belongs to it no more: `_Bob`, and no `-1`."""
_ITEM_BEFORE = re.compile(r"(?a)(?<![\w.,-])(?:\d\d?|19[5-9]\d|20[0-4]\d)$")
_ITEM_BEHIND = re.compile(r"(?a)\d\d?(?![\w-]|[.,]\d)")
"""The number of something in a list, or a year."""
_WRITTEN = re.compile(r"[^\s,;|\"'`<>()\[\]{}，。、；！？「」]*")
_ADDRESS = re.compile(
    r"://|^/[A-Za-z]|(?:^|(?<=[^\x00-\x7f]))(?:www\.|(?:~|\.{1,2})/|(?:[a-z0-9-]+\.)+[a-z]{2,}/"
    r"|/?(?:[a-z][a-z_.-]*/){2,})"  # folders; people are written with capitals
)


def before(text: str, start: int, key: str = "") -> Label | None:
    """What the nearest label before a place says; `key` stands before the whole text.

    What a number is not is only believed where it stands at the number, without a comma in between.
    """
    begin = max(0, start - _REACH)
    if begin == 0 and key:
        text, start = f"{key}: {text[:start]}", start + len(key) + 2
    for border in _BORDER.finditer(text, begin, start):
        begin = border.end()
    if not _TOLD.search(text, begin, start):
        return None
    found = deque(_LABELS.finditer(text, begin, start), 1)
    if not found:
        return None
    label = cast("Label", found[0].lastgroup)  # the pattern has groups of these names alone
    return None if label == "other" and re.search("[,，、]", text[found[0].end() : start]) else label


def after(text: str, end: int) -> Label | None:
    """What the nearest label behind a place says, in the same clause."""
    window = re.split(r"[,，、。！？!?;；\n]|\d{4}", text[end : end + 18], maxsplit=1)[0]
    found = _LABELS.search(window) if _TOLD.search(window) else None
    return cast("Label", found.lastgroup) if found else None


def amount(text: str, start: int, end: int) -> bool:
    """Is what stands there a price, or so many of something?"""
    return bool(_MONEY.search(text, max(0, start - 8), start) or _UNIT.match(text, end))


def free(text: str, start: int, end: int) -> bool:
    """Does it stand for itself, and not in a longer word, number, path or fraction?"""
    return opens(text, start) and closes(text, end)


def opens(text: str, start: int) -> bool:
    """Does nothing stand right before it that belongs to it?"""
    if not start:
        return True
    last = text[start - 1]
    if _word(last):
        return bool(_GLUED.search(text, max(0, start - 5), start))
    if last == "%":
        return False
    if last not in "-_./#@&+" or start == 1 or not _word(text[start - 2]):
        return True
    if _addressed(text, start) and before(text, start) in (None, "other"):
        return False
    if last == ".":  # a fraction or a version, and no `No.`
        return not (text[start - 2].isdigit() and text[start].isdigit())
    return last in "/&+" or (last in "-_" and bool(_NAME.search(text, max(0, start - 32), start)))


def closes(text: str, end: int) -> bool:
    """Does nothing stand right behind it that belongs to it?"""
    sign, next_ = text[end : end + 1], text[end + 1 : end + 2]
    if not sign:
        return True
    if _word(sign) or sign == "%":
        return False
    if not _word(next_):
        return True
    if sign == ".":  # a fraction goes on in a digit; in a letter, the name of a file
        return not next_.isdigit()
    return sign != "@" and (sign not in "-_" or bool(_WORD.match(text, end + 1)))


def beside(text: str, start: int, end: int) -> bool:
    """Do more groups of digits stand beside it, behind a blank as in it? A list's number and a year are none."""
    *_, further, last, rest = ["", "", *text[max(0, start - 24) : start].split(" ")]
    if not rest and last[-1:].isdigit() and text[start] != "(":
        return not _ITEM_BEFORE.search(last) or further[-1:].isdigit()
    rest, next_, further, *_ = [*text[end : end + 24].split(" "), "", ""]
    if rest or not next_[:1].isdigit():
        return False
    return not _ITEM_BEHIND.match(next_) or (next_.isdigit() and further[:1].isdigit())


def _addressed(text: str, start: int) -> bool:
    """Is it a part of an address or a path?"""
    written = _WRITTEN.match(text[max(0, start - 256) : start][::-1])
    return bool(written and _ADDRESS.search(written[0][::-1]))


def _word(letter: str) -> bool:
    return letter.isascii() and letter.isalnum()
