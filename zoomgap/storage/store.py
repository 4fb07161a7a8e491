"""The store: typed reads and writes of every record."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import PIL.Image
from sqlite_utils import Database

from zoomgap import imaging
from zoomgap.errors import StoreError, UsageError
from zoomgap.geometry import Box, Frame, Size
from zoomgap.grading import GRADER
from zoomgap.records import (
    FAILED,
    Grade,
    ImageInfo,
    Invocation,
    Rendition,
    Result,
    RunSpec,
    Sample,
    Step,
    Trajectory,
    Verdict,
)
from zoomgap.storage import rows
from zoomgap.storage.connection import connect
from zoomgap.storage.distillation import DistillationTables
from zoomgap.storage.hashes import HashTables
from zoomgap.storage.objects import ObjectStore
from zoomgap.storage.plans import PlanTables
from zoomgap.storage.rows import BenchmarkInfo, Graded, RunInfo, TrajectoryRow
from zoomgap.storage.session import IGNORE, insert
from zoomgap.storage.timings import TimingTables

THUMBNAIL_SIDE = 96

STEPS = """SELECT p.*, i.width AS observation_width, i.height AS observation_height
FROM steps p LEFT JOIN images i ON i.sha256 = p.observation WHERE p.trajectory = ? ORDER BY p.step"""

RENDITION = """SELECT i.* FROM renditions r JOIN images i ON i.sha256 = r.image
WHERE r.source = ? AND r.box = ? AND r.width = ? AND r.height = ? AND r.turn = ? AND r.drawing = ?"""

NEWEST = "ON CONFLICT DO UPDATE SET image = excluded.image"
"""A picture that is drawn anew, as its file was lost, may have other bytes."""

GRADED = """SELECT t.id, t.benchmark, t.sample, t.attempt, t.text,
    t.stop_reason IN ('endpoint_error', 'cancelled') OR t.error IS NOT NULL AS failed,
    (SELECT max(id) FROM grades WHERE trajectory = t.id AND grader = ?1) AS grade,
    (SELECT max(id) FROM grades WHERE trajectory = t.id AND grader <> ?1 AND grader NOT LIKE 'judge:%') AS before
FROM trajectories t WHERE t.run = ?2 AND t.id > ?3 ORDER BY t.id LIMIT ?4"""

RESULTS = """SELECT t.run, t.sample, t.attempt, g.verdict, t.stop_reason, t.text, t.wall_ms, t.model_ms,
    t.preprocess_ms, t.tool_ms, t.prompt_tokens, t.completion_tokens, t.image_tokens, t.pixels_sent, t.turns, t.zooms,
    t.cost, t.invocation, t.id AS trajectory, coalesce(g.grader, '') AS grader, g.answer, p.confidence,
    p.min_probability, p.margin
