"""The protocol that every model implements, and the canonical form of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from zoomgap.records import Image, Message, Reply, Request, Sampling, Text, ToolCall

LoadImage = Callable[[str], bytes]
"""sha256 (hex) of an image -> its encoded bytes."""

SCHEME = "sha256:"


class VisionModel(Protocol):
    """Answers requests about images. n samples of one request are n requests with n seeds."""

    name: str

    async def reply(self, request: Request) -> Reply:
        """The model's answer. Raises ModelError when none could be had, RefusedError when none ever will."""
        ...

    async def aclose(self) -> None:
        """Free connections, threads and memory; a second call does nothing."""
        ...


def request_body(request: Request, model: str) -> dict[str, Any]:
    """The OpenAI chat-completions body of a request, images named by hash: the form that is stored.

    An image part is {"type": "image_url", "image_url": {"url": "sha256:<hex>", "width": w, "height": h}}.
    `tool_choice` stands only beside tools, as servers refuse it without.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message_body(message) for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if request.tools:
        body["tools"] = [dict(tool) for tool in request.tools]
        body["tool_choice"] = request.tool_choice
    if request.logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = request.logprobs
    return body


def from_body(body: Mapping[str, Any]) -> Request:
    """The request that `request_body` wrote down."""
    return Request(
        messages=tuple(_message(message) for message in body["messages"]),
        tools=tuple(body.get("tools", ())),
        tool_choice=body.get("tool_choice", "auto"),
        sampling=Sampling(
            temperature=body["temperature"],
            top_p=body["top_p"],
            max_tokens=body["max_tokens"],
            seed=body["seed"],
            stop=tuple(body.get("stop", ())),
        ),
        logprobs=body["top_logprobs"] if body.get("logprobs") else None,
    )


def image_part(url: str, **extra: int) -> dict[str, Any]:
    """An image part of a chat message."""
    return {"type": "image_url", "image_url": {"url": url, **extra}}


def split_reasoning(text: str) -> tuple[str, str]:
    """Reasoning and answer of a reply that carries both, as `<think>reasoning</think>answer`; ("", text) otherwise."""
    reasoning, mark, answer = text.rpartition("</think>")
    return (reasoning.replace("<think>", "").strip(), answer.lstrip()) if mark else ("", text)


def _message_body(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": _content_body(message.content)}
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body


def _content_body(content: Sequence[Text | Image]) -> str | list[dict[str, Any]]:
    if not content:
        return ""
    # A plain string is what every server takes in system, assistant and tool turns.
    if len(content) == 1 and isinstance(content[0], Text) and content[0].text:
        return content[0].text
    return [
        {"type": "text", "text": part.text}
        if isinstance(part, Text)
        else image_part(SCHEME + part.sha256, width=part.width, height=part.height)
        for part in content
    ]


def _message(body: Mapping[str, Any]) -> Message:
    content = body["content"]
    parts: tuple[Text | Image, ...]
    if isinstance(content, str):
        parts = (Text(content),) if content else ()
    else:
        parts = tuple(_part(part) for part in content)
    return Message(
        role=body["role"],
        content=parts,
        tool_calls=tuple(
            ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in body.get("tool_calls", ())
        ),
        tool_call_id=body.get("tool_call_id"),
    )


def _part(part: Mapping[str, Any]) -> Text | Image:
    if part["type"] == "text":
        return Text(part["text"])
    image = part["image_url"]
    return Image(image["url"].removeprefix(SCHEME), image["width"], image["height"])
