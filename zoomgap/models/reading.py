"""Requests as a checkpoint's tensors: the chat template, the processor, and where families differ in them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image as PILImage

from zoomgap.errors import ModelError
from zoomgap.geometry import Size
from zoomgap.models.base import LoadImage
from zoomgap.models.vision_cache import SeenImage, VisionCache, stack, supported
from zoomgap.records import Image, Message, Request, Text, ToolCall

if TYPE_CHECKING:
    from torch import Tensor

PROBE = "zoomgap"
"""A word that no chat template writes of itself."""


@dataclass(frozen=True, eq=False, slots=True)
class Prompt:
    """A request's prompt, read.

    inputs: tensors with a batch of one. images: those whose pixels are not among the inputs, in the order of their
    tokens. image_sizes: as Reply has them. group: prompts of one group may share a batch.
    """

    text: str
    inputs: Mapping[str, Tensor]
    images: tuple[SeenImage, ...]
    image_sizes: tuple[Size, ...]
    image_tokens: int
    group: frozenset[str]

    @property
    def tokens(self) -> int:
        return int(self.inputs["input_ids"].shape[1])

    def followed_by(self, ids: Sequence[int]) -> Prompt:
        """The prompt with tokens of text after it."""
        from torch.nn.functional import pad

        inputs = dict(self.inputs)
        for name, value in inputs.items():
            if value.shape == (1, self.tokens):
                inputs[name] = pad(value, (0, len(ids)), value=int(name == "attention_mask"))
        if ids:
            inputs["input_ids"][0, -len(ids) :] = inputs["input_ids"].new_tensor(ids)
        return replace(self, inputs=inputs)


class Reader:
    """Reads requests for one checkpoint, each alone: one that cannot be read fails alone.

    Of the families in vision_cache.FAMILIES images are read one by one and kept, in a `cache` of at most `cache_bytes`.
    Of others the processor reads prompt and images together, and `cache` is None. image_token: id of what stands for a
    piece of an image in a prompt, -1 where nothing does.
    """

    def __init__(self, model: Any, processor: Any, load_image: LoadImage, cache_bytes: int) -> None:
        self.cache = VisionCache(model, cache_bytes) if supported(model) else None
        self._processor = processor
        self._load_image = load_image
        ids = (getattr(part, "image_token_id", None) for part in (model.config, processor))
        self.image_token = next((id_ for id_ in ids if id_ is not None), -1)
        self._mrope = hasattr(model.base_model, "get_rope_index")
        # Templates of some families show no plain strings (Idefics3), some no calls (Qwen2.5-VL, InternVL).
        self._strings = self._shows([{"role": "user", "content": PROBE}])
        question = {"role": "user", "content": self._written("?")}
        call = {"type": "function", "function": {"name": PROBE, "arguments": {}}}
        self._calls = self._shows([question, {"role": "assistant", "content": self._written(""), "tool_calls": [call]}])

    def render(self, request: Request) -> str:
        """The chat template's text, with a mark for each image. Raises ModelError when there are more or fewer."""
        prompt = self._template([self._message(message) for message in request.messages], request.tools)
        images, rendered = images_of(request), prompt.count(self._processor.image_token)
        if rendered != len(images):
            raise ModelError(
                f"the chat template wrote {rendered} image marks for {len(images)} images: "
                "keep image marks out of the text, and images out of turns that the template does not show"
            )
        return prompt

    def read(self, text: str, images: Sequence[Image]) -> Prompt:
        """A rendered prompt as tensors."""
        tokenizer = self._processor.tokenizer
        # A template that writes the token for the beginning itself leaves it out of what the tokenizer adds.
        special = tokenizer.bos_token is None or not text.startswith(tokenizer.bos_token)
        seen: list[SeenImage] = []
        if self.cache is None:
            inputs = self._process(text, images, add_special_tokens=special)
            sizes: list[Size | None] = [*self._sizes(inputs)]
            group = frozenset(inputs)
        else:
            seen = [self._see(image, self.cache) for image in images]
            inputs = self._expand(tokenizer(text, add_special_tokens=special)["input_ids"], seen)
            sizes = [image.size for image in seen]
            group = frozenset()
        known = tuple(size for size in sizes if size is not None)
        image_tokens = int((inputs["input_ids"] == self.image_token).sum())
        return Prompt(text, inputs, tuple(seen), known if len(known) == len(images) else (), image_tokens, group)

    def batch(self, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        """Inputs of prompts of one group as one batch: texts are padded on the left, images follow one another."""
        from torch.nn.functional import pad

        length = max(prompt.tokens for prompt in prompts)
        texts: list[dict[str, Tensor]] = [{} for _ in prompts]
        pixels: list[dict[str, Tensor]] = [{} for _ in prompts]
        for prompt, text, rest in zip(prompts, texts, pixels, strict=True):
            for name, value in prompt.inputs.items():
                if value.shape[:2] == (1, prompt.tokens):
                    fill = (self._processor.tokenizer.pad_token_id or 0) if name == "input_ids" else 0
                    left = [0] * (2 * value.ndim - 4) + [length - prompt.tokens, 0]
                    text[name] = pad(value, left, value=fill)
                else:
                    rest[name] = value
        return {**stack(texts), **stack(pixels)}

    def _process(self, text: str, images: Sequence[Image], **options: Any) -> dict[str, Tensor]:
        """The processor's tensors of one prompt."""
        decoded = [PILImage.open(io.BytesIO(self._load_image(image.sha256))).convert("RGB") for image in images]
        return dict(self._processor(text=[text], images=[decoded] if decoded else None, return_tensors="pt", **options))

    def _see(self, image: Image, cache: VisionCache) -> SeenImage:
        """An image as the processor reads it where nothing stands around it."""
        seen = cache.get(image.sha256)
        if seen is None:
            inputs = self._process(self._processor.image_token, [image], add_special_tokens=False)
            ids, sizes = inputs["input_ids"], self._sizes(inputs)
            vision = {name: value for name, value in inputs.items() if value.shape != ids.shape}
            grid = vision.get("image_grid_thw")
            seen = SeenImage(image.sha256, ids[0].tolist(), vision, grid, sizes[0] if sizes else _uncut(vision))
            cache.keep(seen)
        return seen

    def _expand(self, ids: Sequence[int], images: Sequence[SeenImage]) -> dict[str, Tensor]:
        """A prompt's tokens, each mark replaced by the tokens of its image."""
        import torch

        mark = self._processor.tokenizer.convert_tokens_to_ids(self._processor.image_token)
        queue = iter(images)
        tokens = torch.tensor([[part for token in ids for part in (next(queue).ids if token == mark else (token,))]])
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        if self._mrope:
            inputs["mm_token_type_ids"] = (tokens == self.image_token).long()
        if grids := [image.grid for image in images if image.grid is not None]:
            inputs["image_grid_thw"] = torch.cat(grids)
        return inputs

    def _sizes(self, inputs: Mapping[str, Tensor]) -> list[Size]:
        """Sizes of the images as the model receives them, where the processor tells their patches."""
        grids = inputs["image_grid_thw"].tolist() if "image_grid_thw" in inputs else []
        patch = getattr(self._processor.image_processor, "patch_size", 0)
        return [Size(width * patch, height * patch) for _, height, width in grids]

    def _template(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> str:
        return str(
            self._processor.apply_chat_template(
                list(messages), tools=[dict(tool) for tool in tools] or None, add_generation_prompt=True, tokenize=False
            )
        )

    def _shows(self, messages: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the chat template writes the probe that stands in the messages."""
        try:
            return PROBE in self._template(messages)
        except Exception:
            return False

    def _written(self, text: str) -> str | list[dict[str, str]]:
        return text if self._strings else [{"type": "text", "text": text}]

    def _message(self, message: Message) -> dict[str, Any]:
        """A message in the form of chat templates. Calls that the template does not show are written into the text."""
        body: dict[str, Any] = {"role": message.role}
        if any(isinstance(part, Image) for part in message.content):
            body["content"] = [
                {"type": "text", "text": part.text} if isinstance(part, Text) else {"type": "image"}
                for part in message.content
            ]
        else:
            text = "".join(part.text for part in message.content if isinstance(part, Text))
            written = [] if self._calls else [_markup(call) for call in message.tool_calls]
            body["content"] = self._written("\n".join([text, *written] if text else written))
        if message.tool_calls and self._calls:
            body["tool_calls"] = [
                {"type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
                for call in message.tool_calls
            ]
        return body


def images_of(request: Request) -> list[Image]:
    return [part for message in request.messages for part in message.content if isinstance(part, Image)]


def _uncut(inputs: Mapping[str, Tensor]) -> Size | None:
    """Size of one image's pixels; None where they are several tiles, or padded."""
    pixels, mask = inputs["pixel_values"], inputs.get("pixel_attention_mask")
    if pixels.shape[:-3].numel() != 1 or (mask is not None and not mask.all()):
        return None
    return Size(pixels.shape[-1], pixels.shape[-2])


def _arguments(call: ToolCall) -> dict[str, Any] | str:
    """A call's arguments as an object where they are one."""
    try:
        value = json.loads(call.arguments)
    except ValueError:
        return call.arguments
    return value if isinstance(value, dict) else call.arguments


def _markup(call: ToolCall) -> str:
    arguments = _arguments(call)
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f'<tool_call>\n{{"name": {json.dumps(call.name)}, "arguments": {written}}}\n</tool_call>'
