"""What the customer service may look up. A real shop would ask its own database here; these orders are made up."""

from __future__ import annotations

from dataclasses import dataclass

from chatferry.tools.base import Caller


@dataclass(frozen=True)
class Order:
    """An order, told in the script of Taiwan and in that of China."""

    items: tuple[str, str]
    state: tuple[str, str]


ORDERS = {
    "1234": Order(
        ("東方美人茶 2 罐、桂花荔枝果醬 1 罐", "东方美人茶 2 罐、桂花荔枝果酱 1 罐"),
        ("昨天已出貨，目前在台中轉運站，預計明天中午前送達", "昨天已发货，目前在台中转运站，预计明天中午前送达"),
    ),
    "1235": Order(
        ("金萱烏龍 1 罐", "金萱乌龙 1 罐"),
        ("已付款，正在包裝，今天傍晚出貨", "已付款，正在打包，今天傍晚发货"),
    ),
    "1236": Order(
        ("草莓洛神果醬 3 罐", "草莓洛神果酱 3 罐"),
        ("昨天下午已送達，由管理室代收", "昨天下午已送达，由物业代收"),
    ),
}


def order_status(number: str, caller: Caller) -> str:
    """Where an order is, what is in it and when it arrives. 訂單到哪裡了；订单到哪里了.

    Args:
        number: The number of the order (訂單編號，订单编号): four digits, such as 1234.
    """
    china = caller.assistant == "china"
    order = ORDERS.get(number.strip().lstrip("#"))
    if order is None:
        return f"没有编号为 {number} 的订单。" if china else f"沒有編號 {number} 的訂單。"
    if china:
        return f"订单 {number}：{order.items[1]}。{order.state[1]}。"
    return f"訂單 {number}：{order.items[0]}。{order.state[0]}。"


def opening_hours(caller: Caller) -> str:
    """When the shop in Taipei is open. 營業時間，幾點開門；营业时间，几点开门."""
    if caller.assistant == "china":
        return "大稻埕门店：周二至周日 11:00 到 19:00，周一休息。"
    return "大稻埕門市：週二到週日 11:00 到 19:00，週一公休。"