FROM trajectories t JOIN samples s ON s.benchmark = t.benchmark AND s.id = t.sample
LEFT JOIN steps p ON p.trajectory = t.id AND p.step = 0
LEFT JOIN grades g ON g.id = (SELECT max(id) FROM grades WHERE trajectory = t.id AND grader = ?)
WHERE t.run = ? ORDER BY s.position, t.attempt"""

CROPS = """SELECT t.sample, t.attempt, p.box, coalesce(p.turn, 0) AS turn, i.width, i.height FROM trajectories t
JOIN steps p ON p.trajectory = t.id JOIN images i ON i.sha256 = p.observation
WHERE t.run = ? AND p.box IS NOT NULL AND coalesce(p.picture, 0) = 0 ORDER BY t.id, p.step"""


class Store(DistillationTables, HashTables, TimingTables, PlanTables):
    """One database and its objects. Threads may share it; each process opens its own.

    Every write is one transaction and may be repeated without effect. Every method raises StoreError, in one line,
    when SQLite or the disk refuses, and UsageError for a name that is not stored.
    """

    def __init__(self, path: Path, database: Database) -> None:
        super().__init__(path, database)
        self.objects = ObjectStore(path.parent / "objects")

    @classmethod
    def open(cls, path: Path | str, *, readonly: bool = False) -> Store:
        """Open a database; unless readonly, create it or migrate it after a backup.

        Raises StoreError for a file that is missing (readonly), unreadable, no database, another program's or written
        by a newer version.
        """
        path = Path(path)
        return cls(path, connect(path, readonly=readonly))

    # Images and benchmarks

    def add_image(
        self,
        data: bytes,
        media_type: str,
        size: Size,
        rendition: Rendition | None = None,
        picture: PIL.Image.Image | None = None,
    ) -> ImageInfo:
        """Store an encoded image and its thumbnail. size: pixels, upright.

        rendition: that it is, found by rendition() from now on. picture: the same decoded, where the caller has it, so
        that it need not be decoded here. Raises ImageError for data that is no image, UsageError for a wrong size or
        an unknown media type.
        """
        sha256 = imaging.sha256(data)
        known = self._all("SELECT * FROM images WHERE sha256 = ?", sha256)
        writes: list[tuple[str, rows.Columns, str]] = []
        if known:
            info = rows.image_of(known[0])
            self.objects.put(data, info.media_type, info.size, sha256)
        else:
            small = imaging.thumbnail(data if picture is None else picture, THUMBNAIL_SIDE)
            if small.size != size:
                own, given = (f"{shape.width} x {shape.height}" for shape in (small.size, size))
                raise UsageError(f"image of {own} was given as {given}: give its own size, upright")
            info = self.objects.put(data, media_type, size, sha256)
            path = self.objects.path(info.sha256).relative_to(self.path.parent).as_posix()
            names = {field.name: getattr(info, field.name) for field in fields(ImageInfo)}
            writes.append(("images", rows.columns(**names, path=path, thumbnail=small.data), IGNORE))
        if rendition:
            writes.append(("renditions", rows.rendition_columns(rendition) | {"image": info.sha256}, NEWEST))
        if writes:
            with self._write() as connection:
                for table, row, conflict in writes:
                    insert(connection, table, [row], conflict)
        return info

    def load_image(self, sha256: str) -> bytes:
        """Encoded bytes of an image. Raises StoreError for one that is missing or unreadable."""
        return self.objects.read(sha256)

    def rendition(self, rendition: Rendition) -> ImageInfo | None:
        """What was stored as that rendition, unless its file is lost."""
        found = self._all(RENDITION, *rows.rendition_columns(rendition).values())
        return rows.image_of(found[0]) if found and (self.path.parent / found[0]["path"]).is_file() else None

    def image(self, sha256: str) -> ImageInfo:
        """Facts of an image. Raises StoreError for one that is not stored."""
        return rows.image_of(self._image_row(sha256))

    def thumbnail(self, sha256: str) -> bytes:
        """JPEG of an image, longer side at most 96 px. Raises StoreError for one that is not stored."""
        return bytes(self._image_row(sha256)["thumbnail"])

    def add_benchmark(self, name: str, sha256: str, source: Mapping[str, Any], samples: Sequence[Sample]) -> None:
        """Store a set whose images are stored. Raises UsageError for a name that has another content already."""
        row = rows.columns(name=name, sha256=sha256, n=len(samples), source=rows.to_json(source), created=rows.now())
        with self._write() as connection:
            earlier = connection.execute("SELECT sha256 FROM benchmarks WHERE name = ?", (name,)).fetchone()
            if earlier is None:
                insert(connection, "benchmarks", [row])
                if samples:
                    insert(connection, "samples", [rows.sample_columns(s, k) for k, s in enumerate(samples)])
        if earlier is not None and earlier["sha256"] != sha256:
            raise UsageError(f"benchmark {name!r} exists with other content: give it another name")

    def describe_benchmark(self, name: str, **facts: Any) -> None:
        """Change facts of where a stored set comes from; its samples and its checksum stay."""
        source = rows.to_json({**self.benchmark(name).source, **facts})
        with self._write() as connection:
            connection.execute("UPDATE benchmarks SET source = ? WHERE name = ?", (source, name))

    def benchmark(self, name: str) -> BenchmarkInfo:
        known = self.benchmarks()
        if found := next((info for info in known if info.name == name), None):
            return found
        names = ", ".join(info.name for info in known) or "none yet"
        raise UsageError(f"benchmark {name!r} is not stored: choose from {names}")

    def benchmarks(self) -> list[BenchmarkInfo]:
        found = self._all("SELECT * FROM benchmarks ORDER BY rowid")
        return [rows.picked(BenchmarkInfo, row, source=json.loads(row["source"])) for row in found]

    def samples(self, benchmark: str, *, limit: int | None = None) -> list[Sample]:
        """The first `limit` samples, or all, in the order of the set."""
        self.benchmark(benchmark)
        sql = "SELECT * FROM samples WHERE benchmark = ? ORDER BY position LIMIT ?"
        return [rows.sample_of(row) for row in self._all(sql, benchmark, -1 if limit is None else limit)]

    def sample(self, benchmark: str, id: str) -> Sample:
        found = self._all("SELECT * FROM samples WHERE benchmark = ? AND id = ?", benchmark, id)
        if not found:
            raise UsageError(f"sample {id!r} is not in benchmark {benchmark!r}: list its samples for their ids")
        return rows.sample_of(found[0])

    # Runs

    def start_run(self, spec: RunSpec) -> str:
        """The id of a new run, or of the same one begun earlier. Raises UsageError when its benchmark is not stored."""
        if self.benchmark(spec.benchmark).sha256 != spec.benchmark_sha256:
            raise UsageError(f"benchmark {spec.benchmark!r} has other content than the run names: name its sha256")
        self._insert("runs", [rows.run_columns(spec)], IGNORE)
        return spec.id

    def run(self, prefix: str) -> RunSpec:
        """The one run whose id begins so. Raises UsageError when there is none, or more than one."""
        return rows.run_of(self._run_row(prefix))

    def runs(self) -> list[RunInfo]:
        """Every run and where it stands, oldest first."""
        specs = {row["id"]: rows.run_of(row) for row in self._all("SELECT * FROM runs ORDER BY rowid")}
        infos = {row["id"]: row for row in self._all("SELECT * FROM v_runs")}
        return [rows.picked(RunInfo, infos[id], spec=spec) for id, spec in specs.items() if id in infos]

    def start_invocation(self, invocation: Invocation) -> None:
        circumstances = rows.to_json(invocation.circumstances)
        row = rows.columns(
            id=invocation.id, run=invocation.run, started=invocation.started, circumstances=circumstances
        )
        self._insert("invocations", [row], IGNORE)

    def finish_invocation(self, id: str, seconds: float, images: Mapping[str, int] | None = None) -> None:
        """images: as Invocation has it."""
        written = None if images is None else rows.to_json(images)
        with self._write() as connection:
            connection.execute("UPDATE invocations SET seconds = ?, images = ? WHERE id = ?", (seconds, written, id))

    def invocations(self, run: str) -> list[Invocation]:
        """Of the run with that id, oldest first."""
        found = self._all("SELECT * FROM invocations WHERE run = ? ORDER BY rowid", run)
        return [rows.invocation_of(row) for row in found]

    def add_prompt(self, text: str) -> str:
        """Store a text by content; returns its sha256."""
        text = rows.clean(text)
        sha256 = imaging.sha256(text.encode())
        self._insert("prompts", [rows.columns(sha256=sha256, text=text)], IGNORE)
        return sha256

    def prompt(self, sha256: str) -> str:
        found = self._all("SELECT text FROM prompts WHERE sha256 = ?", sha256)
        if not found:
            raise UsageError(f"prompt {sha256!r} is not stored: give the sha256 of one that is")
        return str(found[0]["text"])

    # Trajectories

    def done(self, run: str) -> set[tuple[str, int]]:
        """(sample, attempt) of what need not be asked again: stored, and not ended by an error or a cancel."""
        sql = "SELECT sample, attempt FROM trajectories WHERE run = ? AND stop_reason NOT IN (?, ?)"
        return {(row["sample"], row["attempt"]) for row in self._all(sql, run, *FAILED)}

    def add_trajectory(self, trajectory: Trajectory, grade: Grade | None = None, *, cost: float | None = None) -> int:
        """Store a trajectory with its steps and grade, all or nothing; returns its row id.

        Its run, invocation, sample and crops must be stored. One of the same run, sample and attempt stays as it is,
        unless it ended in endpoint_error or cancelled: then the new one replaces it.
        """
        run = self._run_row(trajectory.run)
        steps = [rows.step_columns(step, run["model"]) for step in trajectory.steps]
        row = rows.trajectory_columns(trajectory, steps, cost) | {"benchmark": run["benchmark"]}
        key = (trajectory.run, trajectory.sample, trajectory.attempt)
        with self._write() as connection:
            sql = "SELECT id, stop_reason FROM trajectories WHERE run = ? AND sample = ? AND attempt = ?"
            earlier = connection.execute(sql, key).fetchone()
            if earlier and earlier["stop_reason"] not in FAILED:
                return int(earlier["id"])
            if earlier:
                connection.execute("DELETE FROM trajectories WHERE id = ?", (earlier["id"],))
            id = insert(connection, "trajectories", [row])
            if steps:
                insert(connection, "steps", [step | {"trajectory": id} for step in steps])
            if grade:
                _add_grade(connection, id, grade)
        return id

    def trajectory(self, id: int) -> Trajectory:
        """A trajectory with all its steps. Raises StoreError when they are not what was written."""
        found = self._all("SELECT * FROM trajectories WHERE id = ?", id)
        if not found:
            raise UsageError(f"trajectory {id} is not stored: list the trajectories of a run for their ids")
        return rows.trajectory_of(found[0], self._steps(found[0]))

    def trajectories(
        self,
        run: str | None = None,
        *,
        arm: str | None = None,
        benchmark: str | None = None,
        sample: str | None = None,
        verdict: Verdict | None = None,
        stop_reason: str | None = None,
        limit: int | None = None,
    ) -> list[TrajectoryRow]:
        """Trajectories without their steps, in the order of storing. run: an id or its beginning."""
        filters = {
            "run": None if run is None else self._run_row(run)["id"],
            "arm": arm, "benchmark": benchmark, "sample": sample, "verdict": verdict, "stop_reason": stop_reason,
        }  # fmt: skip
        given = {name: value for name, value in filters.items() if value is not None}
        where = " AND ".join(["1", *(f"{name} = ?" for name in given)])
        names = ", ".join(field.name for field in fields(TrajectoryRow))
        sql = f"SELECT {names} FROM v_trajectories WHERE {where} ORDER BY id LIMIT ?"
        found = self._all(sql, *given.values(), -1 if limit is None else limit)
        return [rows.picked(TrajectoryRow, row) for row in found]

    def trajectory_ids(self, run: str) -> list[int]:
        """Row ids of a run (an id or its beginning), in the order of storing."""
        sql = "SELECT id FROM trajectories WHERE run = ? ORDER BY id"
        return [row["id"] for row in self._all(sql, self._run_row(run)["id"])]

    def add_grades(self, grades: Iterable[tuple[int, Grade]]) -> int:
        """Add verdicts by trajectory id; returns how many differ from their grader's newest and were added."""
        grades = list(grades)
        with self._write() as connection:
            return sum(_add_grade(connection, id, grade) for id, grade in grades)

    def grades(self, trajectory: int) -> list[Grade]:
        """All verdicts on a trajectory, newest last."""
        found = self._all("SELECT * FROM grades WHERE trajectory = ? ORDER BY id", trajectory)
        return [rows.grade_of(row) for row in found]

    def graded(self, run: str, grader: str = GRADER, *, chunk: int = 500) -> Iterator[list[Graded]]:
        """Every answer of a run (an id or its beginning) with its verdicts, in the order of storing, so many at a time.

        What is added in between, to those that were given already, changes nothing.
        """
        id, last = self._run_row(run)["id"], 0
        samples: dict[str, Sample] = {}
        while found := self._all(GRADED, grader, id, last, chunk):
            last = found[-1]["id"]
            samples = samples or {sample.id: sample for sample in self.samples(found[0]["benchmark"])}
            named = [row[name] for row in found for name in ("grade", "before") if row[name] is not None]
            sql = f"SELECT * FROM grades WHERE id IN ({', '.join('?' * len(named))})"
            grades = {row["id"]: rows.grade_of(row) for row in self._all(sql, *named)}
            yield [
                rows.picked(
                    Graded, row, trajectory=row["id"], sample=samples[row["sample"]], failed=bool(row["failed"]),
                    grade=grades.get(row["grade"]), before=grades.get(row["before"]),
                )
                for row in found
            ]  # fmt: skip

    def results(self, run: str, *, grader: str = GRADER, samples: Mapping[str, Sample] | None = None) -> list[Result]:
        """Every answer of a run with the newest verdict of `grader`, in the order of the benchmark, then attempt.

        run: an id or its beginning. samples: of its benchmark by id, where the caller has them: several runs share
        them. Raises UsageError when an answer has no verdict of that grader.
        """
        row = self._run_row(run)
        spec = rows.run_of(row)
        if samples is None:
            samples = {sample.id: sample for sample in self.samples(spec.benchmark)}
        found = self._all(RESULTS, grader, row["id"])
        names = found[0].keys() if found else []
        scale_of = cache(lambda size: imaging.scale_of(size, spec.view_pixels, spec.factor))
        results = []
        for answer in found:
            read = dict(zip(names, answer, strict=True))
            sample = read["sample"] = samples[read["sample"]]
            if read["stop_reason"] in FAILED:
                read["verdict"] = "error"
            elif read["verdict"] is None:
                raise UsageError(
                    f"run {row['id']} has answers that {grader} did not grade: zoomgap regrade {row['id']}"
                )
            results.append(Result(**read, scale=scale_of(sample.size)))
        return results

    def crops(self, run: str) -> dict[tuple[str, int], tuple[Frame, ...]]:
        """What an agent was shown of the parts that it asked for, in its order, by sample and attempt.

        run: an id or its beginning. A picture that was withheld is not among them, nor an answer without any.
        """
        found: dict[tuple[str, int], tuple[Frame, ...]] = {}
        for row in self._all(CROPS, self._run_row(run)["id"]):
            before = found.get((row["sample"], row["attempt"]), ())
            size, box = Size(row["width"], row["height"]), Box(*json.loads(row["box"]))
            found[row["sample"], row["attempt"]] = (*before, Frame(len(before) + 1, size, box, row["turn"]))
        return found

    def counts(self) -> dict[str, int]:
        """Number of rows by table, in the order of the schema."""
        found = self._all("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%sqlite%'")
        return {name: self._all(f"SELECT count(*) FROM {name}")[0][0] for (name,) in found}

    def verify(self) -> list[str]:
        """What is wrong with the database and its objects, one line each; nothing when all is well."""
        problems = [row[0] for row in self._all("PRAGMA integrity_check") if row[0] != "ok"]
        problems += [f"table {row[0]}: row {row[1]} points to nothing" for row in self._all("PRAGMA foreign_key_check")]
        for row in self._all("SELECT id, turns, steps_sha256 FROM trajectories"):
            try:
                self._steps(row)
            except StoreError as error:
                problems.append(str(error))
        for row in self._all("SELECT sha256 FROM images"):
            try:
                if imaging.sha256(self.objects.read(row["sha256"])) != row["sha256"]:
                    problems.append(f"object {self.objects.path(row['sha256'])} is not what was stored: store it again")
            except StoreError as error:
                problems.append(str(error))
        return problems

    def _steps(self, trajectory: sqlite3.Row) -> list[Step]:
        found = self._all(STEPS, trajectory["id"])
        turns = sum(row["call"] is None for row in found)
        if turns != trajectory["turns"] or rows.steps_digest(found) != trajectory["steps_sha256"]:
            raise StoreError(f"trajectory {trajectory['id']}: its steps are not what was written: restore a backup")
        return [rows.step_of(row) for row in found]

    def _image_row(self, sha256: str) -> sqlite3.Row:
        found = self._all("SELECT * FROM images WHERE sha256 = ?", sha256)
        if not found:
            raise StoreError(f"image {sha256} is not in {self.path}: store the image first")
        return found[0]

    def _run_row(self, prefix: str) -> sqlite3.Row:
        found = self._all("SELECT * FROM runs WHERE substr(id, 1, length(?1)) = ?1 ORDER BY rowid", prefix)
        if len(found) == 1:
            return found[0]
        which = f"more than one run ({', '.join(row['id'] for row in found[:5])})" if found else "no run"
        raise UsageError(f"run {prefix!r} names {which}: give enough of a run's id to name one")


def _add_grade(connection: sqlite3.Connection, trajectory: int, grade: Grade) -> bool:
    """Add a verdict unless it is the newest of its grader already."""
    newest = connection.execute(
        "SELECT * FROM grades WHERE trajectory = ? AND grader = ? ORDER BY id DESC LIMIT 1", (trajectory, grade.grader)
    ).fetchone()
    row = rows.grade_columns(grade, trajectory)
    if newest and all(newest[name] == value for name, value in row.items() if name != "created"):
        return False
    insert(connection, "grades", [row])
    return True
