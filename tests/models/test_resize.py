from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zoomgap import imaging
from zoomgap.errors import ImageError
from zoomgap.geometry import Size
from zoomgap.models.families import FAMILIES, UNKNOWN, Family
from zoomgap.models.resize import NEEDS, RULES, Rule, processed_size

BY_NAME = {family.name: family for family in FAMILIES}
SIZES = st.builds(Size, st.integers(1, 9_000), st.integers(1, 9_000))
FAMILY = st.sampled_from((*FAMILIES, UNKNOWN))


def turned(size: Size) -> Size:
    return Size(size.height, size.width)


def is_long(size: Size) -> bool:
    return max(size.width, size.height) > 200 * min(size.width, size.height)


@settings(deadline=None)
@given(FAMILY, SIZES)
def test_every_rule_gives_an_image_within_its_numbers(family, size):
    assume(not is_long(size))
    found = processed_size(family, size)
    assert min(found.width, found.height) >= 1
    if family.resize in ("smart_resize", "glm", "internvl", "llama4", "claude"):
        # A side of one factor, or of one tile, cannot shrink further.
        assert found.pixels <= family.max_pixels or min(found.width, found.height) <= max(family.factor, 1)
    if family.resize in ("smart_resize", "glm", "longest_side"):
        assert found.width % family.factor == found.height % family.factor == 0
    if family.resize in ("internvl", "idefics", "square"):
        assert found.width % family.tile == found.height % family.tile == 0
    if family.resize in ("claude", "kimi") and family.max_side:
        assert max(found.width, found.height) <= family.max_side
    if family.resize == "kimi":
        assert found.width <= size.width
        assert found.height <= size.height
    if family.resize == "none":
        assert found == size


@settings(deadline=None)
@given(st.sampled_from([family for family in FAMILIES if family.resize not in ("internvl", "llama4")]), SIZES)
def test_a_turned_image_is_processed_as_the_image_turned(family, size):
    assume(not is_long(size))
    assert processed_size(family, turned(size)) == turned(processed_size(family, size))


@settings(deadline=None)
@given(st.sampled_from([family for family in FAMILIES if family.convention == "absolute"]), SIZES)
def test_what_is_sent_within_the_default_budgets_is_not_resized_again(family, size):
    """Where boxes are counted in pixels, those of our own view are those of the model."""
    assume(max(size.width, size.height) <= 1.2 * min(size.width, size.height) or family.resize != "claude")
    assume(max(size.width, size.height) <= 20 * min(size.width, size.height))
    for budget in (family.view_pixels, *family.crops):
        view = imaging.fit_size(size, budget, family.factor)
        assume(view.pixels >= family.min_pixels)
        assert processed_size(family, view) == view


@given(st.builds(Size, st.integers(32, 600), st.integers(32, 600)))
def test_micro_sees_an_image_within_its_budget_at_the_size_that_it_was_trained_on(size):
    """Such an image is sent as it is, and its processor fits it as training did."""
    micro = BY_NAME["micro"]
    shown = imaging.view_size(size, micro.view_pixels, micro.factor)
    seen = processed_size(micro, shown)
    assume(seen.pixels <= micro.view_pixels)  # fit_size alone rounds down where the nearest multiples are too many
    assert seen == imaging.fit_size(size, micro.view_pixels, micro.factor)


@settings(deadline=None)
@given(SIZES)
def test_a_resized_image_is_not_resized_again(size):
    assume(not is_long(size))
    for name in ("qwen2.5-vl", "qwen3-vl", "glm-v", "claude", "gemma-3"):
        once = processed_size(BY_NAME[name], size)
        assume(not is_long(once))
        assert processed_size(BY_NAME[name], once) == once, name


@pytest.mark.parametrize(
    ("size", "tokens", "side", "found"),
    [
        (Size(1075, 1520), 1568, 1568, Size(924, 1307)),
        (Size(1920, 1080), 1568, 1568, Size(1456, 819)),
        (Size(1075, 1520), 4784, 2576, Size(1075, 1520)),
        (Size(1000, 1000), 1568, 1568, Size(1000, 1000)),
        (Size(6000, 300), 1568, 1568, Size(1568, 78)),
    ],
)
def test_claude_as_its_documentation_has_it(size, tokens, side, found):
    family = replace(BY_NAME["claude"], max_pixels=tokens * 28 * 28, max_side=side)
    assert processed_size(family, size) == found


@settings(deadline=None)
@given(SIZES, st.sampled_from([(1568, 1568), (4784, 2576)]))
def test_claude_shrinks_no_more_than_it_must(size, tier):
    tokens, side = tier
    family = replace(BY_NAME["claude"], max_pixels=tokens * 28 * 28, max_side=side)
    found = processed_size(family, size)
    long, short = max(size.width, size.height), min(size.width, size.height)
    if found != size:
        larger = max(found.width, found.height) + 1
        other = max(round(larger / (long / short)), 1)
        columns, rows = math.ceil(larger / 28), math.ceil(other / 28)
        assert columns * 28 > side or columns * rows > tokens


@pytest.mark.parametrize(
    ("size", "found"),
    [
        (Size(3000, 1000), Size(1568, 523)),  # 522.67
        (Size(305, 6000), Size(80, 1568)),  # 79.7
        (Size(1569, 300), Size(1568, 300)),  # the next smaller size is one that fits
    ],
)
def test_claude_rounds_the_shorter_side_and_tries_every_longer_one(size, found):
    assert processed_size(BY_NAME["claude"], size) == found


