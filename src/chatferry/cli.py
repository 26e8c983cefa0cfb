"""The command line. Each command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from chatferry import __version__
from chatferry.errors import ChatferryError, ConfigError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
turns_app = typer.Typer(invoke_without_command=True, help="The latest turns; `turns retry ID` does one again.")
app.add_typer(turns_app, name="turns")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="chatferry.toml; else CHATFERRY_CONFIG, ./chatferry.toml, the environment."),
]


def main() -> None:
    """Entry point: our own errors are told in their own words, without a traceback."""
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
) -> None:
    """Run the gateway."""
    from chatferry import logs
    from chatferry.config import load
    from chatferry.serve import run

    settings = load(config)
    given = {"host": host, "port": port, "drain": drain}
    server = settings.server.model_copy(update={name: value for name, value in given.items() if value is not None})
    logs.configure(server.log)
    run(settings.model_copy(update={"server": server}))


@app.command()
def demo(
    pace: Annotated[float, typer.Option(help="Seconds between two tokens of the demo model.")] = 0.01,
    wire: Annotated[bool, typer.Option(help="Show what goes over the wire.")] = True,
) -> None:
    """Chat with the gateway in the terminal through a LINE simulator: no account, no key."""
    from chatferry.demo import run

    raise SystemExit(run(pace=pace, wire=wire))


@app.command()
def check(config: ConfigOption = None) -> None:
    """Try every channel, every model and the database, and say what to do about each fault."""
    from chatferry.check import run
    from chatferry.config import load

    raise SystemExit(run(load(config)))


@app.command()
def push(
    channel: Annotated[str, typer.Argument(help="The channel's name in the configuration, such as `line`.")],
    conversation: Annotated[str, typer.Argument(help="The platform's id of the person or group.")],
    text: Annotated[str, typer.Argument(help="What to say; `-` reads standard input.")],
    config: ConfigOption = None,
    key: Annotated[str, typer.Option(help="The same key is sent once, however often the command runs.")] = "",
) -> None:
    """Send a message that nobody asked for."""
    from chatferry.config import load
    from chatferry.operate import push

    said = sys.stdin.read() if text == "-" else text
    raise SystemExit(push(load(config), channel, conversation, said, key))


@turns_app.callback()
def turns(
    context: typer.Context,
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as turns come and end.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        from chatferry.config import load
        from chatferry.operate import show_turns

        show_turns(load(config), limit=limit, follow=follow)


@turns_app.command("retry")
def turns_retry(turn: Annotated[int, typer.Argument(help="The turn's number.")], config: ConfigOption = None) -> None:
    """Do a turn again that failed, waits to be collected, or found nobody there."""
    from chatferry.config import load
    from chatferry.operate import retry

    raise SystemExit(retry(load(config), turn))


@app.command()
def version() -> None:
    """The version."""
    sys.stdout.write(f"chatferry {__version__}\n")
