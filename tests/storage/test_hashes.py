import pytest
from PIL import Image

from zoomgap import imaging
from zoomgap.errors import StoreError
from zoomgap.geometry import Size
from zoomgap.storage import Store


def test_hashes_are_kept_by_name_and_never_change(tmp_path):
    with Store.open(tmp_path / "z.db") as store:
        images = [
            store.add_image(imaging.encode(Image.new("RGB", (8, 8), color)), "image/jpeg", Size(8, 8)).sha256
            for color in ("red", "blue")
        ]
        assert store.image_hashes("look") == {}
        store.put_image_hashes("look", {images[0]: "aa"})
        store.put_image_hashes("look", {images[0]: "bb", images[1]: "cc"})
        store.put_image_hashes("pixels", {images[0]: "dd"})
        store.put_image_hashes("pixels", {})
    with Store.open(tmp_path / "z.db") as store:
        assert store.image_hashes("look") == {images[0]: "aa", images[1]: "cc"}
        assert store.image_hashes("pixels") == {images[0]: "dd"}
        assert store.counts()["image_hashes"] == 3


def test_only_stored_images_have_hashes(tmp_path):
    with Store.open(tmp_path / "z.db") as store, pytest.raises(StoreError, match="FOREIGN KEY"):
        store.put_image_hashes("look", {"0" * 64: "aa"})
