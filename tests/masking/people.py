"""Made-up people of six countries: numbers that would be valid, written as people write them, in their languages.

Whoever made these (this file) shares no code with what finds them: check digits are computed here from the rules.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import phonenumbers


class Case(NamedTuple):
    """A sentence with one value in it."""

    kind: str
    country: str
    text: str
    value: str


SENTENCES = {
    "TW": {
        "phone": [
            "我的電話是{}，麻煩下午再打給我", "請撥{}找陳小姐", "手機{}謝謝", "聯絡方式：{}。", "{}是我的手機",
            "改成{}，舊的不用了", "收件人王大明{}台北市", "您好我姓張 {} 想預約週六", "家裡{}，公司另外給",
            "緊急聯絡人媽媽{}", "加我LINE或{}都行", "不好意思剛剛那個號碼打錯，應該是{}才對", "{}林先生",
        ],
        "email": [
            "信箱{}謝謝", "請寄到 {}。", "E-mail：{}，麻煩了", "發票寄{}就好", "{}這個帳號登不進去", "帳號是{}",
            "（{}）",
        ],
        "card": [
            "卡號{}有效期限12/27", "信用卡 {} 刷不過", "我用{}這張付的", "付款失敗 {}", "刷{}被拒",
            "末三碼在後面 {} 123",
        ],
        "national_id": [
            "身分證字號{}", "我的身分證是 {}，生日79年3月", "居留證號碼：{}", "報名資料：林小姐，{}，女",
            "{}查保單", "身份證{}幫我看健保", "投保人{}",
        ],
    },
    "CN": {
        "phone": [
            "我的手机号是{}", "打{}联系我吧", "收货人：李雷，{}，北京市海淀区", "电话{}没人接",
            "{}这个号码也可以", "我是小王{}", "顺丰说打{}没人", "改手机：旧的不用，新的{}", "加微信{}",
            "收件电话填{}就行",
        ],
        "email": [
            "邮箱{}", "请发到{}，谢谢", "我的邮件地址是 {} 。", "账号{}登不上", "发票开到{}",
        ],
        "card": [
            "银行卡号{}", "退款到 {} 这张卡", "卡号：{}，工商银行", "工资卡{}", "钱没退回{}",
        ],
        "national_id": [
            "身份证号{}", "身份证：{}，姓名韩梅梅", "实名认证 {} 通不过", "本人{}申请", "我是{}，帮我查社保",
        ],
    },
    "JP": {
        "phone": [
            "電話番号は{}です", "携帯は{}になります", "連絡先：{}（山田）", "{}までお電話ください", "TEL {}",
            "山田です。{}", "自宅{}、会社は別です", "折り返しは{}へお願いします", "ご連絡先　{}",
            "{}に掛け直してください",
        ],
        "email": [
            "メールは{}です", "{}に送ってください", "アドレス：{}", "{}でログインできません", "ID は {} です",
        ],
        "card": [
            "カード番号は{}です", "{}で支払いました", "クレジットカード（{}）が使えません", "{}で決済エラー",
            "カード{}の期限が切れました",
        ],
        "national_id": [
            "マイナンバーは{}です", "個人番号：{}", "{}がマイナンバーです", "私のマイナンバー {} を登録して",
            "{}で本人確認お願いします", "番号は{}、マイナンバーです",
        ],
    },
    "HK": {
        "phone": [
            "我電話係{}", "請致電{}搵陳生", "WhatsApp {}", "call me at {} please", "{}係我手機", "我係陳生 {}",
            "聽日打俾我 {}", "{} Mr Chan", "有事搵我，{}", "ring {}",
        ],
        "email": [
            "電郵{}", "send it to {} thanks", "電郵地址：{}。", "登入唔到{}", "my login {}",
        ],
        "card": [
            "信用卡{}", "張卡係{}", "my card {} was declined", "過唔到數 {}", "用{}畀錢",
        ],
        "national_id": [
            "身份證號碼{}", "HKID: {}", "我身份證係{}", "my HKID is {}, thanks", "{}想查保單", "身分證 {} 換領",
        ],
    },
    "US": {
        "phone": [
            "My number is {}, call anytime", "call me at {}", "Phone: {}", "You can text {} after 5",
            "Reach John on {}.", "This is Ann, {}", "my cell's {}", "It's {} if you need me",
            "Home: {} Work: n/a", "please update it to {}", "Call back number {}",
        ],
        "email": [
            "email me at {}", "My address is {}.", "Contact:{}", "Send the receipt to <{}>",
            "login {} doesn't work", "cc {}, thanks",
        ],
        "card": [
            "My card is {} exp 12/27", "charge {} please", "card number {}, CVV later", "declined: {}",
            "on file ends wrong, should be {}",
        ],
        "national_id": [
            "SSN {}", "My social security number is {}", "her SSN: {}.", "ssn={}", "social is {}",
            "SSN on file: {}", "social security no. {}",
        ],
    },
    "GB": {
        "phone": [
            "My mobile is {}", "ring me on {}", "Tel. {}", "It's {}, ask for Sue", "you can reach us on {}.",
            "Sue here, {}", "my number's {}", "landline {} mobile n/a", "Could you phone {} please",
        ],
        "email": [
            "my email: {}", "write to {}!", "It's {}, all lower case", "can't log in as {}",
        ],
        "card": [
            "debit card {}", "I paid with {}", "card no. {} please", "refused {}", "use {} instead",
        ],
        "national_id": [
            "NHS number {}", "my NI number is {}", "NHS no: {}", "National Insurance {}.", "NHS {}",
            "my NHS is {}", "NI {} for payroll",
        ],
    },
}  # fmt: skip
PREFIXES = {
    "TW": ["09{8}", "02{8}", "04{8}", "07{7}", "03{7}"],
    "CN": ["13{9}", "15{9}", "18{9}", "19{9}", "010{8}", "021{8}", "0755{8}"],
    "JP": ["090{8}", "080{8}", "070{8}", "03{8}", "06{8}", "045{7}"],
    "HK": ["5{7}", "6{7}", "9{7}", "2{7}", "3{7}"],
    "US": ["212{7}", "415{7}", "650{7}", "312{7}", "206{7}"],
    "GB": ["07{9}", "020{8}", "0161{7}", "0131{7}"],
}
SHAPES = {
    "TW": {
        "09": ["4-3-3", "4 3 3", "10", "4.3.3", "4-6", "+"],
        "": ["(2)4-4", "2-4-4", "2 4 4", "all", "(2) 4-4", "+"],
    },
    "CN": {
        "1": ["3-4-4", "3 4 4", "11", "+", "86"],
        "010": ["3-8", "(3)8", "3 8", "+"],
        "021": ["3-8", "+"],
        "": ["4-8", "(4)8", "+"],
    },
    "JP": {
        "0": ["3-4-4", "3 4 4", "all", "+", "(3)4-4"],
        "03": ["2-4-4", "(2)4-4", "all", "+"],
        "06": ["2-4-4", "all"],
        "045": ["3-3-4", "(3)3-4"],
    },
    "HK": {"": ["4 4", "4-4", "8", "+", "852"]},
    "US": {"": ["(3) 3-4", "3-3-4", "3.3.4", "3 3 4", "10", "+", "1-3-3-4"]},
    "GB": {"07": ["5 6", "5 3 3", "11", "+", "5-6"], "02": ["3 4 4", "(3) 4 4", "11", "+"], "01": ["4 3 4", "11", "+"]},
}
CODES = {"TW": "886", "CN": "86", "JP": "81", "HK": "852", "US": "1", "GB": "44"}


def cases(chance: random.Random, each: int) -> Iterator[Case]:
    """So many sentences of each kind and country."""
    makers: dict[str, Callable[[random.Random, str], str]] = {
        "phone": phone, "email": email, "card": card, "national_id": national
    }  # fmt: skip
    for country, kinds in SENTENCES.items():
        for kind, sentences in kinds.items():
            for _ in range(each):
                value, sentence = makers[kind](chance, country), chance.choice(sentences)
                if country == "GB" and kind == "national_id":
                    value = nhs(chance) if "NHS" in sentence else nino(chance)
                if country in ("TW", "CN", "JP", "HK") and chance.random() < 0.15:
                    value = wide(value)
                yield Case(kind, country, sentence.format(value), value)
    for _ in range(each):
        value = iban(chance)
        yield Case("iban", "GB", chance.choice(["IBAN {}", "pay to {} please", "帳戶{}謝謝"]).format(value), value)
        value = f"{chance.choice(['bob', 'svc-app', 'root'])}:{''.join(chance.choices('abcXYZ019!$-_', k=10))}"
        text = chance.choice(
            ["https://{}@db.example.com/x", "连不上 postgres://{}@10.0.0.1:5432/a", "redis://{}@cache，怎麼辦"]
        )
        yield Case("url_credentials", "", text.format(value), value)


def digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices("0123456789", k=count))


def wide(value: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in value)


def phone(chance: random.Random, country: str) -> str:
    """A number that exists by its plan, in one of the ways to write it."""
    while True:
        prefix, _, rest = chance.choice(PREFIXES[country]).partition("{")
        national = prefix + digits(chance, int(rest[:-1]))
        number = phonenumbers.parse(national, country)
        if phonenumbers.is_valid_number(number):
            break
    shapes = SHAPES[country]
    shape = chance.choice(shapes[max((start for start in shapes if national.startswith(start)), key=len)])
    if shape == "+":
        style = phonenumbers.PhoneNumberFormat
        return phonenumbers.format_number(number, chance.choice([style.E164, style.INTERNATIONAL]))
    if shape in ("86", "852"):
        return shape + chance.choice(["", " ", "-"]) + national
    if shape.isdigit() or shape == "all":
        return national
    if shape == "1-3-3-4":
        national = "1" + national
    written, left = "", national
    for letter in shape:
        if letter.isdigit():
            written, left = written + left[: int(letter)], left[int(letter) :]
        else:
            written += letter
    return written + left


def email(chance: random.Random, country: str) -> str:
    name = chance.choice(
        ["bob", "mei.ling", "a_b-c", "x+shop", "taro99", "Li.Lei", "o'neil", f"sue.{chance.randrange(99)}"]
    )
    host = chance.choice(
        ["example.com", "mail.example.com.tw", "qq.com", "docomo.ne.jp", "example.co.uk", "163.com", "a-b.hk"]
    )
    return f"{name}@{host}"


def luhn(body: str) -> str:
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(body)))
    return body + str(-total % 10)


def card(chance: random.Random, country: str) -> str:
    prefix, length = chance.choice(
        [
            ("4", 16),
            ("51", 16),
            ("2221", 16),
            ("37", 15),
            ("3530", 16),
            ("6212", 16),
            ("6222", 19),
            ("6011", 16),
            ("36", 14),
        ]
    )
    number = luhn(prefix + digits(chance, length - len(prefix) - 1))
    blank = chance.choice(["", " ", "-"])
    cuts = {16: (4, 8, 12), 19: (4, 8, 12, 16), 15: (4, 10), 14: (4, 10)}[length]
    return blank.join(number[a:b] for a, b in zip((0, *cuts), (*cuts, length), strict=True))


def national(chance: random.Random, country: str) -> str:
    return {"TW": tw, "CN": cn, "JP": my_number, "HK": hkid, "US": ssn, "GB": nhs}[country](chance)


def tw(chance: random.Random) -> str:
    codes = dict(zip("ABCDEFGHJKLMNPQRSTUVXYWZIO", range(10, 36), strict=True))
    first, second = chance.choice(list(codes)), chance.choice("12121289ABCD")
    body = digits(chance, 7)
    values = [*divmod(codes[first], 10), codes[second] % 10 if second.isalpha() else int(second), *map(int, body)]
    total = sum(value * weight for value, weight in zip(values, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1), strict=True))
    return f"{first}{second}{body}{-total % 10}"


def cn(chance: random.Random) -> str:
    place = chance.choice(["110101", "310104", "440305", "330106", "510107"])
    day = f"{chance.randint(1950, 2008)}{chance.randint(1, 12):02}{chance.randint(1, 28):02}"
    body = place + day + digits(chance, 3)
    total = sum(int(digit) * 2 ** (17 - place) for place, digit in enumerate(body))
    return body + "0123456789X"[(12 - total % 11) % 11]


def my_number(chance: random.Random) -> str:
    body = digits(chance, 11)
    total = sum(int(digit) * (n + 1 if n <= 6 else n - 5) for n, digit in enumerate(reversed(body), 1))
    number = body + str(0 if total % 11 <= 1 else 11 - total % 11)
    blank = chance.choice(["", " ", "-"])
    return blank.join((number[:4], number[4:8], number[8:]))


def hkid(chance: random.Random) -> str:
    letters = "".join(chance.choices("ABCDEFGHKMRSVWYZ", k=chance.choice([1, 1, 1, 2])))
    body = letters + digits(chance, 6)
    values = [36] * (8 - len(body)) + [int(letter, 36) for letter in body]
    rest = -sum(value * weight for value, weight in zip(values, range(9, 1, -1), strict=True)) % 11
    last = "A" if rest == 10 else str(rest)
    return body + (f"({last})" if chance.random() < 0.7 else last)


def ssn(chance: random.Random) -> str:
    area = chance.choice([n for n in range(1, 900) if n != 666])
    blank = chance.choice(["-", "-", " ", ""])
    return f"{area:03}{blank}{chance.randint(1, 99):02}{blank}{chance.randint(1, 9999):04}"


def nhs(chance: random.Random) -> str:
    while True:
        body = digits(chance, 9)
        check = 11 - sum(int(digit) * (10 - place) for place, digit in enumerate(body)) % 11
        if check != 10:
            number = body + str(check % 11)
            return chance.choice([number, f"{number[:3]} {number[3:6]} {number[6:]}"])


def nino(chance: random.Random) -> str:
    letters = chance.choice(["AB", "CE", "JG", "PX", "SR"])
    blank = chance.choice(["", " "])
    return blank.join((letters, digits(chance, 2), digits(chance, 2), digits(chance, 2), chance.choice("ABCD")))


def iban(chance: random.Random) -> str:
    code, body = chance.choice(
        [("GB", "NWBK" + digits(chance, 14)), ("DE", digits(chance, 18)), ("NL", "ABNA" + digits(chance, 10))]
    )
    check = 98 - int("".join(str(int(letter, 36)) for letter in f"{body}{code}00")) % 97
    number = f"{code}{check:02}{body}"
    return number if chance.random() < 0.5 else " ".join(number[n : n + 4] for n in range(0, len(number), 4))
