"""Pictures of stored images: found where they were drawn before, else decoded, drawn, encoded and stored."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import NamedTuple, Protocol

import PIL.Image

from zoomgap import imaging
from zoomgap.decoded import DecodedImages
from zoomgap.geometry import Size
from zoomgap.records import ImageInfo, Rendition

MEDIA_TYPE = "image/jpeg"


class Images(Protocol):
    """Where images are kept, as a Store does. Any thread may call it."""

    def load_image(self, sha256: str) -> bytes:
        """Encoded bytes. Raises StoreError for an image that is missing."""
        ...

    def add_image(
        self,
        data: bytes,
        media_type: str,
        size: Size,
        rendition: Rendition | None = None,
        picture: PIL.Image.Image | None = None,
    ) -> ImageInfo:
        """Store an encoded image. rendition: that it is. picture: the same, decoded, where the caller has it."""
        ...

    def rendition(self, rendition: Rendition) -> ImageInfo | None:
        """What was stored as that rendition."""
        ...


class Counts(NamedTuple):
    """Renditions that were drawn, and found drawn; originals that were decoded, and how many of these times again."""

    drawn: int
    found: int
    decoded: int
    decoded_again: int


class Renditions:
    """Draws from stored images, each rendition once for all who want it at the same time. Any thread may ask.

    fresh: whether what was drawn before is drawn again, for times that are those of the first sight; `spans` are then
    the milliseconds that each picture took, in the order of showing.
    """

    def __init__(self, images: Images, fresh: bool = False) -> None:
        self.images = images
        self.decoded = DecodedImages(images.load_image)
        self.fresh = fresh
        self._drawn = self._found = 0
        self.spans: list[float] = []
        self._running: dict[Rendition, Future[ImageInfo]] = {}
        self._lock = threading.Lock()

    @property
    def counts(self) -> Counts:
        return Counts(self._drawn, self._found, self.decoded.decoded, self.decoded.again)

    def show(self, rendition: Rendition) -> ImageInfo:
        """The stored picture. Blocks. Raises ImageError or StoreError when its source cannot be had."""
        started = time.perf_counter()
        with self._lock:
            running = self._running.get(rendition)
            if mine := running is None:
                running = self._running[rendition] = Future()
        if mine:
            try:
                running.set_result(self._find(rendition) or self._draw(rendition))
            except BaseException as error:
                running.set_exception(error)
            finally:
                with self._lock:
                    del self._running[rendition]
        info = running.result()
        if self.fresh:
            self.spans.append((time.perf_counter() - started) * 1000)
        return info

    def add(self, picture: PIL.Image.Image, rendition: Rendition | None = None) -> ImageInfo:
        """Encode and store a picture. rendition: that it is."""
        data = imaging.encode(picture, MEDIA_TYPE)
        with self._lock:
            self._drawn += 1
        return self.images.add_image(data, MEDIA_TYPE, Size(*picture.size), rendition, picture)

    def _find(self, rendition: Rendition) -> ImageInfo | None:
        found = None if self.fresh else self.images.rendition(rendition)
        with self._lock:
            self._found += found is not None
        return found

    def _draw(self, rendition: Rendition) -> ImageInfo:
        box, size = rendition.box, rendition.size
        if not rendition.turn and box.as_list() == [0, 0, size.width, size.height]:
            # Perhaps all of the source as it is. Then its own bytes will do, where servers take them.
            data = self.images.load_image(rendition.source)
            if media_type := imaging.sendable(data, size):
                return self.images.add_image(data, media_type, size, rendition)
        with self.decoded.open(rendition.source) as original:
            picture = imaging.turned(imaging.resized(original, size, box), rendition.turn)
        return self.add(picture, rendition)
