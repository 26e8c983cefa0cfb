"""What other processes may do with the simulated WeChat, by its control API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatferry.simulator.control import Control
from chatferry.simulator.wechat_records import Fault
from chatferry.simulator.wechat_scene import PLATFORM

if TYPE_CHECKING:
    from chatferry.simulator.wechat import WeChatSimulator


def control(sim: WeChatSimulator) -> Control:
    """What people do by the names that it has in Python, and what is set by hand."""

    async def webhook(url: str) -> None:
        sim.webhook = url

    async def verified(on: bool) -> None:
        sim.verify(on)

    async def revoke() -> None:
        """WeChat knows no token any more that it gave out."""
        sim.tokens.revoke()

    async def fail(
        path: str,
        errcode: int = 0,
        message: str = "",
        status: int = 0,
        drop: bool = False,
        done: bool = False,
        times: int = 1,
    ) -> None:
        sim.fail(path, *[Fault(errcode, message, status, None, drop, done)] * times)

    acts = (sim.say, sim.image, sim.voice, sim.video, sim.location, sim.link, sim.subscribe, sim.unsubscribe)
    more = (sim.click, sim.scan, sim.check, webhook, verified, revoke, fail)
    return Control(
        PLATFORM,
        {act.__name__: act for act in (*acts, *more)},
        scene=sim.scene,
        weather=sim.weather,
        state=lambda: _state(sim),
        file=sim.media.get,
    )


def _state(sim: WeChatSimulator) -> object:
    return {
        "mode": sim.mode,
        "verified": sim.verified,
        "webhook": sim.webhook,
        "subscribed": sorted(sim.subscribed),
        "chats": sim.chats,
        "messages_left": {openid: sim.allowance(openid) for openid in sim.chats},
        "typing": [openid for openid in sim.chats if sim.typing(openid)],
        "deliveries": sim.deliveries,
        "calls": [
            {"method": one.method, "path": one.path, "at": one.at, "status": one.status, "errcode": one.errcode}
            for one in sim.calls
        ],
    }
