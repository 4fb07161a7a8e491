"""The files of a set, read row by row: parquet, tsv, csv, jsonl and json."""

from __future__ import annotations

import csv
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from zoomgap.benchmarks.readers.drafts import Refusal
from zoomgap.benchmarks.readers.source import Row, Source
from zoomgap.errors import UsageError

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".zst", ".7z", ".rar")
GZIP = b"\x1f\x8b"
"""How such a file begins, whatever it is called."""
CARDS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "metadata.json", "state.json")
"""Files beside a set that describe it."""
BATCH_ROWS = 8
BUFFER_BYTES = 1 << 20


class Found(NamedTuple):
    """A row, or why it cannot be read. share: of all files, how much has been read by then, 0 to 1."""

    row: Row | Refusal
    share: float


class _Line(NamedTuple):
    """values: of a row, or the words of a refusal (reason, detail). share: of its file."""

    values: Mapping[str, Any] | tuple[str, str]
    share: float


def find_files(source: Source, only: str = "") -> list[Path]:
    """The data files of a set, in the order of their names: the path itself, or of a folder those of one kind.

    A kind is taken in the order of READERS: of a folder with parquet and jsonl, the parquet. only: a regular expression
    for the paths, in lower case, of the set's own files where a folder may hold others too; `source.files` goes over
    it. Raises UsageError when there are none, and for an archive.
    """
    path = source.path
    source.check()
    if path.is_file():
        if path.suffix.lower() in READERS:
            return [path]
        if path.suffix.lower() in ARCHIVES or zipfile.is_zipfile(path):
            raise UsageError(f"'{path}' is an archive: unpack it and give the folder")
        raise UsageError(f"'{path}' is of no kind that is read: give {_KINDS} or a folder of them")
    names = sorted(p for p in path.rglob("*") if not any(part.startswith(".") for part in p.relative_to(path).parts))
    for suffix in READERS:
        found = [p for p in names if p.suffix.lower() == suffix and p.name not in CARDS and p.is_file()]
        if source.files:
            found = [p for p in found if fnmatch(p.name, source.files)]
        else:
            found = [p for p in found if re.search(only, p.relative_to(path).as_posix().lower())]
        if found:
            return found
    packed = next((p.name for p in names if p.suffix.lower() in ARCHIVES), None)
    if packed:
        raise UsageError(f"'{path}' holds only archives ({packed}): unpack them first")
    named = source.files or only
    called = f" with a name like {named}" if named else ""
    raise UsageError(f"'{path}' holds no {_KINDS} file{called}: give the set's file, or the folder that it lies in")


def rows(files: list[Path], source: Source) -> Iterator[Found]:
    """The rows of the files one by one. Raises UsageError for a file that is damaged or of another kind inside."""
    sizes = [file.stat().st_size for file in files]
    whole, before = sum(sizes) or 1, 0
    for file, size in zip(files, sizes, strict=True):
        kind = file.suffix.lower()
        for number, line in enumerate(READERS[kind](file, source), 1):
            share = (before + line.share * size) / whole
            if isinstance(line.values, tuple):
                yield Found(Refusal(f"{source.name_of(file)} row {number}", *line.values), share)
            else:
                yield Found(Row(line.values, file, number, source, kind not in (".jsonl", ".json")), share)
        before += size


def _parquet(file: Path, source: Source) -> Iterator[_Line]:
    import pyarrow
    from pyarrow import parquet

    try:
        # Only with a buffer is a column read piece by piece, not a whole row group at once.
        table = parquet.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
        labels, done = _label_names(table.schema_arrow.metadata), 0
        for batch in table.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            for values in batch.to_pylist():
                done += 1
                for column, names in labels.items():
                    if isinstance(values.get(column), int) and 0 <= values[column] < len(names):
                        values[column] = names[values[column]]
                yield _Line(values, done / table.metadata.num_rows)
    except (pyarrow.ArrowException, OSError) as error:
        detail = " ".join(str(error).split())
        raise UsageError(f"{file} is no whole parquet file ({detail}): download it again") from error