def test_images_that_no_rule_takes():
    for rule in RULES:
        family = next((family for family in FAMILIES if family.resize == rule), UNKNOWN)
        with pytest.raises(ImageError, match="no pixels"):
            processed_size(family, Size(0, 5))
    with pytest.raises(ImageError, match="200 times"):
        processed_size(BY_NAME["qwen2.5-vl"], Size(10_000, 40))


def test_every_rule_is_of_a_family_and_says_what_it_needs():
    assert {family.resize for family in FAMILIES} == set(RULES) == set(NEEDS)


@pytest.mark.parametrize("rule", [rule for rule in RULES if NEEDS[rule]])
def test_a_rule_without_its_numbers_is_refused(rule):
    family = next(family for family in FAMILIES if family.resize == rule)
    for name in NEEDS[rule]:
        with pytest.raises(ValueError, match=f"'{rule}' needs a {name}"):
            replace(family, **{name: 0})


# Against the processors themselves; transformers is imported inside.


SIDES = st.integers(1, 7_000) | st.integers(1, 400) | st.integers(7_000, 20_000)


def agree(family: Family, theirs) -> None:
    """Compare over sizes of every kind: small, square, long, large. theirs: width, height -> Size or ValueError."""
    checked = []

    @settings(deadline=None)
    @given(SIDES, SIDES)
    def compare(width, height):
        try:
            expected = theirs(width, height)
        except ValueError:
            assume(False)
        assert processed_size(family, Size(width, height)) == expected
        checked.append(expected)

    compare()
    assert len(set(checked)) > 4


@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl", "qwen3-vl", "qwen3.5", "micro"])
def test_smart_resize_is_that_of_transformers(name):
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    family = BY_NAME[name]

    def theirs(width, height):
        found = smart_resize(height, width, family.factor, family.min_pixels, family.max_pixels)
        return Size(found[1], found[0])

    agree(family, theirs)


def test_glm_is_that_of_transformers():
    from transformers.models.glm4v.image_processing_glm4v import smart_resize

    def theirs(width, height):
        rows, columns = smart_resize(
            num_frames=2, height=height, width=width, factor=28, min_pixels=12_544, max_pixels=9_633_792
        )
        return Size(columns, rows)

    agree(BY_NAME["glm-v"], theirs)
    agree(BY_NAME["glm-4.1v"], theirs)


def test_internvl_is_that_of_transformers():
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    def theirs(width, height):
        columns, rows = get_optimal_tiled_canvas((height, width), (448, 448), 1, 12)
        return Size(columns * 448, rows * 448)

    agree(BY_NAME["internvl"], theirs)


@pytest.mark.parametrize("name", ["idefics3", "smolvlm"])
def test_idefics_is_that_of_transformers(name):
    import torch
    from transformers.models.idefics3 import image_processing_idefics3 as idefics3

    family = BY_NAME[name]
    stub = SimpleNamespace(resize=lambda image, size, resample: Size(size.width, size.height))

    def theirs(width, height):
        rows, columns = idefics3.get_resize_output_image_size(
            torch.empty(3, height, width, device="meta"), family.max_side
        )
        image = torch.empty(3, rows, columns, device="meta")
        return idefics3.Idefics3ImageProcessor.resize_for_vision_encoder(stub, image, family.tile)

    agree(family, theirs)


@pytest.mark.parametrize("name", ["pixtral", "mistral"])
def test_longest_side_is_that_of_transformers(name):
    import torch
    from transformers.models.pixtral.image_processing_pixtral import get_resize_output_image_size

    family = BY_NAME[name]

    def theirs(width, height):
        image = torch.empty(3, height, width, device="meta")
        rows, columns = get_resize_output_image_size(image, family.max_side, family.factor, "channels_first")
        return Size(columns, rows)

    agree(family, theirs)


def test_llama4_is_that_of_transformers():
    import torch
    from transformers.image_utils import SizeDict
    from transformers.models.llama4 import image_processing_llama4 as llama4

    canvases = torch.tensor(llama4.find_supported_resolutions(16, SizeDict(height=336, width=336)))

    def theirs(width, height):
        rows, columns = (int(side) for side in llama4.get_best_fit((height, width), canvases))
        limit = (min(max(height, 336), rows), min(max(width, 336), columns))
        rows, columns = llama4.get_max_res_without_distortion((height, width), limit)
        return Size(max(columns, 1), max(rows, 1))

    agree(BY_NAME["llama-4"], theirs)


@pytest.mark.parametrize(("name", "patches", "side"), [("kimi-vl", 4096, 10**6), ("kimi-k2.5", 16_384, 512)])
def test_kimi_is_that_of_transformers(name, patches, side):
    # Younger than the oldest transformers that we take.
    kimi = pytest.importorskip("transformers.models.kimi_k25.image_processing_kimi_k25")

    def theirs(width, height):
        (rows, columns), _ = kimi.navit_resize(height, width, 14, 2, patches, side)
        return Size(columns, rows)

    agree(BY_NAME[name], theirs)


def test_gemma_is_that_of_transformers():
    from transformers.models.gemma3.image_processing_gemma3 import Gemma3ImageProcessor

    processor = Gemma3ImageProcessor(size={"height": 896, "width": 896})
    import numpy as np

    values = processor(np.zeros((40, 90, 3), dtype=np.uint8), return_tensors="pt")["pixel_values"]
    assert processed_size(BY_NAME["gemma-3"], Size(90, 40)) == Size(*values.shape[-2:])


def test_a_bare_rule_will_do():
    assert processed_size(Rule(resize="square", tile=224), Size(3, 5)) == Size(224, 224)
