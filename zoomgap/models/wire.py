"""The two wires of OpenAI-compatible servers, chat completions and Responses: bodies, replies, streams.

A body is derived from the Request alone. An image stands in it as `sha256:<hex>` until `encode` puts its data URL
there, so that no image passes through a JSON encoder.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from zoomgap import imaging
from zoomgap.errors import UsageError
from zoomgap.models.base import SCHEME, LoadImage, image_part, request_body, split_reasoning
from zoomgap.records import Image, Message, Reply, Request, Text, ToolCall, Usage, WireName

CACHED_BYTES = 64 * 2**20
"""How many bytes of data URLs DataURLs keeps."""
_IMAGE_SLOT = re.compile(rb'("(?:image_)?url":")sha256:([^"]*)"')
_REASONING = re.compile(r"(^|/)(gpt-5|o\d)")
"""OpenAI's reasoning models: they refuse a temperature, and the older name of the limit on tokens."""
_SPOKEN = ("text", "output_text", "refusal")
_MEDIA_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}


MOST_LOGPROB = 1e-3
"""A logarithm over 0 by no more than this is a rounding error; one further over it is no probability."""


class BadAnswerError(Exception):
    """What came back is no reply of its wire: its text, to be cut short. A second try may bring one."""


class Stream(Protocol):
    """A reply that comes in pieces."""

    def add(self, event: Any) -> bool:
        """Take one event; whether it carries a part of the reply. Raises BadAnswerError for an error of the server."""
        ...

    def answer(self) -> Any:
        """What the server would have sent in one piece. Raises BadAnswerError for a stream that ended early."""
        ...


@dataclass(frozen=True, slots=True)
class Wire:
    """body: a request for a model of that name, as one piece or (True) streamed. parse: what `read` does, unguarded."""

    path: str
    body: Callable[[Request, str, bool], dict[str, Any]]
    parse: Callable[[Any], Reply]
    stream: Callable[[], Stream]

    def read(self, answer: Any) -> Reply:
        """The reply in a decoded answer, clocks unset; what the server leaves out is None.

        Raises BadAnswerError for what is no reply, and for one that the server itself calls failed.
        """
        try:
            return self.parse(answer)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise BadAnswerError(_written(answer)) from error


def chat_body(request: Request, model: str, stream: bool) -> dict[str, Any]:
    """The body of a chat completion, images in slots."""
    body = request_body(request, model)
    for message in body["messages"]:
        if isinstance(message["content"], list):
            message["content"] = [_chat_part(part) for part in message["content"]]
    if _REASONING.search(model):
        body["max_completion_tokens"] = body.pop("max_tokens")
        del body["temperature"], body["top_p"]
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def responses_body(request: Request, model: str, stream: bool) -> dict[str, Any]:
    """The body of a response, images in slots; nothing is kept by the server. This wire knows no seed.

    Raises UsageError for stop sequences, which it does not know either.
    """
    sampling = request.sampling
    if sampling.stop:
        raise UsageError(f"stop sequences {list(sampling.stop)} cannot be sent over the responses wire: use wire chat")
    body: dict[str, Any] = {
        "model": model,
        "input": [item for message in request.messages for item in _items(message)],
        **({} if _REASONING.search(model) else {"temperature": sampling.temperature, "top_p": sampling.top_p}),
        "max_output_tokens": sampling.max_tokens,
        "store": False,
        "stream": stream,  # always said: `transformers serve` streams by default
    }
    if request.tools:
        # Strict is this wire's default, not that of chat: the schemas are not written for it.
        body["tools"] = [{"type": "function", "strict": False, **tool["function"]} for tool in request.tools]
        body["tool_choice"] = request.tool_choice
    if request.logprobs is not None:
        body |= {"include": ["message.output_text.logprobs"], "top_logprobs": request.logprobs}
    return body


def encode(body: Mapping[str, Any], urls: Mapping[str, bytes]) -> bytes:
    """The body as JSON in UTF-8, with urls[sha256] in each image's slot."""

    def filled(slot: re.Match[bytes]) -> bytes:
        url = urls.get(slot[2].decode())
        return slot[0] if url is None else b'%b%b"' % (slot[1], url)

    # Quotes inside strings are escaped, so no text of a message looks like a slot.
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _IMAGE_SLOT.sub(filled, text.encode("utf-8", "replace"))


