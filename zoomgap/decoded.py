"""Decoded images, shared by whoever draws from them, within a budget of memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import PIL.Image

from zoomgap import imaging

BUDGET = 512 * 2**20
"""Bytes of decoded images in memory."""
BLOCK = 64 * 2**20
"""Most bytes that Pillow asks of the system in one piece, as PILLOW_BLOCK_SIZE. Pieces over 32 MiB go back to it when
they are freed; smaller ones glibc keeps for the thread that decoded, which with 32 threads came to over 2 GiB."""
PIL.Image.core.set_block_size(BLOCK)


@dataclass(slots=True)
class _Entry:
    """An image in memory, or on its way there. users: who draw from it or wait for it."""

    bytes: int
    users: int = 1
    image: Future[PIL.Image.Image] = field(default_factory=Future)


class DecodedImages:
    """Images by hash, each decoded once for all who want it at the same time. Any thread may ask.

    budget: bytes of all that is being decoded, drawn from and kept for later, of which the last used stay. Who wants
    another image waits until it has room; one alone may be larger. decoded: how many times an image was decoded;
    again: how many of these times it had been in memory before.
    """

    def __init__(self, load_image: Callable[[str], bytes], budget: int = BUDGET) -> None:
        self.decoded = self.again = 0
        self._load_image = load_image
        self._budget = budget
        self._bytes = 0
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._known: set[str] = set()
        self._room = threading.Condition()
        self._door = threading.Lock()

    @contextmanager
    def open(self, sha256: str) -> Iterator[PIL.Image.Image]:
        """The image, which stays in memory until the block ends and may only be read. Blocks.

        Raises ImageError, or what load_image raises, when it cannot be had.
        """
        entry = self._entry(sha256)
        try:
            yield entry.image.result()
        finally:
            self._leave(sha256, entry)

    def forget(self) -> None:
        """Let go of all that nobody draws from, as if it had never been here."""
        with self._room:
            while self._evict():
                pass
            self._known.clear()

    def _entry(self, sha256: str) -> _Entry:
        if entry := self._join(sha256):
            return entry
        # One at a time, so that of those who wait for room only one holds an encoded file.
        with self._door:
            if entry := self._join(sha256):
                return entry
            data = self._load_image(sha256)
            need = imaging.footprint(data)
            entry = self._enter(sha256, need.decoding)
        try:
            entry.image.set_result(imaging.open_image(data))
        except BaseException as error:
            entry.image.set_exception(error)
        self._shrink(entry, need.decoded)
        return entry

    def _join(self, sha256: str) -> _Entry | None:
        with self._room:
            entry = self._entries.get(sha256)
            if entry:
                entry.users += 1
                self._entries.move_to_end(sha256)
            return entry

    def _enter(self, sha256: str, size: int) -> _Entry:
        """A new entry of so many bytes, once there is room for it."""
        with self._room:
            while self._entries and self._bytes + size > self._budget:
                if not self._evict():
                    self._room.wait()
            entry = self._entries[sha256] = _Entry(size)
            self._bytes += size
            self.decoded += 1
            self.again += sha256 in self._known
            self._known.add(sha256)
            return entry

    def _shrink(self, entry: _Entry, size: int) -> None:
        with self._room:
            self._bytes -= entry.bytes - size
            entry.bytes = size
            self._room.notify_all()

    def _leave(self, sha256: str, entry: _Entry) -> None:
        with self._room:
            entry.users -= 1
            if entry.users == 0 and entry.image.exception():
                self._drop(sha256)
            self._room.notify_all()

    def _evict(self) -> bool:
        """Drop the image that has not been used for longest; False where all are in use."""
        idle = next((sha256 for sha256, entry in self._entries.items() if not entry.users), None)
        if idle is not None:
            self._drop(idle)
        return idle is not None

    def _drop(self, sha256: str) -> None:
        self._bytes -= self._entries.pop(sha256).bytes
