"""Dialogs of the simulated Slack, filled in: `view.state.values` as Slack sends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatferry.simulator.slack_rules import Json

_PICKED = {
    "datepicker": "selected_date",
    "timepicker": "selected_time",
    "datetimepicker": "selected_date_time",
    "users_select": "selected_user",
    "conversations_select": "selected_conversation",
    "channels_select": "selected_channel",
    "multi_users_select": "selected_users",
    "multi_conversations_select": "selected_conversations",
    "multi_channels_select": "selected_channels",
}
_ONE = ("static_select", "external_select", "radio_buttons")
_SEVERAL = ("checkboxes", "multi_static_select", "multi_external_select")


def filled(view: Json, values: Mapping[str, Any], people: Mapping[str, str] | None = None) -> Json:
    """The view with what was entered, by block or action. Raises LookupError for an input that it does not have.

    people: their ids, by the names by which they can be chosen.
    """
    ids = people or {}
    state: dict[str, Json] = {}
    used: set[str] = set()
    for at, block in enumerate(view.get("blocks", ())):
        element = block.get("element")
        if block.get("type") != "input" or not isinstance(element, dict):
            continue
        names = str(block.get("block_id", f"block-{at}")), str(element.get("action_id", f"action-{at}"))
        given = [name for name in names if name in values]
        used.update(given)
        entered = values[given[0]] if given else _initial(element)
        if element["type"] == "users_select":
            entered = ids.get(entered, entered)
        elif element["type"] == "multi_users_select":
            entered = [ids.get(one, one) for one in entered or ()]
        state.setdefault(names[0], {})[names[1]] = {"type": element["type"], **_entry(element, entered)}
    if unknown := set(values) - used:
        raise LookupError(f"the dialog has no input {', '.join(sorted(unknown))}")
    return {**view, "state": {"values": state}}


def _initial(element: Json) -> Any:
    for name, value in element.items():
        if name == "initial_option":
            return value.get("value")
        if name == "initial_options":
            return [option.get("value") for option in value]
        if name.startswith("initial_"):
            return value
    return None


def _entry(element: Json, entered: Any) -> Json:
    kind = element["type"]
    if kind in _ONE:
        return {"selected_option": _option(element, entered)}
    if kind in _SEVERAL:
        return {"selected_options": [_option(element, one) for one in entered or ()]}
    return {_PICKED.get(kind, "value"): entered}


def _option(element: Json, value: Any) -> Json | None:
    """Raises LookupError for what cannot be chosen."""
    if value is None:
        return None
    groups = element.get("option_groups") or [element]
    found = [one for group in groups for one in group.get("options", ()) if one.get("value") == value]
    if not found and element["type"] not in ("external_select", "multi_external_select"):
        raise LookupError(f"there is no option {value!r}")
    option: Json = found[0] if found else {"text": {"type": "plain_text", "text": str(value)}, "value": value}
    return option
