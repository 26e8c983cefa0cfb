"""The notice: what the page and the command say follows from the configuration, in four languages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chatferry.config import AssistantSettings, PrivacySettings, SlackSettings
from chatferry.privacy import Notice, mark_of
from chatferry.words import LANGUAGES, Language, words
from tests.scenarios.support import World, ended, screen, world

EN = words("en")


def told(
    it: World, *, base: str | None = "https://bot.example", server: dict[str, Any] | None = None, **its: Any
) -> None:
    """The operator writes a notice."""
    changed = it.settings.server.model_copy(update={"public_url": base, **(server or {})})
    it.settings = it.settings.model_copy(update={"privacy": PrivacySettings(**its), "server": changed})


async def page(it: World, query: str = "") -> tuple[str, aiohttp.ClientResponse]:
    url = it.line.webhook.replace("/hooks/line", f"/privacy{query}")
    async with aiohttp.ClientSession() as browser, browser.get(url) as answer:
        return await answer.text(), answer


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_page_says_who_reads_what_is_kept_and_whom_to_ask(tmp_path: Path, language: Language) -> None:
    async with world(tmp_path) as it:
        told(it, contact="privacy@example.com <&>", server={"keep": 90 * 86_400.0})
        async with it.gateway():
            html, answer = await page(it, f"?lang={language}")
            its = words(language)
            assert answer.status == 200
            assert f'<html lang="{language}">' in html
            for said in (its.privacy_title, its.privacy_sent, "127.0.0.1", its.privacy_answers, its.privacy_unmasked):
                assert said in html
            assert its.privacy_kept_time.replace("{time}", its.days.replace("{number}", "90")) in html
            assert its.privacy_kept_ever not in html
            assert "privacy@example.com &lt;&amp;&gt;" in html
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_the_command_gives_the_link_or_the_words_and_help_shows_it(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        told(it, contact="privacy@example.com")
        async with it.gateway() as gateway:
            await it.line.say("ann", "/privacy")
            await ended(gateway, 1, it.clock)
            await it.line.say("ann", "/help")
            await ended(gateway, 2, it.clock)
            link = f"https://bot.example/privacy?lang=en&of={mark_of('default')}"
            assert screen(it.line)[0] == EN.privacy_here.replace("{link}", link)
            assert f"/privacy – {EN.help_privacy}" in screen(it.line)[1]
            gateway.links.base = None
            await it.line.say("ann", "/privacy")
            await ended(gateway, 3, it.clock)
            assert screen(it.line)[2].startswith(EN.privacy_intro)
            assert "privacy@example.com" in screen(it.line)[2]


async def test_without_a_notice_there_is_no_page_and_no_command(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.gateway() as gateway:
        assert (await page(it))[1].status == 404
        await it.line.say("ann", "/privacy")
        await it.line.say("ann", "/help")
        await ended(gateway, 2, it.clock)
        assert "echo: /privacy" in screen(it.line)
        assert not any(EN.help_privacy in said for said in screen(it.line))


async def test_words_of_the_operators_own_come_first_or_alone_and_can_do_nothing(tmp_path: Path) -> None:
    notice = tmp_path / "notice.md"
    notice.write_text("# Heron Tea\n\n<script>alert(1)</script> We *care*.", "utf-8")
    async with world(tmp_path) as it:
        told(it, notice=str(notice), facts=False)
        async with it.gateway():
            html, _ = await page(it)
            assert "Heron Tea" in html
            assert "<em>care</em>" in html
            assert "<script>alert" not in html
            assert EN.privacy_sent not in html


async def test_each_reads_what_holds_for_the_assistant_they_talk_to(tmp_path: Path) -> None:
    outside = {"start": "/go", "outside": "bare_inner_name"}
    masked = {"redact": ["phone"], "tools": ["shop:orders"], "cache": {"ttl": "2h"}, "session": outside}
    async with world(tmp_path, assistant=masked) as it:
        bare = AssistantSettings(language="en")
        assistants = {**it.settings.assistants, "bare_inner_name": bare, "nowhere": AssistantSettings(profile=True)}
        rooms = SlackSettings(assistant="bare_inner_name")
        channels = {**it.settings.channels, "our-slack": rooms}
        it.settings = it.settings.model_copy(update={"assistants": assistants, "channels": channels, "api": None})
        told(it, base=None)
        its = it.settings
    notice = Notice(its)
    phones = EN.privacy_masked.replace("{kinds}", EN.masked_phone)
    cached = EN.privacy_kept_cache.replace("{time}", "2 hours")

    def sections(assistant: str = "") -> dict[str, tuple[str, ...]]:
        return {section.title: section.lines for section in notice.sections(EN, assistant)}

    alone = sections("bare_inner_name")
    assert EN.privacy_unmasked in alone[EN.privacy_sent]
    assert phones not in alone[EN.privacy_sent]
    assert cached not in alone[EN.privacy_kept]

    here = sections("default")
    assert phones in here[EN.privacy_sent]
    assert EN.privacy_unmasked not in here[EN.privacy_sent]
    assert EN.privacy_unmasked in here[f"{EN.privacy_sent} – {EN.privacy_outside}"]
    assert cached in here[EN.privacy_kept]

    everywhere = sections()
    elsewhere = f"LINE ({EN.privacy_outside}) · Slack"
    assert phones in everywhere[f"{EN.privacy_sent} – LINE"]
    assert EN.privacy_unmasked in everywhere[f"{EN.privacy_sent} – {elsewhere}"]
    assert cached not in everywhere[f"{EN.privacy_kept} – {elsewhere}"]
    assert EN.privacy_kept_notes not in str(everywhere)
    assert "inner_name" not in str(notice.sections(EN)) + str(notice.sections(EN, "bare_inner_name"))
    assert notice.of(mark_of("bare_inner_name")) == "bare_inner_name"


async def test_the_link_of_the_command_opens_the_notice_of_that_assistant(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        other = AssistantSettings(language="en", redact=("email",))
        channels = {
            **it.settings.channels,
            "shop": it.settings.channels["line"].model_copy(update={"assistant": "other"}),
        }
        it.settings = it.settings.model_copy(update={"assistants": {**it.settings.assistants, "other": other}})
        it.settings = it.settings.model_copy(update={"channels": channels})
        told(it)
        async with it.gateway():
            html, _ = await page(it, f"?lang=en&of={mark_of('other')}")
            assert EN.masked_email in html
            assert EN.privacy_unmasked not in html
            assert f'href="?lang=ja&amp;of={mark_of("other")}"' in html
            html, _ = await page(it, "?lang=en&of=nobody")
            assert EN.masked_email in html
            assert EN.privacy_unmasked in html
            assert f"/privacy – {EN.help_privacy}" in html
