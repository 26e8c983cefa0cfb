"""The command line's part for whoever runs the gateway: keys, people, costs, alerts, knowledge."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from chatferry.errors import ConfigError

alerts_app = typer.Typer(no_args_is_help=True, help="What is watched, and who is told: `alerts list`, `alerts test`.")
people_app = typer.Typer(no_args_is_help=True, help="Who was let in: `people list`, `people admit`, `people expel`.")
keys_app = typer.Typer(no_args_is_help=True, help="What opens the API: make, list, rotate and revoke keys.")
knowledge_app = typer.Typer(no_args_is_help=True, help="What answers rest on: `knowledge sync`, `knowledge search`.")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="chatferry.toml; else CHATFERRY_CONFIG, ./chatferry.toml, the environment."),
]

UserArgument = Annotated[str, typer.Argument(help="The platform's id of the person, as `chatferry turns` shows it.")]
ChannelArgument = Annotated[str, typer.Argument(help="The channel's name in the configuration, such as `line`.")]
GuestArgument = Annotated[str, typer.Argument(help="The platform's id of the person or group.")]
ChannelOption = Annotated[str, typer.Option(help="On this channel only; else on all.")]


def usage(
    config: ConfigOption = None,
    since: Annotated[str, typer.Option(metavar="DAY", help="The first day; else the first of this month.")] = "",
    until: Annotated[str, typer.Option(metavar="DAY", help="The last day; else today.")] = "",
    by: Annotated[
        str, typer.Option(metavar="NAMES", help="day, channel, assistant, model, person: one or more, with commas.")
    ] = "assistant,model",
    as_csv: Annotated[bool, typer.Option("--csv", help="For a spreadsheet, with exact costs.")] = False,
) -> None:
    """What was asked and what it cost."""
    from chatferry.cli.usage import show_usage
    from chatferry.config import load_money, load_server

    names = [name.strip() for name in by.split(",") if name.strip()]
    show_usage(load_server(config), load_money(config), since=since, until=until, by=names, as_csv=as_csv)


def export(
    user: UserArgument,
    config: ConfigOption = None,
    channel: ChannelOption = "",
    output: Annotated[Path | None, typer.Option(help="The folder it goes into; else export-... here.")] = None,
    language: Annotated[str, typer.Option(help="Of the readable file; else that in which the person writes.")] = "auto",
) -> None:
    """Write down all that is kept of a person: as JSON for programs, and as a page to read or print."""
    from chatferry.cli.export import export
    from chatferry.config import channels, load_server

    names = {*channels(config), "api"}
    raise SystemExit(export(load_server(config), user, channel, names, output=output, language=language))


def forget(
    user: UserArgument,
    config: ConfigOption = None,
    channel: ChannelOption = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what there is.")] = False,
    vacuum: Annotated[
        bool, typer.Option("--vacuum", help="Write the database anew; nobody else can meanwhile.")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Where the proof goes; else forgotten-....json here.")] = None,
) -> None:
    """Remove all that is kept of a person, also while the gateway serves, and leave a proof of it."""
    from chatferry.cli.forget import forget
    from chatferry.config import channels, load_server

    names = {*channels(config), "api"}
    server = load_server(config)
    raise SystemExit(forget(server, user, channel, names, yes=yes, dry_run=dry_run, anew=vacuum, report=report))


@people_app.command("list")
def people_list(config: ConfigOption = None) -> None:
    """Who has been at the door of a channel that does not let everybody in."""
    from chatferry.cli.people import show
    from chatferry.config import load_server

    show(load_server(config))


@people_app.command("admit")
def people_admit(channel: ChannelArgument, who: GuestArgument, config: ConfigOption = None) -> None:
    """Let a person or a group in, without a code."""
    from chatferry.cli.people import stand
    from chatferry.config import channels, load_server

    raise SystemExit(stand(load_server(config), channel, who, channels(config), let_in=True))


@people_app.command("expel")
def people_expel(channel: ChannelArgument, who: GuestArgument, config: ConfigOption = None) -> None:
    """Keep a person or a group out, also if they know the code."""
    from chatferry.cli.people import stand
    from chatferry.config import channels, load_server

    raise SystemExit(stand(load_server(config), channel, who, channels(config), let_in=False))


@alerts_app.command("list")
def alerts_list(config: ConfigOption = None) -> None:
    """Every alert, how it stands, and whom it tells."""
    from chatferry.cli.alerts import show_alerts
    from chatferry.config import load

    show_alerts(load(config))


@alerts_app.command("test")
def alerts_test(
    name: Annotated[str, typer.Argument(help="The alert's name, as `alerts list` shows it.")],
    config: ConfigOption = None,
) -> None:
    """Tell everybody whom an alert tells that this is only a try."""
    from chatferry.cli.alerts import try_alert
    from chatferry.config import load
    from chatferry.watching import logs

    settings = load(config)
    logs.configure(level=logging.CRITICAL)  # what became of it is told by the command
    raise SystemExit(try_alert(settings, name))


Lifetime = Annotated[str | None, typer.Option("--expires", metavar="TIME", help="How long it is good, such as 90d.")]
KeyName = Annotated[str, typer.Argument(help="Of whom, or what, it is: `website`.")]


@keys_app.command("create")
def keys_create(
    name: KeyName,
    scope: Annotated[
        list[str] | None, typer.Option(help="chat, chat:ASSISTANT or read; may be repeated. Else chat and read.")
    ] = None,
    expires: Lifetime = None,
    config: ConfigOption = None,
) -> None:
    """Make a key. It is printed once, and alone on standard output; what is kept is a hash."""
    from chatferry.cli.keys import create
    from chatferry.config import assistants, load_server

    lifetime = _lifetime(expires)
    raise SystemExit(create(load_server(config), name, scope or (), lifetime, assistants(config)))


@keys_app.command("list")
def keys_list(config: ConfigOption = None) -> None:
    """Show all keys: what they may, when they expire, when they were last used."""
    from chatferry.cli.keys import show
    from chatferry.config import load_server

    show(load_server(config))


@keys_app.command("rotate")
def keys_rotate(
    name: KeyName,
    grace: Annotated[str, typer.Option(metavar="TIME", help="How long the one before it stays good.")] = "24h",
    expires: Lifetime = None,
    config: ConfigOption = None,
) -> None:
    """Make a new key for the same caller, whose conversations go on. It is printed as by `create`."""
    from chatferry.cli.keys import rotate
    from chatferry.config import load_server

    lifetime = _lifetime(expires)
    raise SystemExit(rotate(load_server(config), name, _seconds("--grace", grace) or 0.0, lifetime))


@keys_app.command("revoke")
def keys_revoke(name: KeyName, config: ConfigOption = None) -> None:
    """End a key, and the one before it: within seconds every process refuses them."""
    from chatferry.cli.keys import revoke
    from chatferry.config import load_server

    raise SystemExit(revoke(load_server(config), name))


def _lifetime(given: str | None) -> float | None:
    lifetime = _seconds("--expires", given)
    if lifetime is not None and (lifetime < 60.0 or given is None or given.strip()[-1:].isdigit()):
        raise ConfigError(
            "--expires: must be a minute or more, with its unit\n  mend: --expires 90d; leave it out for no end"
        )
    return lifetime


def _seconds(option: str, given: str | None) -> float | None:
    from chatferry.config.types import seconds

    if given is None:
        return None
    if (read := seconds(given)) is None:
        raise ConfigError(f"{option}: must be a time such as 30m, 24h or 90d")
    return read


@knowledge_app.command("sync")
def knowledge_sync(config: ConfigOption = None) -> None:
    """Read the files of `knowledge` that are new or changed, and forget those that are gone."""
    from chatferry.cli.knowledge import sync
    from chatferry.config import load
    from chatferry.watching import logs

    settings = load(config)
    logs.configure(level=logging.CRITICAL)  # what became of each file is told by the command
    raise SystemExit(sync(settings))


@knowledge_app.command("search")
def knowledge_search(
    question: Annotated[str, typer.Argument(help="As somebody would ask it.")],
    config: ConfigOption = None,
    assistant: Annotated[str, typer.Option(help="Whose knowledge, where several assistants have some.")] = "",
) -> None:
    """Show the passages that would be found for a question, and whether a strict assistant would answer it."""
    from chatferry.cli.knowledge import search
    from chatferry.config import load

    raise SystemExit(search(load(config), question, assistant))