class DataURLs:
    """Images as base64 `data:` URLs by hash, each built once in a thread; the latest used up to `limit` bytes are kept.

    PNG, JPEG, WebP and GIF travel as stored, which is what servers take; anything else becomes a PNG.
    """

    def __init__(self, load_image: LoadImage, limit: int = CACHED_BYTES) -> None:
        self._load_image = load_image
        self._limit = limit
        self._size = 0
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._building: dict[str, asyncio.Task[bytes]] = {}

    async def of(self, request: Request) -> dict[str, bytes]:
        """The URL of each image of a request. Raises what load_image raises, ImageError for what is no image."""
        names = {part.sha256 for message in request.messages for part in message.content if isinstance(part, Image)}
        return {name: await self.get(name) for name in names}

    async def get(self, sha256: str) -> bytes:
        if sha256 in self._known:
            self._known.move_to_end(sha256)
            return self._known[sha256]
        building = self._building.get(sha256)
        if building is None:
            building = self._building[sha256] = asyncio.create_task(self._build(sha256))
            building.add_done_callback(lambda _: self._building.pop(sha256))
        # Others may wait for the same image when this caller is cancelled.
        return await asyncio.shield(building)

    def forget(self) -> None:
        """Build each anew from now on."""
        self._known.clear()
        self._size = 0

    async def _build(self, sha256: str) -> bytes:
        url = await asyncio.to_thread(lambda: data_url(self._load_image(sha256)))
        self._known[sha256] = url
        self._size += len(url)
        while self._size > self._limit:
            self._size -= len(self._known.popitem(last=False)[1])
        return url


def data_url(image: bytes) -> bytes:
    """Encoded image -> its `data:` URL in ASCII."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        media_type: str | None = "image/webp"
    else:
        media_type = next((kind for magic, kind in _MEDIA_TYPES.items() if image.startswith(magic)), None)
    if media_type is None:
        media_type, image = "image/png", imaging.encode(imaging.open_image(image), "image/png")
    return b"data:%b;base64,%b" % (media_type.encode(), base64.b64encode(image))


def read_chat(answer: Any) -> Reply:
    """The reply in a chat completion. Values of other types than the wire's raise AttributeError and the like."""
    choice = answer["choices"][0]
    message, usage = choice["message"], _mapping(answer.get("usage"))
    if choice.get("error") or choice.get("finish_reason") == "error":
        raise BadAnswerError(_written(answer))
    thought, spoken = _spoken(message.get("content"))
    reasoning, text = split_reasoning(spoken or _string(message.get("refusal")))
    calls = [(call, call.get("function") or call) for call in message.get("tool_calls") or ()]
    tokens = _mapping(choice.get("logprobs")).get("content")
    return Reply(
        text=text,
        reasoning=_string(message.get("reasoning_content"))
        or _string(message.get("reasoning"))
        or thought
        or reasoning,
        tool_calls=tuple(_call(call.get("id"), function) for call, function in calls),
        finish_reason=_string(choice.get("finish_reason")) or "stop",
        usage=Usage(
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            image_tokens=_count(_mapping(usage.get("prompt_tokens_details")).get("image_tokens")),
        ),
        token_logprobs=_logprobs(tokens or ()),
    )


def read_responses(answer: Any) -> Reply:
    """The reply in a response. Values of other types than the wire's raise AttributeError and the like."""
    status, items, usage = answer.get("status"), answer["output"], _mapping(answer.get("usage"))
    if answer.get("error") or status not in (None, "completed", "incomplete") or (not items and status != "incomplete"):
        raise BadAnswerError(_written(answer))
    contents = [item.get("content") for item in items if item["type"] == "message"]
    reasoning, text = split_reasoning("".join(_spoken(content)[1] for content in contents))
    parts = [part for content in contents if isinstance(content, list) for part in content]
    calls = [item for item in items if item["type"] == "function_call"]
    reason = _string(_mapping(answer.get("incomplete_details")).get("reason"))
    return Reply(
        text=text,
        reasoning=_thoughts(items) or reasoning,
        tool_calls=tuple(_call(call.get("call_id") or call.get("id"), call) for call in calls),
        finish_reason={"max_output_tokens": "length"}.get(reason, reason) or ("tool_calls" if calls else "stop"),
        usage=Usage(
            prompt_tokens=_count(usage.get("input_tokens")),
            completion_tokens=_count(usage.get("output_tokens")),
            image_tokens=_count(_mapping(usage.get("input_tokens_details")).get("image_tokens")),
        ),
        token_logprobs=_logprobs([token for part in parts for token in part.get("logprobs") or ()]),
    )


