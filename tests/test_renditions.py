from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.memory import MemoryImages
from zoomgap import imaging
from zoomgap.errors import ImageError
from zoomgap.geometry import Box, Size
from zoomgap.records import Rendition
from zoomgap.renditions import Renditions

SIZE = Size(60, 40)
WHOLE = Box(0, 0, 60, 40)


def picture() -> PIL.Image.Image:
    image = PIL.Image.new("RGB", (60, 40), "red")
    image.paste("blue", (30, 0, 60, 40))
    return image


def stored(images: MemoryImages, image: PIL.Image.Image, kind: str = "PNG", **options) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return images.add_image(buffer.getvalue(), f"image/{kind.lower()}", SIZE).sha256


@pytest.fixture
def images() -> MemoryImages:
    return MemoryImages()


def test_what_was_drawn_is_found_by_another_process(images):
    rendition = Rendition(stored(images, picture()), Box(20, 10, 40, 30), Size(64, 64), 90)
    first = Renditions(images)
    info = first.show(rendition)
    assert first.show(rendition) == info
    assert first.counts == (1, 1, 1, 0)
    images.loaded.clear()
    later = Renditions(images)
    assert later.show(rendition) == info
    assert later.counts == (0, 1, 0, 0)
    assert images.loaded == []


def test_fresh_renditions_are_drawn_whatever_is_known(images):
    rendition = Rendition(stored(images, picture()), Box(20, 10, 40, 30), Size(64, 64))
    info = Renditions(images).show(rendition)
    fresh = Renditions(images, fresh=True)
    assert fresh.show(rendition) == fresh.show(rendition) == info
    assert fresh.counts == (2, 0, 1, 0)


def test_a_rendition_shows_its_part_turned(images):
    source = stored(images, picture())
    info = Renditions(images).show(Rendition(source, Box(20, 10, 40, 30), Size(64, 32), 90))
    assert info.size == Size(32, 64)
    drawn = imaging.open_image(images.data[info.sha256])
    assert (drawn.width, drawn.height) == (32, 64)
    # Left is up after a quarter turn clockwise.
    assert drawn.getpixel((16, 5))[0] > 200 > 60 > drawn.getpixel((16, 5))[2]
    assert drawn.getpixel((16, 59))[2] > 200 > 60 > drawn.getpixel((16, 59))[0]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_an_image_shown_as_it_is_is_its_own_rendition(images, kind):
    source = stored(images, picture(), kind)
    renditions = Renditions(images)
    rendition = Rendition(source, WHOLE, SIZE)
    info = renditions.show(rendition)
    assert (info.sha256, info.media_type, info.size) == (source, f"image/{kind.lower()}", SIZE)
    assert renditions.counts == (0, 0, 0, 0)
    assert images.known[rendition] == info


def test_what_readers_would_read_otherwise_is_drawn(images):
    turned = PIL.Image.Exif()
    turned[0x0112] = 3
    clear = picture().convert("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    for source in (
        stored(images, picture(), "JPEG", exif=turned),
        stored(images, clear),
        stored(images, clear, "TIFF"),
    ):
        info = Renditions(images).show(Rendition(source, WHOLE, SIZE))
        assert info.sha256 != source
        assert info.media_type == "image/jpeg"
    assert imaging.open_image(images.data[info.sha256]).getpixel((0, 0))[1] > 128


def test_a_part_of_the_size_of_its_picture_is_not_taken_for_the_whole(images):
    source = stored(images, picture())
    for box, size, turn in ((Box(0, 0, 32, 32), Size(32, 32), 0), (WHOLE, Size(64, 32), 0), (WHOLE, SIZE, 180)):
        info = Renditions(images).show(Rendition(source, box, size, turn))
        assert (info.sha256 != source, info.size) == (True, size)


def test_a_box_outside_its_source_is_one_clear_error(images):
    source = stored(images, picture())
    with pytest.raises(ImageError, match="not inside an image of 60 x 40"):
        Renditions(images).show(Rendition(source, Box(0, 0, 61, 40), SIZE))


def test_an_error_is_not_kept(images):
    images.data["0" * 64] = b"no image"
    renditions, rendition = Renditions(images), Rendition("0" * 64, WHOLE, SIZE)
    for _ in range(2):
        with pytest.raises(ImageError):
            renditions.show(rendition)
    images.data["0" * 64] = imaging.encode(picture(), "image/png")
    assert renditions.show(rendition).size == SIZE


def test_those_who_want_one_rendition_draw_it_once(images, monkeypatch):
    plain, asked = imaging.encode, threading.Event()

    def slow(*arguments):
        asked.wait()
        return plain(*arguments)

    rendition = Rendition(stored(images, picture()), Box(20, 10, 40, 30), Size(64, 64))
    renditions = Renditions(images)
    monkeypatch.setattr(imaging, "encode", slow)
    with ThreadPoolExecutor(8) as pool:
        shown = [pool.submit(renditions.show, rendition) for _ in range(8)]
        asked.set()
        assert len({future.result() for future in shown}) == 1
    assert renditions.counts.drawn == 1


@given(st.integers(2, 60), st.integers(2, 40), st.integers(0, 3), st.booleans())
def test_every_rendition_has_the_size_that_it_names(width, height, turns, again):
    images = MemoryImages()
    size = Size(width, height)
    rendition = Rendition(stored(images, picture()), WHOLE, size, 90 * turns)
    renditions = Renditions(images)
    info = [renditions.show(rendition) for _ in range(1 + again)][-1]
    assert info.size == size.turned(90 * turns)
    opened = imaging.open_image(images.data[info.sha256])
    assert opened.size == (info.width, info.height)
