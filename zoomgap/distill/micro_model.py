"""The embedded model `micro`: its architecture, tokenizer, chat template and processor, as an untrained checkpoint.

A Qwen3-VL (arXiv 2511.21631) of about 4.5 M parameters. It differs from the released ones in scale, in temporal patch 1
(it reads no video) and in having no deepstack mergers, which cost 0.7 M parameters each and brought nothing here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoomgap.benchmarks.micro.questions import LOCAL, QUESTIONS, VALUES
from zoomgap.benchmarks.micro.scene import COLORS, SHAPES

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

GRID = 20
"""Step of the coordinates that the model writes, in thousandths of the image side."""

SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
CALL_TOKENS = (
    "zoom_in(bbox_2d, image, label)",
    "<tool_call>", "</tool_call>", '\n{"name": "zoom_in", "arguments": {"label": "', '", "bbox_2d": [', "]}}\n",
)  # fmt: skip
"""The tool's line and the fixed parts of a zoom call, one token each: a call costs the agent about 15 tokens."""

CHAT_TEMPLATE = """\
{%- if tools %}{{- '<|im_start|>system\\n' }}\
{%- for tool in tools %}{%- set f = tool.function if tool.function else tool %}\
{{- f.name + '(' + (f.parameters.properties.keys() | join(', ')) + ')' }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}{{- message.content }}
{%- elif message.content %}
{%- for part in message.content %}
{%- if part.type in ('image', 'image_url') or 'image' in part or 'image_url' in part %}\
{{- '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif 'text' in part %}{{- part.text }}{%- endif %}
{%- endfor %}
{%- endif %}
{%- for call in message.tool_calls or [] %}{%- set f = call.function if call.function else call %}
{{- '<tool_call>\\n{"name": "' + f.name + '", "arguments": ' }}
{{- f.arguments if f.arguments is string else (f.arguments | tojson) }}{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""


def corpus() -> Iterator[str]:
    """Text that the tokenizer learns its merges from: all that the model will usually read and write."""
    names = [f"{color} {shape}" for color, shape in itertools.product(COLORS, SHAPES)]
    for dimension, templates in QUESTIONS.items():
        for template, name in itertools.product(templates, names):
            yield template.format(name=name)
        yield from itertools.chain.from_iterable([text] * 40 for text in LOCAL[dimension])
        for value in VALUES[dimension]:
            yield from [value, f"A) {value} B) {value} C) {value} D) {value}"] * 20
    for number in range(0, 1001, GRID):
        yield from [f"{number}, {number}"] * 40
    yield from ["Answer now.", "system\n", "user\n", "assistant\n", "tool\n"] * 200
    yield from [f"image {number}" for number in range(10)] * 40


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE: any text can be read; words of the benchmark and numbers in steps of GRID are one token each."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Qwen2TokenizerFast

    tokenizer = Tokenizer(models.BPE())
    pattern = Regex(r", |\d{1,4}| ?\p{L}+| ?[^\s\p{L}\d]+|\s+")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(pattern, "isolated"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in CALL_TOKENS])
    return Qwen2TokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=8192,
        chat_template=CHAT_TEMPLATE,
        additional_special_tokens=list(SPECIAL_TOKENS[1:]),
    )


def build_config(tokenizer: PreTrainedTokenizerFast) -> Any:
    """The model's configuration, with the token ids of `tokenizer`."""
    from transformers import Qwen3VLConfig

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    text = {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": 192,
        "intermediate_size": 576,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 8192,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [6, 5, 5], "mrope_interleaved": True,
        },
        "tie_word_embeddings": True,
        "pad_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
    }  # fmt: skip
    vision = {
        "depth": 4,
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_heads": 6,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 1,
        "out_hidden_size": 192,
        "num_position_embeddings": 256,
        "deepstack_visual_indexes": [],
    }
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    config.zoomgap_micro = True
    return config


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLProcessor:
    """The processor: it resizes nothing that zoomgap sends, whose images are multiples of 32 px within its limits."""
    from transformers import AutoImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor  # noqa: F401
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    settings = {
        "patch_size": 16, "temporal_patch_size": 1, "merge_size": 2,
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        "size": {"shortest_edge": 32 * 32, "longest_edge": 1024 * 1024},
    }  # fmt: skip
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**settings),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(**settings),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3VLForConditionalGeneration:
    """Random weights, seeded, in fp32; positions and coordinate tokens begin as smooth functions of what they mean."""
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(build_config(tokenizer))
    smooth_start(model, tokenizer, seed)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    return model


