"""What the tools of assistants and the servers of [mcp] owe each other.

Like `rules`, it looks at the draft, and so speaks also where a table has faults of its own.
"""

from __future__ import annotations

import re

from chatferry.config.file import Draft, suggest


def check(draft: Draft) -> None:
    """Pin faults to tools that no server offers, and to servers that cannot be reached in one way."""
    servers = draft.tables("mcp")
    for name, table in servers.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,30}", name):
            draft.fault(
                ("mcp", name), "cannot begin the names of tools", "name it by 31 letters, digits, - and _ at most"
            )
        given = [setting for setting in ("command", "url") if table.get(setting)]
        if len(given) != 1:
            problem = "has command and url, and can be reached in one way" if given else "has neither command nor url"
            draft.fault(("mcp", name), problem, 'command = ["program", "argument"] or url = "https://..."')
        for setting, needed in (("env", "command"), ("headers", "url")):
            if table.get(setting) and given and needed not in given:
                draft.fault(("mcp", name, setting), f"is of no use without {needed}", "leave it out")
    for name, table in draft.tables("assistants").items():
        listed = table.get("tools")
        for index, tool in enumerate(listed if isinstance(listed, list) else ()):
            if not isinstance(tool, str) or not tool.startswith("mcp:"):
                continue
            server = tool.removeprefix("mcp:").partition("/")[0]
            if server in servers:
                continue
            mend = suggest(server, servers) if servers else f"write [mcp.{server}] with its command or its url"
            draft.fault(("assistants", name, "tools", index), "names nothing that exists", mend)
        demanded = table.get("confirm")
        offered = [tool for tool in listed if isinstance(tool, str)] if isinstance(listed, list) else []
        for index, tool in enumerate(demanded if isinstance(demanded, list) else ()):
            if isinstance(tool, str) and not any(_has(one, tool) for one in offered):
                draft.fault(("assistants", name, "confirm", index), "is none of its tools", suggest(tool, set(offered)))


def _has(offered: str, tool: str) -> bool:
    """Is a tool, or one of a server's, among what is offered?"""
    server = tool.partition("/")[0]
    return (
        tool == offered
        or (tool.startswith("mcp:") and offered in (server, tool))
        or (tool == server and tool.startswith("mcp:") and offered.startswith(f"{server}/"))
    )
