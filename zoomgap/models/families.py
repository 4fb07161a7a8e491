"""What is known of each family of models: how it writes boxes and calls, and what its processor does to an image.

Every fact is that of the family's own documentation or processor, named in `source`. What no source says has the
default that is safe for any model, and `source` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, get_args

from zoomgap.models.resize import Rule
from zoomgap.records import Convention, Dialect, ImageReturn

DIALECTS: tuple[str, ...] = get_args(Dialect)
"""How models write a call: in their wire's own field or in markup of their own (`native`), as
<tool_call>{json}</tool_call> in their text (`hermes`), or as fenced JSON in their text (`json`)."""


class CropRange(NamedTuple):
    """Pixels that a crop has at least and at most."""

    least: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Family(Rule):
    """What a family of models expects.

    The fields of Rule say what its processor does to an image; factor is also what our own resizes go by.
    convention: how it writes boxes; `absolute` counts pixels of the processed image. view_pixels: default budget of the
    full image. min_crop_pixels, crop_pixels: a crop of fewer pixels is enlarged to the one, of more reduced to the
    other; None is view_pixels, and where the two cross, crop_pixels holds. image_return: where a crop goes back.
    renders_tools: whether its chat template or API shows `tools` and past `tool_calls` to the model; where not, the
    tool has to stand in the system text. dialect: how it writes calls. suffix: whether questions end with a sentence on
    the form of the answer. max_tokens: of a reply, thinking included. max_images: images that one request may hold,
    None where nothing is documented. pattern: what names and model_types of the family contain (regular expression, any
    case). source: where the facts come from. Raises ValueError, naming the field, for budgets under one patch.
    """

    name: str
    convention: Convention = "relative_1000"
    view_pixels: int = 1024 * 1024
    min_crop_pixels: int = 512 * 512
    crop_pixels: int | None = None
    image_return: ImageReturn = "user"
    renders_tools: bool = False
    dialect: Dialect = "json"
    suffix: bool = True
    max_images: int | None = None
    max_tokens: int = 1024
    pattern: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        # super() without arguments loses its class where slots make a new one.
        Rule.__post_init__(self)
        for name in ("view_pixels", "min_crop_pixels", "crop_pixels"):
            budget = getattr(self, name)
            if budget is not None and budget < self.factor**2:
                raise ValueError(
                    f"{name} {budget} is under one patch of factor {self.factor}: give at least {self.factor**2}"
                )
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens {self.max_tokens} leaves no reply: give at least 1")
        if self.max_images is not None and self.max_images < 1:
            raise ValueError(f"max_images {self.max_images} leaves no image: give at least 1")

    @property
    def crops(self) -> CropRange:
        """What a crop is enlarged and reduced to."""
        most = self.crop_pixels or self.view_pixels
        return CropRange(min(self.min_crop_pixels, most), most)


PATCH28 = 28 * 28
THINKING_TOKENS = 8192
"""For replies of models that think before they answer."""
_PROCESSOR = "transformers, models/{}/image_processing_{}.py"
_UNSAID = "no documentation of boxes or calls was found: the defaults for unknown models"


FAMILIES = (
    Family(
        name="micro",
        max_tokens=256,
        resize="smart_resize",
        factor=32,
        min_pixels=32 * 32,
        max_pixels=1024 * 1024,
        view_pixels=256 * 256,
        min_crop_pixels=128 * 128,
        crop_pixels=128 * 128,
        renders_tools=True,
        dialect="hermes",
        suffix=False,
        pattern=r"(^|[/_-])micro($|[/_-])",
        source="the embedded checkpoint's processor_config.json and chat_template.jinja",
    ),
    Family(
        name="qwen2-vl",
        resize="smart_resize",
        factor=28,
        min_pixels=56 * 56,
        max_pixels=16384 * PATCH28,
        view_pixels=1280 * PATCH28,
        min_crop_pixels=320 * PATCH28,
        dialect="hermes",
        pattern=r"qwen-?2[-_]?vl",
        source="arXiv 2409.12191, 2.2 (boxes of 0 to 1000); preprocessor_config.json and chat template of "
        "Qwen2-VL-7B-Instruct",
    ),
    Family(
        name="qwen2.5-vl",
        convention="absolute",
        resize="smart_resize",
        factor=28,
        min_pixels=56 * 56,
        max_pixels=16384 * PATCH28,
        view_pixels=1280 * PATCH28,
        min_crop_pixels=320 * PATCH28,
        dialect="hermes",
        pattern=r"qwen-?2[._]5-?_?vl",
        source="arXiv 2502.13923, 2.1.1 (absolute pixels); preprocessor_config.json and chat template of "
        "Qwen2.5-VL-7B-Instruct",
    ),
    Family(
        name="qwen3.5",
        max_tokens=THINKING_TOKENS,
        resize="smart_resize",
        factor=32,
        min_pixels=256 * 256,
        max_pixels=4096 * 4096,
        renders_tools=True,
        dialect="native",
        pattern=r"qwen-?3[._]5",
        source="preprocessor_config.json and chat_template.jinja of Qwen3.5 (calls as <function=...> markup); boxes as "
        "in Qwen3-VL, whose processor it keeps",
    ),
    Family(
        name="qwen3-vl",
        resize="smart_resize",
        factor=32,
        min_pixels=256 * 256,
        max_pixels=4096 * 4096,
        renders_tools=True,
        dialect="hermes",
        pattern=r"qwen-?3[-_]?vl",
        source="arXiv 2511.21631 (0 to 1000); preprocessor_config.json and chat_template.jinja of Qwen3-VL-8B-Instruct",
    ),
    Family(
        name="internvl",
        resize="internvl",
        factor=28,
        max_pixels=12 * 448 * 448,
        tile=448,
        view_pixels=1280 * PATCH28,
        min_crop_pixels=320 * PATCH28,
        pattern=r"internvl",
        source="internvl.readthedocs.io/en/latest/get_started/chat_data_format.html (boxes of 0 to 1000); "
        + _PROCESSOR.format("got_ocr2", "got_ocr2")
        + " with 1 to 12 tiles of 448; no documentation of calls was found: the default",
    ),
    Family(
        name="glm-4.1v",
        max_tokens=THINKING_TOKENS,
        resize="glm",
        factor=28,
        min_pixels=112 * 112 // 2,
        max_pixels=6144 * PATCH28,
        view_pixels=1280 * PATCH28,
        min_crop_pixels=320 * PATCH28,
        pattern=r"glm-?4[._]1v|glm4v$",
        source="github.com/zai-org/GLM-V, README (boxes of 0 to 1000); preprocessor_config.json of GLM-4.1V-9B-Thinking"
        ", halved as an image counts twice; no documentation of calls was found: the default",
    ),
    Family(
        name="glm-v",
        max_tokens=THINKING_TOKENS,
        resize="glm",
        factor=28,
        min_pixels=112 * 112 // 2,
        max_pixels=6144 * PATCH28,
        view_pixels=1280 * PATCH28,
        min_crop_pixels=320 * PATCH28,
        renders_tools=True,
        dialect="native",
        pattern=r"glm-?[45]",
        source="github.com/zai-org/GLM-V, README (boxes of 0 to 1000; vLLM with --tool-call-parser glm45); "
        "preprocessor_config.json of GLM-4.6V-Flash, halved as an image counts twice",
    ),
    Family(
        name="gemini",
        max_tokens=THINKING_TOKENS,
        convention="relative_1000_yx",
        renders_tools=True,
        dialect="native",
        max_images=3600,
        pattern=r"gemini",
        source="ai.google.dev/gemini-api/docs/image-understanding (boxes, 3,600 images)",
    ),
    Family(
        name="gpt",
        max_tokens=THINKING_TOKENS,
        renders_tools=True,
        dialect="native",
        max_images=500,
        pattern=r"(^|/)(gpt-|chatgpt-|o[1-9])",
        source="developers.openai.com/api/docs/guides/images-vision (500 images, later models 1,500); no box format is "
        "documented: the default",
    ),
    Family(
        name="claude",
        convention="absolute",
        resize="claude",
        factor=28,
        max_pixels=1568 * PATCH28,
        max_side=1568,
        view_pixels=1280 * PATCH28,
        min_crop_pixels=320 * PATCH28,
        renders_tools=True,
        dialect="native",
        max_images=100,
        pattern=r"claude",
        source="platform.claude.com/docs/en/build-with-claude/vision-coordinates (standard tier; the high tier has "
        "max_side 2576 and max_pixels 3750656) and /vision (100 images, later models 600)",
    ),
    Family(
        name="kimi-k2.5",
        max_tokens=THINKING_TOKENS,
        convention="relative_1",
        resize="kimi",
        factor=28,
        max_pixels=16384 * 14 * 14,
        max_side=512 * 14,
        view_pixels=1280 * PATCH28,
        min_crop_pixels=320 * PATCH28,
        renders_tools=True,
        dialect="native",
        pattern=r"kimi[-_]?k(25|2[._][5-9])",
        source=_PROCESSOR.format("kimi_k25", "kimi_k25")
        + "; github.com/xlang-ai/OSWorld, mm_agents/kimi/kimi_agent.py (0 to 1)",
    ),
    Family(
        name="kimi-vl",
        convention="relative_1",
        resize="kimi",
        factor=28,
        max_pixels=4096 * 14 * 14,
        view_pixels=896 * PATCH28,
        min_crop_pixels=320 * PATCH28,
        pattern=r"kimi[-_]?vl",
        source="image_processing_kimi_vl.py and preprocessor_config.json of Kimi-VL-A3B-Instruct (4,096 patches); "
        "github.com/xlang-ai/OSWorld, mm_agents/kimi/kimi_agent.py (0 to 1); "
        "no documentation of calls was found: the default",
    ),
    Family(
        name="deepseek-vl2",
        factor=28,
        view_pixels=1280 * PATCH28,
        min_crop_pixels=320 * PATCH28,
        pattern=r"deepseek[-_]?vl[-_]?v?2",
        source="github.com/deepseek-ai/DeepSeek-VL2, deepseek_vl2/serve/app_modules/utils.py (boxes of 0 to 999); "
        "no documentation of calls was found: the default",
    ),
    Family(
        name="smolvlm",
        resize="idefics",
        tile=384,
        max_side=4 * 384,
        pattern=r"smolvlm",
        source="preprocessor_config.json of SmolVLM-Instruct (the 256M and 500M have tile 512 and max_side 2048); "
        + _UNSAID,
    ),
    Family(
        name="idefics3",
        resize="idefics",
        tile=364,
        max_side=4 * 364,
        pattern=r"idefics-?3",
        source=_PROCESSOR.format("idefics3", "idefics3") + "; " + _UNSAID,
    ),
    Family(
        name="gemma-3",
        resize="square",
        tile=896,
        view_pixels=896 * 896,
        min_crop_pixels=448 * 448,
        pattern=r"gemma[-_]?3($|[^n\d])",
        source="preprocessor_config.json of gemma-3-4b-it (896 x 896, without pan and scan); " + _UNSAID,
    ),
    Family(
        name="mistral",
        resize="longest_side",
        factor=28,
        max_side=1540,
        view_pixels=1280 * PATCH28,
        min_crop_pixels=320 * PATCH28,
        renders_tools=True,
        dialect="native",
        pattern=r"mistral[-_]?(3|small|medium|large)|magistral|ministral|devstral",
        source="processor_config.json of Devstral-Small-2 (patch 14, merged by 2; 1540); docs.vllm.ai/en/latest/"
        "features/tool_calling (--tool-call-parser mistral); no documentation of boxes was found: the default",
    ),
    Family(
        name="pixtral",
        resize="longest_side",
        factor=16,
        max_side=1024,
        pattern=r"pixtral",
        source=_PROCESSOR.format("pixtral", "pixtral") + "; " + _UNSAID,
    ),
    Family(
        name="llama-4",
        resize="llama4",
        factor=28,
        max_pixels=16 * 336 * 336,
        tile=336,
        view_pixels=1280 * PATCH28,
        min_crop_pixels=320 * PATCH28,
        renders_tools=True,
        dialect="native",
        pattern=r"llama[-_]?4",
        source=_PROCESSOR.format("llama4", "llama4") + " with 16 tiles; docs.vllm.ai/en/latest/features/tool_calling "
        "(--tool-call-parser llama4_pythonic); no documentation of boxes was found: the default",
    ),
    Family(
        name="molmo",
        factor=28,
        view_pixels=1280 * PATCH28,
        min_crop_pixels=320 * PATCH28,
        pattern=r"molmo",
        source="huggingface.co/allenai/Molmo-7B-D-0924: it points (<point x= y=>, in percent) and has no box format, "
        "so boxes are asked for as of an unknown model",
    ),
)
"""The first whose pattern is found in a name has it."""

UNKNOWN = Family(
    name="unknown",
    factor=28,
    view_pixels=1280 * PATCH28,
    min_crop_pixels=320 * PATCH28,
    source="what works for most models",
)
