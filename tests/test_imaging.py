"""Sizes, boxes and crops hold their rules for every input; broken files end in one clear error."""

from __future__ import annotations

import hashlib
import io
import math
import random
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFile

from zoomgap import imaging
from zoomgap.errors import ImageError, UsageError
from zoomgap.geometry import Box, Size

BUDGET = 16_384
sizes = st.builds(Size, st.integers(2, 4000), st.integers(2, 4000)).filter(
    lambda size: max(size.width, size.height) <= 200 * min(size.width, size.height)
)
numbers = st.floats(-5000, 5000, allow_nan=False)
boxes = st.builds(Box, numbers, numbers, numbers, numbers)
factors = st.sampled_from((14, 28, 32))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(width: int, height: int) -> Image.Image:
    noise = random.Random(width * height).randbytes(3 * width * height)
    return Image.frombytes("RGB", (width, height), noise)


def smart_resize(height: int, width: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """The published function of Qwen2.5-VL and Qwen3-VL, as an independent reference."""
    h_bar = max(factor, round(height / factor) * factor)
    w_bar = max(factor, round(width / factor) * factor)
    if h_bar * w_bar > max_pixels:
        beta = math.sqrt((height * width) / max_pixels)
        h_bar = max(factor, math.floor(height / beta / factor) * factor)
        w_bar = max(factor, math.floor(width / beta / factor) * factor)
    elif h_bar * w_bar < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        h_bar = math.ceil(height * beta / factor) * factor
        w_bar = math.ceil(width * beta / factor) * factor
    return h_bar, w_bar


# fit_size


@given(sizes, st.integers(1024, 4_000_000), factors, st.one_of(st.none(), st.integers(1, 4_000_000)))
def test_fit_size_holds_its_limits(size, budget, factor, least):
    fitted = imaging.fit_size(size, budget, factor, least)
    assert fitted.width % factor == 0
    assert fitted.height % factor == 0
    assert min(fitted.width, fitted.height) >= factor
    assert fitted.pixels <= budget
    assert max(fitted.width, fitted.height) <= 200 * min(fitted.width, fitted.height)


@example(Size(6400, 32), 2**20, 28)
@given(sizes, st.integers(1024, 4_000_000), factors)
def test_fit_size_is_idempotent(size, budget, factor):
    once = imaging.fit_size(size, budget, factor)
    assert imaging.fit_size(once, budget, factor) == once


@given(sizes, st.integers(40_000, 2_000_000), factors, st.integers(1, 30_000))
def test_fit_size_is_smart_resize_where_that_keeps_the_budget(size, budget, factor, least):
    height, width = smart_resize(size.height, size.width, factor, least, budget)
    assume(max(height, width) <= 200 * min(height, width))
    assume(height * width <= budget)
    sides = [side * math.sqrt(pixels / size.pixels) / factor for side in (size.width, size.height)
             for pixels in (budget, least)]  # fmt: skip
    assume(all(abs(side - round(side)) > 1e-9 for side in sides))  # there the reference's own rounding errors decide
    assert imaging.fit_size(size, budget, factor, least) == Size(width, height)


@given(sizes, factors, st.integers(2, 8))
def test_a_filled_budget_depends_on_the_shape_alone(size, factor, times):
    assume(size.width * times <= 100_000)
    small = imaging.fit_size(size, BUDGET, factor, BUDGET)
    assert imaging.fit_size(Size(size.width * times, size.height * times), BUDGET, factor, BUDGET) == small


@pytest.mark.parametrize("side", range(2, 400, 7))
def test_a_square_fills_a_square_budget_exactly(side):
    assert imaging.fit_size(Size(side, side), BUDGET, 32, BUDGET) == Size(128, 128)


@pytest.mark.parametrize(
    ("size", "budget", "wanted"),
    [
        (Size(1024, 1024), 65_536, Size(256, 256)),
        (Size(1024, 768), 65_536, Size(288, 192)),
        (Size(1920, 1080), 65_536, Size(320, 192)),
        (Size(100, 100), 65_536, Size(96, 96)),
        (Size(3, 5), 65_536, Size(32, 32)),
        (Size(4000, 20), 65_536, Size(2048, 32)),
    ],
)
def test_fit_size_examples(size, budget, wanted):
    assert imaging.fit_size(size, budget) == wanted


@pytest.mark.parametrize("size", [Size(201, 1), Size(1, 500), Size(0, 10), Size(10, 0)])
def test_fit_size_refuses_impossible_shapes(size):
    with pytest.raises(ImageError, match=f"{size.width} x {size.height}"):
        imaging.fit_size(size, 65_536)


def test_a_budget_under_one_patch_is_refused():
    with pytest.raises(UsageError, match="at least 1024"):
        imaging.fit_size(Size(100, 100), 1023)


@given(sizes, st.integers(1024, 4_000_000), factors)
def test_an_image_within_the_budget_is_left_as_it_is(size, budget, factor):
    shown = imaging.view_size(size, budget, factor)
    kept = size.pixels <= budget and min(size.width, size.height) >= factor
    assert shown == (size if kept else imaging.fit_size(size, budget, factor))
    assert shown.pixels <= budget
    assert imaging.scale_of(size, budget, factor) ** 2 * size.pixels == pytest.approx(shown.pixels)


def test_an_impossible_shape_is_refused_however_small():
    with pytest.raises(ImageError, match="201 x 1"):
        imaging.view_size(Size(201, 1), 65_536)


def test_fit_resizes_to_fit_size_and_leaves_the_original_alone():
    image = photo(300, 200)
    before = image.tobytes()
    assert imaging.fit(image, BUDGET).size == (128, 96)
    assert (image.size, image.tobytes()) == ((300, 200), before)


# snap


@given(boxes, sizes, st.floats(1, 300))
def test_snap_gives_whole_pixels_inside_and_never_nothing(box, size, side):
    snapped = imaging.snap(box, size, side)
    assert all(isinstance(value, int) for value in snapped.as_list())
    assert snapped == snapped.clamped(size.width, size.height)
    assert min(snapped.width, snapped.height) >= min(side, size.width, size.height)
    assert max(snapped.width, snapped.height) <= 200 * min(snapped.width, snapped.height)


@given(boxes, sizes, st.floats(1, 300))
def test_snap_twice_is_snap_once(box, size, side):
    once = imaging.snap(box, size, side)
    assert imaging.snap(once, size, side) == once


@given(sizes, st.data())
def test_snap_keeps_what_lies_inside(size, data):
    x = sorted(data.draw(st.tuples(*[st.floats(0, size.width)] * 2)))
    y = sorted(data.draw(st.tuples(*[st.floats(0, size.height)] * 2)))
    box = Box(x[0], y[0], x[1], y[1])
    snapped = imaging.snap(box, size)
    assert snapped.x1 <= box.x1 + 1e-6
    assert snapped.y1 <= box.y1 + 1e-6
    assert snapped.x2 >= box.x2 - 1e-6
    assert snapped.y2 >= box.y2 - 1e-6


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        (Box(10, 20, 30, 40), Box(10, 20, 30, 40)),
        (Box(10.2, 20.9, 29.1, 39.5), Box(10, 20, 30, 40)),
        (Box(-50, 0, 50, 100), Box(0, 0, 100, 100)),
        (Box(180, 90, 280, 190), Box(100, 0, 200, 100)),
        (Box(30, 40, 10, 20), Box(10, 20, 30, 40)),
        (Box(-10, -10, 900, 900), Box(0, 0, 200, 100)),
    ],
)
def test_snap_examples(box, wanted):
    assert imaging.snap(box, Size(200, 100)) == wanted


