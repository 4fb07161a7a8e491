from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoomgap.models.vision_cache import SeenImage, VisionCache, stack

TILES = {"a": 3, "b": 1, "c": 2}


def image(name: str, numbers: int) -> SeenImage:
    return SeenImage(name, [1], {"pixel_values": torch.zeros(numbers)}, None, None)


def test_the_least_recently_used_leave_first():
    cache = VisionCache(None, limit=3 * 40)
    for name in "abc":
        cache.keep(image(name, 10))
    assert cache.get("a").sha256 == "a"
    cache.keep(image("d", 10))
    assert [name for name in "abcd" if cache.get(name)] == ["a", "c", "d"]
    assert cache.bytes == 120
    assert cache.clear()
    assert cache.bytes == 0
    assert not cache.clear()


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 30)), max_size=30), st.integers(0, 200))
def test_bytes_are_those_of_what_is_kept(kept, limit):
    cache = VisionCache(None, limit)
    for name, numbers in kept:
        cache.keep(image(name, numbers))
        assert cache.bytes == sum(found.bytes for found in map(cache.get, "abcd") if found) <= limit


def test_features_take_the_place_of_pixels_and_hold_no_batch():
    def tower(pixel_values, return_dict):
        return SimpleNamespace(pooler_output=pixel_values[:, None] * 2)

    model = SimpleNamespace(device=torch.device("cpu"), get_image_features=tower)
    cache = VisionCache(model, limit=10_000)
    images = [SeenImage(name, [1], {"pixel_values": torch.rand(tiles, 5)}, None, None) for name, tiles in TILES.items()]
    expected = torch.cat([seen.inputs["pixel_values"] for seen in images])[:, None] * 2
    assert torch.equal(cache.output([*images, images[0]]).pooler_output, torch.cat([expected, expected[:3]]))
    for seen in images:
        assert not seen.inputs
        assert seen.features[0].untyped_storage().nbytes() == seen.bytes
        assert cache.get(seen.sha256) is seen
    assert cache.bytes == expected.numel() * 4


def test_stack_fills_up_at_the_end():
    parts = [{"x": torch.ones(1, 2, 3), "n": torch.tensor([7])}, {"x": torch.ones(2, 1, 4)}, {"n": torch.tensor([8])}]
    joined = stack(parts)
    assert joined["n"].tolist() == [7, 8]
    assert joined["x"].shape == (3, 2, 4)
    assert joined["x"][0].tolist() == [[1, 1, 1, 0], [1, 1, 1, 0]]
    assert joined["x"][2].tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]
    with pytest.raises(ValueError, match="shorter"):
        stack([{"x": torch.ones(1, 2)}, {"x": torch.ones(1)}])
