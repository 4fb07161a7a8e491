"""The one home of pixel conventions: reading images, sizes, boxes, crops and encodings.

Boxes are xyxy pixels with x2 and y2 exclusive. What is enlarged is enlarged by Lanczos, what is reduced by bicubic over
the whole area (no reducing gap).
"""

from __future__ import annotations

import hashlib
import io
import math
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, Image, ImageDraw, ImageFile, ImageOps

from zoomgap.errors import ImageError, UsageError
from zoomgap.geometry import Box, Size

ENLARGE, REDUCE = Image.Resampling.LANCZOS, Image.Resampling.BICUBIC
DRAWING = 1
"""Of what resized(), turned() and encode() make: a new number whenever their pixels or bytes change."""
PLACES = 400
"""How many places are tried for a box that is to lie elsewhere."""
MAX_PIXELS = 200_000_000
MIN_SIDE = 2
MAX_ASPECT = 200
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is read. Pillow's other formats are left out: some start outside programs."""
CLEAN_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
"""What every server and processor reads."""
PNG_NOTES = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
"""Marks of the parts of a PNG that can say how it is turned."""
BYTES_A_PIXEL = 4
"""What Pillow takes for a pixel of RGB."""

# Pillow's own limit of 89 MP lies below ours; between ours and twice ours it only warns, and open_image() refuses.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class Encoded(NamedTuple):
    """An image file, with its size in pixels, upright."""

    data: bytes
    media_type: str
    size: Size


def open_image(source: Path | str | bytes, least: int | None = None) -> Image.Image:
    """Read an image file, or its bytes, as 8-bit RGB.

    EXIF orientation is applied, alpha is laid on white, 16-bit grey keeps its upper 8 bits, and an animation gives its
    first frame. least: where the look alone counts, a JPEG may come at a half, a quarter or an eighth of its size as
    long as both sides keep so many pixels, which is quick. Raises ImageError for what is missing, broken, empty or
    truncated, for a side under 2 px and for more than MAX_PIXELS.
    """
    with _opened(source) as (_, image):
        if least is not None:
            image.draft(None, (least, least))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _as_rgb(image)


def clean_bytes(source: Path | str | bytes) -> Encoded:
    """An image file that shows the same to everyone: upright, one frame of 8 bits, no alpha, CLEAN_FORMATS.

    A file that is all this already stays as it is, byte for byte; of any other, what open_image() reads of it is
    written as PNG. What the store holds is made so, and may be sent to a model as it is. Raises ImageError as
    open_image() does, but of a file that stays only the head is read: a cut one is noticed when it is decoded.
    """
    with _opened(source) as (data, image):
        if _is_clean(image, data):
            return Encoded(data, _media_type(image), Size(*image.size))
    picture = open_image(source)
    return Encoded(encode(picture, "image/png"), "image/png", Size(*picture.size))


def thumbnail(source: bytes | Image.Image, side: int) -> Encoded:
    """A JPEG of an image, its longer side at most `side` px; `size` is that of the image, upright.

    source: an encoded image, or one that open_image() gave. The whole file is read, so it raises as open_image() does;
    but a JPEG is decoded no larger than it has to be.
    """
    if isinstance(source, Image.Image):
        return Encoded(encode(_small(source, side), quality=70), "image/jpeg", Size(*source.size))
    with _opened(source) as (_, image):
        size = Size(*image.size)
        image.draft("RGB", (2 * side, 2 * side))
        image.load()
        if image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8):
            size = size.turned(90)
        ImageOps.exif_transpose(image, in_place=True)
        return Encoded(encode(_small(_as_rgb(image), side), quality=70), "image/jpeg", size)


def _small(image: Image.Image, side: int) -> Image.Image:
    scale = min(1, side / max(image.size))
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), REDUCE, reducing_gap=2.0)


def stated_size(data: bytes) -> Size:
    """The size in an encoded image's header, before its orientation is applied. Raises ImageError as open_image()."""
    with _opened(data) as (_, image):
        return Size(*image.size)


class Footprint(NamedTuple):
    """Bytes of memory that open_image() takes: while it decodes, and for what it gives."""

    decoding: int
    decoded: int


def footprint(data: bytes) -> Footprint:
    """What an encoded image will take, by its header. Raises ImageError for what is no image."""
    with _opened(data) as (_, image):
        decoded = image.width * image.height * BYTES_A_PIXEL
        plain = image.mode == "RGB" and not _is_turned(image, data)
        # WebP's decoder has two canvases of its own; others are converted or turned once or twice.
        return Footprint(decoded * (4 if image.format == "WEBP" else 1 if plain else 3), decoded)


