"""How models write tool calls: natively, as `<tool_call>{json}</tool_call>`, in a JSON fence, or as bare JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from zoomgap.records import Reply, ToolCall

_MARKED = re.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)
_FENCED = re.compile(r"```\w*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_BARE = re.compile(r"\A\s*(\{.*\})\s*\Z", re.DOTALL)


class Parsed(NamedTuple):
    """The calls of a reply in the order written, and its text without their markup."""

    calls: tuple[ToolCall, ...]
    text: str


def parse(reply: Reply, tool: str) -> Parsed:
    """Read the calls of a reply; native ones win over those in the text.

    A marked block that is no JSON is a call of `tool` whose arguments are the block as written. A fence or bare JSON
    is a call only when it names `tool`: an answer may be JSON too.
    """
    found = list(_blocks(reply.text, tool))
    text = "".join(_outside(reply.text, found)).strip()
    if reply.tool_calls:
        return Parsed(tuple(ToolCall(c.id, storable(c.name), storable(c.arguments)) for c in reply.tool_calls), text)
    return Parsed(tuple(_call(match[1].strip(), tool) for match in found), text)


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that `text` is, or None for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def storable(text: str) -> str:
    """The text with lone surrogates replaced: JSON can carry them, UTF-8 and SQLite cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _blocks(text: str, tool: str) -> Iterator[re.Match[str]]:
    marked = list(_MARKED.finditer(text))
    if marked:
        yield from marked
        return
    named = f'"{tool}"'
    fenced = [match for match in _FENCED.finditer(text) if named in match[1]]
    bare = [] if fenced else [match for match in _BARE.finditer(text) if named in match[1]]
    yield from fenced or bare


def _outside(text: str, found: list[re.Match[str]]) -> Iterator[str]:
    """The stretches of `text` between the matches."""
    start = 0
    for match in found:
        yield text[start : match.start()]
        start = match.end()
    yield text[start:]


def _call(block: str, tool: str) -> ToolCall:
    value = json_object(block)
    if value is None or "arguments" not in value:
        return ToolCall("", tool, block)
    arguments = value["arguments"]
    # Some models encode their arguments a second time.
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall("", storable(str(value.get("name", tool))), storable(written))
