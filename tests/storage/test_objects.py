from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zoomgap.errors import StoreError, UsageError
from zoomgap.geometry import Size
from zoomgap.storage import ObjectStore

SIZE = Size(8, 8)


def test_put_and_read(tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path / "objects")
    info = objects.put(b"some image", "image/png", SIZE)
    sha256 = hashlib.sha256(b"some image").hexdigest()
    assert (info.sha256, info.bytes, info.size, info.media_type) == (sha256, 10, SIZE, "image/png")
    assert objects.read(sha256) == b"some image"
    assert objects.path(sha256) == tmp_path / "objects" / sha256[:2] / f"{sha256}.png"


def test_put_twice_writes_once(tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path)
    path = objects.path(objects.put(b"image", "image/jpeg", SIZE).sha256)
    before = path.stat().st_ino
    objects.put(b"image", "image/jpeg", SIZE)
    assert path.stat().st_ino == before


def test_put_mends_a_file_cut_short(tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path)
    info = objects.put(b"a whole image", "image/jpeg", SIZE)
    objects.path(info.sha256).write_bytes(b"a wh")
    objects.put(b"a whole image", "image/jpeg", SIZE)
    assert objects.read(info.sha256) == b"a whole image"


def test_missing_object(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"ab{63} is not in"):
        ObjectStore(tmp_path).read("a" + "b" * 63)


def test_unknown_media_type(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'text/html' is not stored: use one of image/jpeg"):
        ObjectStore(tmp_path).put(b"x", "text/html", SIZE)


def test_disk_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot be written") as caught:
        ObjectStore(tmp_path / "objects").put(b"x", "image/png", SIZE)
    assert "\n" not in str(caught.value)


def test_many_threads_put_one_image(tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path)
    data = bytes(range(256)) * 4000
    with ThreadPoolExecutor(8) as pool:
        infos = list(pool.map(lambda _: objects.put(data, "image/png", SIZE), range(32)))
    assert len(set(infos)) == 1
    assert objects.read(infos[0].sha256) == data
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{infos[0].sha256}.png"]
