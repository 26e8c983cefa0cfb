"""`chatferry alerts`: how every alert stands, and a try."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from rich.console import Console
from rich.text import Text

from chatferry.cli.database import is_fresh, opened
from chatferry.config import AlertSettings, Settings
from chatferry.config.file import suggest
from chatferry.errors import ConfigError, Fault, TryLater, Unavailable
from chatferry.ledger.incidents import Incident, Told
from chatferry.model import Inbound
from chatferry.watching.alarms import Bell, shown, watched


def show_alerts(settings: Settings) -> None:
    """Print every alert, how it stands, and whom it tells."""

    async def look() -> list[Incident]:
        async with opened(settings.server) as (ledger, _):
            return await ledger.incidents()

    stands = {} if is_fresh(settings.server) else {one.alert: one for one in asyncio.run(look())}
    console = Console(highlight=False)
    for key, alert in watched(settings).items():
        name = key.replace("\n", ": ")
        console.print(Text(f"{name}: {_stands(alert, stands.get(key))}"), soft_wrap=True)
        console.print(Text(f"  tells {', '.join(map(shown, alert.to))}", style="dim"), soft_wrap=True)
    if not settings.alerts:
        console.print("no alerts: write [[alerts]] into chatferry.toml", soft_wrap=True, markup=False)


def _stands(alert: AlertSettings, incident: Incident | None) -> str:
    if incident is None or not incident.looked_at:
        return "not looked at yet"
    measured = ""
    if incident.value is not None:
        share = alert.when in ("success", "budget")
        value = f"{incident.value * 100:.3g} %" if share else f"{incident.value:.3g} s"
        measured = f" ({value}, of {incident.turns} messages)" if incident.turns else f" ({value})"
    if not incident.open:
        return f"all is well{measured}"
    since = datetime.fromtimestamp(incident.began_at).strftime("%m-%d %H:%M:%S")  # noqa: DTZ006 - the operator's own time
    return f"bad since {since}{measured}"


def try_alert(settings: Settings, name: str) -> int:
    """Tell everybody whom an alert tells that this is a try. Returns the exit status: 0 when all of them heard it."""
    alert = next((one for one in settings.alerts if one.name == name), None)
    if alert is None:
        known = [one.name for one in settings.alerts]
        mend = suggest(name, known) if known else "write [[alerts]] into chatferry.toml"
        raise ConfigError(f"there is no alert {name!r}\n  mend: {mend}")
    return 0 if asyncio.run(_try(settings, alert)) else 1


async def _try(settings: Settings, alert: AlertSettings) -> bool:
    """Ring as for an incident, and print what came of it. Did everybody hear it?"""
    import aiohttp

    from chatferry.cli.push import became, deliver

    now, all_heard = time.time(), True
    told = Told(alert.name, 0, "try", now, now, None, 0)
    outcome = ""

    async def say(channel: str, inbound: Inbound) -> None:
        nonlocal outcome
        entry = await deliver(settings, channel, inbound)
        outcome = became(entry)
        if entry.state != "done":
            raise TryLater(outcome)

    async with aiohttp.ClientSession() as http:
        bell = Bell.of(settings, http, say)
        for target in alert.to:
            outcome, heard = "heard", True
            try:
                # By a number of its own: two tries in one second are two.
                await bell.ring(target, alert, told, int(now * 1000))
            except (Fault, Unavailable) as fault:
                outcome, heard, all_heard = str(fault), False, False
            console = Console(stderr=not heard, highlight=False)
            console.print(f"{shown(target)}: {outcome}", soft_wrap=True, markup=False)
    return all_heard