class ChatStream:
    """The chunks of a chat completion. Calls without an index, as some servers write them, begin with their id."""

    def __init__(self) -> None:
        self._texts = {"content": "", "reasoning_content": "", "reasoning": "", "refusal": ""}
        self._calls: dict[Any, dict[str, Any]] = {}
        self._tokens: list[Any] = []
        self._finish_reason: Any = None
        self._usage: Any = None

    def add(self, event: Any) -> bool:
        try:
            return self._add(event)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise BadAnswerError(_written(event)) from error

    def _add(self, event: Any) -> bool:
        if event.get("error"):
            raise BadAnswerError(_written(event))
        self._usage = event.get("usage") or self._usage
        if not event.get("choices"):
            return False
        choice = event["choices"][0]
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        self._tokens += _mapping(choice.get("logprobs")).get("content") or ()
        delta = choice.get("delta") or {}
        thought, spoken = _spoken(delta.get("content"))
        pieces = {name: _string(delta.get(name)) for name in self._texts} | {"content": spoken}
        pieces["reasoning"] += thought
        for name, piece in pieces.items():
            self._texts[name] += piece
        calls = delta.get("tool_calls") or ()
        for call in calls:
            self._add_call(call)
        return any(pieces.values()) or bool(calls)

    def _add_call(self, piece: Any) -> None:
        index = piece.get("index")
        if index is None:
            index = len(self._calls) if piece.get("id") or not self._calls else len(self._calls) - 1
        call = self._calls.setdefault(index, {"id": piece.get("id"), "function": {"name": "", "arguments": ""}})
        function, more = call["function"], _mapping(piece.get("function"))
        function["name"] = function["name"] or more.get("name")
        function["arguments"] += _arguments(more.get("arguments"))

    def answer(self) -> Any:
        if self._finish_reason is None and self._usage is None:
            raise BadAnswerError("a stream that ended early: " + json.dumps(self._texts, ensure_ascii=False))
        message = {**self._texts, "tool_calls": list(self._calls.values())}
        choice = {"message": message, "finish_reason": self._finish_reason, "logprobs": {"content": self._tokens}}
        return {"choices": [choice], "usage": self._usage}


class ResponsesStream:
    """The events of a response: the last one holds it whole."""

    def __init__(self) -> None:
        self._answer: Any = None

    def add(self, event: Any) -> bool:
        kind = _string(_mapping(event).get("type"))
        if kind == "error" or not kind:
            raise BadAnswerError(_written(event))
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            self._answer = event.get("response")
        return kind.endswith(".delta")

    def answer(self) -> Any:
        if self._answer is None:
            raise BadAnswerError("a stream that ended early")
        return self._answer


WIRES: dict[WireName, Wire] = {
    "chat": Wire("/chat/completions", chat_body, read_chat, ChatStream),
    "responses": Wire("/responses", responses_body, read_responses, ResponsesStream),
}


def _chat_part(part: dict[str, Any]) -> dict[str, Any]:
    return part if part["type"] == "text" else image_part(part["image_url"]["url"])


def _items(message: Message) -> Iterable[dict[str, Any]]:
    """The items of a message: its words, then its calls; or the output of a call."""
    if message.role == "tool":
        yield {"type": "function_call_output", "call_id": message.tool_call_id, "output": _input(message.content)}
        return
    if message.content or not message.tool_calls:
        yield {"role": message.role, "content": _input(message.content)}
    for call in message.tool_calls:
        yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}


def _input(content: tuple[Text | Image, ...]) -> str | list[dict[str, Any]]:
    if all(isinstance(part, Text) for part in content) and len(content) < 2:
        return "".join(part.text for part in content if isinstance(part, Text))
    return [
        {"type": "input_text", "text": part.text}
        if isinstance(part, Text)
        else {"type": "input_image", "image_url": SCHEME + part.sha256, "detail": "auto"}
        for part in content
    ]


def _spoken(content: Any) -> tuple[str, str]:
    """Reasoning and text of a message's content: a string, null, or a list of parts. A refusal is text."""
    if content is None or isinstance(content, str):
        return "", content or ""
    thoughts = [_spoken(part["thinking"])[1] for part in content if part.get("type") == "thinking"]
    words = [part.get("text", part.get("refusal")) for part in content if part.get("type") in _SPOKEN]
    return "".join(thoughts), "".join(words)


def _thoughts(items: Iterable[Any]) -> str:
    """Reasoning of a response's items: the text itself where the server gives it, else its summary."""
    found = [item for item in items if item["type"] == "reasoning"]
    parts = [part for item in found for part in item.get("content") or item.get("summary") or ()]
    return "\n".join(_string(part.get("text")) for part in parts)


def _call(id: Any, function: Any) -> ToolCall:
    return ToolCall("" if id is None else str(id), _string(function.get("name")), _arguments(function.get("arguments")))


def _arguments(value: Any) -> str:
    """Arguments as text: some servers send the JSON object itself."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None


def _logprobs(tokens: Iterable[Any]) -> tuple[float, ...] | None:
    values = [token.get("logprob") for token in tokens]
    known = all(isinstance(value, (int, float)) and -math.inf <= value <= MOST_LOGPROB for value in values)
    return tuple(min(value, 0.0) for value in values) if values and known else None


def _written(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