def sendable(data: bytes, size: Size) -> str | None:
    """The media type of an encoded image of `size` that any server reads as open_image() does, else None.

    What clean_bytes() made is so; databases of earlier versions hold other images too. Raises ImageError as
    clean_bytes().
    """
    with _opened(data) as (_, image):
        return _media_type(image) if _is_clean(image, data) and image.size == (size.width, size.height) else None


@contextmanager
def _opened(source: Path | str | bytes) -> Iterator[tuple[bytes, ImageFile.ImageFile]]:
    """The bytes and the image, of which only the head is read yet; errors as open_image() says."""
    name = f"image of {len(source)} bytes" if isinstance(source, bytes) else f"image {source}"
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(f"{name} cannot be read ({reason}): give the path of an image file") from error
    if not data:
        raise ImageError(f"{name} is empty: give a {', '.join(FORMATS)} file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(name, image)
            yield data, image
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} has over {MAX_PIXELS:,} pixels: reduce it first") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{name} is no image that can be read: give a {', '.join(FORMATS)} file") from error
    except Exception as error:  # Pillow's decoders raise a dozen unrelated types on broken data
        detail = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name} is broken or cut short ({detail}): replace the file") from error


def _is_clean(image: ImageFile.ImageFile, data: bytes) -> bool:
    if image.format not in CLEAN_FORMATS or image.mode not in ("RGB", "L", "P", "1") or image.has_transparency_data:
        return False
    if image.format == "PNG" and data[24] > 8:  # bits a sample, which Pillow reduces without a word
        return False
    return not _is_turned(image, data) and getattr(image, "n_frames", 1) == 1


def _is_turned(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Whether it says that it is to be shown otherwise than it lies."""
    # Of a PNG, getexif() decodes the pixels to look behind them.
    noted = image.format != "PNG" or any(mark in data for mark in PNG_NOTES)
    return noted and image.getexif().get(ExifTags.Base.Orientation, 1) != 1


def _media_type(image: ImageFile.ImageFile) -> str:
    return f"image/{str(image.format).lower()}"


def _check(name: str, image: Image.Image) -> None:
    size = Size(*image.size)
    if size.pixels > MAX_PIXELS:
        raise ImageError(f"{name} is {size.width} x {size.height}, over {MAX_PIXELS:,} pixels: reduce it first")
    if min(size.width, size.height) < MIN_SIDE:
        raise ImageError(f"{name} is {size.width} x {size.height}: both sides must be at least {MIN_SIDE} pixels")
    if image.mode in ("I", "F") and not _is_deep(image):
        raise ImageError(f"{name} has 32-bit pixels (mode {image.mode}) of no known range: save it with 8 or 16 bits")


def _is_deep(image: Image.Image) -> bool:
    """Whether it is grey of 16 bits."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")


def _as_rgb(image: Image.Image) -> Image.Image:
    """The loaded image as RGB, without its file; one that is RGB is not copied."""
    if _is_deep(image):
        rgb = image.convert("I").point(lambda value: value * (1 / 256)).convert("RGB")
    elif image.has_transparency_data:
        layer = image.convert("RGBA")
        rgb = Image.new("RGB", layer.size, "white")
        rgb.paste(layer, mask=layer)
    else:
        # What _new() gives has the same pixels, and neither the file nor its decoder, which may be as large as they.
        rgb = image._new(image.im) if image.mode == "RGB" else image.convert("RGB")
    # Comments and profiles of the source would otherwise travel into what is encoded, and into its hash.
    rgb.info = {}
    return rgb