def test_snap_grows_a_small_box_about_its_centre_and_keeps_its_shape():
    snapped = imaging.snap(Box(100, 100, 108, 116), Size(1000, 1000), min_side=32)
    assert snapped == Box(88, 76, 120, 140)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300])
def test_snap_refuses_what_is_no_coordinate(value):
    with pytest.raises(ImageError, match="coordinate"):
        imaging.snap(Box(0, 0, value, 10), Size(100, 100))


# crops


@given(boxes, sizes, factors, st.integers(1024, 200_000), st.integers(1024, 1_000_000))
def test_a_crop_keeps_its_own_pixels_between_its_bounds(box, size, factor, least, most):
    box = imaging.snap(box, size)
    fitted = imaging.cut_size(box, most, factor, least)
    assert (fitted.width % factor, fitted.height % factor) == (0, 0)
    assert fitted.pixels <= most
    own = imaging.fit_size(Size(box.width, box.height), 2**30, factor)
    if least <= own.pixels <= most:
        assert fitted == own
    elif own.pixels < least < most:
        # Enlarged; where that misses the least, the next multiples of the factor would break the most.
        assert fitted.width >= own.width
        assert fitted.height >= own.height
        assert fitted.pixels >= least or (fitted.width + factor) * (fitted.height + factor) > most


