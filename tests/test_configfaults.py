"""What an operator is told when the configuration cannot be used, and what is never told."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatferry.config import load
from chatferry.errors import ConfigError

DEMO = '[models.default]\nprovider = "demo"\n'
API = '[api]\nkeys = ["k"]\n'
KEYS = {"CHATFERRY_API_KEY": "k"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that no file of the developer's is read."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str) -> Path:
    path = Path("chatferry.toml")
    path.write_text(text, "utf-8")
    return path


def faults(environ: dict[str, str] | None = None) -> list[str]:
    """What `load` complains of, line by line, the mends among them."""
    with pytest.raises(ConfigError) as caught:
        load(environ=environ or {})
    return str(caught.value).split("\n")


# Faults


def test_every_fault_is_told_at_once_in_the_order_of_the_file() -> None:
    write('''\
[server]
prot = 80
body_limit = "much"
database = "mysql://root:hunter2@db/chat"
source = 1

[models]
plain = "gpt"

[models.one]
provider = "openai"
fallback = [
    "two",
    "tow",
]

[models."two"]
provider = "demo"
model = """
[channels.line]
token = 3
"""
pace = -1

[models.three]
provider = "gemnii"

[models.four]
provider = "gemini"
model = "m"

[assistants]
main.model = "x"
main.busy = "quue"

[channels.line]
secret = "${SECRET}"
token = "full width"
groups = "everybody"
assistant = "mian"

[channels.support]
secret = "s"
''')
    assert faults({"PORT": "x"}) == [
        "environment  PORT: must be a whole number",
        "chatferry.toml:2  server.prot: is not a setting",
        "    mend: did you mean `port`?",
        "chatferry.toml:3  server.body_limit: must be a whole number",
        "chatferry.toml:4  server.database: names no database we know",
        "    mend: sqlite:///chatferry.db or postgresql://user:password@host/name",
        "chatferry.toml:5  server.source: is not a setting",
        "    mend: one of `body_limit`, `concurrency`, `database`, `drain`, `host`, `keep`, `log`, `metrics_token`, `port`, `public_url`, `secret`",  # noqa: E501
        "chatferry.toml:8  models.plain: must be a table",
        "chatferry.toml:10  models.one.api_key: is required",
        "    mend: api_key = ... in [models.one]",
        "chatferry.toml:10  models.one.model: is required",
        "    mend: model = ... in [models.one]",
        "chatferry.toml:12  models.one.fallback.1: names nothing that exists",
        "    mend: did you mean `two`?",
        "chatferry.toml:23  models.two.pace: must be greater than or equal to 0",
        "chatferry.toml:26  models.three.provider: must be 'openai', 'gemini' or 'demo'",
        "    mend: did you mean `gemini`?",
        "chatferry.toml:28  models.four.api_key: is required",
        "    mend: api_key = ... in [models.four]",
        "chatferry.toml:33  assistants.main.model: names nothing that exists",
        "    mend: one of `four`, `one`, `three`, `two`",
        "chatferry.toml:34  assistants.main.busy: must be 'queue', 'merge' or 'interrupt'",
        "    mend: did you mean `queue`?",
        "chatferry.toml:37  channels.line.secret: SECRET is not set",
        "    mend: SECRET=... in .env or the environment",
        "chatferry.toml:38  channels.line.token: must be of ASCII letters, digits and signs, without blanks",
        "chatferry.toml:39  channels.line.groups: must be 'mention', 'all' or 'off'",
        "chatferry.toml:40  channels.line.assistant: names nothing that exists",
        "    mend: did you mean `main`?",
        "chatferry.toml:42  channels.support.assistant: is not said, and there is no [assistants.default]",
        '    mend: write [assistants.default], or assistant = "main" in [channels.support]',
        "chatferry.toml:42  channels.support.type: must be 'line', 'slack' or 'wechat'",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[server]\nport 80", "chatferry.toml:2  this is not TOML: Expected '='"),
        ('\n\na = """open', "chatferry.toml:3  this is not TOML: Unterminated string"),
        ("a = " + "9" * 5000, "chatferry.toml  this is not TOML: Exceeds the limit"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(text: str, told: str) -> None:
    write(text)
    assert faults()[0].startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("modles = 1", "modles: is not a setting"),
        ('source = "x"', "source: is not a setting"),
        ("models = 3", "models: must be a table"),
        ("server = 3", "server: must be a table"),
        ("api = 'x'", "api: must be a table"),
        ("api = {keys = 'x'}", "api.keys: must be a list"),
        ("api = {keys = ['a', '']}", "api.keys.1: must not be empty"),
        ("api.jwt = {issuer = 'i'}", "api.jwt: does not say how tokens are verified"),
        ("api.jwt = {jwks_url = 'https://i', secret = 's'}", "api.jwt.secret: cannot be beside jwks_url"),
        ("api.jwt = {secret = 's'}", "api.jwt.secret: must have 32 characters at least"),
        ("api.jwt = {secret = 's', algorithms = []}", "api.jwt.algorithms: is for jwks_url"),
        ("api.jwt = {jwks_url = 'https://i', algorithms = ['none']}", "api.jwt.algorithms.0: is no algorithm"),
        ("api.jwt = {jwks_url = 'https://i', algorithms = ['HS256']}", "api.jwt.algorithms.0: is no algorithm"),
        ("api.jwt = {jwks_url = 'https://i'}", "api.jwt.audience: is required"),
        ("api.jwt = {jwks_url = 'file:///etc/passwd'}", "api.jwt.jwks_url: must be an address"),
        ("api.jwt = {jwks_url = 'https://i', leeway = '1h'}", "api.jwt.leeway: must be less than or equal to 300"),
        ("assistants.a.redact = ['phones']", "assistants.a.redact.0: must be 'phone', 'email', 'card', 'national_id',"),
        ("assistants.a.redact_regions = ['tw']", "assistants.a.redact_regions.0: must be the two letters of a country"),
        ("server.drain = inf", "server.drain: must be a finite number"),
        ("server.keep = '23h'", "server.keep: must be a day at least: for so long platforms deliver again"),
        ("server.keep = 90", "server.keep: must be a day at least: for so long platforms deliver again"),
        ("models.a = {provider = 'demo', max_tokens = -1}", "models.a.max_tokens: must be greater than or equal to 1"),
        ("models.a = {provider = 'demo', base_url = 'https://a/?b=c'}", "models.a.base_url: must be an address"),
        ("assistants.a = {instructions = 3}", "assistants.a.instructions: must be text in quotes"),
        ("channels.api = {type = 'line'}", "channels.api: cannot be the name of a channel"),
        ("channels.'a:b' = {type = 'line'}", "channels.a:b: cannot be the name of a channel"),
        ("channels.line = {path = '/a/{b}'}", "channels.line.path: must be a path like /hooks/line"),
    ],
)
def test_a_wrong_table_or_value_is_told(text: str, told: str) -> None:
    write(text)
    assert any(line.startswith(f"chatferry.toml:1  {told}") for line in faults())


