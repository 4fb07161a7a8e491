"""Public benchmarks into the store: rows to drafts, pictures to objects, drafts to samples, all or no benchmark."""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from zoomgap import imaging
from zoomgap.benchmarks import readers
from zoomgap.benchmarks.readers import Draft, Picture, Refusal, Refused, Source, Split
from zoomgap.benchmarks.readers.coco import Boxes, read_boxes
from zoomgap.benchmarks.readers.files import find_files
from zoomgap.errors import ImageError, UsageError
from zoomgap.pipeline.benches import split_of
from zoomgap.records import ImageInfo, Sample, digest
from zoomgap.storage import BenchmarkInfo, Store

WORKERS = 2
"""Threads that decode and write pictures. More would be faster, but two images of 100 MP in memory are enough."""
WAITING = 4
"""Rows in hand at once."""
EXAMPLES = 3
"""Refused rows of each reason that the benchmark keeps."""

T = TypeVar("T")
R = TypeVar("R")


class Imported(NamedTuple):
    """What an import did. rows: of the files, where one row holds several questions each of them. new: whether the
    benchmark was not there before."""

    info: BenchmarkInfo
    rows: int
    refused: list[Refusal]
    new: bool

    @property
    def split(self) -> str:
        return split_of(self.info)

    def to_json(self) -> dict[str, Any]:
        """What `zoomgap bench import --json` prints. reasons: each with its first row; refusals: all rows."""
        first = [(reason, group, group[0]) for reason, group in reasons(self.refused).items()]
        return {
            "bench": self.info.name,
            "n": self.info.n,
            "sha256": self.info.sha256,
            "new": self.new,
            "split": self.split,
            "rows": self.rows,
            "refused": len(self.refused),
            "reasons": [
                {"reason": reason, "rows": len(group), "first": one.where, "detail": one.detail}
                for reason, group, one in first
            ],
            "refusals": [refusal._asdict() for refusal in self.refused],
        }


def reasons(refused: Iterable[Refusal]) -> dict[str, list[Refusal]]:
    """Refused rows by reason, the most frequent first."""
    groups: dict[str, list[Refusal]] = {}
    for refusal in refused:
        groups.setdefault(refusal.reason, []).append(refusal)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


class _Stored(NamedTuple):
    """A draft whose pictures are in the store. images: None for one that is another row's. given: sha256 of each stored
    image -> of the bytes in the set."""

    draft: Draft
    images: tuple[ImageInfo | None, ...]
    crop: ImageInfo | None
    given: dict[str, str]


@dataclass
class _Samples:
    """The samples of a set while it is read."""

    benchmark: str
    kept: dict[str, tuple[int, Sample, str]] = field(default_factory=dict)
    refused: list[tuple[int, Refusal]] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, ImageInfo] = field(default_factory=dict)
    waiting: list[tuple[int, _Stored]] = field(default_factory=list)
    splits: set[str] = field(default_factory=set)

    def add(self, place: int, found: _Stored | Refusal) -> None:
        """Keep what a row gave; a row that shows another's picture waits until all have been read."""
        if isinstance(found, Refusal):
            self.refused.append((place, found))
            return
        self.given |= found.given
        if found.draft.id and found.images[0]:
            self.pictures.setdefault(found.draft.id, found.images[0])
        if None in found.images and not self._known(found):
            self.waiting.append((place, found))
        else:
            self._settle(place, found)

    def finish(self) -> None:
        """Settle the rows that waited."""
        for place, found in self.waiting:
            self._settle(place, found)

    def samples(self) -> list[Sample]:
        """All, in the order of the set."""
        return [sample for _, sample, _ in sorted(self.kept.values(), key=lambda kept: kept[0])]

    def split(self) -> str:
        """The splits that the set itself names; "" where it names none for some of its rows."""
        return "" if "" in self.splits else ", ".join(sorted(self.splits))

    def sha256(self) -> str:
        """Over all samples in their order, the benchmark's name left out; images by the bytes that the set has, so that
        it does not depend on who writes a PNG."""
        total = hashlib.sha256()
        for sample in self.samples():
            record = sample.record() | {"more_images": [self.given[sha] for sha in sample.more_images]}
            named = {name: self.given[record[name]] for name in ("image", "crop") if record.get(name)}
            del record["benchmark"]
            total.update(digest(record | named).encode())
        return total.hexdigest()

    def _known(self, found: _Stored) -> bool:
        return all(image or picture.same_as in self.pictures for image, picture in _pairs(found))

    def _settle(self, place: int, found: _Stored) -> None:
        draft = found.draft
        try:
            images = [image or self._other(picture.same_as) for image, picture in _pairs(found)]
            sample = readers.settle(draft, self.benchmark, images, found.crop)
            if sample.id in self.kept:
                raise Refused("two rows with one id", f"'{sample.id}' is that of {self.kept[sample.id][2]} already")
        except Refused as refused:
            self.refused.append((place, Refusal(draft.where, refused.reason, refused.detail)))
        else:
            self.kept[sample.id] = (place, sample, draft.where)
            self.splits.add(draft.split)

    def _other(self, id: str) -> ImageInfo:
        if id not in self.pictures:
            raise Refused("no image", f"the cell names row '{id}', which has none")
        return self.pictures[id]