def smooth_start(model: Any, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    """Add waves to the position embeddings and set those of the coordinate tokens by waves.

    From unrelated random vectors the model learned no coordinate in 1,000 steps: neighbours have to be alike for what
    is learned at one place to hold at the next.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    places = model.model.visual.pos_embed.weight
    side = round(len(places) ** 0.5)
    line = waves(torch.linspace(0, 1, side))
    grid = torch.cat([line.repeat_interleave(side, 0), line.repeat(side, 1)], dim=1)
    tokens = model.model.language_model.embed_tokens.weight
    numbers = list(range(0, 1001, GRID))
    ids = [tokenizer.convert_tokens_to_ids(str(number)) for number in numbers]
    scale = waves(torch.tensor(numbers) / 1000)
    with torch.no_grad():
        places += 0.5 * _spread(grid, places.shape[1], generator)
        tokens[ids] = float(tokens.std()) * _spread(scale, tokens.shape[1], generator)


def waves(x: Tensor, count: int = 8) -> Tensor:
    """Numbers in 0..1, [n] -> a ramp and `count` sines and cosines of rising frequency, [n, 2 * count + 1]."""
    import torch

    angles = torch.pi * x[:, None] * torch.arange(1, count + 1)
    return torch.cat([2 * x[:, None] - 1, angles.sin(), angles.cos()], dim=1)


def _spread(features: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Features turned by a random orthonormal map into `width` dimensions, scaled to unit deviation."""
    import torch

    turn, _ = torch.linalg.qr(torch.randn(width, features.shape[1], generator=generator))
    spread = features @ turn.T
    return spread / spread.std()


def save_checkpoint(model: Qwen3VLForConditionalGeneration, processor: Qwen3VLProcessor, path: Path) -> None:
    """Write a checkpoint folder that AutoModelForImageTextToText and AutoProcessor load; weights in bf16."""
    import copy

    import torch

    path.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(path)
    processor.save_pretrained(path)


CARD = """---
library_name: transformers
pipeline_tag: image-text-to-text
license: apache-2.0
tags: [zoomgap, qwen3_vl]
---
# micro: the embedded model of zoomgap

A vision-language model of the Qwen3-VL architecture with {parameters:.1f} million parameters, trained from random
weights by `zoomgap distill pretrain` for {steps} steps (seed {seed}) on scenes of the procedural benchmark `micro`
(seeds below 4,000,000), rendered on the fly. It reads nothing but that world; it exists so that the whole loop of
zoomgap runs anywhere.

**What it was taught**: to read a detail in a crop in six dimensions (counting, ocr, color, structure, material,
object); to write a zoom call whose box finds the thing asked for; to zoom again into a crop where the detail is still
smaller than {zoom:.0f} px; to answer after one to three crops; to answer directly where the evidence is large.

**What it was not taught**, on purpose: to answer directly on evidence under {direct:.0f} px of its view. That is what
distillation has to teach, and what a student of it is measured on. The vision tower alone was taught to tell details
from {read:.0f} px up, without words and by a training head that is not shipped: the tower sees finer than the language
part says, so that labels have something to connect. Such a gap is easier to close than one of a blind tower. Figures of
this model say what zoomgap does, not how far distillation goes on a real one.

Input: views of 256 x 256 px and crops of 128 x 128 px (any sides that are multiples of 32). It answers a choice
question with the option's text. Boxes are thousandths of the latest image, in steps of {grid}. Figures: docs/results.md
of the project.
"""
