"""Cells that hold an image: a file's bytes, base64, a path inside the set's folder, or another row's index."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from zoomgap.benchmarks.readers.drafts import Picture, Refused
from zoomgap.benchmarks.readers.source import Row, blank, encodable, short

LONGEST_INDEX = 64
"""Characters up to which the text in a VLMEvalKit image cell names another row."""
LONGEST_PATH = 1024
_SUFFIX = re.compile(r"(?i)\.(?:jpe?g|png|webp|gif|bmp|tiff?|ppm|jfif)\Z")
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]{16}")
_LISTED = re.compile(r"""["']([^"']+)["']""")


def pictures(row: Row, *names: str) -> tuple[Picture, ...]:
    """The images of the row's cell, one or several. Raises Refused when one cannot be had."""
    cell = row.need(*names)
    if isinstance(cell, str) and cell.startswith("["):
        cell = _LISTED.findall(cell)
    cells = [one for one in (cell if isinstance(cell, list | tuple) else [cell]) if not _empty(one)]
    if not cells:
        raise Refused(f"no {names[0]}")
    return tuple(_picture(one, row) for one in cells)


def picture(row: Row, *names: str) -> Picture | None:
    """The one image of the row's cell, None where the cell is empty."""
    return None if _empty(row.find(*names)) else pictures(row, *names)[0]


def _empty(cell: Any) -> bool:
    """Whether a cell holds no image: nothing at all, an empty list, or a struct without bytes and path."""
    if isinstance(cell, dict):
        return not (cell.get("bytes") or cell.get("path"))
    return all(map(_empty, cell)) if isinstance(cell, list | tuple) else blank(cell)


def _picture(cell: Any, row: Row) -> Picture:
    if isinstance(cell, dict):
        return _picture(cell.get("bytes") or cell.get("path"), row)._replace(name=str(cell.get("path") or ""))
    if isinstance(cell, bytes | bytearray):
        return Picture(_decoded(bytes(cell)) if _BASE64.match(cell) else bytes(cell))
    if not isinstance(cell, str) or not cell.strip():
        raise Refused("the image is neither bytes, base64 nor a path", short(cell))
    if cell.startswith("data:"):
        return Picture(_decoded(cell.partition(",")[2]))
    name = cell.strip() if len(cell) <= LONGEST_PATH else ""
    if _SUFFIX.search(name) or (len(name) <= LONGEST_INDEX and any(map(Path.is_file, _candidates(name, row)))):
        return from_file(name, row)
    if 0 < len(name) <= LONGEST_INDEX:
        return Picture(b"", same_as=encodable(name))
    return Picture(_decoded(cell))


def _decoded(text: str | bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        pass  # perhaps only broken into lines
    words: list[Any] = text.split()
    try:
        return binascii.a2b_base64(b"".join(words) if isinstance(text, bytes) else "".join(words), strict_mode=True)
    except ValueError as error:
        raise Refused("broken base64", f"{error}, in {short(text[:24])} of {len(text)} characters") from error


def from_file(name: str, row: Row) -> Picture:
    """The image that a path in a row names. Raises Refused as find_image() does, and when it cannot be read."""
    try:
        return Picture(find_image(name, row).read_bytes(), name)
    except OSError as error:
        raise Refused("an image file cannot be read", f"{name}: {error.strerror}") from error


def find_image(name: str, row: Row) -> Path:
    """The file that a path in a row names, from the set's folder or the row's file. Raises Refused when it is missing
    or leaves the set's folder, by symbolic links too."""
    outside = False
    for path in _candidates(name, row):
        if not _inside(path, row.source.folder):
            outside = True
        elif path.is_file():
            return path
    raise Refused("an image path leaves the folder" if outside else "an image file is missing", short(name))


def _candidates(name: str, row: Row) -> Iterator[Path]:
    if PureWindowsPath(name).anchor or "\0" in name:  # absolute here or there
        raise Refused("an image path leaves the folder", short(name))
    for base in dict.fromkeys((row.source.folder, row.file.parent)):
        yield base / name


def _inside(path: Path, folder: Path) -> bool:
    """Whether a file really lies in the folder, or in the blobs that a snapshot of the Hugging Face cache links to."""
    snapshot = next((p for p in (folder.absolute(), *folder.absolute().parents) if p.parent.name == "snapshots"), None)
    homes = [folder] if snapshot is None else [folder, snapshot.parent.parent / "blobs"]
    real = path.resolve()
    return any(real.is_relative_to(home.resolve()) for home in homes)
