"""What is on the shelves, as an MCP server: `python3 stock.py` talks by its standard input and output."""

from __future__ import annotations

from typing import Literal

from mcp.server.mcpserver import MCPServer

Goods = Literal["東方美人", "金萱烏龍", "桂花荔枝", "草莓洛神", "东方美人", "金萱乌龙"]

SHELF = {"東方美人": 12, "金萱烏龍": 0, "桂花荔枝": 7, "草莓洛神": 31}
SAME = {"东方美人": "東方美人", "金萱乌龙": "金萱烏龍"}

server = MCPServer("stock", log_level="WARNING")


@server.tool()
def in_stock(goods: Goods) -> str:
    """How many of a tea or a jam there are. 還有沒有貨，庫存；还有没有货，库存."""
    left = SHELF[SAME.get(goods, goods)]
    simple = goods in SAME
    if not left:
        return f"{goods}：缺货，下周三到货。" if simple else f"{goods}：缺貨，下週三到貨。"
    return f"{goods}：还有 {left} 罐。" if simple else f"{goods}：還有 {left} 罐。"


if __name__ == "__main__":
    server.run()
