"""What a model says while its answer passes by: lines of a stream as they come, and the text in them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

CAP = 32_000
"""Bytes of an answer that are kept."""


async def lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream with their ends, each as soon as it is whole; the last may lack its end."""
    tail = b""
    async for chunk in content.iter_any():
        *whole, last = (tail + chunk).splitlines(keepends=True) or [b""]
        tail = b""
        for line in whole:
            yield line
        # Of a CR at the end of a chunk nobody knows whether a LF follows: either way the line is whole.
        if last.endswith((b"\n", b"\r")):
            yield last
        else:
            tail = last
    if tail:
        yield tail


class Heard:
    """One answer, up to a cap."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._room = CAP

    def keep(self, piece: bytes) -> None:
        if piece and self._room > 0:
            self._kept.append(piece[: self._room])
            self._room -= len(piece)

    def text(self) -> str:
        return b"".join(self._kept).decode("utf-8", "replace")


def said(payload: bytes) -> tuple[bytes, bool]:
    """What one event adds to the text, and whether the answer ends with it. An error stands for itself."""
    if payload == b"[DONE]":
        return b"", True
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return payload, False
    if not isinstance(told, dict):
        return b"", False
    if "error" in told:
        return payload, False
    text, last = _said(told)
    return text.encode("utf-8", "replace"), last


def _said(told: dict[str, Any]) -> tuple[str, bool]:
    """The text in one event, and whether it is the last that has any. What is not as expected says nothing."""
    if isinstance(choice := _first(told.get("choices")), dict):
        delta = choice.get("delta")
        content = delta.get("content") if isinstance(delta, dict) else None
        return content if isinstance(content, str) else _texts(content), bool(choice.get("finish_reason"))
    if isinstance(candidate := _first(told.get("candidates")), dict):
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        return _texts(parts), bool(candidate.get("finishReason"))
    return "", False


def _first(several: Any) -> Any:
    return several[0] if isinstance(several, list) and several else None


def _texts(parts: Any) -> str:
    """The text of parts, without the model's thoughts."""
    given = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return "".join(part["text"] for part in given if isinstance(part.get("text"), str) and not part.get("thought"))
