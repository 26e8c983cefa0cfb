"""`chatferry check`: every fault of an owner's set-up is found by calling, and told with what mends it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from chatferry import extras
from chatferry.cli.check import findings
from chatferry.config import load
from chatferry.errors import ConfigError
from chatferry.model import Finding
from chatferry.simulator.line import LineSimulator
from chatferry.simulator.model import Break, Refuse
from tests.commandline import KEY, SECRET, TOKEN, Shop, shop

PUBLIC = "https://bot.example.com"


@pytest_asyncio.fixture(name="shop")
async def _shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    monkeypatch.chdir(tmp_path)
    async with shop(tmp_path) as made:
        yield made


async def found(shop: Shop, **changed: str) -> dict[str, Finding]:
    """All findings, by subject."""
    environ = {name: value for name, value in {**shop.environ, **changed}.items() if value}
    return {finding.subject: finding async for finding in findings(load(environ=environ))}


# The command


async def test_beside_a_gateway_that_runs_all_is_well(shop: Shop) -> None:
    async with shop.serving() as served:
        await shop.line.say("ann", "hello")
        await shop.line.seen("ann", 1)
        ended = await shop.run("check", CHATFERRY_PUBLIC_URL=served.url)
        assert ended.out.splitlines() == [
            "configuration: environment",
            "ok    database chatferry.db: 0 turns wait, 0 run",
            ended.out.splitlines()[2],
            "ok    line token: accepted for Ferry @ferry",
            "ok    line push quota: 0 of 200 used this month",
            f"ok    line webhook address: {served.url}/hooks/line",
            "ok    line webhook test: LINE reached us: 200 OK",
            "all is well",
        ]
        assert ended.out.splitlines()[2].startswith("ok    model default: gpt-5-mini answered in ")
        assert (ended.status, ended.err) == (0, "")


async def test_a_fault_gives_status_1_and_leaves_nothing_behind(shop: Shop) -> None:
    before = list(shop.folder.iterdir())
    ended = await shop.run("check", LINE_CHANNEL_ACCESS_TOKEN="wrong", CHATFERRY_DATABASE="sqlite:///new/folder/a.db")
    assert ended.status == 1
    assert "ok    database new/folder/a.db: is made by the first start" in ended.out
    assert "note  public address: not set" in ended.out
    assert "FAULT line token: LINE /v2/bot/info: 401" in ended.out
    assert ended.out.endswith("\n1 fault\n")
    assert list(shop.folder.iterdir()) == before


async def test_a_terminal_that_knows_no_such_letters_is_no_fault(shop: Shop) -> None:
    shop.model.plans.append(Refuse(400, {"message": "模型不存在"}))
    ended = await shop.run("check", PYTHONIOENCODING="ascii")
    assert "FAULT model default: default: 400 ?????" in ended.out


# The database


@pytest.mark.parametrize("database", ["/proc/nowhere/a.db", "file/a.db", "folder"])
async def test_a_database_that_cannot_be_written_is_a_fault(shop: Shop, database: str) -> None:
    (shop.folder / "file").write_text("")
    (shop.folder / "folder").mkdir()
    fault = (await found(shop, CHATFERRY_DATABASE=f"sqlite:///{database}"))[f"database {database}"]
    assert not fault.ok
    assert fault.detail
    assert "write" in fault.mend


async def test_a_database_server_that_is_down_is_a_fault(shop: Shop) -> None:
    pytest.importorskip("asyncpg")
    fault = (await found(shop, CHATFERRY_DATABASE="postgresql://me:hush-hush@127.0.0.1:1/chat"))["database"]
    assert not fault.ok
    assert "is the server up" in fault.mend
    assert "hush" not in str(fault)


# The model


@pytest.mark.parametrize(
    ("plan", "detail", "mend"),
    [
        (Refuse(401, {"message": f"Incorrect API key provided: {KEY}"}), "401", "api_key"),
        (Refuse(404, {"message": "The model does not exist"}), "404 The model does not exist", "Check model"),
        (Refuse(429, {"message": "no money", "code": "insufficient_quota"}), "429", "credit"),
        (Break("hang"), "", "base_url"),
    ],
)
async def test_a_model_that_fails_is_a_fault(shop: Shop, plan: Refuse | Break, detail: str, mend: str) -> None:
    shop.model.plans.append(plan)
    (shop.folder / "chatferry.toml").write_text(
        f"""
        [models.default]
        provider = "openai"
        model = "m"
        timeout = 0.3
        api_key = "${{OPENAI_API_KEY}}"
        base_url = "{shop.environ["OPENAI_BASE_URL"]}"
        """
    )
    fault = (await found(shop))["model default"]
    shop.model.release.set()
    assert not fault.ok
    assert detail in fault.detail
    assert mend in fault.mend
    assert KEY not in fault.detail


async def test_a_model_server_that_is_not_there_is_a_fault(shop: Shop) -> None:
    fault = (await found(shop, OPENAI_BASE_URL="http://127.0.0.1:1/v1"))["model default"]
    assert not fault.ok
    assert "base_url" in fault.mend


# LINE


def no_address(line: LineSimulator) -> None:
    line.webhook = ""


def another_address(line: LineSimulator) -> None:
    line.webhook = "http://127.0.0.1:1/old"


def switched_off(line: LineSimulator) -> None:
    line.webhook_active = False


def nobody_answers(line: LineSimulator) -> None:
    """The address is right, and no gateway runs there."""


def used_up(line: LineSimulator) -> None:
    line.used = 200


def people_answer(line: LineSimulator) -> None:
    line.chat_mode = "chat"


@pytest.mark.parametrize(
    ("spoil", "subject", "detail", "mend"),
    [
        (no_address, "line webhook", "404", "set the Webhook URL to http://127.0.0.1:1/hooks/line"),
        (another_address, "line webhook address", "/old", "set the Webhook URL to http://127.0.0.1:1/hooks/line"),
        (switched_off, "line webhook use", "switched off", "switch on Use webhook"),
        (nobody_answers, "line webhook test", "COULD_NOT_CONNECT", "start `chatferry serve`"),
        (used_up, "line push quota", "200 of 200 used", "larger plan"),
        (people_answer, "line chat mode", "answer", "switch Chat off"),
    ],
)
async def test_a_fault_in_lines_console_is_told(
    shop: Shop, spoil: Callable[[LineSimulator], None], subject: str, detail: str, mend: str
) -> None:
    shop.line.webhook = "http://127.0.0.1:1/hooks/line"
    spoil(shop.line)
    fault = (await found(shop, CHATFERRY_PUBLIC_URL="http://127.0.0.1:1"))[subject]
    assert not fault.ok
    assert detail in fault.detail
    assert mend in fault.mend


async def test_a_wrong_secret_shows_when_line_tests_the_webhook(shop: Shop) -> None:
    async with shop.serving(LINE_CHANNEL_SECRET="another-channel-secret"):
        fault = (await found(shop))["line webhook test"]
    assert not fault.ok
    assert "channel secret" in fault.mend


async def test_a_line_that_cannot_be_reached_is_a_fault(shop: Shop) -> None:
    fault = (await found(shop, LINE_API_BASE="http://127.0.0.1:1"))["line reach"]
    assert not fault.ok
    assert "connect" in fault.detail.lower()


async def test_the_token_in_a_webhooks_address_is_expected_and_not_shown(shop: Shop) -> None:
    (shop.folder / "chatferry.toml").write_text(
        f"""
        [server]
        public_url = "{PUBLIC}"
        [models.default]
        provider = "demo"
        [channels.line]
        secret = "{SECRET}"
        token = "{TOKEN}"
        url_token = "hush-hush-hush"
        api_base = "{shop.environ["LINE_API_BASE"]}"
        """
    )
    shop.line.webhook = f"{PUBLIC}/hooks/line?token=hush-hush-hush"
    shop.line.webhook_active = False
    assert (await found(shop))["line webhook address"].ok
    ended = await shop.run("check")
    assert f"ok    line webhook address: {PUBLIC}/hooks/line?token=***" in ended.out
    assert "hush" not in ended.out


# What is not read


def written(name: str, text: str) -> None:
    Path(name).write_text(text, "utf-8")


async def test_a_variable_that_the_file_does_not_read_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    wechat = '[channels.wechat]\ntoken = "${WECHAT_TOKEN}"\nmode = "passive"\n'
    written("chatferry.toml", f'[models.default]\nprovider = "demo"\n{wechat}')
    written(".env", "WECHAT_TOKEN=abc\nWECHAT_AES_KEY=def\nLINE_CHANNEL_SECRET=ghi\n")
    monkeypatch.setenv("WECHAT_MODE", "auto")
    notes = {found.subject: found async for found in findings(load(environ={})) if "does not read" in found.detail}
    assert set(notes) == {"WECHAT_AES_KEY", "WECHAT_MODE"}
    assert notes["WECHAT_AES_KEY"].mend == 'aes_key = "${WECHAT_AES_KEY}" in [channels.wechat], or unset it'


async def test_a_model_that_only_listens_is_tried_with_a_sound(shop: Shop) -> None:
    path = shop.folder / "chatferry.toml"
    ears = f'provider = "openai"\nmodel = "whisper"\nbase_url = "{shop.environ["OPENAI_BASE_URL"]}"\napi_key = "{KEY}"'
    line = "[channels.line]\nsecret = 's'\ntoken = 't'\napi_base = 'http://127.0.0.1:9'"
    path.write_text(
        f"{line}\n[models.default]\nprovider = 'demo'\n[models.ears]\n{ears}\n[assistants.default]\nvoice = 'ears'\n"
    )
    subjects = {finding.subject: finding async for finding in findings(load(path))}
    assert subjects["model ears"].ok
    assert "whisper listened" in subjects["model ears"].detail
    assert len(shop.model.ears.requests) == 1
    assert not shop.model.requests


async def test_extras_that_are_missing_are_told_at_once_and_the_rest_is_checked(shop: Shop) -> None:
    path = shop.folder / "chatferry.toml"
    path.write_text(
        """
        [server]
        secret = "0123456789abcdef0123456789abcdef"
        database = "postgresql://127.0.0.1:9/none"
        [models.default]
        provider = "demo"
        [assistants.default]
        redact = ["phone"]
        ocr = true
        tools = ["mcp:shop"]
        [assistants.plain]
        redact = ["email"]
        [mcp.shop]
        command = ["no-such-program"]
        [channels.line]
        secret = "s"
        token = "t"
        api_base = "http://127.0.0.1:9"
        [channels.slack]
        secret = "s"
        client_id = "1"
        client_secret = "c"
        [channels.wechat]
        token = "t"
        app_id = "wx"
        aes_key = "0123456789012345678901234567890123456789012"
        [channels.shop]
        type = "wechat"
        token = "t"
        app_id = "wx"
        app_secret = "s"
        [api]
        jwt = { issuer = "https://id.example.com", audience = "chat", jwks_url = "http://127.0.0.1:9/" }
        [telemetry]
        otlp = "http://127.0.0.1:9"
        """
    )
    settings = load(path)
    places = {
        "server.database": "postgres",
        "assistants.default.tools": "mcp",
        "assistants.default.ocr": "ocr",
        "assistants.default.redact": "privacy",
        "channels.slack.client_id": "slack",
        "channels.wechat.aes_key": "wechat",
        "api.jwt": "jwt",
        "telemetry.otlp": "otel",
    }
    told = {finding.subject: finding async for finding in findings(settings, lambda module: None)}
    for place, extra in places.items():
        assert (told[place].ok, told[place].mend) == (False, f"pip install 'chatferry[{extra}]'")
    assert "model default" in told
    assert any(subject.startswith("line ") for subject in told), "the rest is looked at"
    with pytest.raises(ConfigError) as caught:
        extras.require(settings, lambda module: None)
    assert told["media"].ok, "a note: people are told kindly"
    assert told["media"].mend == "pip install 'chatferry[media]'"
    assert "HEIC" in told["media"].detail
    assert "AMR" not in told["media"].detail, "nobody listens"
    assert (told["channels.shop.app_secret"].ok, told["channels.shop.app_secret"].mend) == (
        True,
        "pip install 'chatferry[wechat]'",
    )
    lines = str(caught.value).splitlines()
    assert [line.split()[1].rstrip(":") for line in lines[::2]] == list(places)
    assert lines[1] == "    mend: pip install 'chatferry[postgres]'"
    extras.require(settings)


async def test_what_a_prompt_has_no_room_for_is_told_with_how_much_would_be_enough(shop: Shop) -> None:
    names, about = [f"tool_{each}" for each in range(9)], "Looks. " * 40
    (shop.folder / "many.py").write_text(
        "\n".join(f'def {name}(order: str) -> str:\n    """{about}"""\n    return order' for name in names)
    )
    path = shop.folder / "chatferry.toml"
    path.write_text(f"""
        [channels.line]
        secret = "x"
        token = "y"
        [models.default]
        provider = "openai"
        model = "gpt-5-mini"
        base_url = "{shop.environ["OPENAI_BASE_URL"]}"
        sees = true
        [assistants.default]
        tools = {[f"many:{name}" for name in names]}
        profile = true
        context_tokens = 1000
        instructions = "{"Be kind. " * 800}"
    """)

    async def told() -> list[Finding]:
        settings = load(environ=shop.environ)
        return [one async for one in findings(settings) if one.subject == "assistant default"]

    instructions, tools, picture = await told()
    assert (instructions.ok, tools.ok, picture.ok) == (False, False, True)
    assert ("instructions" in instructions.detail, "10 of its 10 tools" in tools.detail) == (True, True)
    assert picture.mend.startswith("context_tokens = ")
    path.write_text(path.read_text().replace("context_tokens = 1000", picture.mend.partition(" in ")[0]))
    assert await told() == []
