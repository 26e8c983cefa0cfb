"""What looks like personal data and is none: the numbers of a shop's day, in the sentences of its customers."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import NamedTuple


class Thing(NamedTuple):
    """A sentence with nothing personal in it."""

    kind: str
    text: str


SENTENCES = {
    "order": [
        "訂單編號{}什麼時候出貨", "订单号{}还没发货", "注文番号は{}です", "Where is my order {}?",
        "order #{} please", "單號：{}", "我要查{}這筆訂單", "{}はまだ届きません", "{}可以取消嗎",
        "I'd like to return {}.", "{}為什麼被取消", "能帮我看下{}吗", "{}の状況を教えてください",
        "any news on {}?", "it says {} is cancelled", "我的單 {}", "PO {}",
    ],
    "tracking": [
        "追蹤號碼{}", "快递单号{}到哪了", "追跡番号：{}", "tracking number {}", "Parcel {} is late",
        "送り状番号は{}です", "荷物 {} の件です", "{}卡在海關", "{}一直不更新", "{}が動きません", "where's {}",
        "DHL {}",
    ],
    "price": [
        "這個{}太貴了", "一共{}对吗", "合計{}ですね", "That costs {} in total", "預算大概{}",
        "I paid {} for it", "報價{}", "{}能便宜点吗", "{}は高い", "is {} incl. VAT?",
    ],
    "date": [
        "{}到貨嗎", "我{}下的单", "{}に予約したい", "delivered on {}?", "from {} on", "時間是{}", "改到{}",
        "{}前能到吗", "{}まで", "since {}",
    ],
    "version": [
        "版本{}會當機", "升级到{}以后打不开", "バージョン{}です", "I run {} on it", "v{} crashes",
        "更新{}之後閃退", "{}有bug", "{}に上げたら落ちる", "after updating to {}",
    ],
    "isbn": [
        "ISBN {}", "這本書{}有貨嗎", "ISBN：{}の在庫", "do you have {}?", "{}絕版了嗎", "{}还有吗",
        "{}ありますか", "looking for {}",
    ],
    "coordinates": [
        "位置在{}", "座標 {}", "meet me at {}", "緯度経度は{}", "{}附近有店嗎", "near {}",
    ],
    "ip": [
        "連不上{}", "IP是{}", "サーバーは{}です", "ping {} fails", "{}被擋", "from {}",
    ],
    "model": [
        "{}有現貨嗎", "我想买{}", "{}の在庫はありますか", "Is {} waterproof?", "the {} is broken", "{}保固多久",
        "{}怎么重置", "{}の説明書", "manual for {}",
    ],
    "number": [
        "第{}位", "一共{}个", "{} people came", "{}件あります", "會員{}點", "抽到{}號", "{}人参加", "{}歩",
        "about {} of them", "密碼{}",
    ],
    "address": [
        "看{}", "{} 打不開", "see {}", "{} を見て", "open {} please", "檔案是 {}", "`{}` is missing", "{}で404", "({})",
    ],
    "fraction": ["{}", "大概{}", "about {} of it", "{}です", "ratio {}"],
}  # fmt: skip
SHAPES = {
    "order": [
        "{day}######", "ORD-{year}-#####", "#####", "######",
        "########", "A######", "###-#######-#######", "SO{day}####",
        "{day}-####", "###################", "24{month}12G#####",
        "W#########", "R#######", "##########", "############",
    ],
    "tracking": [
        "1Z###AA##########", "RR#########TW", "SF#############", "############", "YT#############", "####-####-####",
        "9400 #### #### #### #### ##", "JD############", "###########", "#### #### ####",
    ],
    "price": [
        "NT$1######", "$##,###", "7######元", "¥#,###,###", "##,###,###円", "US$ 2###.##", "8####### 塊", "HK$5######",
        "3###-5###元", "£####.00", "6######## dollars", "RMB 9#######",
    ],
    "date": [
        "{year}-{month}-12", "{year}/{month}/12", "{day}", "{year}-{month}-12 14:##", "12.{month}.{year}", "{day}1530",
        "{year}年{month}月12日", "{month}/12 9:30", "17########", "17###########", "{year}-{month}-12T09:30:00+08:00",
        "{year}-2027", "{year}.{month}.12",
    ],
    "version": [
        "1#.#.##", "13#.0.####.###", "{year}.{month}.12", "3.#.{day}", "10.0.#####.####", "##.####.####", "4.##-rc#",
        "##.###.###",
    ],
    "isbn": ["978##########", "978-7-###-#####-#", "979-##########", "7-###-#####-X"],
    "coordinates": ["25.######,121.######", "-#7.#######, 1##.#######", "25°0#'##\"N", "35.######## 139.########"],
    "ip": ["1##.##.1##.#", "52.94.2##.2##", "10.#.##.1##:8###", "192.168.#.0/24", "2001:db8:####::####",
        "http://10.1.2.#/api/########",
    ],
    "model": [
        "iPhone 1# Pro", "SM-G###B", "Nokia ####", "Redmi Note 1# 5G",
        "RTX ####", "WH-1000XM#", "A####", "Xperia ##-####",
        "ThinkPad X1 2024 21###", "LG ##UP###", "KDL-##W###",
    ],
    "address": [
        "https://shop.tw/orders/09########", "https://x.com/a/status/1##################",
        "/var/log/app/09########.log",
        "https://cdn.x.com/i/4###############.jpg", "src/img/09########.png", "uploads/users/A1########/me.png",
        "IMG_{day}_######.jpg", "IMG_09########.jpg", "########-####-4###-a###-############", "~/data/13#########.csv",
        "https://x.y/p-A2########.html", "www.x.com/t/0#########", "x.com/090########", "s3://b/k_4###############",
        "../in/415-5##-####.wav", "order-09########", "build-13#########", "https://maps.x/@25.######,121.######,17z",
    ],
    "fraction": ["1/3", "##/###", "####/####", "########/########", "0.##########", "3.0##########", "##.#/##.#"],
    "number": ["###", "####", "#####", "#######", "##,###", "##.####", "### ###", "########"],
}  # fmt: skip
"""`#` is any digit."""


def things(chance: random.Random, each: int) -> Iterator[Thing]:
    """So many sentences of each kind."""
    for kind, sentences in SENTENCES.items():
        for _ in range(each):
            year, month = chance.randint(2015, 2026), f"{chance.randint(1, 12):02}"
            day = f"{year}{month}{chance.randint(1, 28):02}"
            shape = chance.choice(SHAPES[kind]).format(year=year, month=month, day=day)
            value = re.sub("#", lambda _: chance.choice("0123456789"), shape)
            yield Thing(kind, chance.choice(sentences).format(value))
