"""Where a set lies and how its columns are to be read, and one of its rows."""

from __future__ import annotations

import ast
import json
import math
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoomgap.benchmarks.readers.drafts import AnswerStyle, BoxFormat, Refused
from zoomgap.benchmarks.readers.splits import split_named
from zoomgap.errors import UsageError
from zoomgap.records import EvidenceKind

FIELDS = (
    "image", "question", "answer", "choices", "id", "dimension", "answer_kind", "evidence", "evidence_kind", "cluster",
    "crop", "more_images", "detail_px", "meta",
)  # fmt: skip
"""What a sample has, by the names that `--map`, `--fill` and our own jsonl use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A set as it was downloaded.

    path: a file, or a folder. mapping: field -> column. fill: field -> value of every row. images: folder that image
    paths start from, if not that of the file or `path`. files: pattern of the names of the files to read, as in
    "test-*". encoding: of text. style, box_format, boxes_kind: of golds and boxes, where the set leaves them open.
    """

    path: Path
    mapping: Mapping[str, str] = field(default_factory=dict)
    fill: Mapping[str, str] = field(default_factory=dict)
    images: Path | None = None
    files: str = ""
    encoding: str = "utf-8-sig"
    style: AnswerStyle = "auto"
    box_format: BoxFormat = "xyxy"
    boxes_kind: EvidenceKind = "tight"

    @property
    def folder(self) -> Path:
        """What image paths may not leave."""
        return self.images or (self.path if self.path.is_dir() else self.path.parent)

    def name_of(self, file: Path) -> str:
        """A file's name in messages: its path from that of the set."""
        return file.relative_to(self.path).as_posix() if self.path.is_dir() else file.name

    def check(self) -> None:
        """Raises UsageError for a path that is not there, and for fields that no sample has."""
        for path in filter(None, (self.path, self.images)):
            if not path.exists():
                raise UsageError(f"'{path}' does not exist: give the file or folder as it was downloaded")
        for name in (*self.mapping, *self.fill):
            if name not in FIELDS:
                raise UsageError(f"a sample has no field '{name}': use one of {', '.join(FIELDS)}")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file. number: from 1. fixed: all rows of the file have these columns."""

    values: Mapping[str, Any]
    file: Path
    number: int
    source: Source
    fixed: bool = False

    @property
    def where(self) -> str:
        return f"{self.source.name_of(self.file)} row {self.number}"

    @property
    def split(self) -> str:
        """train, validation or test, by the column `split` or the file's name; "" where neither says."""
        value = self.values.get("split")
        return (split_named(value) if isinstance(value, str) else "") or split_named(self.source.name_of(self.file))

    def find(self, *names: str) -> Any:
        """The value under the first of the names that holds one, or None. The first name is a sample's own field, which
        the source may map to another column or fill."""
        if names[0] in self.source.fill:
            return self.source.fill[names[0]]
        column = self.source.mapping.get(names[0])
        if column is not None and column not in self.values:
            self._no_column(column)
        names = names if column is None else (column,)
        found = (self.values.get(name) for name in names)
        return next((value for value in found if not blank(value)), None)

    def need(self, *names: str) -> Any:
        """As find(), for what a sample cannot do without."""
        value = self.find(*names)
        if value is None:
            if names[0] not in self.source.mapping and not any(name in self.values for name in names):
                self._no_column(*names)
            raise Refused(f"no {names[0]}")
        return value

    def text(self, *names: str) -> str:
        """A value that is needed, as text."""
        return as_text(self.need(*names), names[0])

    def word(self, *names: str) -> str:
        """A value as text, "" where there is none."""
        value = self.find(*names)
        return "" if value is None else as_text(value, names[0])

    def choices(self, *names: str) -> tuple[str, ...] | None:
        """Options in a list under one of the names, or by their letters, there or in columns A, B, C ...; None where
        there are none of these."""
        value = _spelled(self.find("choices", *names))
        if value is not None and not isinstance(value, dict):
            return tuple(as_text(option, "option") for option in as_list(value))
        lettered = self.values if value is None else value
        columns = [letter for letter in string.ascii_uppercase if letter in lettered]
        filled = [letter for letter in columns if not blank(lettered[letter])]
        if filled != columns[: len(filled)]:
            raise Refused("an option is missing", f"only {', '.join(filled)} are given")
        return tuple(as_text(lettered[letter], "option") for letter in filled) or None

    def rest(self, *names: str) -> dict[str, Any]:
        """Facts to keep with the sample: those of the columns that hold something."""
        return {name: self.values[name] for name in names if not blank(self.values.get(name))}

    def _no_column(self, *names: str) -> None:
        wanted = f"'{names[0]}'" + (f" (or {', '.join(names[1:])})" if names[1:] else "")
        has = ", ".join(map(str, self.values)) or "none"
        if self.fixed:
            raise UsageError(
                f"{self.file} has no column {wanted}, it has {has}: is it another set or version? name its columns "
                "with --map FIELD=COLUMN"
            )
        raise Refused("a column is missing", f"{wanted} among {has}")


def blank(value: Any) -> bool:
    """Whether a cell holds nothing: null, NaN (as a number or as text), or only spaces."""
    if isinstance(value, str):
        return not value or (len(value) < 64 and value.strip().lower() in ("", "nan"))
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_text(value: Any, what: str) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str | int | float):
        return encodable(str(value)).strip()
    raise Refused(f"the {what} is not text", f"{type(value).__name__} {short(value)}")


def encodable(text: str) -> str:
    """The text with lone surrogates, which JSON can spell and UTF-8 cannot hold, as question marks."""
    return text.encode(errors="replace").decode()


def plain(value: Any) -> Any:
    """A value as JSON can hold it: what has no JSON form becomes text, numbers that are not finite None."""
    if isinstance(value, dict):
        return {encodable(str(name)): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    return value if value is None or isinstance(value, bool | int) else encodable(str(value))


def as_list(value: Any) -> list[Any]:
    """A list, or text that spells one in JSON or Python."""
    value = _spelled(value)
    if isinstance(value, list | tuple):
        return list(value)
    raise Refused("options or boxes that are not a list", short(value))


def _spelled(value: Any) -> Any:
    """What a text spells in JSON or Python, else the value as it is."""
    for read in (json.loads, ast.literal_eval) if isinstance(value, str) else ():
        try:
            return read(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return value


def short(value: Any) -> str:
    """A value as one short piece of text for a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