def import_set(
    store: Store,
    name: str,
    source: Source,
    *,
    format: str | None = None,
    boxes: Path | None = None,
    split: Split | None = None,
    limit: int | None = None,
    strict: bool = False,
    count: Callable[[int, int], None] | None = None,
) -> Imported:
    """Read a set into the store as the benchmark `name`.

    format: of readers.SETS, if not `name`. boxes: a COCO file with evidence for the samples. split: what the set is
    for, if not what it says itself; it may be given again for a set that is stored. limit: only the first so many
    samples. strict: refuse the set for one refused row. count: called with the rows read and how many there may be.
    Images are stored as they come, the benchmark at the end, whole or not at all. Raises UsageError for files that
    cannot be read as that set, when no row can be used, and for a name that has other content already.
    """
    chosen = readers.choose(name, format)
    marked = None if boxes is None else read_boxes(boxes, source.boxes_kind)
    samples, rows = _Samples(name), 0
    with ThreadPoolExecutor(WORKERS) as pool:
        drafts = readers.read(chosen, source)
        for found, share in _in_order(pool, lambda item: (_stored(item[0], store, marked), item[1]), drafts):
            samples.add(rows, found)
            rows += 1
            if count:
                count(rows, round(rows / share) if share else rows)
            if limit is not None and len(samples.kept) + len(samples.waiting) >= limit:
                break
    samples.finish()
    refused = [refusal for _, refusal in sorted(samples.refused, key=lambda pair: pair[0])]
    _check(source.path, rows, refused, bool(samples.kept), strict)
    new = all(info.name != name for info in store.benchmarks())
    facts = {
        "kind": "import",
        "format": format or name,
        "files": [_file_facts(file) for file in (*find_files(source, chosen.files), *([boxes] if boxes else []))],
        "licence": licence(source.folder),
        "split": split or samples.split(),
        "options": _options(source, limit),
        "rows": rows,
        "refused": {
            reason: {"rows": len(group), "first": [f"{r.where}: {r.detail}" for r in group[:EXAMPLES]]}
            for reason, group in reasons(refused).items()
        },
    }
    store.add_benchmark(name, samples.sha256(), facts, samples.samples())
    if split is not None and split_of(store.benchmark(name)) != split:
        store.describe_benchmark(name, split=split)
    return Imported(store.benchmark(name), rows, refused, new)


def _check(path: Path, rows: int, refused: list[Refusal], any_kept: bool, strict: bool) -> None:
    if not rows:
        raise UsageError(f"'{path}' holds no rows: give the set's data files")
    if refused and (strict or not any_kept):
        first = refused[0]
        which = f"{len(refused)} of {rows} rows" if any_kept else f"all {rows} rows"
        detail = f" ({first.detail})" if first.detail else ""
        remedy = (
            "leave out --strict to go without them" if any_kept else "is it another set or version? --format, --map"
        )
        raise UsageError(f"'{path}': {which} are refused, {first.where}: {first.reason}{detail}: {remedy}")


def _pairs(found: _Stored) -> Iterator[tuple[ImageInfo | None, Picture]]:
    return zip(found.images, found.draft.pictures, strict=True)


def _stored(found: Draft | Refusal, store: Store, boxes: Boxes | None) -> _Stored | Refusal:
    """The draft with its pictures in the store and no longer in memory."""
    if isinstance(found, Refusal):
        return found
    given: dict[str, str] = {}

    def put(picture: Picture) -> ImageInfo | None:
        if picture.same_as:
            return None
        clean = imaging.clean_bytes(picture.data)
        info = store.add_image(*clean)
        given[info.sha256] = info.sha256 if clean.data is picture.data else imaging.sha256(picture.data)
        return info

    try:
        images = tuple(put(picture) for picture in found.pictures)
        crop = None if found.crop is None else put(found.crop)
    except ImageError as error:
        return Refusal(found.where, "an image that cannot be used", str(error))
    draft = found if boxes is None else boxes.attached(found)
    bare = replace(draft, pictures=tuple(picture._replace(data=b"") for picture in draft.pictures), crop=None)
    return _Stored(bare, images, crop, given)


def _in_order(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """work(item) for each item, in their order, a few at a time."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= WAITING:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _file_facts(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"name": file.name, "bytes": file.stat().st_size, "sha256": sha256}


def _options(source: Source, limit: int | None) -> dict[str, Any]:
    """What the user said about reading the set, where it is not the usual."""
    said = {name: value for name, value in asdict(source).items() if name not in ("path", "images")}
    usual = asdict(Source(path=source.path))
    return {name: value for name, value in (said | {"limit": limit}).items() if value != usual.get(name)}


def licence(folder: Path) -> str | None:
    """The licence that a data card in the folder names, or in the one above a folder `data`; None where none does."""
    for place in (folder, folder.parent) if folder.name == "data" else (folder,):
        for card in (place / "README.md", place / "dataset_info.json", place / "dataset_infos.json"):
            try:
                text = card.read_text(encoding="utf-8")
            except (OSError, UnicodeError):
                continue
            if found := _licence_of(text, card.suffix):
                return found
    return None


def _licence_of(text: str, suffix: str) -> str | None:
    if suffix == ".md":
        head = re.match(r"(?s)\s*---\n(.*?)\n---", text)
        line = head and re.search(r"(?m)^licen[cs]e:[ \t]*(\S.*)$", head[1])
        return line[1].strip().strip("'\"") if line else None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    parts = [value, *value.values()] if isinstance(value, dict) else []
    named = (part.get("license") for part in parts if isinstance(part, dict))
    return next((str(name) for name in named if name), None)
