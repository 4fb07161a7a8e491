import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from zoomgap.benchmarks import micro, overlap
from zoomgap.benchmarks.overlap import COPY, NEAR, is_plain, look, near, pixels
from zoomgap.imaging import open_image

PHOTO = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


def apart(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


def jpeg(image: Image.Image, quality: int = 92, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, **options)
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def half(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def cropped(image: Image.Image) -> Image.Image:
    """Without 3% of its width and height, evenly."""
    dx, dy = round(image.width * 0.015), round(image.height * 0.015)
    return image.crop((dx, dy, image.width - dx, image.height - dy))


COPIES = {
    "lossless": png,
    "quality 60": lambda image: jpeg(image, 60),
    "half": lambda image: jpeg(half(image)),
    "cropped": lambda image: jpeg(cropped(image)),
    "brighter": lambda image: jpeg(ImageEnhance.Brightness(image).enhance(1.1)),
    "darker, half, quality 60": lambda image: jpeg(ImageEnhance.Brightness(half(image)).enhance(0.9), 60),
    "grey": lambda image: jpeg(image.convert("L")),
}


@pytest.fixture(scope="module")
def scenes() -> list[bytes]:
    return [made.jpeg for made in micro.make(24, 8_140_000)]


@pytest.fixture(scope="module")
def originals(scenes) -> list[bytes]:
    return [PHOTO.read_bytes(), *scenes[:6]]


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_looks_like_its_original(originals, way):
    distances = [apart(look(data), look(COPIES[way](open_image(data)))) for data in originals]
    assert max(distances) <= (COPY if way == "lossless" else NEAR)


def test_scenes_look_unlike_each_other_and_a_photograph(scenes):
    looks = [look(data) for data in [*scenes, PHOTO.read_bytes()]]
    assert near(looks, looks, NEAR) == [(k, k, 0) for k in range(25)]


def test_pages_of_other_text_look_unlike():
    def page(seed: int) -> bytes:
        image = Image.new("RGB", (800, 1000), "white")
        draw = ImageDraw.Draw(image)
        draws = np.random.default_rng(seed)
        for y in range(60, 940, 20):
            draw.line((60, y, 60 + int(draws.integers(100, 680)), y), fill="black", width=8)
        return png(image)

    looks = [look(page(seed)) for seed in range(12)]
    assert len(near(looks, looks, NEAR)) == 12


def test_plain_images_have_no_look(scenes):
    flat = [Image.new("RGB", (400, 300), "white"), Image.new("L", (90, 90), 30), Image.linear_gradient("L")]
    assert all(is_plain(look(data(image))) for image in flat for data in (jpeg, png))
    assert not any(is_plain(look(data)) for data in [*scenes, PHOTO.read_bytes()])


def test_a_look_is_upright(originals):
    exif = Image.Exif()
    exif[0x0112] = 8
    turned = open_image(originals[0]).transpose(Image.Transpose.ROTATE_270)
    assert apart(look(originals[0]), look(jpeg(turned, exif=exif))) <= COPY
    assert apart(look(originals[0]), look(jpeg(turned))) > NEAR


def test_pixels_are_those_of_lossless_copies_only(originals):
    image = open_image(originals[0])
    assert pixels(originals[0]) == pixels(PHOTO) == pixels(png(image))
    other = image.copy()
    other.putpixel((3, 3), (1, 2, 3))
    flat = Image.new("RGB", (40, 20)), Image.new("RGB", (20, 40))
    assert len({pixels(png(image)), pixels(png(other)), pixels(png(flat[0])), pixels(png(flat[1]))}) == 4


def test_hashes_of_files_and_of_bytes_are_64_digits():
    for found in (look(PHOTO), pixels(PHOTO)):
        assert len(found) == 64
        assert int(found, 16) >= 0
    assert look(PHOTO) == look(PHOTO.read_bytes())


hashes = st.binary(min_size=32, max_size=32)
kin = st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 255), max_size=70, unique=True)), max_size=9)


@settings(max_examples=60)
@given(st.lists(hashes, min_size=3, max_size=3), kin, kin, st.integers(0, 96), st.sampled_from([1, 2, 3, 2048]))
def test_near_finds_what_comparing_one_by_one_finds(roots, a, b, distance, block):
    def made(members):
        flip = [sum(1 << bit for bit in bits) for _, bits in members]
        return [f"{int.from_bytes(roots[root]) ^ mask:064x}" for (root, _), mask in zip(members, flip, strict=True)]

    left, right = made(a), made(b)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "BLOCK", block)
        found = near(left, right, distance)
    every = [(i, j, apart(x, y)) for i, x in enumerate(left) for j, y in enumerate(right)]
    assert found == [pair for pair in every if pair[2] <= distance]
