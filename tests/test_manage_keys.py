"""`chatferry keys`, as its users run it, and what is in the log of a gateway whose callers come with secrets."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from joserfc.jwk import OctKey
from typer.testing import CliRunner, Result
from websockets.asyncio.client import connect

from chatferry.cli.main import app
from chatferry.errors import ConfigError
from tests.commandline import Shop, shop
from tests.scenarios.issuer import AUDIENCE, ISSUER, claims, signed

KEY = re.compile(r"cf_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}\n")
SECRET = "fedcba9876543210fedcba9876543210"
CONFIG = f"""
[models.default]
provider = "demo"
[assistants.default]
[assistants.poet]
[api]
[api.jwt]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
secret = "{SECRET}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "chatferry.toml").write_text(CONFIG, "utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("CHATFERRY_CONFIG", "CHATFERRY_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest_asyncio.fixture(name="shop")
async def _shop(folder: Path) -> AsyncIterator[Shop]:
    async with shop(folder) as made:
        yield made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def key_in(ended: Result) -> str:
    """What `create` and `rotate` print: the key, alone, and nothing of it on the other side."""
    assert ended.exit_code == 0
    assert KEY.fullmatch(ended.stdout)
    assert ended.stdout.strip() not in ended.stderr
    return ended.stdout.strip()


def aged(folder: Path, days: int) -> None:
    with contextlib.closing(sqlite3.connect(folder / "chatferry.db")) as database:
        database.execute("UPDATE api_keys SET created_at = created_at - ?", (days * 86400,))
        database.commit()


def test_a_key_is_made_listed_rotated_and_revoked(folder: Path) -> None:
    assert "chatferry keys create NAME" in run("keys", "list").stderr
    first = key_in(run("keys", "create", "website", "--scope", "chat:poet", "--expires", "365d"))
    again = run("keys", "create", "website")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "chatferry keys rotate" in again.stderr
    aged(folder, 91)
    head, row, warning = run("keys", "list").stdout.splitlines()
    assert head.split() == ["name", "key", "scopes", "made", "expires", "last", "used"]
    assert row.split()[:3] == ["website", f"{first[:11]}_…", "chat:poet"]
    assert row.endswith("never")
    assert warning.strip() == "is 91 days old: it should be rotated"
    second = key_in(run("keys", "rotate", "website", "--grace", "1h"))
    listed = run("keys", "list").stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["name", "website", "website"]
    assert "old" not in listed
    assert not [key for key in (first, second) if key.split("_")[2] in listed]
    assert run("keys", "revoke", "website").exit_code == 0
    for command in ("revoke", "rotate"):
        assert run("keys", command, "website").exit_code == 1


def test_check_tells_of_old_keys_and_of_an_api_that_nobody_can_ask(folder: Path) -> None:
    (folder / "chatferry.toml").write_text(CONFIG.split("[api.jwt]")[0], "utf-8")
    assert "mend: chatferry keys create NAME" in run("check").stdout
    key_in(run("keys", "create", "website", "--expires", "200d"))
    assert "ok    api keys: 1 in the database" in run("check").stdout
    aged(folder, 91)
    assert "note  api key website: is 91 days old: it should be rotated" in run("check").stdout
    key_in(run("keys", "create", "app", "--expires", "5d"))
    assert "note  api key app: expires on 2" in run("check").stdout


@pytest.mark.usefixtures("folder")
def test_what_cannot_be_is_told_with_its_mend_and_leaves_nothing() -> None:
    told = run("keys", "create", "website", "--scope", "chat:peot").exception
    assert isinstance(told, ConfigError)
    assert "mend: one of `chat:default`, `chat:poet`" in str(told), "and not chat, which may more"
    endless = ("create", "a", "--expires", "soon"), ("rotate", "a", "--grace", "an hour")
    short = [(way, "a", "--expires", time) for way in ("create", "rotate") for time in ("0d", "5", "90", "59s")]
    for arguments in (("create", " "), ("create", "a\nb"), *endless, *short):
        assert isinstance(run("keys", *arguments).exception, ConfigError), arguments
    assert [path.name for path in Path().iterdir()] == ["chatferry.toml"]


async def test_no_key_and_no_token_is_in_any_line_of_the_log(shop: Shop) -> None:
    made = await shop.run("keys", "create", "website", "--scope", "chat")
    assert KEY.fullmatch(made.out)
    key = made.out.strip()
    aged(shop.folder, 100)
    now, shared = time.time(), OctKey.import_key(SECRET)
    good, late = (signed(claims(at), shared, "HS256") for at in (now, now - 9999))
    forged = signed(claims(now, sub="bob"), OctKey.import_key("another" * 8), "HS256")
    wrong = f"{key[:-1]}-"
    body = {"messages": [{"role": "user", "content": "hello"}], "session_id": "a"}
    async with shop.serving() as served, aiohttp.ClientSession() as http:
        for given, status in ((key, 200), (good, 200), (wrong, 401), (late, 401), (forged, 401)):
            headers = {"Authorization": f"Bearer {given}"}
            for address in ("/v1/chat/completions", f"/v1/chat/completions?key={given}"):
                async with http.post(f"{served.url}{address}", json=body, headers=headers) as answer:
                    assert answer.status == status
            ws = f"{served.url.replace('http:', 'ws:')}/v1/stream?api_key={given}"
            async with connect(ws, proxy=None) as socket:
                for frame in (body | {"api_key": given}, {"api_key": given}, [given]):
                    await socket.send(json.dumps(frame))
                    await socket.recv()
        old = await served.event("an API key is old; `chatferry keys rotate` makes a new one")
        await served.stop()
        assert (old["key"], old["days"]) == ("website", 100)
        said = "".join(served.said)
        assert sum(event["event"].startswith("an API key is old") for event in served.events) == 1
        assert [event["status"] for event in served.events if event["event"] == "rejected"].count(401) > 5
    said += (await shop.run("turns")).out
    parts = [part for given in (key, good, wrong, late, forged) for part in given.replace("_", ".").split(".")]
    assert [part for part in parts if len(part) > 8 and part in said] == []
    assert SECRET not in said
