import dataclasses

import numpy as np
import pytest
from PIL import Image

from zoomgap.benchmarks.micro.render import render
from zoomgap.benchmarks.micro.scene import BACKGROUNDS, COLORS, SceneConfig, make_scene
from zoomgap.benchmarks.micro.stencils import FONTS, GAPS, GLYPHS, ICONS, glyph, icon, ring
from zoomgap.geometry import Box

SMALL = SceneConfig(sides=(512, 640), min_side=400)


def changed_box(before: Image.Image, after: Image.Image, area: Box) -> Box:
    """Box of the pixels that differ clearly inside an area."""
    x, y = int(area.x1), int(area.y1)
    crop = (x, y, int(area.x2) + 1, int(area.y2) + 1)
    difference = np.abs(np.asarray(before.crop(crop), int) - np.asarray(after.crop(crop), int)).max(axis=2) > 24
    rows, columns = np.flatnonzero(difference.any(axis=1)), np.flatnonzero(difference.any(axis=0))
    return Box(x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1)


@pytest.mark.parametrize("seed", range(36))
def test_evidence_boxes_are_tight(seed):
    scene = make_scene(seed)
    bare, full = render(scene, details=False), render(scene)
    for carrier in scene.carriers:
        seen = changed_box(bare, full, carrier.box)
        assert np.allclose(seen.as_list(), carrier.detail.box.as_list(), atol=1.5), carrier.detail


def test_nothing_changes_outside_of_the_details():
    for seed in range(6):
        scene = make_scene(seed, SMALL)
        bare, full = np.array(render(scene, details=False)), np.array(render(scene))
        for carrier in scene.carriers:
            x1, y1, x2, y2 = (int(v) for v in carrier.detail.box.as_list())
            bare[y1:y2, x1:x2] = full[y1:y2, x1:x2]
        assert np.array_equal(bare, full)


@pytest.mark.parametrize("seed", range(12))
def test_carrier_boxes_are_tight(seed):
    scene = make_scene(seed, SMALL)
    blank = dataclasses.replace(scene, carriers=())
    for carrier in scene.carriers:
        # A loud edge, so that every pixel of the outline stands out from the backdrop.
        loud = dataclasses.replace(carrier, edge=(255, 0, 255))
        seen = changed_box(render(blank), render(dataclasses.replace(scene, carriers=(loud,))), carrier.box.grown(1.1))
        assert np.allclose(seen.as_list(), carrier.box.as_list(), atol=1.8)


def test_pixels_repeat_and_have_the_size_of_the_scene():
    scene = make_scene(3)
    picture = render(scene)
    assert picture.mode == "RGB"
    assert picture.size == (scene.size.width, scene.size.height)
    assert picture.tobytes() == render(scene).tobytes()


def test_carriers_wear_their_colors():
    paints = {name: np.array(paint, float) for name, paint in COLORS.items()}
    for seed in range(30):
        scene = make_scene(seed, SMALL)
        picture = render(scene, details=False)
        for carrier in scene.carriers:
            pixel = np.array(picture.getpixel((round(carrier.center.x), round(carrier.center.y))), float)
            assert min(paints, key=lambda name: np.linalg.norm(paints[name] - pixel)) == carrier.color


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_backdrops_are_muted(kind):
    scene = make_scene(1, dataclasses.replace(SMALL, backgrounds=(kind,)))
    pixels = np.asarray(render(dataclasses.replace(scene, carriers=())), int)
    chroma = pixels.max(axis=2) - pixels.min(axis=2)
    assert chroma.max() < 64
    paints = [max(paint) - min(paint) for paint in COLORS.values()]
    assert min(paints) > 100


def test_marks_stand_out_from_their_carriers():
    for seed in range(60):
        scene = make_scene(seed, SMALL)
        for carrier in scene.carriers:
            detail = carrier.detail
            under = carrier.fill if detail.paper == carrier.fill else detail.paper
            contrast = max(abs(a - b) for a, b in zip(detail.ink, under, strict=True))
            assert contrast > 60 or detail.value == "plain", detail


def test_photographs_serve_as_backdrops():
    scene = make_scene(2, SMALL)
    photo = Image.new("RGB", (90, 40), (1, 2, 3))
    picture = render(dataclasses.replace(scene, carriers=()), [photo])
    assert picture.size == (scene.size.width, scene.size.height)
    assert picture.getcolors() == [(scene.size.pixels, (1, 2, 3))]


def test_stencils_are_cropped_to_their_ink_and_differ():
    masks = [icon(name).mask for name in ICONS] + [ring(gap).mask for gap in GAPS]
    masks += [glyph(char, font).mask for char in GLYPHS for font in FONTS]
    for mask in masks:
        assert mask.point(lambda level: 255 * (level > 127)).getbbox() == (0, 0, *mask.size)
    assert len({mask.resize((64, 64)).tobytes() for mask in masks}) == len(masks)


def test_ring_has_its_gap_on_the_named_side():
    for gap, (x, y) in {"top": (0.5, 0.05), "bottom": (0.5, 0.95), "left": (0.05, 0.5), "right": (0.95, 0.5)}.items():
        mask = ring(gap).mask
        sides = {(0.5, 0.05), (0.5, 0.95), (0.05, 0.5), (0.95, 0.5)}
        empty = {s for s in sides if mask.getpixel((int(s[0] * mask.width), int(s[1] * mask.height))) == 0}
        assert empty == {(x, y)}
