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
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image, ImageChops

from zoomgap import imaging
from zoomgap.errors import ImageError, UsageError
from zoomgap.geometry import Box, Frame, Size

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


@given(sizes, st.integers(1024, 4_000_000), factors)
def test_fit_size_is_idempotent(size, budget, factor):
    once = imaging.fit_size(size, budget, factor)
    assume(max(once.width, once.height) <= 200 * min(once.width, once.height))
    assert imaging.fit_size(once, budget, factor) == once


@given(sizes, st.integers(40_000, 2_000_000), factors, st.integers(1, 30_000))
def test_fit_size_is_smart_resize_where_that_keeps_the_budget(size, budget, factor, least):
    height, width = smart_resize(size.height, size.width, factor, least, budget)
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


@given(sizes)
def test_scale_is_the_root_of_the_pixel_ratio(size):
    scale = imaging.scale_of(size, 65_536)
    assert scale**2 * size.pixels == pytest.approx(imaging.fit_size(size, 65_536).pixels)


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


@given(st.builds(Size, st.integers(33, 400), st.integers(33, 400)), boxes, st.sampled_from((4096, BUDGET)), factors)
def test_both_cuts_have_the_same_size_within_the_budget(size, box, budget, factor):
    image = imaging.grey(size)
    view = imaging.fit(image, 8192, factor)
    crop = imaging.cut(image, box, budget, factor)
    assert crop.size == imaging.cut_lowres(view, size, box, budget, factor).size
    assert (crop.width % factor, crop.height % factor) == (0, 0)
    assert crop.width * crop.height <= budget


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
def test_both_cuts_show_the_box_and_nothing_else(box, color):
    image = quarters()
    crop = imaging.cut(image, box, BUDGET)
    low = imaging.cut_lowres(imaging.fit(image, 65_536), Size(400, 400), box, BUDGET)
    assert crop.getcolors() == [(128 * 128, color)]
    assert low.getpixel((64, 64)) == color


def test_the_low_resolution_cut_has_the_same_place_but_no_new_pixels():
    stripes = Image.new("L", (1024, 1024))
    stripes.putdata([255 * (x // 2 % 2) for _ in range(1024) for x in range(1024)])
    image = stripes.convert("RGB")
    box = Box(256, 256, 384, 384)
    sharp = imaging.cut(image, box, BUDGET).convert("L").getextrema()
    blurred = imaging.cut_lowres(imaging.fit(image, 65_536), Size(1024, 1024), box, BUDGET).convert("L").getextrema()
    assert sharp == (0, 255)
    assert blurred[1] - blurred[0] < 64


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


@given(st.integers(1, 60), sizes, boxes, boxes)
def test_a_frame_maps_there_and_back(index, size, shown, box):
    shown = imaging.snap(shown, Size(4000, 4000))
    frame = Frame(index, size, shown)
    assert frame.to_original(frame.from_original(box)).as_list() == pytest.approx(box.as_list(), abs=1e-6)
    whole = Box(0, 0, size.width, size.height)
    assert frame.to_original(whole).as_list() == pytest.approx(shown.as_list(), abs=1e-6)


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
    noted = encoded(photo(8, 8), "PNG", icc_profile=b"profile", dpi=(300, 300))
    plain = encoded(photo(8, 8), "PNG")
    for media_type in ("image/jpeg", "image/png"):
        ways = [imaging.encode(imaging.open_image(data), media_type) for data in (noted, plain)]
        assert ways[0] == ways[1]


def test_an_opened_image_keeps_no_file(tmp_path):
    path = tmp_path / "a.png"
    photo(8, 8).save(path)
    image = imaging.open_image(path)
    path.unlink()
    assert image.resize((4, 4)).size == (4, 4)


def test_decoded_images_are_kept_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(imaging, "CACHED_PIXELS", 20_000)
    loaded: list[str] = []
    big = imaging.encode(imaging.grey(Size(100, 100)))
    images = imaging.DecodedImages()

    def load(sha256: str) -> bytes:
        loaded.append(sha256)
        return big

    for sha256 in ("a", "b", "a", "c", "a", "b"):
        images.get(sha256, load)
    assert loaded == ["a", "b", "c", "b"]