@pytest.mark.parametrize("address", ["u:hush/hush@db/chat", "u:p@db:hush/chat"])
def test_a_database_address_that_cannot_be_read_is_told_without_it(address: str) -> None:
    problem, mend = faults({"CHATFERRY_DATABASE": f"postgresql://{address}", "GEMINI_API_KEY": "g", **KEYS})
    assert problem.startswith("environment  CHATFERRY_DATABASE: is no address; signs such as @")
    assert "hush" not in problem + mend


PIECES = [
    'a = "]"',
    "a = 'it\\'",
    'a = "\\"[" # [ "',
    'a = ["x", # ]\n  """y""", [\n1]]',
    'a = """\n[b]\n\\""" "" b = 1\n"""',
    'a = """x"""""',
    "a = '''\n\"\"\" [\n'''''",
    "a = \"\"\nb = ''",
    "a = { b = [1], c = '}' }",
    '"a.]" = 1',
    "# it's [",
    '[b."c]"] # [',
    "[[b.d]]",
]


@pytest.mark.parametrize("piece", PIECES)
def test_a_fault_is_placed_on_its_line_whatever_stands_before_it(piece: str) -> None:
    write(f"{API}[models.default]\nprovider = 'demo'\n[assistants.x]\n{piece}\n[server]\nprot = 1")
    place = 8 + piece.count("\n")
    assert f"chatferry.toml:{place}  server.prot: is not a setting" in faults()


def test_faults_in_a_long_file_are_found_at_once() -> None:
    long = "".join(f'Say "{n}" when [asked]. # so\n' for n in range(20_000))
    keys = "".join(f"k{n} = 1\n" for n in range(2_000))
    write(f'{DEMO}{API}[assistants.default]\ninstructions = """\n{long}"""\nbusy = "x"\n[server]\n{keys}')
    began = time.process_time()
    told = faults()
    assert time.process_time() - began < 4  # a quadratic search takes minutes
    assert told[0] == "chatferry.toml:20008  assistants.default.busy: must be 'queue', 'merge' or 'interrupt'"
    assert told[-2].startswith("chatferry.toml:22009  server.k1999: ")


