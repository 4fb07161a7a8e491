"""Images in memory, where a test needs no store."""

from __future__ import annotations

import PIL.Image

from zoomgap import imaging
from zoomgap.geometry import Size
from zoomgap.records import ImageInfo, Rendition


class MemoryImages:
    """data: by hash. known: renditions that were stored. loaded: hashes in the order of loading."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.known: dict[Rendition, ImageInfo] = {}
        self.loaded: list[str] = []

    def load_image(self, sha256: str) -> bytes:
        self.loaded.append(sha256)
        return self.data[sha256]

    def add_image(
        self,
        data: bytes,
        media_type: str,
        size: Size,
        rendition: Rendition | None = None,
        picture: PIL.Image.Image | None = None,
    ) -> ImageInfo:
        info = ImageInfo(imaging.sha256(data), media_type, size.width, size.height, len(data))
        self.data[info.sha256] = data
        if rendition:
            self.known[rendition] = info
        return info

    def rendition(self, rendition: Rendition) -> ImageInfo | None:
        return self.known.get(rendition)
