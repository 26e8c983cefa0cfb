"""What a tool of an MCP server returned, in words. Pure."""

from __future__ import annotations

import mcp_types as types
import msgspec


def words(result: types.CallToolResult) -> str:
    """The result for a model that reads. What is structured is told where nothing is said beside it."""
    said = [text for block in result.content if (text := _block(block))]
    if not said and result.structured_content is not None:
        said = [msgspec.json.encode(result.structured_content).decode()]
    return "\n\n".join(said) or "(nothing)"


def _block(block: object) -> str:
    match block:
        case types.TextContent(text=text):
            return text
        case types.ImageContent(mime_type=kind, data=data) | types.AudioContent(mime_type=kind, data=data):
            return f"[{kind or 'data'}, {len(data) * 3 // 4} bytes, not shown]"
        case types.ResourceLink(name=name, uri=uri, description=about):
            return f"[{name}]({uri}) {about or ''}".rstrip()
        case types.EmbeddedResource(resource=types.TextResourceContents(text=text)):
            return text
        case types.EmbeddedResource(resource=resource):
            return f"[{resource.uri}, not shown]"
    return ""
