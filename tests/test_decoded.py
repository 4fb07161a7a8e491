from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoomgap import decoded, imaging
from zoomgap.decoded import DecodedImages
from zoomgap.errors import ImageError, StoreError
from zoomgap.geometry import Size

SIDE = 100
PICTURE = imaging.encode(imaging.grey(Size(SIDE, SIDE)))
BYTES = 4 * SIDE * SIDE


class Shelf:
    """Encoded images by name, each of BYTES when decoded; counts what is asked for."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.failing: set[str] = set()

    def load(self, name: str) -> bytes:
        self.loaded.append(name)
        if name in self.failing:
            raise StoreError(f"{name} is missing")
        return b"no image" if name == "broken" else PICTURE


def test_large_pieces_of_memory_go_back_to_the_system():
    # The largest that glibc's malloc may keep for itself, M_MMAP_THRESHOLD_MAX.
    assert PIL.Image.core.get_block_size() > 32 * 2**20


def look(images: DecodedImages, name: str) -> None:
    with images.open(name) as image:
        assert image.size == (SIDE, SIDE)


def test_the_last_used_are_kept_within_the_budget():
    shelf = Shelf()
    images = DecodedImages(shelf.load, 2 * BYTES)
    for name in ("a", "b", "a", "c", "a", "b"):
        look(images, name)
    assert shelf.loaded == ["a", "b", "c", "b"]
    assert (images.decoded, images.again) == (4, 1)


def test_an_image_larger_than_the_budget_is_had_alone():
    shelf = Shelf()
    images = DecodedImages(shelf.load, BYTES // 2)
    for name in ("a", "b", "b", "a"):
        look(images, name)
    assert shelf.loaded == ["a", "b", "a"]


def test_an_image_in_use_is_not_let_go():
    shelf = Shelf()
    images = DecodedImages(shelf.load, 2 * BYTES)
    with images.open("a"):
        for name in ("b", "c", "b", "a"):
            look(images, name)
    assert shelf.loaded == ["a", "b", "c", "b"]


def test_those_who_want_one_image_decode_it_once(monkeypatch):
    shelf, decoding = Shelf(), threading.Event()
    plain = imaging.open_image

    def slow(data: bytes):
        decoding.wait()
        return plain(data)

    monkeypatch.setattr(decoded.imaging, "open_image", slow)
    images = DecodedImages(shelf.load)
    with ThreadPoolExecutor(8) as pool:
        looking = [pool.submit(look, images, "a") for _ in range(8)]
        decoding.set()
        for future in looking:
            future.result()
    assert shelf.loaded == ["a"]


@settings(max_examples=20)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60), st.integers(1, 4))
def test_no_more_is_in_memory_than_the_budget_allows(names, room):
    """Images in use, being decoded and kept are counted, whatever many threads ask for."""
    shelf, lock, held, most = Shelf(), threading.Lock(), {}, [0]
    images = DecodedImages(shelf.load, room * BYTES)

    def use(name: str) -> None:
        with images.open(name) as image:
            with lock:
                held[name] = held.get(name, 0) + 1
                most[0] = max(most[0], sum(count > 0 for count in held.values()))
            assert image.getpixel((5, 5)) == (128, 128, 128)
            with lock:
                held[name] -= 1

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(use, name) for name in names]:
            future.result(timeout=20)
    assert most[0] <= room
    assert images.decoded == len(shelf.loaded)
    assert images.decoded - images.again == len(set(names))
    assert images._bytes == len(images._entries) * BYTES <= room * BYTES


def test_one_who_waits_for_room_gets_it_when_another_is_done():
    shelf = Shelf()
    images = DecodedImages(shelf.load, BYTES)
    with ThreadPoolExecutor(1) as pool:
        with images.open("a"):
            waiting = pool.submit(look, images, "b")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.05)
        waiting.result(timeout=20)


def test_what_decoding_takes_is_given_back_when_it_is_done():
    buffer = io.BytesIO()
    imaging.grey(Size(SIDE, SIDE)).save(buffer, "WEBP")
    images = DecodedImages({"a": buffer.getvalue(), "b": PICTURE}.__getitem__, 4 * BYTES)
    with ThreadPoolExecutor(1) as pool:
        with images.open("b"):
            waiting = pool.submit(look, images, "a")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.05)
        waiting.result(timeout=20)
    look(images, "b")
    assert images.decoded == 3
    assert images._bytes == 2 * BYTES


def test_a_failure_is_raised_and_not_kept():
    shelf = Shelf()
    images = DecodedImages(shelf.load, BYTES)
    for _ in range(2):
        with pytest.raises(ImageError), images.open("broken"):
            pass
    shelf.failing.add("a")
    with pytest.raises(StoreError, match="a is missing"), images.open("a"):
        pass
    shelf.failing.clear()
    look(images, "a")
    assert images._bytes == BYTES


def test_a_failure_of_the_decoder_leaves_room(monkeypatch):
    def fail(data: bytes):
        raise ImageError("cut short")

    images = DecodedImages(Shelf().load, BYTES)
    with monkeypatch.context() as patch:
        patch.setattr(decoded.imaging, "open_image", fail)
        with pytest.raises(ImageError, match="cut short"), images.open("a"):
            pass
    assert images._bytes == 0
    look(images, "a")


def test_what_is_forgotten_was_never_there():
    shelf = Shelf()
    images = DecodedImages(shelf.load)
    look(images, "a")
    with images.open("b"):
        images.forget()
        look(images, "b")
    look(images, "a")
    assert shelf.loaded == ["a", "b", "a"]
    assert images.again == 0
