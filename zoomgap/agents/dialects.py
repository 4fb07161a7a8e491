"""How models write tool calls: natively, as `<tool_call>{json}</tool_call>`, in a JSON fence, or as bare JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import json_repair

from zoomgap.records import Reply, ToolCall

_MARKED = re.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)
_FENCED = re.compile(r"```\w*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_BARE = re.compile(r"\A\s*(\{.*\})\s*\Z", re.DOTALL)


class Parsed(NamedTuple):
    """The calls of a reply in the order written, and its text without their markup."""

    calls: tuple[ToolCall, ...]
    text: str


def parse(reply: Reply, names: Sequence[str]) -> Parsed:
    """Read the calls of a reply; native ones win over those in the text.

    names: of the tools. A marked block that cannot be read is a call of the first whose arguments are the block as
    written. A fence or bare JSON is a call only when it names a tool: an answer may be JSON too.
    """
    found = list(_blocks(reply.text, names))
    text = "".join(_outside(reply.text, found)).strip()
    if reply.tool_calls:
        return Parsed(tuple(ToolCall(c.id, storable(c.name), storable(c.arguments)) for c in reply.tool_calls), text)
    return Parsed(tuple(call for match in found for call in _calls(match[1].strip(), names)), text)


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


def _blocks(text: str, names: Sequence[str]) -> Iterator[re.Match[str]]:
    marked = list(_MARKED.finditer(text))
    if marked:
        yield from marked
        return

    def named(match: re.Match[str]) -> bool:
        return any(f'"{name}"' in match[1] for name in names)

    fenced = [match for match in _FENCED.finditer(text) if named(match)]
    bare = [] if fenced else [match for match in _BARE.finditer(text) if named(match)]
    yield from fenced or bare


def _outside(text: str, found: list[re.Match[str]]) -> Iterator[str]:
    """The stretches of `text` between the matches."""
    start = 0
    for match in found:
        yield text[start : match.start()]
        start = match.end()
    yield text[start:]


def _calls(block: str, names: Sequence[str]) -> list[ToolCall]:
    """The calls of a block: an object or a list of them, mended where it is nearly JSON."""
    value = _mended(block)
    several = isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value)
    found = value if several else [value]
    return [_call(entry, block, names) for entry in found]


def _call(value: Any, block: str, names: Sequence[str]) -> ToolCall:
    if not isinstance(value, dict) or "arguments" not in value:
        # Some models leave the wrapping out.
        inner = isinstance(value, dict) and "bbox_2d" in value
        return ToolCall("", names[0], json.dumps(value, ensure_ascii=False) if inner else storable(block))
    arguments = value["arguments"]
    # Some models encode their arguments a second time.
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall("", storable(str(value.get("name", names[0]))), storable(written))


def _mended(text: str) -> Any:
    """The JSON value that `text` is, or nearly is: single quotes, open brackets, commas too many; None for others."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json_repair.loads(text)
    except (ValueError, RecursionError):
        return None
