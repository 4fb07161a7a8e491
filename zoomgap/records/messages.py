"""Images, and what a model is asked and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from zoomgap.geometry import Box, Size
from zoomgap.records.names import Role


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """A stored image. sha256 is over the encoded bytes."""

    sha256: str
    media_type: str
    width: int
    height: int
    bytes: int

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)


@dataclass(frozen=True, slots=True)
class Rendition:
    """How a stored image is shown, all of it or a part.

    source: its sha256. box: the part, pixels of the source. size: what the part is resized to, before it is turned
    clockwise by `turn` degrees (0, 90, 180 or 270).
    """

    source: str
    box: Box
    size: Size
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a message, by the sha256 of the exact bytes sent, with its size in pixels."""

    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the model wrote it: `arguments` is its own text, JSON or not. id: "" where the model gave none."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    role: Role
    content: tuple[Text | Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Decoding settings. temperature 0 is greedy; seed matters only above 0."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a VisionModel is asked. tools: schemas in the OpenAI form. logprobs: alternatives a token, None for none."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Literal["auto", "none"] = "auto"
    sampling: Sampling = Sampling()
    logprobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one reply; None where the model does not say. image_tokens are part of prompt_tokens."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    image_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Milliseconds of one reply. model_ms is the whole call as the caller waits for it, without an endpoint
    client's own waits (for a slot, between tries).

    In a batch the in-process model divides nothing: each request waits for its batch, and batch_size says so.
    """

    model_ms: float | None = None
    preprocess_ms: float | None = None
    first_byte_ms: float | None = None
    generation_ms: float | None = None
    batch_size: int = 1


class TokenChoice(NamedTuple):
    """A generated token and the likeliest ones in its place, each with its natural log-probability, best first."""

    text: str
    likeliest: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a VisionModel answers. text: as written, tool-call markup included where the wire leaves it in.

    token_logprobs: natural log-probability of each generated token, or None. token_ids: what an in-process model wrote,
    the end of its turn included, else None. token_choices: the tokens with what else could have stood there, or None.
    image_sizes: each image as the model received it after its own
    preprocessing, or () where that is not known.
    """

    text: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    usage: Usage = Usage()
    clocks: Clocks = Clocks()
    token_logprobs: tuple[float, ...] | None = None
    token_ids: tuple[int, ...] | None = None
    token_choices: tuple[TokenChoice, ...] | None = None
    image_sizes: tuple[Size, ...] = ()
