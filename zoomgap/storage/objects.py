"""Images as files named by content: `objects/ab/<sha256>.<ext>`."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from zoomgap import imaging
from zoomgap.errors import StoreError, UsageError
from zoomgap.geometry import Size
from zoomgap.records import ImageInfo

EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
    "image/x-portable-pixmap": "ppm",
}


class ObjectStore:
    """A folder of images. Any number of threads and processes may read and write it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes, media_type: str, size: Size, sha256: str | None = None) -> ImageInfo:
        """Store encoded bytes once. sha256: of the data, where it is known already.

        Raises UsageError for an unknown media type, StoreError when the disk refuses.
        """
        if media_type not in EXTENSIONS:
            raise UsageError(f"media type {media_type!r} is not stored: use one of {', '.join(EXTENSIONS)}")
        sha256 = sha256 or imaging.sha256(data)
        path = self.folder / sha256[:2] / f"{sha256}.{EXTENSIONS[media_type]}"
        try:
            # Another length is what a power cut leaves of a file that was not flushed.
            if not path.is_file() or path.stat().st_size != len(data):
                _write(path, data)
        except OSError as error:
            raise StoreError(f"object {path} cannot be written ({error.strerror}): check the disk's space") from error
        return ImageInfo(sha256, media_type, size.width, size.height, len(data))

    def path(self, sha256: str) -> Path:
        """Where an image lies. Raises StoreError for one that is missing."""
        for extension in EXTENSIONS.values():
            path = self.folder / sha256[:2] / f"{sha256}.{extension}"
            if path.is_file():
                return path
        raise StoreError(f"image {sha256} is not in {self.folder}: restore that folder, or store the image again")

    def read(self, sha256: str) -> bytes:
        """Encoded bytes of an image. Raises StoreError for one that is missing or unreadable."""
        path = self.path(sha256)
        try:
            return path.read_bytes()
        except OSError as error:
            raise StoreError(f"object {path} cannot be read ({error.strerror}): check its permissions") from error


def _write(path: Path, data: bytes) -> None:
    """Appear at `path` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