def test_two_channels_cannot_share_a_path() -> None:
    line = 'type = "line"\nsecret = "s"\ntoken = "t"\n'
    write(f'{DEMO}[channels.line]\n{line}[channels.shop]\n{line}path = "/hooks/line"')
    assert faults() == [
        "chatferry.toml:11  channels.shop.path: is the path of channels.line too",
        '    mend: path = "/hooks/shop"',
    ]


def test_rooms_of_slack_go_by_the_ids_of_channels() -> None:
    write(f"""{DEMO}[channels.slack]
secret = "s"
token = "t"
[channels.slack.rooms]
"#general" = {{ assistant = "default" }}
C0123456789 = {{ assistant = "tea" }}
C02 = "tea"
""")
    assert faults() == [
        "chatferry.toml:7  channels.slack.rooms.#general: is not the id of a Slack channel",
        "    mend: its id, such as C0123456789, is at the bottom of the channel's About tab",
        "chatferry.toml:8  channels.slack.rooms.C0123456789.assistant: names nothing that exists",
        "    mend: one of `default`",
        "chatferry.toml:9  channels.slack.rooms.C02: names nothing that exists",
        "    mend: one of `default`",
    ]


def test_what_installations_in_slack_lack_is_mended_where_the_rest_is_said() -> None:
    given = {"OPENAI_API_KEY": "k", "SLACK_SIGNING_SECRET": "s", "SLACK_CLIENT_ID": "1.2"}
    assert faults(given) == [
        "environment  SLACK_CLIENT_SECRET: is required for others to install us",
        "    mend: SLACK_CLIENT_SECRET=... in .env or the environment",
        "environment  CHATFERRY_SECRET: is required, as channels.slack keeps the tokens of workspaces",
        "    mend: CHATFERRY_SECRET=... in .env or the environment; `openssl rand -hex 32` makes a good one",
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"APP_ID": "wx1"}, ["APP_SECRET: is required beside app_id"]),
        ({"APP_SECRET": "s"}, ["APP_ID: is required beside app_secret"]),
        ({"MODE": "service"}, ["APP_ID: is required to send", "APP_SECRET: is required to send"]),
        ({"AES_KEY": "k" * 43}, ["APP_ID: is required beside aes_key, as what is encrypted names it"]),
        ({"AES_KEY": "k" * 43, "APP_ID": "wx1", "MODE": "service"}, ["APP_SECRET: is required to send"]),
    ],
)
def test_what_a_wechat_account_lacks_is_named_with_its_variable(given: dict[str, str], told: list[str]) -> None:
    environ = {f"WECHAT_{name}": value for name, value in ({"TOKEN": "t"} | given).items()}
    lines = faults({"OPENAI_API_KEY": "k", **environ})
    assert lines[::2] == [f"environment  WECHAT_{line}" for line in told]
    names = [line.partition(":")[0] for line in told]
    assert lines[1::2] == [f"    mend: WECHAT_{name}=... in .env or the environment" for name in names]


@pytest.mark.parametrize("aes_key", ["k" * 42, "k" * 44, "k" * 42 + "="])
def test_an_aes_key_of_wechat_has_43_characters(aes_key: str) -> None:
    write(f'{DEMO}[channels.wechat]\ntoken = "t"\napp_id = "wx1"\naes_key = "{aes_key}"')
    assert faults() == [
        "chatferry.toml:6  channels.wechat.aes_key: must be the 43 letters and digits of an EncodingAESKey",
        "    mend: copy the EncodingAESKey from the account's server configuration",
    ]


def test_what_a_wechat_account_lacks_in_a_file_is_mended_there() -> None:
    write(f'{DEMO}[channels.shop]\ntype = "wechat"\ntoken = "t"\napp_id = "wx1"\nhold = 5')
    assert faults() == [
        "chatferry.toml:3  channels.shop.app_secret: is required beside app_id",
        '    mend: app_secret = "${WECHAT_APP_SECRET}" in [channels.shop]',
        "chatferry.toml:7  channels.shop.hold: must be less than limit (5), for an answer to arrive in time",
    ]


def test_who_listens_must_be_able_to() -> None:
    ears = '[models.ears]\nprovider = "openai"\nmodel = "m"\napi_key = "k"\n'
    write(f'{DEMO}{ears}[assistants.default]\nvoice = "ear"\n{API}')
    assert any("assistants.default.voice" in line and "names nothing" in line for line in faults())
    assert "    mend: did you mean `ears`?" in faults()
    write(f'{DEMO}[assistants.default]\nvoice = "ears"\n{API}')
    assert any("write a [models.ears] that transcribes" in line for line in faults()), "and not the model that chats"
    write(f'{DEMO}[assistants.default]\nvoice = "default"\n{API}')
    told = faults()
    assert any("assistants.default.voice" in line and "cannot write down" in line for line in told)
    assert any('provider = "openai"' in line for line in told)


