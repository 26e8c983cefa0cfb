"""The command line. Each command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import io
import logging
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from chatferry import __version__
from chatferry.cli.admin import (
    ConfigOption,
    alerts_app,
    export,
    forget,
    keys_app,
    knowledge_app,
    people_app,
    usage,
)
from chatferry.errors import ChatferryError, ConfigError

if TYPE_CHECKING:
    from chatferry.config import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
turns_app = typer.Typer(
    invoke_without_command=True,
    help="The latest turns; `turns show ID` tells what one called, `turns retry ID` does one again.",
)
app.add_typer(turns_app, name="turns")
app.add_typer(alerts_app, name="alerts")
app.add_typer(people_app, name="people")
slack_app = typer.Typer(no_args_is_help=True, help="Slack: `slack manifest` makes the app.")
app.add_typer(slack_app, name="slack")
app.add_typer(keys_app, name="keys")
app.add_typer(knowledge_app, name="knowledge")

Role = Literal["all", "web", "worker"]
"""As in `gateway`, which is imported when it runs."""


def _version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


@app.callback()
def options(
    asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Carries messages between chat apps and language models. `chatferry demo` shows it without any account."""


def main() -> None:
    """Entry point: our own errors are told in their own words, without a traceback."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a letter is no reason to fail
    try:
        app()
    except ChatferryError as fault:
        sys.stderr.write(f"{fault}\n")
        raise SystemExit(2 if isinstance(fault, ConfigError) else 1) from None


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Where to listen.")] = None,
    port: Annotated[int | None, typer.Option(help="Where to listen; else PORT, else 8080.")] = None,
    drain: Annotated[float | None, typer.Option(help="Seconds that running answers have when told to stop.")] = None,
    role: Annotated[
        Role, typer.Option(help="With PostgreSQL: `web` takes messages in and serves pages, `worker` answers.")
    ] = "all",
) -> None:
    """Run the gateway. With PostgreSQL any number of processes may run, in any role."""
    from chatferry.config import load
    from chatferry.serve import run
    from chatferry.watching import logs

    settings = load(config)
    given = {"host": host, "port": port, "drain": drain}
    server = settings.server.model_copy(update={name: value for name, value in given.items() if value is not None})
    settings = settings.model_copy(update={"server": server})
    logs.configure(server.log, hide=settings.secrets())
    if logs.for_people(server.log):
        sys.stderr.write(welcome(settings, role))
    run(settings, role=role)


@app.command()
def migrate(config: ConfigOption = None) -> None:
    """Create or upgrade the database's tables. Every start does that by itself; a deploy may do it before."""
    from chatferry.cli.database import upgrade
    from chatferry.config import load_server

    sys.stdout.write(upgrade(load_server(config)))


def welcome(settings: Settings, role: Role = "all") -> str:
    """What a person wants to know first: what answers, and what to put into the platforms' consoles."""
    public = settings.server.public_url
    part = "" if role == "all" else f", {role}"
    lines = [f"Chatferry {__version__}{part}, configured by {settings.source}"]
    for name, assistant in settings.assistants.items():
        model = settings.models[assistant.model]
        lines.append(f"  assistant {name}: {model.model or model.provider} ({model.provider})")
    if role == "worker":
        return "\n".join([*lines, f"  answers on: {', '.join(settings.channels) or 'the API'}"]) + "\n"
    address = public or "https://YOUR-ADDRESS"
    for name, channel in settings.channels.items():
        token = "?token=..." if channel.url_token else ""
        socket = channel.type == "slack" and channel.app_token is not None
        way = "events by Socket Mode" if socket else f"webhook URL {address}{channel.path}{token}"
        lines.append(f"  channel {name}: {way}")
        if channel.type == "slack" and channel.client_id:
            lines.append(f"  channel {name}: workspaces install it at {address}/{name}/install")
    if settings.api is not None:
        lines.append(f"  api: base URL {public or f'http://localhost:{settings.server.port}'}/v1")
    if any("https://YOUR-ADDRESS" in line for line in lines):
        lines.append("  hint: set CHATFERRY_PUBLIC_URL=https://... (server.public_url) to the address from outside")
    return "\n".join(lines) + "\n"


@app.command()
def demo(
    config: ConfigOption = None,
    model: Annotated[str, typer.Option(help="Another model, by its name or its table's; `script`: none.")] = "",
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Where the page is; else 8765.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    terminal: Annotated[bool, typer.Option("--terminal", help="Chat here, on LINE only, without the page.")] = False,
    pace: Annotated[float | None, typer.Option(min=0, help="Seconds between two tokens of the script.")] = None,
    wire: Annotated[bool, typer.Option(help="In the terminal: show what goes over the wire.")] = True,
) -> None:
    """Try it on a page: LINE, WeChat and Slack side by side, no account, no key.

    Without a key in the environment or a chatferry.toml, a script answers in place of a model.
    """
    if terminal:
        from chatferry.cli.terminal import run as chat

        raise SystemExit(chat(config=config, model=model, pace=0.01 if pace is None else pace, wire=wire))
    from chatferry.cli.demo import Wish, run

    raise SystemExit(run(Wish(config, model, pace), port=port, browser=browser))