def _label_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Names of the classes by column, as Hugging Face writes them into a parquet file."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {name: kind["names"] for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _table(file: Path, source: Source) -> Iterator[_Line]:
    """A table of text. A row without a cell that begins with a quotation mark is simply cut, which is ten times as fast
    as `csv` on cells of a megabyte."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    size = file.stat().st_size or 1
    with file.open("rb", buffering=BUFFER_BYTES) as raw, _text(raw, source) as text:
        lines, header, mark = _guarded(text, file, source), None, "\t"
        for line in lines:
            if header is None:
                mark = "\t" if file.suffix.lower() == ".tsv" else max(",;\t", key=line.count)
            cells = line.rstrip("\r\n").split(mark)
            if any(cell.startswith('"') for cell in cells):
                try:
                    cells = next(csv.reader(chain((line,), lines), delimiter=mark))
                except csv.Error as error:
                    yield _Line(("a row that is no table row", str(error)), raw.tell() / size)
                    continue
            if header is None:
                header = cells
                if twice := next((cell for k, cell in enumerate(cells) if cell and cell in cells[:k]), None):
                    raise UsageError(f"{file} has two columns '{twice}': it is damaged, or name its columns apart")
            elif len(cells) != len(header):
                if cells != [""]:
                    yield _Line(("a row of another length", f"{len(cells)} cells of {len(header)}"), raw.tell() / size)
            else:
                yield _Line(dict(zip(header, cells, strict=True)), raw.tell() / size)


def _jsonl(file: Path, source: Source) -> Iterator[_Line]:
    size = file.stat().st_size or 1
    with file.open("rb", buffering=BUFFER_BYTES) as raw, _text(raw, source) as text:
        for line in _guarded(text, file, source):
            if line.strip():
                yield _Line(_object(line), raw.tell() / size)


def _object(line: str) -> dict[str, Any] | tuple[str, str]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return "a line that is no JSON", str(error)
    return value if isinstance(value, dict) else ("a line that is no JSON object", type(value).__name__)


def read_json(file: Path, source: Source) -> Any:
    """A JSON file whole. Raises UsageError for one that is broken."""
    try:
        return json.loads(file.read_text(encoding=source.encoding))
    except (ValueError, RecursionError, LookupError) as error:
        raise UsageError(f"{file} is no JSON ({error}): download it again") from error


def _json(file: Path, source: Source) -> Iterator[_Line]:
    """A list of objects, alone or as the only list of an object; or one object."""
    value = read_json(file, source)
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list) and part and isinstance(part[0], dict)]
        value = lists[0] if len(lists) == 1 else [value]
    if not isinstance(value, list):
        raise UsageError(f"{file} holds no list of rows: give a file with a JSON list of objects")
    for number, row in enumerate(value, 1):
        good = isinstance(row, dict)
        yield _Line(row if good else ("a row that is no JSON object", type(row).__name__), number / len(value))


def _text(raw: Any, source: Source) -> TextIOWrapper:
    start = raw.peek(2)[:2]
    if start == GZIP:
        raise UsageError(f"{raw.name} is packed by gzip: unpack it first")
    encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else source.encoding
    try:
        return TextIOWrapper(raw, encoding=encoding, newline="")
    except LookupError as error:
        raise UsageError(f"encoding '{encoding}' is not known: name one such as utf-8 or cp1252") from error


def _guarded(text: TextIOWrapper, file: Path, source: Source) -> Iterator[str]:
    try:
        yield from text
    except UnicodeError as error:
        detail = " ".join(str(error).split())
        raise UsageError(f"{file} is not {source.encoding} ({detail}): name its encoding with --encoding") from error


READERS: Mapping[str, Callable[[Path, Source], Iterator[_Line]]] = {
    ".parquet": _parquet,
    ".tsv": _table,
    ".csv": _table,
    ".jsonl": _jsonl,
    ".json": _json,
}
_KINDS = ", ".join(READERS)