@given(boxes, sizes, factors)
def test_without_a_least_size_a_crop_fills_its_budget(box, size, factor):
    box = imaging.snap(box, size)
    filled = imaging.fit_size(Size(box.width, box.height), BUDGET, factor, BUDGET)
    assert imaging.cut_size(box, BUDGET, factor) == imaging.cut_size(box, BUDGET, factor, BUDGET) == filled
    assert imaging.cut_size(box, BUDGET, factor, 2 * BUDGET) == filled


@given(st.builds(Size, st.integers(33, 400), st.integers(33, 400)), boxes, st.sampled_from((4096, BUDGET)), factors)
def test_a_cut_has_its_size(size, box, budget, factor):
    crop = imaging.cut(imaging.grey(size), box, budget, factor, 2048)
    assert Size(*crop.size) == imaging.cut_size(imaging.snap(box, size), budget, factor, 2048)


def test_what_grows_is_resized_by_lanczos_what_shrinks_by_bicubic():
    image = photo(60, 40)
    for size, method in ((Size(61, 40), Image.Resampling.LANCZOS), (Size(60, 39), Image.Resampling.BICUBIC)):
        wanted = image.resize((size.width, size.height), method)
        assert imaging.resized(image, size).tobytes() == wanted.tobytes()
    # One side grows, the other shrinks, and the area decides.
    assert imaging.resized(image, Size(90, 20)).tobytes() == image.resize((90, 20), Image.Resampling.BICUBIC).tobytes()
    assert imaging.resized(image, Size(90, 30)).tobytes() == image.resize((90, 30), Image.Resampling.LANCZOS).tobytes()


@given(st.tuples(*[st.floats(0, 50)] * 2), st.tuples(*[st.floats(0.01, 49)] * 2), st.integers(1, 90))
def test_a_part_is_drawn_without_a_pixel_from_outside(corner, sides, side):
    x1, y1 = corner
    box = Box(x1, y1, x1 + sides[0], y1 + sides[1])
    image = Image.new("RGB", (100, 100), "red")
    image.paste("blue", (math.floor(x1), math.floor(y1), math.ceil(box.x2), math.ceil(box.y2)))
    assert imaging.resized(image, Size(side, side), box).getcolors() == [(side * side, (0, 0, 255))]


@given(st.builds(Size, st.integers(2, 60), st.integers(2, 60)), boxes)
def test_a_box_of_whole_pixels_is_cut_first(size, box):
    image = photo(size.width, size.height)
    box = imaging.snap(box, size)
    part = image.crop((box.x1, box.y1, box.x2, box.y2))
    assert imaging.resized(image, Size(17, 9), box).tobytes() == imaging.resized(part, Size(17, 9)).tobytes()


@pytest.mark.parametrize("box", [Box(0, 0, 11, 5), Box(-1, 0, 5, 5), Box(3, 3, 3, 5), Box(0, 0, math.nan, 5)])
def test_a_box_outside_is_refused(box):
    with pytest.raises(ImageError, match="not inside an image of 10 x 10 pixels"):
        imaging.resized(photo(10, 10), Size(4, 4), box)


def quarters() -> Image.Image:
    image = Image.new("RGB", (400, 400))
    for x, y, color in ((0, 0, "red"), (200, 0, "lime"), (0, 200, "blue"), (200, 200, "white")):
        image.paste(color, (x, y, x + 200, y + 200))
    return image


@pytest.mark.parametrize(
    ("box", "color"),
    [
        (Box(0, 0, 200, 200), (255, 0, 0)), (Box(200, 0, 400, 200), (0, 255, 0)),
        (Box(0, 200, 200, 400), (0, 0, 255)), (Box(200, 200, 400, 400), (255, 255, 255)),
    ],
)  # fmt: skip
def test_a_cut_shows_the_box_and_nothing_else(box, color):
    assert imaging.cut(quarters(), box, BUDGET).getcolors() == [(128 * 128, color)]


def test_region_box_is_the_grown_union():
    evidence = [Box(100, 100, 140, 120), Box(160, 140, 200, 200)]
    assert imaging.region_box(evidence, Size(1000, 1000)) == Box(75, 75, 225, 225)


