"""The page of an answer in a browser: it grows, ends, and comes through what happens to pages on phones."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser

from chatferry.simulator.model import Break, Pause
from tests.browser.phone import Line, Phone, phone
from tests.scenarios.asking import ask, client
from tests.stack import Stack
from tests.web.opening import asked, link, newest, say
from tests.web.test_rendering import HOSTILE

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORY = "# A story\n\nOnce upon a time there was a **tea pot**.\n\nIt was green."
RICH = """
Here you are:

```python
def handler(request, context, *, timeout=30, retries=5, verbose=False, dry_run=False) -> dict[str, str]:
    return {"status": "ok"}  # and a comment
```

| Tea | Temperature | Minutes | Where it comes from | What it tastes of |
|---|--:|--:|---|---|
| Sencha | 75 °C | 1.5 | Shizuoka and Kagoshima | Grass, and a bit of the sea |
| Gyokuro | 60 °C | 2.0 | Uji and Yame | Sweet, of seaweed and chestnuts |

And averyveryverylongwordthatnobodyhaseverheardofbutwhichmustnotmakethepagewiderthanthephone, and in code
`it_is_as_long_as_that_and_has_no_blanks_either_and_must_not_make_the_page_wider_than_the_phone`.
"""


async def test_an_answer_grows_and_ends_before_the_readers_eyes(stack: Stack, hand: Phone) -> None:
    stack.model.reply = lambda _: STORY
    stack.model.plans.append(Pause((4, 12)))
    turn = await say(stack, "tell me a story")
    await stack.model.hanging.wait()
    await hand.page.goto(link(stack, "a", turn))
    await hand.reads("A story")
    await hand.shows("growing")
    await hand.page.evaluate("window.same = true")
    title = await hand.page.query_selector("#answer h1")
    assert title
    await title.evaluate("title => { title.marked = true }")
    stack.model.hanging.clear()
    stack.model.release.set()
    await stack.model.hanging.wait()
    await hand.reads("there was a tea")
    assert await hand.page.locator("#answer").get_attribute("aria-busy") == "true"
    stack.model.release.set()
    await hand.shows("done")
    assert (await hand.answer()).split("\n\n") == ["A story", "Once upon a time there was a tea pot.", "It was green."]
    assert await hand.page.locator("#answer").get_attribute("aria-busy") == "false"
    assert await hand.page.locator("#stop").count() == 0
    assert await hand.page.locator("#note").inner_text() == "Complete"
    # Nothing was loaded again, and what was complete was left alone.
    assert await hand.page.evaluate("window.same")
    assert await hand.page.eval_on_selector("#answer h1", "title => title.marked === true")
    assert hand.faults == []


async def test_an_answer_survives_a_reload(stack: Stack, hand: Phone) -> None:
    stack.model.reply = lambda _: STORY
    stack.model.plans.append(Pause((8,)))
    turn = await say(stack, "tell me a story")
    await stack.model.hanging.wait()
    await hand.page.goto(link(stack, "a", turn))
    await hand.reads("Once upon a")
    await hand.page.reload()
    await hand.reads("Once upon a")
    stack.model.release.set()
    await hand.shows("done")
    await hand.page.reload()
    await hand.reads("It was green.")
    await hand.shows("done")
    assert hand.faults == []


async def test_an_answer_survives_a_dropped_connection(stack: Stack, browser: Browser) -> None:
    stack.model.reply = lambda _: STORY
    stack.model.plans.append(Pause((8,)))
    turn = await say(stack, "tell me a story")
    await stack.model.hanging.wait()
    async with Line.to(stack.url) as line, phone(browser, line.url) as hand:
        await hand.page.goto(link(stack, "a", turn).replace(stack.url, line.url))
        await hand.reads("Once upon a")
        line.cuts = True
        line.cut()
        await hand.page.locator("body.offline").wait_for()
        assert "interrupted" in await hand.page.locator("#note").inner_text()
        stack.model.release.set()
        line.cuts = False
        await hand.shows("done")
        await hand.reads("It was green.")
        assert await hand.page.locator("#note").inner_text() == "Complete"
        assert await hand.page.locator("body.offline").count() == 0
        assert hand.faults == []


async def test_an_answer_is_stopped_by_its_button(stack: Stack, hand: Phone) -> None:
    stack.model.reply = lambda _: "some words and more"
    stack.model.plans.append(Break("hang", after=2))
    async with client(stack) as api:
        asking = asyncio.create_task(ask(api, "hello", session="s"))
        await stack.model.hanging.wait()
        await hand.page.goto(link(stack, "a", await newest(stack)))
        await hand.reads("some words")
        await hand.page.evaluate("window.same = true")
        await hand.page.get_by_role("button", name="Stop").click()
        await hand.shows("stopped")
        await asking
    assert await hand.answer() == "some words"
    assert await hand.page.locator("#stop").count() == 0
    assert await hand.page.evaluate("window.same")
    assert hand.faults == []


async def test_without_javascript_the_page_comes_again_and_stops_all_the_same(stack: Stack, browser: Browser) -> None:
    stack.model.reply = lambda _: "some words and more"
    stack.model.plans.append(Pause((2, 3)))
    async with client(stack) as api, phone(browser, stack.url, java_script_enabled=False) as hand:
        asking = asyncio.create_task(ask(api, "hello", session="s"))
        await stack.model.hanging.wait()
        await hand.page.goto(link(stack, "a", await newest(stack)))
        assert await hand.answer() == "some words"
        stack.model.hanging.clear()
        stack.model.release.set()
        await stack.model.hanging.wait()
        await hand.reads("some words and")
        await hand.shows("growing")
        await hand.page.get_by_role("button", name="Stop").click()
        await hand.shows("stopped")
        await asking
        assert await hand.answer() == "some words and"
        assert hand.faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_code_and_a_table_fit_a_phone(stack: Stack, browser: Browser, scheme: str) -> None:
    stack.model.reply = lambda _: RICH
    turn = await asked(stack, "a" * 300)
    async with phone(browser, stack.url, color_scheme=scheme) as hand:
        for page in (link(stack, "a", turn), f"{link(stack, 'h', turn)}?q=sencha"):
            await hand.page.goto(page)
            await hand.page.get_by_text("Sencha").last.wait_for()
            assert await hand.fits()
            for selector in (".code code", ".table"):
                seen, held = await hand.width(selector)
                assert seen <= 390 < held  # it scrolls in itself
        keyword = await hand.page.eval_on_selector(".code .k", "e => getComputedStyle(e).color")
        ink = await hand.page.eval_on_selector("body", "e => getComputedStyle(e).color")
        assert keyword != ink
        assert "monospace" in await hand.page.eval_on_selector(".code code", "e => getComputedStyle(e).fontFamily")
        assert hand.faults == []


async def test_an_answer_full_of_traps_does_nothing(stack: Stack, hand: Phone) -> None:
    traps = "\n\n".join(HOSTILE).replace("boom()", "window.boom=1,alert(1)")
    stack.model.reply = lambda _: traps
    stack.model.plans.append(Pause((5,)))
    turn = await say(stack, traps[:1000])
    await stack.model.hanging.wait()
    url = link(stack, "a", turn)
    await hand.page.goto(url)
    stack.model.release.set()
    await hand.shows("done")
    for page in (url, f"{link(stack, 'h', turn)}?q=script"):
        await hand.page.goto(page)
        await hand.page.get_by_text("vbscript").last.wait_for()
        await hand.page.eval_on_selector_all(
            "main *", "all => all.forEach(e => e.dispatchEvent(new Event('mouseover')))"
        )
        inside = (
            "script, img, svg, iframe, form, style, base, meta, link, object, embed, input, details, [onclick], [id]"
        )
        assert await hand.page.locator(".prose").locator(inside).count() == 0
        assert await hand.page.evaluate("window.boom === undefined")
        assert hand.page.url == page
        for address in await hand.page.eval_on_selector_all("main a", "links => links.map(a => a.href)"):
            assert address.startswith(("https://", stack.url))
    assert hand.faults == []


async def test_an_answer_in_another_language_says_so_as_soon_as_it_can(stack: Stack, hand: Phone) -> None:
    stack.model.reply = lambda _: "こんにちは、元気ですか？"
    stack.model.plans.append(Pause((1,)))
    turn = await say(stack, "hello")
    await stack.model.hanging.wait()
    await hand.page.goto(link(stack, "a", turn))
    await hand.page.locator("html[lang=en] #answer[lang=ja]", has_text="こ").wait_for()
    stack.model.release.set()
    await hand.shows("done")
    await hand.page.locator("#answer[lang=ja]").wait_for()


async def test_times_are_the_readers_own(stack: Stack, browser: Browser) -> None:
    turn = await asked(stack, "hello")
    async with phone(browser, stack.url, timezone_id="Asia/Taipei") as hand:
        await hand.page.goto(link(stack, "h", turn))
        time = hand.page.locator("time").first
        assert "UTC" not in await time.inner_text()
        assert (await time.get_attribute("datetime") or "").endswith("Z")
        assert hand.faults == []
