"""`chatferry serve` as a process: how it starts, what it says, how it ends."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from chatferry.simulator.model import Break
from tests.commandline import Shop, secrets_in, shop, soon
from tests.ports import free_port


@pytest_asyncio.fixture(name="shop")
async def _shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop(tmp_path) as made:
        yield made


async def test_three_variables_make_a_line_bot_that_logs_json(shop: Shop) -> None:
    async with shop.serving() as served:
        await shop.line.say("ann", "hello")
        [answer] = await shop.line.seen("ann", 1)
        assert answer.text == "echo: hello"
        await served.event("turn closed")
        assert await served.stop() == 0
    assert [event["event"] for event in served.events] == ["serving", "turn closed", "stopping"]
    assert served.events[0]["hooks"] == {"line": "/hooks/line"}


async def test_port_is_honoured(shop: Shop) -> None:
    port = free_port()
    async with shop.serving(PORT=str(port)) as served:
        assert served.url == f"http://127.0.0.1:{port}"


async def test_a_file_and_dotenv_say_it_as_well(shop: Shop) -> None:
    names = ("LINE_CHANNEL_SECRET", "LINE_CHANNEL_ACCESS_TOKEN", "OPENAI_API_KEY")
    (shop.folder / ".env").write_text("".join(f"{name}={shop.environ[name]}\n" for name in names))
    (shop.folder / "chatferry.toml").write_text(
        f"""
        [models.default]
        provider = "openai"
        model = "m"
        api_key = "${{OPENAI_API_KEY}}"
        base_url = "{shop.environ["OPENAI_BASE_URL"]}"
        [channels.line]
        secret = "${{LINE_CHANNEL_SECRET}}"
        token = "${{LINE_CHANNEL_ACCESS_TOKEN}}"
        api_base = "{shop.environ["LINE_API_BASE"]}"
        path = "/api/webhook"
        """
    )
    async with shop.serving(**dict.fromkeys(names, "")) as served:
        shop.line.webhook = f"{served.url}/api/webhook"
        await shop.line.say("ann", "hello")
        await shop.line.seen("ann", 1)


async def test_on_a_terminal_the_first_lines_say_what_to_do_next(shop: Shop) -> None:
    async with shop.terminal("serve", CHATFERRY_PUBLIC_URL="https://bot.example.com") as terminal:
        await terminal.shows("configured by environment", "assistant default: gpt-5-mini (openai)")
        await terminal.shows(
            "channel line: webhook URL https://bot.example.com/hooks/line", "serving", "http://0.0.0.0:"
        )
        assert "hint" not in terminal.screen
        terminal.type("\x03")
        assert await terminal.end() == 0


async def test_without_a_public_address_a_hint_says_how_to_set_it(shop: Shop) -> None:
    async with shop.terminal("serve") as terminal:
        await terminal.shows(
            "webhook URL https://YOUR-ADDRESS/hooks/line", "hint: set CHATFERRY_PUBLIC_URL=", "serving"
        )


# What cannot start


async def test_wrong_settings_are_listed_and_the_status_is_2(shop: Shop) -> None:
    ended = await shop.run("serve", PORT="http", LINE_CHANNEL_SECRET="", OPENAI_BASE_URL="localhost")
    assert (ended.status, ended.out) == (2, "")
    assert [line.split(":")[0] for line in ended.err.splitlines() if not line.startswith(" ")] == [
        "environment  PORT",
        "environment  OPENAI_BASE_URL",
        "environment  LINE_CHANNEL_SECRET",
    ]


async def test_nothing_set_says_what_to_set(tmp_path: Path) -> None:
    async with shop(tmp_path) as empty:
        empty.environ.clear()
        ended = await empty.run("serve")
    assert ended.status == 2
    assert "there is no model" in ended.err
    assert "set LINE_CHANNEL_SECRET and LINE_CHANNEL_ACCESS_TOKEN" in ended.err


async def test_a_port_in_use_is_said_with_its_mend(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await shop.run("serve", "--host", "127.0.0.1", PORT=str(port))
    assert ended.status == 2
    assert f"cannot listen at 127.0.0.1:{port}" in ended.err
    assert "mend: stop what listens there, or set PORT=" in ended.err


async def test_a_second_process_on_the_same_file_is_refused(shop: Shop) -> None:
    async with shop.serving() as served:
        ended = await shop.run("serve")
        assert ended.status == 2
        assert ended.err.startswith("another chatferry is already answering from chatferry.db\n  mend: ")
        await shop.line.say("ann", "still there?")
        await shop.line.seen("ann", 1)
        assert await served.stop() == 0


@pytest.mark.parametrize("database", ["/proc/nowhere/a.db", "file/a.db", "folder"])
@pytest.mark.parametrize("command", [("serve",), ("turns", "--follow"), ("push", "line", "U1", "x")])
async def test_a_database_that_cannot_be_used_is_said_with_its_mend(
    shop: Shop, command: tuple[str, ...], database: str
) -> None:
    (shop.folder / "file").write_text("")
    (shop.folder / "folder").mkdir()
    ended = await shop.run(*command, CHATFERRY_DATABASE=f"sqlite:///{database}")
    assert ended.status == 2
    assert ended.err.startswith("server.database: cannot be used: ")
    assert "\n  mend: " in ended.err


# How it ends


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_the_running_answer_end_and_takes_nothing_new(shop: Shop, signum: signal.Signals) -> None:
    shop.model.plans.append(Break("hang", after=1))
    async with shop.serving() as served:
        await shop.line.say("ann", "hello")
        await soon(shop.model.hanging.wait())
        served.process.send_signal(signum)
        await served.event("stopping")
        async with aiohttp.ClientSession() as http, http.get(f"{served.url}/readyz") as ready:
            assert ready.status == 503
        assert (await shop.line.say("bob", "too late")).status == 503
        shop.model.release.set()
        await shop.line.seen("ann", 1)
        assert await served.end() == 0


async def test_a_second_signal_ends_at_once_and_the_next_start_goes_on(shop: Shop) -> None:
    shop.model.plans.append(Break("hang", after=1))
    async with shop.serving() as served:
        await shop.line.say("ann", "hello")
        await soon(shop.model.hanging.wait())
        served.process.send_signal(signal.SIGTERM)
        await served.event("stopping")
        await served.stop(signal.SIGTERM)
    assert shop.line.chats[shop.line.address("ann")] == []
    async with shop.serving():
        [answer] = await shop.line.seen("ann", 1)
    assert answer.text == "echo: hello"


# What is never said


async def test_a_bug_is_logged_with_its_traceback_and_without_secrets(shop: Shop) -> None:
    program = (
        "import sys; from chatferry.channels import line; from chatferry.cli.main import main\n"
        "async def send(self, *_, **__):\n"
        "    raise KeyError(self._settings, self._settings.token.get_secret_value())\n"
        "line.Line.send = send; sys.argv = ['chatferry', 'serve']; main()"
    )
    async with shop.serving(sys.executable, "-c", program) as served:
        await shop.line.say("ann", "hello")
        bug = await served.event("bug")
    assert "Traceback" in bug["exception"]
    assert "KeyError" in bug["exception"]
    assert "***" in bug["exception"]
    assert not secrets_in("".join(served.said))


async def test_what_providers_quote_of_a_key_is_not_passed_on(shop: Shop) -> None:
    shop.model.key = "another"
    async with shop.serving() as served:
        await shop.line.say("ann", "hello")
        failed = await served.event("model failed")
        await shop.line.seen("ann", 1)
    assert "401" in failed["error"]
    ended = await shop.run("turns")
    assert "401" in ended.out


@pytest.mark.parametrize("role", ["web", "worker"])
async def test_a_part_of_the_work_needs_a_database_for_several(shop: Shop, role: str) -> None:
    ended = await shop.run("serve", "--role", role)
    assert ended.status == 2
    assert f"not for --role {role}" in ended.err
    assert "mend: CHATFERRY_DATABASE=postgresql://" in ended.err


async def test_one_takes_in_and_another_one_answers(shop: Shop, postgres: str) -> None:
    shop.environ["CHATFERRY_DATABASE"] = postgres
    migrated = await shop.run("migrate")
    assert (migrated.status, migrated.err) == (0, "")
    assert "the tables are as this version wants them" in migrated.out
    async with shop.serving(role="worker") as worker, shop.serving(role="web") as web:
        for url, routes in ((worker.url, 404), (web.url, 405)):
            async with aiohttp.ClientSession() as http:
                for path, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/hooks/line", routes)):
                    async with http.get(f"{url}{path}") as answer:
                        assert (path, answer.status) == (path, status)
        await shop.line.say("ann", "hello")
        [seen] = await shop.line.seen("ann", 1)
        assert seen.text == "echo: hello"