def test_region_box_has_a_least_side():
    box = imaging.region_box([Box(500, 500, 504, 504)], Size(1000, 1000))
    assert (box.width, box.height) == (32, 32)
    assert box.covers(Box(500, 500, 504, 504)) == 1


def test_region_box_needs_evidence():
    with pytest.raises(UsageError, match="evidence"):
        imaging.region_box([], Size(100, 100))


# overlay, encoding


def test_overlay_draws_around_the_box_on_a_copy():
    image = imaging.grey(Size(1000, 800))
    box = Box(400, 300, 500, 400)
    drawn = imaging.overlay(image, box)
    changed = ImageChops.difference(image, drawn).getbbox()
    assert drawn.crop((400, 300, 500, 400)).getcolors() == [(100 * 100, (128, 128, 128))]
    assert changed == (392, 292, 508, 408)
    assert drawn.getpixel((394, 350)) == (255, 0, 0)
    assert image.getcolors() == [(1000 * 800, (128, 128, 128))]


@given(st.builds(Size, st.integers(2, 300), st.integers(2, 300)), boxes)
def test_overlay_takes_any_box(size, box):
    assert imaging.overlay(imaging.grey(size), box).size == (size.width, size.height)


def test_encode_is_sharp_jpeg_and_lossless_png():
    image = photo(64, 48)
    jpeg, png = imaging.encode(image), imaging.encode(image, "image/png")
    with Image.open(io.BytesIO(jpeg)) as found:
        assert (found.format, found.size) == ("JPEG", (64, 48))
        assert [layer[1:3] for layer in found.layer] == [(1, 1)] * 3
    assert imaging.open_image(png).tobytes() == image.tobytes()
    assert imaging.encode(image) == jpeg


@pytest.mark.parametrize("most", [2_000, 20_000, 10**9])
def test_a_jpeg_within_a_limit_is_as_good_as_the_limit_lets_it(most):
    image = photo(120, 120)
    data = imaging.jpeg_within(image, most)
    worst, best = (encoded(image, "JPEG", quality=quality, subsampling=0) for quality in (26, 92))
    if most == 2_000:
        assert data == worst
    else:
        assert len(worst) < len(data) <= most
    assert (data == best) == (most == 10**9)


def test_encode_refuses_other_types():
    with pytest.raises(UsageError, match="image/gif"):
        imaging.encode(photo(4, 4), "image/gif")


def test_sha256_and_grey():
    assert imaging.sha256(b"abc") == hashlib.sha256(b"abc").hexdigest()
    assert imaging.grey(Size(3, 2)).getcolors() == [(6, (128, 128, 128))]


# reading files


def png_bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def just_over_the_limit() -> bytes:
    data = bytearray(encoded(Image.new("1", (8, 8)), "PNG"))
    data[16:24] = struct.pack(">II", 20_000, 10_001)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def broken_files() -> dict[str, bytes]:
    png, jpeg = encoded(photo(80, 60), "PNG"), encoded(photo(80, 60), "JPEG")
    damaged = bytearray(png)
    damaged[60:90] = bytes(30)
    return {
        "empty": b"",
        "text": b"this is no image",
        "truncated png": png[: len(png) // 2],
        "truncated jpeg": jpeg[: len(jpeg) // 2],
        "header only": png[:33],
        "damaged png": bytes(damaged),
        "bomb": png_bomb(),
        "over the limit": just_over_the_limit(),
        "one pixel": encoded(photo(1, 1), "PNG"),
        "one pixel wide": encoded(photo(1, 50), "PNG"),
        "32-bit grey": encoded(Image.new("F", (8, 8)), "TIFF"),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }


@pytest.mark.parametrize("name", broken_files())
def test_a_bad_image_is_one_clear_error(name, tmp_path):
    path = tmp_path / "bad.img"
    path.write_bytes(broken_files()[name])
    for source in (path, str(path), path.read_bytes()):
        with pytest.raises(ImageError) as caught:
            imaging.open_image(source)
        assert "\n" not in str(caught.value)
        assert "image" in str(caught.value)


def test_a_huge_image_is_named_as_such(tmp_path):
    for data in (png_bomb(), just_over_the_limit()):
        with pytest.raises(ImageError, match="200,000,000 pixels"):
            imaging.open_image(data)


@pytest.mark.parametrize("name", ["missing.png", ".", "missing/image.png", "nul\0byte.png"])
def test_an_unreadable_path_is_an_image_error(name, tmp_path):
    with pytest.raises(ImageError, match="cannot be read"):
        imaging.open_image(tmp_path / name)


damages = st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=20))


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(damages, st.sampled_from(("PNG", "JPEG", "GIF", "WEBP", "TIFF")))
def test_damage_ends_in_an_image_or_an_image_error(damage, kind):
    data = encoded(photo(24, 16), kind)
    at, junk = damage[0] % len(data), damage[1]
    modes = []
    with suppress(ImageError):
        modes.append(imaging.open_image(data[:at] + junk + data[at + len(junk) :]).mode)
    assert modes in ([], ["RGB"])


