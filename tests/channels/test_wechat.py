"""What the WeChat channel calls, against a simulated WeChat over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from chatferry.channels.base import Channel, Hook, listening
from chatferry.channels.wechat import LOOK_SECONDS
from chatferry.channels.wechat_api import LARGEST_ANSWER
from chatferry.channels.wechat_way import BELIEF_SECONDS
from chatferry.errors import Ambiguous, ChatferryError, Final, Gone, NoLeave, TryLater
from chatferry.ledger.tables import vault
from chatferry.model import File, says
from chatferry.simulator.serving import serving
from chatferry.simulator.wechat_records import Fault
from tests.channels.wechat_world import ANN, MEDIA, SEND, STABLE, TYPING, World, opened, until
from tests.contracts import channel as contract


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


# Sending.


async def test_a_customer_service_message_says_exactly_the_text(world: World) -> None:
    said = '漢字 🍎 ]]> "quoted" \\ <b>\n' + "字" * 600
    await world.send(world.wechat(), said)
    assert world.screen() == [said]
    [call] = world.calls(SEND)
    assert "漢字 🍎" in call.body.decode()  # people see escapes as they are
    assert call.json == {"touser": ANN, "msgtype": "text", "text": {"content": said}}


async def test_what_no_screen_shows_is_left_out_and_nothing_is_not_sent(world: World) -> None:
    wechat = world.wechat()
    await world.send(wechat, "a\x00b\ud800c")
    assert world.screen() == ["abc"]
    with pytest.raises(Final, match="without text"):
        await world.send(wechat, " \x00\n")


async def test_what_every_channel_promises(world: World) -> None:
    await contract.sends_no_more_than_its_batch(world.wechat(), ANN)


async def test_without_a_grant_nothing_is_sent(world: World) -> None:
    wechat = world.wechat()
    with pytest.raises(NoLeave):
        await wechat.send(ANN, [says("assistant", "x")], key="k", grant=None)
    assert not await wechat.may_push()
    assert world.sim.calls == []


async def test_five_messages_are_the_allowance(world: World) -> None:
    wechat, grant = world.wechat(), await world.grant()
    for number in range(5):
        await world.send(wechat, str(number), grant)
    with pytest.raises(NoLeave, match="45047"):
        await world.send(wechat, "more", grant)
    world.clock.advance(48 * 3600 + 1)
    with pytest.raises(NoLeave, match="45015"):
        await world.send(wechat, "later", grant)
    assert world.screen() == [str(number) for number in range(5)]
    assert not world.taken(wechat)[1]  # that was no proof against this way


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(-1), TryLater),
        (Fault(45009), NoLeave),
        (Fault(45011), TryLater),
        (Fault(status=502), TryLater),
        (Fault(status=429), TryLater),
        (Fault(status=404), Final),
        (Fault(status=302), Final),
        (Fault(45002), Final),
        (Fault(40003), Gone),
        (Fault(45015), NoLeave),
        (Fault(45047), NoLeave),
        (Fault(48001), NoLeave),
        (Fault(99999, "brand new"), Final),
        (Fault(drop=True), Ambiguous),
        (Fault(drop=True, done=True), Ambiguous),
    ],
)
async def test_each_refusal_says_what_is_to_be_done(world: World, fault: Fault, kind: type[ChatferryError]) -> None:
    grant = await world.grant()
    world.sim.fail(SEND, fault)
    with pytest.raises(kind) as raised:
        await world.send(world.wechat(mode="service"), grant=grant)
    assert raised.type is kind
    assert str(fault.errcode or fault.status or "") in str(raised.value)
    token = world.calls(SEND)[0].query["access_token"]
    assert token not in str(raised.value)
    assert token not in str(raised.value.__cause__)


async def test_too_often_says_when_again(world: World) -> None:
    grant = await world.grant()
    world.sim.fail(SEND, Fault(45011))
    with pytest.raises(TryLater) as raised:
        await world.send(world.wechat(mode="service"), grant=grant)
    assert raised.value.after == 60.0


async def test_where_nobody_listens_nothing_was_sent_and_that_is_not_ambiguous(world: World) -> None:
    with pytest.raises(TryLater):
        await world.send(world.wechat(mode="service", api_base="http://127.0.0.1:9"))
    wechat, grant = world.wechat(), await world.grant()
    await world.send(wechat)
    world.sim.fail(STABLE, Fault(drop=True))
    world.clock.advance(7200)
    with pytest.raises(TryLater):  # the token did not come, so nothing was sent either
        await world.send(wechat, grant=grant)


@pytest.mark.parametrize("fault", [Fault(-1), Fault(status=502)])
async def test_as_long_as_the_way_is_not_known_nobody_waits_for_another_try(world: World, fault: Fault) -> None:
    wechat, grant = world.wechat(), await world.grant()
    world.sim.fail(SEND, fault)
    with pytest.raises(NoLeave):
        await world.send(wechat, grant=grant)
    assert world.taken(wechat)[1]  # nothing was learnt by it


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"errcode":"x"}', b"{" + b" " * LARGEST_ANSWER + b"}"])
async def test_an_answer_that_cannot_be_read_proves_nothing(world: World, answer: bytes) -> None:
    async def send(request: Request) -> Response:
        return Response(answer)

    async def token(request: Request) -> Response:
        return Response(b'{"access_token": "t", "expires_in": 7200}')

    grant = await world.grant()
    app = Starlette(routes=[Route(SEND, send, methods=["POST"]), Route(STABLE, token, methods=["POST"])])
    async with serving(app) as url:
        with pytest.raises(Ambiguous):
            await world.send(world.wechat(api_base=url), grant=grant)


# Which way answers go.


async def test_the_first_message_that_goes_out_shows_that_the_account_may_send(world: World) -> None:
    wechat = world.wechat()
    inbound, held = world.taken(wechat)
    assert (inbound.grant is not None, held) == (True, True)
    await world.send(wechat)
    inbound, held = world.taken(wechat)
    assert (inbound.grant is not None, held) == (True, False)
    after = world.wechat()
    await world.send(after)
    assert not world.taken(after)[1]


async def test_an_account_that_may_not_send_is_told_so_once(world: World) -> None:
    world.sim.verified, wechat = False, world.wechat()
    for _ in range(2):
        with pytest.raises(NoLeave):
            await world.send(wechat)
    assert len(world.calls(SEND)) == 1
    inbound, held = world.taken(wechat)
    assert (inbound.grant, held) == (None, True)


async def test_the_next_start_and_other_processes_know_it(world: World) -> None:
    world.sim.verified, other = False, world.wechat()
    assert world.taken(other)[0].grant is not None
    with pytest.raises(NoLeave):
        await world.send(world.wechat())
    with pytest.raises(NoLeave):
        await world.send(world.wechat())
    assert len(world.calls(SEND)) == 1
    ears = asyncio.ensure_future(_listen(other))
    await until(lambda: world.taken(other)[0].grant is None)
    ears.cancel()
    assert world.taken(world.wechat(app_id="wxffffffffffffffff"))[0].grant is not None  # another account


async def test_who_listens_hears_what_others_found_out_later(world: World) -> None:
    wechat = world.wechat()
    ears = asyncio.ensure_future(_listen(wechat))
    await world.send(world.wechat())

    def heard() -> bool:
        world.clock.advance(LOOK_SECONDS)
        return not world.taken(wechat)[1]

    await until(heard)
    ears.cancel()


async def test_a_refusal_is_believed_for_a_day(world: World) -> None:
    world.sim.verified, wechat = False, world.wechat()
    with pytest.raises(NoLeave):
        await world.send(wechat)
    world.sim.verified = True
    world.clock.advance(BELIEF_SECONDS + 1)
    assert world.taken(wechat)[0].grant is not None
    await world.send(wechat)
    assert not world.taken(wechat)[1]
    assert not await _held_after_restart(world)


async def test_a_right_that_was_lost_is_found_out(world: World) -> None:
    wechat = world.wechat()
    await world.send(wechat)
    world.sim.verified = False
    with pytest.raises(NoLeave, match="48001"):
        await world.send(wechat)
    assert world.taken(wechat)[0].grant is None


async def test_what_the_settings_say_is_not_tried(world: World) -> None:
    passive, service = world.wechat(mode="passive"), world.wechat(mode="service")
    with pytest.raises(NoLeave):
        await world.send(passive)
    assert world.sim.calls == world.calls("/nowhere")
    world.sim.verified = False
    for _ in range(2):
        with pytest.raises(NoLeave, match="48001"):
            await world.send(service)
    assert len(world.calls(SEND)) == 2
    assert not world.taken(service)[1]
    await asyncio.wait_for(_listen(passive), 20)


async def test_with_a_vault_that_is_broken_or_of_another_secret_all_goes_on(world: World) -> None:
    world.sim.verified = False
    with pytest.raises(NoLeave):
        await world.send(world.wechat())
    strange = world.wechat(secret="another secret of theirs")
    assert world.taken(strange)[0].grant is not None
    with pytest.raises(NoLeave, match="48001"):
        await world.send(strange)
    await world.database.write(vault.drop)
    broken = world.wechat()
    with pytest.raises(NoLeave, match="48001"):
        await world.send(broken)
    assert world.taken(broken)[0].grant is None


# Typing.


async def test_typing_shows_where_we_are_known_to_be_allowed_to(world: World) -> None:
    wechat = world.wechat()
    await world.grant()
    await wechat.typing(ANN)
    assert world.calls(TYPING) == []
    await world.send(wechat)
    await wechat.typing(ANN)
    assert world.sim.typing("ann")
    await wechat.typing(ANN)  # it shows already
    world.clock.advance(wechat.caps.typing * 0.9)
    await wechat.typing(ANN)
    assert world.sim.typing("ann")
    world.clock.advance(31)
    await wechat.typing(ANN)  # the person was silent for too long
    assert [call.errcode for call in world.calls(TYPING)] == [0, 45081, 0, 45080]
    world.sim.fail(TYPING, Fault(-1))
    with pytest.raises(TryLater):
        await wechat.typing(ANN)


# Files.


async def test_a_file_is_fetched_by_its_id(world: World) -> None:
    wechat, media_id = world.wechat(), await _sent(world, b"\xff\xd8\xff...")
    picture = f"{media_id} http://mmbiz.qpic.cn/mmbiz_jpg/x/0"
    assert await wechat.download(File("image", picture), 1000) == b"\xff\xd8\xff..."
    world.sim.tokens.revoke()
    assert await wechat.download(File("image", media_id), 1000) == b"\xff\xd8\xff..."
    with pytest.raises(Final, match="40007"):
        await wechat.download(File("image", "unknown"), 1000)
    world.sim.fail(MEDIA, Fault(status=500))
    with pytest.raises(TryLater):
        await wechat.download(File("image", media_id), 1000)
    world.sim.media[media_id] = b"x" * 1001
    with pytest.raises(Final, match="more than"):
        await wechat.download(File("image", media_id), 1000)


async def test_a_picture_is_fetched_by_its_address_where_there_is_no_other_way(world: World) -> None:
    async def picture(request: Request) -> Response:
        return Response(b"jpeg")

    async def away(request: Request) -> Response:
        return RedirectResponse("http://192.0.2.1/")

    async with serving(Starlette(routes=[Route("/p", picture), Route("/away", away)])) as url:
        bare = world.wechat(app_id="", app_secret=None, api_base=url)
        assert await bare.download(File("image", f"m_1 {url}/p"), 1000) == b"jpeg"
        with pytest.raises(Final, match="307"):
            await bare.download(File("image", f"m_1 {url}/away"), 1000)
    world.sim.verified = False
    with pytest.raises(NoLeave):
        await world.wechat().download(File("image", "m_1"), 1000)


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "m_1",
        "m_1 http://127.0.0.1/x",
        "m_1 http://169.254.169.254/latest",
        "m_1 file:///etc/passwd",
        "m_1 http://mmbiz.qpic.cn.example/x",
        "m_1 http://qpic.cn@192.0.2.1/x",
        "m_1 http://[::1/x",
        "m_1 http://mmbiz.qpic.cn:8080/x",
    ],
)
async def test_no_address_in_a_message_leads_anywhere_else(world: World, ref: str) -> None:
    with pytest.raises(Final, match="does not lie"):
        await world.wechat(app_id="", app_secret=None).download(File("image", ref), 1000)


@pytest.mark.parametrize("elsewhere", ["", "http://169.254.169.254/latest"])
async def test_a_video_is_fetched_from_where_it_lies_if_that_is_with_wechat(world: World, elsewhere: str) -> None:
    async def media(request: Request) -> Response:
        url = elsewhere or str(request.url_for("video"))
        return Response(b'{"video_url": "%b"}' % url.encode(), media_type="text/plain")

    async def video(request: Request) -> Response:
        return Response(b"ftyp", media_type="video/mp4")

    async def token(request: Request) -> Response:
        return Response(b'{"access_token": "t", "expires_in": 7200}')

    routes = [Route(MEDIA, media), Route("/v", video, name="video"), Route(STABLE, token, methods=["POST"])]
    async with serving(Starlette(routes=routes)) as url:
        wechat = world.wechat(api_base=url)
        if elsewhere:
            with pytest.raises(Final, match="does not lie"):
                await wechat.download(File("video", "m_1"), 1000)
        else:
            assert await wechat.download(File("video", "m_1"), 1000) == b"ftyp"


# With the simulator's own calls.


async def test_the_simulator_and_the_channel_agree_in_every_mode(world: World) -> None:
    wechat = world.wechat(aes_key=world.sim.aes_key)

    async def hook(request: Request) -> Response:
        mine = world.wechat() if world.sim.mode == "plain" else wechat
        taken = mine.take(Hook(await request.body(), {}, request.query_params, world.clock.now()))
        return Response(taken.hold.enclose("漢字 ]]> 🍎") if taken.hold else taken.body, media_type=taken.media_type)

    async with serving(Starlette(routes=[Route("/hook", hook, methods=["GET", "POST"])])) as url:
        world.sim.webhook = f"{url}/hook"
        for mode in ("plain", "compatible", "encrypted"):
            world.sim.mode = mode
            assert await world.sim.check()
            delivery = await world.sim.say("ann", "hi")
            assert delivery.reason == ""
            assert (await world.sim.unsubscribe("bob")).reason == ""
    assert [one.text for one in world.sim.chats[ANN]] == ["漢字 ]]> 🍎"] * 3


# What the tests above share.


async def _listen(wechat: Channel) -> None:
    assert listening(wechat)
    await wechat.listen(_nobody)


async def _nobody(taken: object) -> None:
    raise AssertionError("nothing comes this way")


async def _held_after_restart(world: World) -> bool:
    wechat = world.wechat()
    await world.send(wechat)
    return world.taken(wechat)[1]


async def _sent(world: World, data: bytes) -> str:
    world.sim.webhook = f"{world.url}/nowhere"
    delivery = await world.sim.image("ann", data)
    return str(delivery.fields["MediaId"])
