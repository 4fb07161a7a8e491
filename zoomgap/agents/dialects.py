"""How models write tool calls: in their wire's own field, or in their text in one of the READERS' ways.

A server without a model's own parser hands its markup through as text, so that every way is read from any model.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import json_repair

from zoomgap import prompts
from zoomgap.records import Reply, ToolCall

MOST_MENDED = 2000
"""Characters of a block that may be mended: a call is shorter, and the time grows with the square of open brackets."""


class Parsed(NamedTuple):
    """The calls of a reply in the order written, and its text without their markup."""

    calls: tuple[ToolCall, ...]
    text: str


class Block(NamedTuple):
    """A stretch of a text, from start to end, and the calls that it holds."""

    start: int
    end: int
    calls: list[ToolCall]


Reader = Callable[[str, Sequence[str]], Iterator[Block]]
"""A text and the names of the tools -> where calls stand in it, in order."""


def parse(reply: Reply, names: Sequence[str]) -> Parsed:
    """Read the calls of a reply; native ones win over those in the text.

    names: of the tools. The first reader that finds a call reads the whole text. What stands in markup for calls is a
    call whatever it says, and one of the first tool with the block as its arguments where it cannot be read. What could
    be part of an answer (a fence, bare JSON, a Python expression) is a call only when it names a tool.
    """
    found = (list(reader(reply.text, names)) for reader in READERS)
    blocks = next((blocks for blocks in found if blocks), [])
    text = "".join(_outside(reply.text, blocks)).strip()
    if reply.tool_calls:
        return Parsed(tuple(ToolCall(c.id, storable(c.name), storable(c.arguments)) for c in reply.tool_calls), text)
    return Parsed(tuple(call for block in blocks for call in block.calls), text)


def json_object(text: str, strict: bool = False) -> dict[str, Any] | None:
    """The JSON object that `text` is, or None for anything else. strict: no NaN or infinity, which Python adds."""
    try:
        value = json.loads(text, parse_constant=_refuse if strict else None)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def storable(text: str) -> str:
    """The text with lone surrogates replaced: JSON can carry them, UTF-8 and SQLite cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _outside(text: str, blocks: Sequence[Block]) -> Iterator[str]:
    """The stretches of `text` between the blocks."""
    start = 0
    for block in blocks:
        yield text[start : block.start]
        start = block.end
    yield text[start:]


# The ways of writing calls. A reply may be cut off anywhere: every end is optional.

_TAGGED = re.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)
_FUNCTION = re.compile(r"<function=([^<>\n]*)>(.*?)(?:</function>(?:\s*</tool_call>)?|(?=<function=)|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^<>\n]*)>(.*?)(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL)
_ARGUMENT = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)(?:</arg_value>|(?=<arg_key>)|\Z)", re.DOTALL)
_MISTRAL = re.compile(r"\[TOOL_CALLS\]\s*([\w.-]*)\s*(?:\[CALL_ID\]\s*\w*\s*)?(?:\[ARGS\]\s*)?")
_FENCED = re.compile(r"```\w*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


def _tagged(text: str, names: Sequence[str]) -> Iterator[Block]:
    """<tool_call>...</tool_call>: JSON (Hermes, Qwen), <function=...> (Qwen3-Coder, Qwen3.5), or keys (GLM)."""
    for match in _TAGGED.finditer(text):
        inner = match[1].strip()
        name, keys, _ = inner.partition("<arg_key>")
        if _FUNCTION.match(inner):
            calls = [call for block in _functions(inner, names) for call in block.calls]
        elif keys or inner in names:
            calls = [_written(name.strip(), _ARGUMENT.findall(inner[:MOST_MENDED]))]
        else:
            calls = _json_calls(inner, names)
        yield Block(*match.span(), calls)


def _functions(text: str, names: Sequence[str]) -> Iterator[Block]:
    """<function=name><parameter=key>value</parameter></function>, without <tool_call> around."""
    for match in _FUNCTION.finditer(text):
        values = [(key, value.removeprefix("\n").removesuffix("\n")) for key, value in _PARAMETER.findall(match[2])]
        yield Block(*match.span(), [_written(match[1].strip(), values)])


def _mistral(text: str, names: Sequence[str]) -> Iterator[Block]:
    """[TOOL_CALLS][{"name": ..., "arguments": ...}], or [TOOL_CALLS]name[ARGS]{...} for each call."""
    end = 0
    while (match := _MISTRAL.search(text, end)) is not None:
        end, _ = _bracketed(text, match.end())
        value = text[match.end() : end].strip()
        calls = [_named(match[1], _mended(value), value)] if match[1] else _json_calls(value, names)
        yield Block(match.start(), end, calls)


def _fenced(text: str, names: Sequence[str]) -> Iterator[Block]:
    """A fence of JSON, or of Python (Gemma's tool_code)."""
    for match in _FENCED.finditer(text):
        inner = match[1].strip()
        calls = _json_calls(inner, names) if _names_a_tool(inner, names) else _python_calls(inner, names)
        if calls:
            yield Block(*match.span(), calls)


def _pythonic(text: str, names: Sequence[str]) -> Iterator[Block]:
    """[name(key=value), ...] (Llama 4, Gemma), or name(key=value) as the whole text."""
    opening = re.compile(rf"(?:<\|python_start\|>\s*)?(?=\[\s*(?:{'|'.join(names)})\s*\()")
    end = 0
    while (match := opening.search(text, end)) is not None:
        end, missing = _bracketed(text, match.end())
        code = text[match.end() : end]
        calls = (_python_calls(code + quote + missing, names) for quote in ("", '"', "'"))
        found = next(filter(None, calls), None) or [ToolCall("", names[0], storable(code))]
        end += len("<|python_end|>") if text.startswith("<|python_end|>", end) else 0
        yield Block(match.start(), end, found)
    if not end and (whole := _python_calls(text.strip(), names)):
        yield Block(0, len(text), whole)


def _bare(text: str, names: Sequence[str]) -> Iterator[Block]:
    """JSON and nothing else."""
    inner = text.strip()
    if inner.startswith(("{", "[")) and inner.endswith(("}", "]")) and _names_a_tool(inner, names):
        yield Block(0, len(text), _json_calls(inner, names))


READERS: tuple[Reader, ...] = (_tagged, _functions, _mistral, _fenced, _pythonic, _bare)


# What stands in them.

_TOKEN = re.compile(r"""[\[{(\]})]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""", re.DOTALL)
_CLOSING = {"[": "]", "{": "}", "(": ")"}


def _bracketed(text: str, start: int) -> tuple[int, str]:
    """Where what opens with the bracket at `start` ends, and which brackets are still open where the text does."""
    missing = ""
    for token in _TOKEN.finditer(text, start):
        if token[0] in _CLOSING:
            missing = _CLOSING[token[0]] + missing
        elif token[0] in _CLOSING.values():
            missing = missing[1:]
            if not missing:
                return token.end(), ""
    return len(text), missing


def _names_a_tool(text: str, names: Sequence[str]) -> bool:
    """Whether JSON, or what is nearly JSON, has a tool's name where a call has one."""
    return re.search(rf"""\bname['"]?\s*:\s*['"](?:{"|".join(names)})['"]""", text) is not None


def _json_calls(block: str, names: Sequence[str]) -> list[ToolCall]:
    """The calls of a block: an object or a list of them, mended where it is nearly JSON."""
    value = _mended(block)
    several = isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value)
    found = value if several else [value]
    return [_json_call(entry, block, names) for entry in found]