def test_a_path_a_string_and_bytes_read_alike(tmp_path):
    path: Path = tmp_path / "a.png"
    photo(20, 10).save(path)
    pixels = {imaging.open_image(source).tobytes() for source in (path, str(path), path.read_bytes())}
    assert pixels == {photo(20, 10).tobytes()}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.new("RGB", (60, 40), "blue")
    image.paste("red", (0, 0, 20, 20))
    opened = imaging.open_image(encoded(image, "JPEG", exif=exif, quality=95))
    corner = {1: (5, 5), 2: (55, 5), 3: (55, 35), 4: (5, 35), 5: (5, 5), 6: (35, 5), 7: (35, 55), 8: (5, 55)}
    assert opened.size == ((60, 40) if orientation < 5 else (40, 60))
    red, _, blue = opened.getpixel(corner[orientation])
    assert red > 200 > 60 > blue


@settings(max_examples=40)
@given(st.integers(160, 900), st.integers(160, 900), st.integers(20, 300), st.sampled_from(("JPEG", "PNG")))
def test_a_quick_look_keeps_the_picture_and_its_least_sides(width, height, least, kind):
    whole = Image.linear_gradient("L").resize((width, height))
    seen = imaging.open_image(encoded(whole, kind), least)
    assert seen.width >= min(least, width)
    assert seen.height >= min(least, height)
    if kind == "PNG" or least > min(width, height) // 2:
        assert seen.size == whole.size
    elif least <= min(width, height) // 8:
        assert seen.size == (-(-width // 8), -(-height // 8))
    assert seen.resize((1, 1)).getpixel((0, 0))[0] == pytest.approx(whole.resize((1, 1)).getpixel((0, 0)), abs=12)


def test_a_quick_look_is_turned_upright_too():
    whole = Image.new("RGB", (800, 400))
    whole.paste("white", (0, 0, 400, 400))
    exif = Image.Exif()
    exif[0x0112] = 6
    seen = imaging.open_image(encoded(whole, "JPEG", exif=exif), 100)
    assert seen.size == (100, 200)
    assert seen.getpixel((50, 50)) > (200, 200, 200)
    assert seen.getpixel((50, 150)) < (50, 50, 50)


# what the store holds


def clean_files() -> dict[str, bytes]:
    image = photo(60, 40)
    exif = Image.Exif()
    exif[0x0112] = 1
    return {
        "jpeg": encoded(image, "JPEG"),
        "jpeg with exif": encoded(image, "JPEG", exif=exif),
        "grey jpeg": encoded(image.convert("L"), "JPEG"),
        "png": encoded(image, "PNG"),
        "png with exif": encoded(image, "PNG", exif=exif),
        "palette": encoded(image.quantize(16), "PNG"),
        "webp": encoded(image, "WEBP"),
        "gif": encoded(image.quantize(16), "GIF"),
    }


def other_files() -> dict[str, bytes]:
    image = photo(60, 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "turned jpeg": encoded(image, "JPEG", exif=exif),
        "turned png": encoded(image, "PNG", exif=exif),
        "alpha": encoded(image.convert("RGBA"), "PNG"),
        "palette with a clear colour": encoded(image.quantize(16), "PNG", transparency=3),
        "cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "16 bits": encoded(Image.new("I;16", (60, 40), 40_000), "PNG"),
        "animation": encoded(image, "GIF", save_all=True, append_images=[photo(60, 40).rotate(180)]),
        "moving webp": encoded(image, "WEBP", save_all=True, append_images=[Image.new("RGB", (60, 40))]),
        "bmp": encoded(image, "BMP"),
        "tiff": encoded(image, "TIFF"),
    }


def rgb_of_16_bits() -> bytes:
    """A PNG that Pillow reads, but cannot write."""
    rows = b"".join(b"\0" + struct.pack(">9H", *[60_000, 300, 7] * 3) for _ in range(4))
    header = struct.pack(">IIBBBBB", 3, 4, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("name", clean_files())
def test_a_clean_file_stays_as_it_is(name):
    data = clean_files()[name]
    found = imaging.clean_bytes(data)
    assert found.data == data
    assert (found.media_type, found.size) == (Image.open(io.BytesIO(data)).get_format_mimetype(), Size(60, 40))


@pytest.mark.parametrize("name", [*other_files(), "deep colour"])
def test_any_other_file_becomes_what_is_read_of_it(name):
    data = other_files().get(name) or rgb_of_16_bits()
    found = imaging.clean_bytes(data)
    picture = imaging.open_image(data)
    assert (found.media_type, found.size) == ("image/png", Size(*picture.size))
    assert found.data != data
    assert imaging.clean_bytes(found.data) == found
    assert imaging.open_image(found.data).tobytes() == picture.tobytes()


@pytest.mark.parametrize("name", [*clean_files(), *other_files()])
def test_a_thumbnail_is_the_image_made_small(name):
    data = (clean_files() | other_files())[name]
    whole = imaging.open_image(data)
    found = imaging.thumbnail(data, 30)
    small = imaging.open_image(found.data)
    assert found.size == Size(*whole.size)
    assert small.size == ((30, 20) if whole.width > whole.height else (20, 30))
    reduced = whole.resize(small.size, Image.Resampling.BOX)
    difference = [abs(a - b) for a, b in zip(small.tobytes(), reduced.tobytes(), strict=True)]
    assert sum(difference) / len(difference) < 30


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_thumbnail_is_not_made_of_a_cut_file(kind):
    data = encoded(photo(400, 300), kind)
    for length in (len(data) // 2, len(data) - 60):
        with pytest.raises(ImageError, match="broken or cut short"):
            imaging.thumbnail(data[:length], 96)


@pytest.mark.parametrize("name", broken_files())
def test_a_bad_file_is_not_clean(name):
    with pytest.raises(ImageError) as caught:
        imaging.thumbnail(imaging.clean_bytes(broken_files()[name]).data, 96)
    assert "\n" not in str(caught.value)


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    clear.putpixel((0, 0), (255, 0, 0, 255))
    for data in (encoded(clear, "PNG"), encoded(clear, "WEBP", lossless=True), encoded(clear, "GIF")):
        opened = imaging.open_image(data)
        assert (opened.getpixel((0, 0)), opened.getpixel((3, 3))) == ((255, 0, 0), (255, 255, 255))


def test_a_palette_becomes_its_colours():
    image = quarters().convert("P", palette=Image.Palette.ADAPTIVE)
    assert imaging.open_image(encoded(image, "PNG")).getpixel((300, 10)) == (0, 255, 0)


def test_a_cmyk_jpeg_becomes_rgb():
    opened = imaging.open_image(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    red, green, blue = opened.getpixel((8, 8))
    assert opened.mode == "RGB"
    assert red > 240
    assert max(green, blue) < 16


@pytest.mark.parametrize(("value", "wanted"), [(0, 0), (255, 0), (32_768, 128), (65_535, 255)])
def test_16_bit_grey_keeps_its_range(value, wanted):
    image = Image.frombytes("I;16", (4, 4), struct.pack("<H", value) * 16)
    for kind in ("PNG", "TIFF"):
        assert imaging.open_image(encoded(image, kind)).getcolors() == [(16, (wanted,) * 3)]


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert imaging.open_image(data).getcolors() == [(64, (255, 0, 0))]


def test_notes_of_the_source_do_not_reach_what_is_encoded():
    exif = Image.Exif()
    exif[0x010E] = "a title"
    notes = {"icc_profile": b"profile", "dpi": (300, 300), "exif": exif, "comment": b"a remark"}
    for kind in ("PNG", "JPEG", "WEBP"):
        noted, plain = encoded(photo(8, 8), kind, **notes), encoded(photo(8, 8), kind)
        assert noted != plain
        for media_type in ("image/jpeg", "image/png"):
            ways = [imaging.encode(imaging.open_image(data), media_type) for data in (noted, plain)]
            assert ways[0] == ways[1]


SIZE = Size(60, 40)


def oriented(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (encoded(photo(60, 40), "JPEG"), "image/jpeg"),
        (encoded(photo(60, 40).convert("L"), "JPEG", exif=oriented(1)), "image/jpeg"),
        (encoded(photo(60, 40), "PNG"), "image/png"),
        (encoded(photo(60, 40).convert("P"), "PNG"), "image/png"),
        (encoded(photo(60, 40), "WEBP"), "image/webp"),
        (encoded(photo(60, 40).convert("P"), "GIF"), "image/gif"),
        (encoded(photo(60, 40), "BMP"), None),
        (encoded(photo(60, 41), "JPEG"), None),
        (encoded(photo(60, 40), "JPEG", exif=oriented(3)), None),
        (encoded(photo(60, 40), "PNG", exif=oriented(2)), None),
        (encoded(photo(60, 40).convert("CMYK"), "JPEG"), None),
        (encoded(photo(60, 40).convert("RGBA"), "PNG"), None),
        (encoded(photo(60, 40).convert("LA"), "PNG"), None),
        (encoded(photo(60, 40).convert("P"), "PNG", transparency=0), None),
        (encoded(Image.frombytes("I;16", (60, 40), bytes(4800)), "PNG"), None),
        (encoded(photo(60, 40), "GIF", save_all=True, append_images=[photo(40, 60).resize((60, 40))]), None),
        (encoded(photo(60, 40), "WEBP", save_all=True, append_images=[imaging.grey(SIZE)]), None),
        (encoded(photo(60, 40), "PNG", save_all=True, append_images=[imaging.grey(SIZE)]), None),
    ],
)
def test_only_what_every_reader_reads_alike_is_sent_as_it_is(data, media_type):
    assert imaging.sendable(data, SIZE) == media_type
    if media_type:
        with Image.open(io.BytesIO(data)) as theirs:
            assert theirs.convert("RGB").tobytes() == imaging.open_image(data).tobytes()


def test_a_png_that_says_after_its_pixels_how_it_is_turned_is_not_sent_as_it_is():
    plain, noted = encoded(photo(60, 40), "PNG"), encoded(photo(60, 40), "PNG", exif=oriented(3))
    start = noted.index(b"eXIf") - 4
    chunk = noted[start : start + 12 + int.from_bytes(noted[start : start + 4], "big")]
    late = plain[:-12] + chunk + plain[-12:]
    assert imaging.open_image(late).tobytes() == photo(60, 40).transpose(Image.Transpose.ROTATE_180).tobytes()
    assert imaging.sendable(late, SIZE) is None
    assert imaging.sendable(plain, SIZE) == "image/png"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_whether_it_is_sent_is_told_by_the_header(kind, monkeypatch):
    """A large image that nobody decodes takes no memory."""
    data = encoded(photo(60, 40), kind)

    def load(image):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert imaging.sendable(data, SIZE)


@pytest.mark.parametrize(
    ("data", "copies"),
    [
        (encoded(photo(60, 40), "JPEG"), 1),
        (encoded(photo(60, 40), "PNG"), 1),
        (encoded(photo(60, 40), "JPEG", exif=oriented(6)), 3),
        (encoded(photo(60, 40).convert("RGBA"), "PNG"), 3),
        (encoded(photo(60, 40), "WEBP"), 4),
    ],
)
def test_the_header_tells_how_much_memory_an_image_takes(data, copies):
    assert imaging.footprint(data) == (copies * 60 * 40 * 4, 60 * 40 * 4)


@pytest.mark.parametrize("data", [b"", b"no image", png_bomb()])
def test_what_is_no_image_has_no_footprint(data):
    with pytest.raises(ImageError):
        imaging.footprint(data)


def test_a_large_image_is_not_copied_to_become_rgb():
    for kind in ("JPEG", "PNG", "WEBP", "BMP"):
        with Image.open(io.BytesIO(encoded(photo(16, 16), kind))) as image:
            image.load()
            rgb = imaging._as_rgb(image)
            assert rgb.im is image.im, kind
        assert type(rgb) is Image.Image, "its decoder would stay in memory"


def test_an_opened_image_keeps_no_file(tmp_path):
    path = tmp_path / "a.png"
    photo(8, 8).save(path)
    image = imaging.open_image(path)
    path.unlink()
    assert image.resize((4, 4)).size == (4, 4)
