"""Hashes of stored images, each computed once."""

from __future__ import annotations

from collections.abc import Mapping

from zoomgap.storage import rows
from zoomgap.storage.session import IGNORE, Session


class HashTables(Session):
    """algorithm: the name of a hash."""

    def put_image_hashes(self, algorithm: str, hashes: Mapping[str, str]) -> None:
        """hashes: by sha256 of the image, which must be stored. What is known already stays."""
        found = [rows.columns(image=image, algorithm=algorithm, hash=text) for image, text in hashes.items()]
        self._insert("image_hashes", found, IGNORE)

    def image_hashes(self, algorithm: str) -> dict[str, str]:
        """All known hashes of that name by sha256 of the image."""
        found = self._all("SELECT image, hash FROM image_hashes WHERE algorithm = ?", algorithm)
        return {row["image"]: row["hash"] for row in found}