def _json_call(value: Any, block: str, names: Sequence[str]) -> ToolCall:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    key = next((key for key in ("arguments", "parameters") if isinstance(value, dict) and key in value), None)
    if key is not None:
        return _named(str(value.get("name", names[0])), value[key], block)
    # Some models leave the wrapping out.
    inner = isinstance(value, dict) and "bbox_2d" in value
    return _named(names[0], value if inner else None, block)


def _named(name: str, arguments: Any, block: str) -> ToolCall:
    """A call as it is handed on. arguments: None where they cannot be read: then the block stands for them."""
    # Some models encode their arguments a second time.
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall("", storable(name), storable(block if arguments is None else written))


def _written(name: str, values: Sequence[tuple[str, str]]) -> ToolCall:
    """A call whose values stand without quotes: text where the tool's schema says so, else JSON where they are that."""
    schema = prompts.parameters(name)

    def value(key: str, text: str) -> Any:
        if schema.get(key, {}).get("type") == "string":
            return text
        mended = _mended(text)
        return text if mended is None and text.strip() != "null" else mended

    return _named(name, {key.strip(): value(key.strip(), text) for key, text in values}, "")


def _python_calls(code: str, names: Sequence[str]) -> list[ToolCall]:
    """The calls that Python code consists of, if one is of a tool, else none. Nothing is evaluated but literals."""
    if not any(name in code for name in names):
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes
            values = [statement.value for statement in ast.parse(code).body]  # type: ignore[attr-defined]
        nodes = [node for value in values for node in (value.elts if isinstance(value, ast.List) else [value])]
        calls = [_python_call(node) for node in nodes]
    except (AttributeError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        return []
    return calls if any(call.name in names for call in calls) else []


def _python_call(node: Any) -> ToolCall:
    """name(key=value), tools.name(key=value) or print(name(key=value)). Raises what other nodes lead to."""
    if isinstance(node.func, ast.Name) and node.func.id == "print":
        (node,) = node.args
    name: str = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
    values = dict(zip(prompts.parameters(name), node.args, strict=False))
    values |= {keyword.arg: keyword.value for keyword in node.keywords}
    return _named(name, {key: ast.literal_eval(value) for key, value in values.items()}, "")


def _mended(text: str) -> Any:
    """The JSON value that `text` is, or nearly is: single quotes, open brackets, commas too many; None for others."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > MOST_MENDED or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json_repair.loads(text)
    except (ValueError, RecursionError):
        return None