@app.command()
def simulate(
    line: Annotated[str, typer.Option(metavar="URL", help="Webhook of your LINE bot.")] = "",
    wechat: Annotated[str, typer.Option(metavar="URL", help="Address of your WeChat account's server.")] = "",
    slack: Annotated[str, typer.Option(metavar="URL", help="Request URL of your Slack app.")] = "",
    secret: Annotated[str, typer.Option(help="What signs webhooks, if only one platform is named.")] = "",
    token: Annotated[str, typer.Option(help="What the bot calls the API with, likewise.")] = "",
    line_secret: Annotated[str, typer.Option(help="Channel secret.")] = "",
    line_token: Annotated[str, typer.Option(help="Channel access token.")] = "",
    slack_secret: Annotated[str, typer.Option(help="Signing secret.")] = "",
    slack_token: Annotated[str, typer.Option(help="Bot token (xoxb-).")] = "",
    slack_app_token: Annotated[str, typer.Option(help="App-level token (xapp-), for Socket Mode.")] = "",
    shortcut: Annotated[
        list[str] | None, typer.Option(metavar="NAME=CALLBACK_ID", help="A message shortcut of the Slack app.")
    ] = None,
    wechat_token: Annotated[str, typer.Option(help="Token of the server configuration.")] = "",
    wechat_app_id: Annotated[str, typer.Option(help="AppID.")] = "",
    wechat_app_secret: Annotated[str, typer.Option(help="AppSecret.")] = "",
    wechat_aes_key: Annotated[str, typer.Option(help="EncodingAESKey: messages are then encrypted.")] = "",
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 for a bot in a container.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Where the page is; else 8766.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Try your own LINE, WeChat or Slack bot, in whatever it is written, on a page: no account needed."""
    from chatferry.cli.simulate import run
    from chatferry.playground.bots import Given, bots, named

    given = Given(
        urls={"line": line, "wechat": wechat, "slack": slack},
        secrets={"line": line_secret, "wechat": wechat_token, "slack": slack_secret},
        tokens={"line": line_token, "wechat": wechat_app_secret, "slack": slack_token},
        secret=secret,
        token=token,
        slack_app_token=slack_app_token,
        wechat_app_id=wechat_app_id,
        wechat_aes_key=wechat_aes_key,
    )
    raise SystemExit(run(bots(given), host=host, port=port, browser=browser, shortcuts=named(shortcut or [])))


@app.command()
def check(config: ConfigOption = None) -> None:
    """Try every channel, every model and the database, and say what to do about each fault."""
    from chatferry.cli.check import run
    from chatferry.config import load
    from chatferry.watching import logs

    settings = load(config)
    logs.configure(level=logging.CRITICAL)  # the findings say it all
    raise SystemExit(run(settings))


@app.command()
def health(
    config: ConfigOption = None,
    port: Annotated[int | None, typer.Option(help="Where it listens; else PORT, else 8080.")] = None,
) -> None:
    """Does the gateway on this machine live? For the health check of a container."""
    from chatferry.cli.health import ask
    from chatferry.config import load_server

    server = load_server(config)
    raise SystemExit(ask(server.model_copy(update={} if port is None else {"port": port})))


@app.command()
def push(
    channel: Annotated[str, typer.Argument(help="The channel's name in the configuration, such as `line`.")],
    conversation: Annotated[str, typer.Argument(help="The platform's id of the person or group.")],
    text: Annotated[str, typer.Argument(help="What to say; `-` reads standard input.")],
    config: ConfigOption = None,
    key: Annotated[str, typer.Option(help="The same key is sent once, however often the command runs.")] = "",
) -> None:
    """Send a message that nobody asked for."""
    from chatferry.cli.push import push
    from chatferry.config import load
    from chatferry.watching import logs

    settings = load(config)
    logs.configure(level=logging.CRITICAL)  # what became of it is told by the command
    said = sys.stdin.read() if text == "-" else text
    raise SystemExit(push(settings, channel, conversation, said, key))


@turns_app.callback()
def turns(
    context: typer.Context,
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as turns come and end.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        from chatferry.cli.turns import show_turns
        from chatferry.config import load_server

        show_turns(load_server(config), limit=limit, follow=follow)


@turns_app.command("retry")
def turns_retry(
    context: typer.Context,
    turn: Annotated[int, typer.Argument(help="The turn's number.")],
    config: ConfigOption = None,
) -> None:
    """Do a turn again that failed, waits to be collected, or found nobody there."""
    from chatferry.cli.turns import retry
    from chatferry.config import load_server

    above = context.parent.params["config"] if context.parent else None  # `turns --config FILE retry ID`
    raise SystemExit(retry(load_server(config or above), turn))


@turns_app.command("show")
def turns_show(
    context: typer.Context,
    turn: Annotated[int, typer.Argument(help="The turn's number.")],
    config: ConfigOption = None,
) -> None:
    """A turn, and what was called for its answer: each call with its arguments, its time and its result."""
    from chatferry.cli.turns import show_turn
    from chatferry.config import load_server

    above = context.parent.params["config"] if context.parent else None
    raise SystemExit(show_turn(load_server(config or above), turn))


@slack_app.command("manifest")
def slack_manifest(
    config: ConfigOption = None,
    channel: Annotated[str, typer.Option(help="The channel's name in the configuration, if there are several.")] = "",
    name: Annotated[str, typer.Option(help="What people shall call the app.")] = "Chatferry",
    socket: Annotated[bool, typer.Option("--socket", help="For Socket Mode: no public address is needed.")] = False,
    several: Annotated[bool, typer.Option("--several", help="For several workspaces, which install it.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Print the link that makes the app instead.")] = False,
) -> None:
    """Print the manifest of the Slack app, and how to make the app with it. No token is needed yet."""
    from chatferry.cli.setup_slack import show

    show(config, channel=channel, name=name, socket=socket, several=several, link=link)


for command in (usage, export, forget):
    app.command()(command)


@app.command()
def version() -> None:
    """The version."""
    sys.stdout.write(f"chatferry {__version__}\n")