def fit_size(size: Size, max_pixels: int, factor: int = 32, min_pixels: int | None = None) -> Size:
    """Size that an image of `size` gets within a pixel budget; both sides are multiples of `factor`.

    The rule is `smart_resize` of Qwen-VL: sides to the nearest multiple; over max_pixels scaled by the square root of
    the area ratio and floored, under min_pixels scaled and ceiled. Added to it: max_pixels always holds, for very long
    images too, no side is over MAX_ASPECT times the other, and min_pixels equal to max_pixels fills the budget, by
    nearest multiples where they fit, else by lower ones, so that the result depends on the shape alone. Raises
    ImageError for an aspect ratio over 200, UsageError for a budget under factor x factor.
    """
    if max_pixels < factor * factor:
        raise UsageError(f"a budget of {max_pixels} pixels is under one patch: give at least {factor * factor}")
    if min(size.width, size.height) < 1:
        raise ImageError(f"an image of {size.width} x {size.height} has no pixels: both sides must be at least 1")
    if max(size.width, size.height) > MAX_ASPECT * min(size.width, size.height):
        raise ImageError(f"an image of {size.width} x {size.height} is over {MAX_ASPECT} times as long: cut it first")
    floor = _multiples(size, max_pixels, factor, math.floor)
    if min_pixels is not None and min_pixels >= max_pixels:
        tries = [_multiples(size, max_pixels, factor, round)]
    else:
        nearest = _multiples(size, size.pixels, factor, round)
        small = min_pixels is not None and nearest.pixels < min_pixels
        tries = [_multiples(size, min_pixels or 0, factor, math.ceil) if small else nearest]
    fitted = next((found for found in tries if found.pixels <= max_pixels), floor)
    # A side at `factor` cannot shrink further, and rounding it down can make the other over MAX_ASPECT times as long.
    shortest = min(fitted.width, fitted.height)
    longest = min(MAX_ASPECT * shortest, max_pixels // (shortest * factor) * factor)
    return Size(min(fitted.width, longest), min(fitted.height, longest))


def _multiples(size: Size, pixels: int, factor: int, rounding: Callable[[float], int]) -> Size:
    """`size` scaled to an area of `pixels`, each side rounded to a multiple of `factor`, at least one."""
    # One division and one root: exact whenever the true side is a whole number, so floor never loses a patch.
    width = math.sqrt(size.width * pixels / size.height) / factor
    height = math.sqrt(size.height * pixels / size.width) / factor
    return Size(max(rounding(width), 1) * factor, max(rounding(height), 1) * factor)


def fit(image: Image.Image, max_pixels: int, factor: int = 32, min_pixels: int | None = None) -> Image.Image:
    """The image resized to fit_size()."""
    return resized(image, fit_size(Size(*image.size), max_pixels, factor, min_pixels))


def resized(image: Image.Image, size: Size, box: Box | None = None) -> Image.Image:
    """The pixels of `box`, default all, at `size`. Of pixels that the box cuts through a part counts.

    No pixel outside is read. Raises ImageError for a box that is empty or not inside the image.
    """
    box = box or Box(0, 0, *image.size)
    if not box.area > 0 or box != box.clamped(*image.size):
        raise ImageError(f"box {box.as_list()} is not inside an image of {image.width} x {image.height} pixels")
    x1, y1 = math.floor(box.x1), math.floor(box.y1)
    outer = (x1, y1, math.ceil(box.x2), math.ceil(box.y2))
    part = image if outer == (0, 0, *image.size) else image.crop(outer)
    inner = box.shifted(-x1, -y1)
    return part.resize(
        (size.width, size.height),
        ENLARGE if size.pixels > box.area else REDUCE,
        box=(inner.x1, inner.y1, inner.x2, inner.y2),
        reducing_gap=None,
    )


def view_size(size: Size, max_pixels: int, factor: int = 32) -> Size:
    """Size at which an original of `size` is shown whole: its own within the budget, else that of fit_size().

    So is one with a side under `factor`, of which some processors make nothing. Raises ImageError and UsageError as
    fit_size() does.
    """
    fitted = fit_size(size, max_pixels, factor)
    return size if size.pixels <= max_pixels and min(size.width, size.height) >= factor else fitted


def scale_of(size: Size, max_pixels: int, factor: int = 32) -> float:
    """View pixels per original pixel (a length) of an image of `size` at that budget."""
    return math.sqrt(view_size(size, max_pixels, factor).pixels / size.pixels)


def snap(box: Box, size: Size, min_side: float = 1) -> Box:
    """The box that is really cut: whole pixels, inside an image of `size`, never empty.

    A box with a side under min_side grows about its centre, aspect kept, until that side has it; edges are rounded
    outwards; a box over the edge is shifted inside, one larger than the image is clamped; a box over 200 times as long
    as wide is widened. Applying it twice changes nothing. Raises ImageError for coordinates that are not finite, or
    beyond any image.
    """
    if not all(abs(value) <= 1e9 for value in box.as_list()):
        raise ImageError(f"box {box.as_list()} has a coordinate that no image has: give four pixel coordinates")
    left, right = sorted((box.x1, box.x2))
    top, bottom = sorted((box.y1, box.y2))
    short = min(max(right - left, 1), max(bottom - top, 1))
    grow = max(min(min_side, size.width, size.height) / short, 1)
    x1, x2 = _outwards(left, right, grow)
    y1, y2 = _outwards(top, bottom, grow)
    width, height = x2 - x1, y2 - y1
    x1, x2 = _inside(x1, width, max(width, -(-min(height, size.height) // MAX_ASPECT)), size.width)
    y1, y2 = _inside(y1, height, max(height, -(-min(width, size.width) // MAX_ASPECT)), size.height)
    return Box(x1, y1, x2, y2)


def _outwards(low: float, high: float, grow: float) -> tuple[int, int]:
    """Whole-pixel interval around [low, high], at least 1 px long, after multiplying its length by `grow`."""
    if high - low >= 1 and grow == 1:
        return math.floor(low), math.ceil(high)
    center, length = (low + high) / 2, max(high - low, 1) * grow
    start = math.floor(center - length / 2)
    return start, max(math.ceil(center + length / 2), start + math.ceil(length))


def _inside(start: int, length: int, wanted: int, limit: int) -> tuple[int, int]:
    """An interval of `wanted` pixels about the middle of the given one, shifted into [0, limit]."""
    wanted = min(wanted, limit)
    start = min(max(start - (wanted - length) // 2, 0), limit - wanted)
    return start, start + wanted


def cut(image: Image.Image, box: Box, max_pixels: int, factor: int = 32, min_pixels: int | None = None) -> Image.Image:
    """The pixels of `box` (snapped) at cut_size()."""
    box = snap(box, Size(*image.size))
    return resized(image, cut_size(box, max_pixels, factor, min_pixels), box)


def cut_size(box: Box, max_pixels: int, factor: int = 32, min_pixels: int | None = None) -> Size:
    """Size of the crop of a snapped box: enlarged to at least min_pixels and reduced to at most max_pixels.

    Without min_pixels it fills max_pixels. Otherwise as fit_size().
    """
    least = max_pixels if min_pixels is None else min_pixels
    return fit_size(Size(int(box.width), int(box.height)), max_pixels, factor, least)


def turned(image: Image.Image, degrees: int) -> Image.Image:
    """The image turned clockwise by 0, 90, 180 or 270 degrees."""
    turns = (None, Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90)
    method = turns[degrees // 90 % 4]
    return image if method is None else image.transpose(method)


def elsewhere(box: Box, size: Size, avoid: Sequence[Box], seed: str) -> Box:
    """A place for a snapped box in an image of `size` that touches none of `avoid`, or least of them where there is no
    room (of PLACES random ones). The same seed gives the same place."""
    width, height = int(box.width), int(box.height)
    draw = random.Random(f"elsewhere {seed}")
    best, touched = box, math.inf
    for _ in range(PLACES):
        x, y = draw.randint(0, size.width - width), draw.randint(0, size.height - height)
        place = Box(x, y, x + width, y + height)
        shared = sum(place.intersection(other) for other in avoid)
        if shared < touched:
            best, touched = place, shared
        if not shared:
            break
    return best


def region_box(evidence: Sequence[Box], size: Size, grow: float = 1.5, min_side: int = 32) -> Box:
    """The snapped box around all evidence, its sides multiplied by `grow`, at least min_side pixels.

    Raises UsageError without evidence.
    """
    if not evidence:
        raise UsageError("a region needs at least one evidence box: this sample has none, leave it out of this arm")
    union = Box(
        min(box.x1 for box in evidence), min(box.y1 for box in evidence),
        max(box.x2 for box in evidence), max(box.y2 for box in evidence),
    )  # fmt: skip
    return snap(union.grown(grow), size, min_side)


def overlay(image: Image.Image, box: Box, grow: float = 1.05) -> Image.Image:
    """A copy with a red rectangle around `box` grown by `grow`; its line is 5 px at 1,000 px of the longer side.

    The line lies outside the grown box, so that it hides nothing of it, except at the image's edge.
    """
    line = max(2, round(5 * max(image.size) / 1000))
    outer = box.grown(grow)
    outer = Box(outer.x1 - line, outer.y1 - line, outer.x2 + line, outer.y2 + line)
    edge = snap(outer.clamped(image.width, image.height), Size(*image.size))
    drawn = image.copy()
    ImageDraw.Draw(drawn).rectangle((edge.x1, edge.y1, edge.x2 - 1, edge.y2 - 1), outline=(255, 0, 0), width=line)
    return drawn


def encode(image: Image.Image, media_type: str = "image/jpeg", quality: int = 95) -> bytes:
    """Encoded bytes: JPEG of that quality without chroma subsampling, or PNG. Raises UsageError for another type."""
    buffer = io.BytesIO()
    if media_type == "image/jpeg":
        image.save(buffer, "JPEG", quality=quality, subsampling=0)
    elif media_type == "image/png":
        image.save(buffer, "PNG")
    else:
        raise UsageError(f"media type {media_type!r} cannot be written: use image/jpeg or image/png")
    return buffer.getvalue()


def jpeg_within(image: Image.Image, most: int, quality: int = 92) -> bytes:
    """JPEG without chroma subsampling, at `quality`, lower where it would pass `most` bytes; over it if that is not
    enough at the least quality."""
    for lower in range(quality, 20, -6):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=lower, subsampling=0)
        if buffer.tell() <= most:
            break
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    """Hex sha256: the name of an image everywhere."""
    return hashlib.sha256(data).hexdigest()


def grey(size: Size) -> Image.Image:
    """Uniform mid-grey: what `no-image` shows."""
    return Image.new("RGB", (size.width, size.height), (128, 128, 128))
