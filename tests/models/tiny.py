"""Checkpoints of the big families in miniature: random weights, real processors, templates of the real ones' shape.

Each builder writes a folder that AutoModelForImageTextToText and AutoProcessor load; nothing is downloaded. They answer
gibberish that depends on every token and pixel. Templates follow the families' released ones in what they show: where
image marks stand, whether tools, calls and plain strings are rendered.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

QWEN_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip
INTERN_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>")
IDEFICS_TOKENS = (
    "<|endoftext|>", "<|begin_of_text|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>",
    "<global-img>", *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
)  # fmt: skip

GEMMA_TOKENS = (
    "<pad>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"
)  # fmt: skip

QWEN25_TEMPLATE = """\
{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}<|im_end|>
{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content %}\
<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}\
<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

QWEN3_TEMPLATE = """\
{%- macro show(content) %}{%- if content is string %}{{- content }}{%- else %}{%- for part in content %}
{%- if part.type == 'image' or 'image' in part %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif 'text' in part %}{{- part.text }}{%- endif %}{%- endfor %}{%- endif %}{%- endmacro %}
{%- if tools %}{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- show(messages[0].content) + '\\n\\n' }}{%- endif %}
{{- '# Tools\\n<tools>' }}{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\nFor each call return <tool_call></tool_call>.<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + show(messages[0].content) + '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' %}{{- '<|im_start|>user\\n' + show(message.content) + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}{{- '<|im_start|>assistant\\n' + show(message.content) }}
{%- for call in message.tool_calls or [] %}
{{- '\\n' if message.content else '' }}{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments if call.function.arguments is string else (call.function.arguments | tojson) }}
{{- '}\\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + show(message.content) + '\\n</tool_response><|im_end|>\\n' }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

INTERN_TEMPLATE = """\
{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n'}}{% if message['content'] is string %}\
{{ message['content'] }}{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}\
{{ '<IMG_CONTEXT>\\n' }}{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}\
{{'<|im_end|>\\n'}}{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\\n' }}{% endif %}"""

IDEFICS_TEMPLATE = """\
{% for message in messages %}{{message['role'].capitalize()}}{% if message['content'][0]['type'] == 'image' %}{{':'}}\
{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}\
{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>
{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""

GEMMA_TEMPLATE = """\
{{ bos_token }}{%- for message in messages -%}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}{%- endif -%}
{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}
{%- if message['content'] is string -%}{{ message['content'] | trim }}{%- else -%}{%- for item in message['content'] -%}
{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}{%- elif item['type'] == 'text' -%}
{{ item['text'] | trim }}{%- endif -%}{%- endfor -%}{%- endif -%}{{ '<end_of_turn>\n' }}{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"""

TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 1024,
}  # fmt: skip
MROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 2, 2]}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def _tokenizer(special: tuple[str, ...], end: str, bos: str | None = None, **fields: Any) -> Any:
    """Byte-level BPE without merges, and two call marks. bos: a token that the tokenizer itself writes first."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        [], trainers.BpeTrainer(special_tokens=list(special), initial_alphabet=alphabet, show_progress=False)
    )
    bpe.add_tokens(["<tool_call>", "</tool_call>"])
    if bos is not None:
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, bpe.token_to_id(bos))]
        )
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=bos, eos_token=end, pad_token=special[0], **fields
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(special[1:])})
    return tokenizer


def _ids(tokenizer: Any, **tokens: str) -> dict[str, int]:
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}


def _text(tokenizer: Any, **fields: Any) -> dict[str, Any]:
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    return {**TEXT, "vocab_size": len(tokenizer), **ends, **fields}


def _save(kind: Any, config: Any, processor: Any, folder: Path) -> Path:
    torch.manual_seed(0)
    model = kind(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)  # sharp enough that greedy choices have no near ties
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _qwen(folder: Path, config: Any, model: Any, processor: Any, template: str, text: Any, vision: Any) -> Path:
    tokenizer = _tokenizer(QWEN_TOKENS, "<|im_end|>")
    ids = _ids(
        tokenizer, image_token_id="<|image_pad|>", video_token_id="<|video_pad|>",
        vision_start_token_id="<|vision_start|>", vision_end_token_id="<|vision_end|>",
    )  # fmt: skip
    patch = vision["patch_size"]
    settings = {
        **HALF, "patch_size": patch, "merge_size": 2, "temporal_patch_size": 2,
        "size": {"shortest_edge": (2 * patch) ** 2, "longest_edge": 64 * (2 * patch) ** 2},
    }  # fmt: skip
    read = processor(
        image_processor=Qwen2VLImageProcessor(**settings),
        tokenizer=tokenizer,
        video_processor=hf.Qwen3VLVideoProcessor(**settings),
        chat_template=template,
    )
    shape = config(text_config=_text(tokenizer, **text), vision_config=vision, tie_word_embeddings=False, **ids)
    return _save(model, shape, read, folder)


def qwen25_vl(folder: Path) -> Path:
    """Windowed vision attention, M-RoPE in sections, patches of 14."""
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "patch_size": 14, "out_hidden_size": 32,
        "window_size": 56, "fullatt_block_indexes": [1],
    }  # fmt: skip
    text = {"rope_parameters": MROPE}
    return _qwen(
        folder, hf.Qwen2_5_VLConfig, hf.Qwen2_5_VLForConditionalGeneration, hf.Qwen2_5_VLProcessor, QWEN25_TEMPLATE,
        text, vision,
    )  # fmt: skip


def qwen3_vl(folder: Path) -> Path:
    """Interleaved M-RoPE, and features of two vision layers added to those of the first text layers (deepstack)."""
    vision = {
        "depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 16,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32, "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    text = {"rope_parameters": {**MROPE, "mrope_interleaved": True}}
    return _qwen(
        folder, hf.Qwen3VLConfig, hf.Qwen3VLForConditionalGeneration, hf.Qwen3VLProcessor, QWEN3_TEMPLATE, text, vision
    )


def qwen35(folder: Path) -> Path:
    """A layer of linear attention, whose state is no row of keys, before one of full attention."""
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 16,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32, "num_position_embeddings": 64,
    }  # fmt: skip
    text = {
        "layer_types": ["linear_attention", "full_attention"], "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        "linear_num_key_heads": 2, "linear_num_value_heads": 4,
        "rope_parameters": {**MROPE, "mrope_interleaved": True, "partial_rotary_factor": 1.0},
    }  # fmt: skip
    return _qwen(
        folder, hf.Qwen3_5Config, hf.Qwen3_5ForConditionalGeneration, hf.Qwen3VLProcessor, QWEN3_TEMPLATE, text, vision
    )


def internvl(folder: Path, **text: Any) -> Path:
    """Images cut into up to four tiles of 32 px and a thumbnail, four tokens each. text: changes to the text part."""
    tokenizer = _tokenizer(
        INTERN_TOKENS, "<|im_end|>",
        extra_special_tokens={
            "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    )  # fmt: skip
    config = hf.InternVLConfig(
        text_config={"model_type": "qwen2", "rope_theta": 10_000.0, **_text(tokenizer, **text)},
        vision_config={
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": [32, 32], "patch_size": [8, 8], "layer_scale_init_value": 1.0,
        },
        image_seq_length=4,
        tie_word_embeddings=False,
        **_ids(tokenizer, image_token_id="<IMG_CONTEXT>"),
    )  # fmt: skip
    size = {"height": 32, "width": 32}
    processor = hf.InternVLProcessor(
        image_processor=hf.GotOcr2ImageProcessor(size=size, max_patches=4, crop_to_patches=True),
        tokenizer=tokenizer,
        video_processor=hf.InternVLVideoProcessor(size=size),
        image_seq_length=4,
        chat_template=INTERN_TEMPLATE,
    )
    return _save(hf.InternVLForConditionalGeneration, config, processor, folder)


def internvl_sliding(folder: Path) -> Path:
    """One layer that sees 24 tokens back and one that sees all: a cache of two kinds of layers."""
    kinds = ["sliding_attention", "full_attention"]
    return internvl(folder, use_sliding_window=True, sliding_window=24, max_window_layers=0, layer_types=kinds)


def idefics3(folder: Path) -> Path:
    """Images cut into tiles of 32 px, named by row and column, and a view of the whole; a tokenizer that adds a BOS."""
    tokenizer = _tokenizer(IDEFICS_TOKENS, "<end_of_utterance>", bos="<|begin_of_text|>")
    settings = {**HALF, "size": {"longest_edge": 96}, "max_image_size": {"longest_edge": 32}}
    processor = hf.Idefics3Processor(
        image_processor=hf.Idefics3ImageProcessor(**settings),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template="<|begin_of_text|>" + IDEFICS_TEMPLATE,
    )
    config = _idefics_config(hf.Idefics3Config, tokenizer)
    return _save(hf.Idefics3ForConditionalGeneration, config, processor, folder)


def smolvlm(folder: Path) -> Path:
    """As idefics3, with a template that begins a turn by a mark. Its processor needs the package num2words."""
    tokenizer = _tokenizer(
        IDEFICS_TOKENS, "<end_of_utterance>",
        extra_special_tokens={
            "fake_image_token": "<fake_token_around_image>", "image_token": "<image>",
            "end_of_utterance_token": "<end_of_utterance>", "global_image_token": "<global-img>",
        },
    )  # fmt: skip
    settings = {**HALF, "size": {"longest_edge": 96}, "max_image_size": {"longest_edge": 32}}
    processor = hf.SmolVLMProcessor(
        image_processor=hf.SmolVLMImageProcessor(**settings),
        tokenizer=tokenizer,
        video_processor=hf.SmolVLMVideoProcessor(**settings),
        image_seq_len=4,
        chat_template="<|im_start|>" + IDEFICS_TEMPLATE,
    )
    config = _idefics_config(hf.SmolVLMConfig, tokenizer)
    return _save(hf.SmolVLMForConditionalGeneration, config, processor, folder)


def gemma3(folder: Path) -> Path:
    """Image tokens that see one another, windows of 24 tokens, and a mark that becomes more than image tokens."""
    tokenizer = _tokenizer(
        GEMMA_TOKENS, "<end_of_turn>", bos="<bos>",
        extra_special_tokens={
            "image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>",
        },
    )  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    kinds = ["sliding_attention", "full_attention"]
    config = hf.Gemma3Config(
        text_config=_text(
            tokenizer, layer_types=kinds, sliding_window=24, query_pre_attn_scalar=16,
            rope_parameters=dict.fromkeys(kinds, rope),
        ),
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 32, "patch_size": 8, "vision_use_head": False,
        },
        mm_tokens_per_image=4,
        tie_word_embeddings=False,
        **_ids(
            tokenizer, image_token_index="<image_soft_token>", boi_token_index="<start_of_image>",
            eoi_token_index="<end_of_image>",
        ),
    )  # fmt: skip
    processor = hf.Gemma3Processor(
        image_processor=hf.Gemma3ImageProcessor(size={"height": 32, "width": 32}),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=GEMMA_TEMPLATE,
    )
    return _save(hf.Gemma3ForConditionalGeneration, config, processor, folder)


def _idefics_config(kind: Any, tokenizer: Any) -> Any:
    return kind(
        text_config={"model_type": "llama", **_text(tokenizer)},
        vision_config={
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 8,
        },
        scale_factor=2,
        tie_word_embeddings=False,
        **_ids(tokenizer, image_token_id="<image>"),
    )  # fmt: skip


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "qwen2_5_vl": qwen25_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_5": qwen35,
    "internvl": internvl,
    "internvl_sliding": internvl_sliding,
    "idefics3": idefics3,
    "smolvlm": smolvlm,
    "gemma3": gemma3,
}
"""Builders by model type: each writes a checkpoint into a folder and returns it."""