def test_money_is_spent_where_a_model_has_a_price() -> None:
    spare = '[models.spare]\nprovider = "demo"\n'
    budget = f"[assistants.default]\nbudget = {{ money = 50 }}\n{API}"
    write(f"{DEMO}{spare}price = {{ prompt = 1 }}\n{budget}")
    assert faults() == [
        "chatferry.toml:7  assistants.default.budget.money: can never be used up: no model that is asked has a price",
        "    mend: price = { prompt = 0.25, completion = 2 } in [models.default]",
    ]
    write(f"{DEMO}fallback = ['spare']\n{spare}price = {{ prompt = 1 }}\n{budget}")
    assert load().assistants["default"].budget.money == 50
    write(f"{DEMO}price = {{ prompt = 0, completion = 0 }}\n{budget}")
    assert len(faults()) == 2


def test_fallbacks_that_go_in_circles_are_faults_each() -> None:
    links = {"default": "b", "b": "c", "c": "default", "self": "self", "leaf": "b"}
    write(API + "".join(f'[models.{a}]\nprovider = "demo"\nfallback = ["{b}"]\n' for a, b in links.items()))
    assert faults() == [
        "chatferry.toml:5  models.default.fallback: goes round in a circle: default -> b -> c -> default",
        "    mend: leave one of them out",
        "chatferry.toml:14  models.self.fallback: goes round in a circle: self -> self",
        "    mend: leave one of them out",
    ]


def test_fallbacks_may_share_a_last_resort() -> None:
    links = {"default": '"b", "c"', "b": '"c"', "c": ""}
    write(API + "".join(f'[models.{a}]\nprovider = "demo"\nfallback = [{b}]\n' for a, b in links.items()))
    assert load(environ={}).models["default"].fallback == ("b", "c")


# What else may stand in the file, right or wrong, with secrets in all the wrong places.
SPOILS = [
    "",
    "[wrong]",
    "[server]\nport = 'x'",
    "[models.more]\nprovider = 'openai'\nmodel = 3\napi_key = '${MODEL}'",
    "[models.more]\nprovider = '${MODEL}'",
    "[models.more]\nprovider = 'demo'\nfallback = ['${MODEL}']\ntemperature = '${MODEL}'\nbase_url = '${MODEL}'",
    "[models]\nmore = '${MODEL}'",
    "[assistants.more]\nmodel = '${MODEL}'\nlanguage = '${MODEL}'\nbusy = '${MODEL}'",
    "[channels.more]\ntype = '${TOKEN}'\npath = '${TOKEN}'\nurl_token = '${URL}'",
    "[channels.more]\ntype = 'line'\nsecret = '${TOKEN} '\ntoken = ['${TOKEN}']\nassistant = '${TOKEN}'",
    "[channels]\nmore = ['${TOKEN}']",
    "[assistants.more]\nlanguage = '${MODEL}.toml'",
    "[assistants.more.session]\nstart = '${MODEL}'\noutside = '${MODEL}'\nttl = '${MODEL}'",
    "[[replies]]\nmatch = '(?P=${MODEL})'\nby = 'regex'\npython = '${MODEL}'\nchannels = ['${MODEL}']",
    "[commands]\nstop = ['${MODEL}']\nclear = ['${MODEL}', '${MODEL}']",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=st.just("") | st.text(max_size=8), spoil=st.sampled_from(SPOILS))
def test_no_secret_is_ever_shown(tail: str, spoil: str) -> None:
    names = ("SECRET", "TOKEN", "URL", "MODEL", "API", "DATABASE", "BASE")
    environ = {name: f"hush-{name}{tail}" for name in names}
    path = write(
        f"""
        [models.default]
        provider = "openai"
        model = "m"
        api_key = "${{MODEL}}"
        base_url = "https://user:${{BASE}}@models.example"
        [channels.line]
        secret = "${{SECRET}}"
        token = "${{TOKEN}}"
        url_token = "${{URL}}"
        [api]
        keys = ["${{API}}"]
        {spoil}
        """
    )
    try:
        shown = repr(load(path, environ | {"CHATFERRY_DATABASE": f"postgresql://u:{environ['DATABASE']}@db/chat"}))
    except ConfigError as error:
        shown = str(error) + repr(error) + repr(error.__context__) + "".join(traceback.format_exception(error))
    assert "hush-" not in shown
