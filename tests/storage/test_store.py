from __future__ import annotations

import io
import math
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from zoomgap import imaging
from zoomgap.errors import ImageError, StoreError, UsageError
from zoomgap.geometry import Box, Frame, Size
from zoomgap.grading import GRADER
from zoomgap.records import JUDGE, Invocation, Rendition, Sampling
from zoomgap.storage import Store


def one_row(store: Store, sql: str) -> dict:
    (row,) = store.database.conn.execute(sql).fetchall()
    return dict(row)


def test_image(shelf) -> None:
    store = shelf.store
    data = shelf.picture("purple", 640, 200)
    info = store.add_image(data, "image/png", Size(640, 200))
    assert store.add_image(data, "image/png", Size(640, 200)) == info
    assert store.image(info.sha256) == info
    assert store.objects.read(info.sha256) == data
    thumbnail = PIL.Image.open(io.BytesIO(store.thumbnail(info.sha256)))
    assert (thumbnail.format, thumbnail.size) == ("JPEG", (96, 30))
    row = one_row(store, f"SELECT path FROM images WHERE sha256 = '{info.sha256}'")
    assert (store.path.parent / row["path"]).read_bytes() == data


def test_a_rendition_is_found_by_a_store_opened_later(shelf) -> None:
    store, picture = shelf.store, shelf.picture("teal", 64, 32)
    rendition = Rendition(shelf.original.sha256, Box(10, 20, 110, 70), Size(64, 32))
    assert store.rendition(rendition) is None
    info = store.add_image(picture, "image/png", Size(64, 32), rendition)
    assert store.rendition(rendition) == info
    assert store.rendition(replace(rendition, box=Box(10.0, 20.0, 110.0, 70.0))) == info
    others = (
        replace(rendition, source=shelf.crop.sha256), replace(rendition, box=Box(10, 20, 110, 70.5)),
        replace(rendition, size=Size(32, 64)), replace(rendition, turn=90),
    )  # fmt: skip
    assert [store.rendition(other) for other in others] == [None] * 4
    with Store.open(store.path, readonly=True) as later:
        assert later.rendition(rendition) == info
        assert later.load_image(info.sha256) == picture
    assert store.verify() == []


def test_a_rendition_of_another_version_is_not_found(shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    rendition = Rendition(shelf.original.sha256, Box(0, 0, 10, 10), Size(64, 32))
    shelf.store.add_image(shelf.picture("teal", 64, 32), "image/png", Size(64, 32), rendition)
    monkeypatch.setattr(imaging, "DRAWING", imaging.DRAWING + 1)
    assert shelf.store.rendition(rendition) is None


def test_a_rendition_whose_file_is_lost_is_drawn_anew(shelf) -> None:
    store, rendition = shelf.store, Rendition(shelf.original.sha256, Box(0, 0, 10, 10), Size(64, 32))
    lost = store.add_image(shelf.picture("teal", 64, 32), "image/png", Size(64, 32), rendition)
    store.objects.path(lost.sha256).unlink()
    assert store.rendition(rendition) is None
    # Another version of the encoder may give other bytes.
    anew = store.add_image(shelf.picture("navy", 64, 32), "image/png", Size(64, 32), rendition)
    assert store.rendition(rendition) == anew


def test_an_image_is_its_own_rendition(shelf) -> None:
    rendition = Rendition(shelf.original.sha256, Box(0, 0, 320, 256), Size(320, 256))
    info = shelf.store.add_image(shelf.picture("red"), "image/png", Size(320, 256), rendition)
    assert info == shelf.original == shelf.store.rendition(rendition)


def test_a_rendition_needs_its_source(shelf) -> None:
    with pytest.raises(StoreError, match="store first what the record points to"):
        shelf.store.add_image(
            shelf.picture("teal", 64, 32), "image/png", Size(64, 32), Rendition("e" * 64, Box(0, 0, 9, 9), Size(64, 32))
        )


@pytest.mark.parametrize(("width", "height"), [(640, 200), (50, 40), (3000, 20), (96, 96)])
def test_a_picture_at_hand_gives_the_same_thumbnail(shelf, width: int, height: int) -> None:
    image = imaging.open_image(shelf.picture("purple", width, height))
    with_it = shelf.store.add_image(imaging.encode(image, "image/png"), "image/png", Size(width, height), None, image)
    thumbnail = shelf.store.thumbnail(with_it.sha256)
    shelf.store.database.conn.execute("DELETE FROM images WHERE sha256 = ?", (with_it.sha256,))
    without = shelf.store.add_image(imaging.encode(image, "image/png"), "image/png", Size(width, height))
    assert shelf.store.thumbnail(without.sha256) == thumbnail
    shown = PIL.Image.open(io.BytesIO(thumbnail))
    assert max(shown.size) == min(96, max(width, height))
    assert image.size == (width, height)


def test_missing_object_is_put_back(shelf) -> None:
    shelf.store.objects.path(shelf.original.sha256).unlink()
    assert shelf.store.verify() != []
    shelf.store.add_image(shelf.picture("red"), "image/png", Size(320, 256))
    assert shelf.store.verify() == []


def test_image_that_is_refused(shelf) -> None:
    with pytest.raises(ImageError):
        shelf.store.add_image(b"no image", "image/png", Size(1, 1))
    with pytest.raises(UsageError, match="image of 10 x 12 was given as 12 x 10"):
        shelf.store.add_image(shelf.picture("red", 10, 12), "image/png", Size(12, 10))
    with pytest.raises(StoreError, match=r"image 0{64} is not in"):
        shelf.store.image("0" * 64)


def test_benchmark(shelf) -> None:
    store = shelf.store
    samples = store.samples("tiny")
    assert [sample.id for sample in samples] == ["s0", "s1", "s2", "s3"]
    assert store.samples("tiny", limit=2) == samples[:2]
    assert store.sample("tiny", "s1") == samples[1] == shelf.sample(1, store.image(samples[1].image))
    info = store.benchmark("tiny")
    assert (info.sha256, info.n, info.source) == ("b" * 64, 4, {"made": "by hand"})
    assert store.benchmarks() == [info]


def test_a_benchmark_is_never_replaced(shelf) -> None:
    samples = shelf.store.samples("tiny")
    shelf.store.add_benchmark("tiny", "b" * 64, {}, samples)
    with pytest.raises(UsageError, match="'tiny' exists with other content"):
        shelf.store.add_benchmark("tiny", "c" * 64, {}, samples[:1])
    assert shelf.store.samples("tiny") == samples


def test_a_set_may_bring_a_crop_and_more_images(shelf) -> None:
    store, crop = shelf.store, shelf.crop.sha256
    sample = shelf.sample(0, shelf.original, benchmark="several", crop=crop, more_images=(crop, shelf.original.sha256))
    store.add_benchmark("several", "e" * 64, {}, [sample])
    assert store.samples("several") == [sample]
    with pytest.raises(StoreError, match="store first what the record points to"):
        store.add_benchmark("lost", "f" * 64, {}, [replace(sample, benchmark="lost", crop="f" * 64)])


def test_a_benchmark_needs_its_images(shelf) -> None:
    strange = replace(shelf.sample(0, shelf.original), benchmark="other", image="f" * 64)
    with pytest.raises(StoreError, match="store first what the record points to"):
        shelf.store.add_benchmark("other", "d" * 64, {}, [strange])
    assert [info.name for info in shelf.store.benchmarks()] == ["tiny"]


def test_unknown_names(shelf) -> None:
    store = shelf.store
    for call, named in [
        (lambda: store.benchmark("x"), "benchmark 'x' is not stored: choose from tiny"),
        (lambda: store.samples("x"), "choose from tiny"),
        (lambda: store.sample("tiny", "x"), "sample 'x' is not in benchmark 'tiny'"),
        (lambda: store.run("zz"), "run 'zz' names no run"),
        (lambda: store.trajectory(99), "trajectory 99 is not stored"),
        (lambda: store.items("x"), "dataset 'x' is not stored: choose from none yet"),
        (lambda: store.prompt("x"), "prompt 'x' is not stored"),
    ]:
        with pytest.raises(UsageError, match=named):
            call()


def test_run(shelf) -> None:
    store, spec = shelf.store, shelf.spec
    assert store.start_run(spec) == spec.id
    assert store.run(spec.id) == store.run(spec.id[:5]) == spec
    other = replace(spec, sampling=Sampling(temperature=1, stop=("\n",)), suffix=False)
    store.start_run(other)
    assert store.run(other.id) == other
    assert [info.spec for info in store.runs()] == [spec, other]
    with pytest.raises(UsageError, match=f"names more than one run \\({spec.id}, {other.id}\\)"):
        store.run("")


def test_run_on_other_content_than_stored(shelf) -> None:
    with pytest.raises(UsageError, match="'tiny' has other content"):
        shelf.store.start_run(replace(shelf.spec, benchmark_sha256="c" * 64))


def test_invocations(shelf) -> None:
    (first,) = shelf.store.invocations(shelf.spec.id)
    assert first.circumstances == {"concurrency": 2}
    second = Invocation(id="again", run=shelf.spec.id, started="2026-01-02T00:00:00+00:00", circumstances={})
    shelf.store.start_invocation(second)
    shelf.store.start_invocation(second)
    shelf.store.finish_invocation("again", 2.5, {"drawn": 3})
    assert shelf.store.invocations(shelf.spec.id) == [first, replace(second, seconds=2.5, images={"drawn": 3})]
    assert one_row(shelf.store, "SELECT seconds FROM invocations WHERE id = 'again'") == {"seconds": 2.5}


def test_prompt(shelf) -> None:
    name = shelf.store.add_prompt("Answer now.")
    assert shelf.store.add_prompt("Answer now.") == name == imaging.sha256(b"Answer now.")
    assert shelf.store.prompt(name) == "Answer now."


def test_done_leaves_out_errors(shelf) -> None:
    store = shelf.store
    store.add_trajectory(shelf.trajectory("s0"))
    store.add_trajectory(shelf.trajectory("s1", stop_reason="endpoint_error", error="no route", steps=(), text=""))
    store.add_trajectory(shelf.trajectory("s2", stop_reason="cancelled", steps=(), text=""))
    store.add_trajectory(shelf.trajectory("s3", attempt=1, stop_reason="budget"))
    assert store.done(shelf.spec.id) == {("s0", 0), ("s3", 1)}


@pytest.mark.parametrize("stop_reason", ["endpoint_error", "cancelled"])
def test_an_error_gives_way_to_an_answer(shelf, stop_reason: str) -> None:
    store = shelf.store
    failed = store.add_trajectory(shelf.trajectory(stop_reason=stop_reason), shelf.grade("error", None))
    answered = store.add_trajectory(shelf.trajectory(), shelf.grade())
    assert store.trajectory_ids(shelf.spec.id) == [answered] != [failed]
    assert [result.verdict for result in store.results(shelf.spec.id)] == ["correct"]
    assert store.counts()["grades"] == 1
    assert store.counts()["steps"] == 2


def test_an_answer_stays(shelf) -> None:
    store = shelf.store
    first = store.add_trajectory(shelf.trajectory(), shelf.grade())
    again = store.add_trajectory(shelf.trajectory(stop_reason="endpoint_error", text="", steps=()))
    assert again == first
    assert store.trajectory(first) == shelf.trajectory()


@pytest.mark.parametrize("change", [{"run": "nope"}, {"sample": "nope"}, {"invocation": "nope"}, {"wall_ms": math.nan}])
def test_a_trajectory_that_is_refused_leaves_nothing(shelf, change: dict) -> None:
    with pytest.raises((StoreError, UsageError)) as caught:
        shelf.store.add_trajectory(shelf.trajectory(**change))
    assert "\n" not in str(caught.value)
    assert shelf.store.counts()["trajectories"] == shelf.store.counts()["steps"] == 0


def test_a_refused_step_takes_its_trajectory_along(shelf) -> None:
    made = shelf.trajectory()
    lost = replace(made.steps[0], index=1, observation=replace(made.steps[0].observation, sha256="f" * 64))
    with pytest.raises(StoreError):
        shelf.store.add_trajectory(replace(made, steps=(replace(made.steps[0], observation=None), lost)), shelf.grade())
    assert shelf.store.counts()["trajectories"] == shelf.store.counts()["steps"] == 0


def test_trajectories_by_filter(shelf) -> None:
    store = shelf.store
    direct = shelf.start(arm="direct")
    a = store.add_trajectory(shelf.trajectory("s0"), shelf.grade())
    b = store.add_trajectory(shelf.trajectory("s1"), shelf.grade("incorrect", "B"))
    c = store.add_trajectory(shelf.trajectory("s0", run=direct), shelf.grade("unparsed", None), cost=0.25)
    d = store.add_trajectory(shelf.trajectory("s1", run=direct, stop_reason="endpoint_error"))

    def ids(*run: str, **filters) -> list[int]:
        return [row.id for row in store.trajectories(*run, **filters)]

    assert ids() == [a, b, c, d]
    assert ids(limit=2) == [a, b]
    assert ids(direct[:6]) == [c, d]
    assert ids(arm="agent") == ids(shelf.spec.id) == [a, b]
    assert ids(sample="s0") == [a, c]
    assert ids(verdict="error") == ids(stop_reason="endpoint_error") == [d]
    assert ids(benchmark="tiny", verdict="correct") == [a]
    (row,) = store.trajectories(direct, verdict="unparsed")
    assert (row.arm, row.model, row.gold, row.answer, row.cost, row.zooms) == ("direct", "micro", "A", None, 0.25, 1)


def test_grades_are_versions(shelf) -> None:
    store = shelf.store
    id = store.add_trajectory(shelf.trajectory(), shelf.grade("unparsed", None))
    assert store.add_grades([(id, shelf.grade("unparsed", None))]) == 0
    assert store.add_grades([(id, shelf.grade())]) == 1
    assert store.add_grades([(id, shelf.grade("incorrect", "B", "other-2"))]) == 1
    assert [grade.verdict for grade in store.grades(id)] == ["unparsed", "correct", "incorrect"]
    assert [result.verdict for result in store.results(shelf.spec.id)] == ["correct"]
    assert [result.verdict for result in store.results(shelf.spec.id, grader="other-2")] == ["incorrect"]
    assert store.trajectories()[0].verdict == "incorrect"


def test_a_judge_stands_beside_the_rules(shelf) -> None:
    store, judge = shelf.store, f"{JUDGE}m@1"
    id = store.add_trajectory(shelf.trajectory(), shelf.grade())
    assert store.add_grades([(id, shelf.grade("incorrect", "same / different", judge))]) == 1
    assert store.add_grades([(id, shelf.grade())]) == 0, "the rules' newest is the same still"
    assert [grade.grader for grade in store.grades(id)] == [GRADER, judge]
    (row,) = store.trajectories()
    assert (row.verdict, row.grader) == ("correct", GRADER)
    assert [result.verdict for result in store.results(shelf.spec.id)] == ["correct"]
    assert [(result.verdict, result.grader) for result in store.results(shelf.spec.id, grader=judge)] == [
        ("incorrect", judge)
    ]
    (runs,) = store.database.execute("SELECT graders FROM v_runs").fetchall()
    assert runs[0] == GRADER
    shown = store.database.execute("SELECT grader, verdict, shown, gold, text FROM v_grades").fetchall()
    assert [tuple(row) for row in shown] == [(GRADER, "correct", "A", "A", "A"), (judge, "incorrect", "A", "A", "A")]


def test_what_is_to_be_graded(shelf) -> None:
    store = shelf.store
    ids = [
        store.add_trajectory(shelf.trajectory("s0"), shelf.grade("unparsed", None, "rules-0")),
        store.add_trajectory(shelf.trajectory("s1"), shelf.grade()),
        store.add_trajectory(shelf.trajectory("s2", stop_reason="endpoint_error")),
        store.add_trajectory(shelf.trajectory("s3", stop_reason="context", error="too long")),
    ]
    for chunk in (1, 3, 500):
        found = [answer for part in store.graded(shelf.spec.id[:5], chunk=chunk) for answer in part]
        assert [answer.trajectory for answer in found] == ids
        assert [answer.failed for answer in found] == [False, False, True, True]
        assert [answer.grade and answer.grade.verdict for answer in found] == [None, "correct", None, None]
        assert [answer.before and answer.before.grader for answer in found] == ["rules-0", None, None, None]
        assert [answer.sample.id for answer in found] == ["s0", "s1", "s2", "s3"]


def test_grade_of_no_trajectory(shelf) -> None:
    with pytest.raises(StoreError):
        shelf.store.add_grades([(1, shelf.grade())])
    assert shelf.store.counts()["grades"] == 0


def test_results(shelf) -> None:
    store = shelf.store
    ids = [
        store.add_trajectory(shelf.trajectory("s2"), shelf.grade()),
        store.add_trajectory(shelf.trajectory("s0", attempt=1), shelf.grade("incorrect", "B")),
        store.add_trajectory(shelf.trajectory("s0"), shelf.grade(), cost=0.5),
        store.add_trajectory(shelf.trajectory("s1", stop_reason="endpoint_error", steps=(), text=""), None),
    ]
    results = store.results(shelf.spec.id[:4])
    assert [(r.sample.id, r.attempt, r.verdict) for r in results] == [
        ("s0", 0, "correct"), ("s0", 1, "incorrect"), ("s1", 0, "error"), ("s2", 0, "correct"),
    ]  # fmt: skip
    assert [r.trajectory for r in results] == [ids[2], ids[1], ids[3], ids[0]]
    first, made = results[0], shelf.trajectory()
    assert first.sample == store.sample("tiny", "s0")
    assert first.scale == imaging.scale_of(Size(320, 256), shelf.spec.view_pixels, shelf.spec.factor)
    assert first.evidence_px == pytest.approx(math.sqrt(42) * first.scale)
    for name in ("model_ms", "preprocess_ms", "tool_ms", "prompt_tokens", "image_tokens", "pixels_sent", "turns",
                 "zooms", "wall_ms", "invocation", "run", "text", "stop_reason", "completion_tokens"):  # fmt: skip
        assert getattr(first, name) == getattr(made, name), name
    assert first.cost == 0.5


def test_an_ungraded_answer_is_no_result(shelf) -> None:
    shelf.store.add_trajectory(shelf.trajectory())
    with pytest.raises(UsageError, match=f"answers that {GRADER} did not grade"):
        shelf.store.results(shelf.spec.id)


def test_crops_are_what_was_shown_in_its_order(shelf) -> None:
    zoom, last = shelf.trajectory().steps
    other = replace(zoom, index=1, box=Box(0, 0, 4, 8), turn=90)
    withheld = replace(zoom, index=2, observation=None)
    shelf.store.add_trajectory(shelf.trajectory("s1", steps=(zoom, other, withheld, replace(last, index=3))))
    shelf.store.add_trajectory(shelf.trajectory("s0", attempt=1))
    shelf.store.add_trajectory(shelf.trajectory("s2", steps=(replace(last, index=0),)))
    size = shelf.crop.size
    first = Frame(1, size, Box(3, 5, 10, 11))
    assert shelf.store.crops(shelf.spec.id[:6]) == {
        ("s1", 0): (first, Frame(2, size, Box(0, 0, 4, 8), 90)),
        ("s0", 1): (first,),
    }


def test_runs_count_errors_apart(shelf) -> None:
    store = shelf.store
    store.add_trajectory(shelf.trajectory("s0"), shelf.grade())
    store.add_trajectory(shelf.trajectory("s1"), shelf.grade("incorrect", "B"))
    store.add_trajectory(shelf.trajectory("s2"), shelf.grade("unparsed", None))
    store.add_trajectory(shelf.trajectory("s3", stop_reason="endpoint_error"), shelf.grade("error", None))
    (info,) = store.runs()
    assert (info.id, info.samples, info.attempted, info.answered) == (shelf.spec.id, 4, 4, 2)
    assert (info.unparsed, info.errors, info.ungraded, info.correct) == (1, 1, 0, 1)
    assert info.accuracy == pytest.approx(1 / 3)
    assert info.service_accuracy == 0.25


def test_pairs_of_runs(shelf) -> None:
    store = shelf.store
    direct = shelf.start(arm="direct")
    verdicts = [("correct", "correct"), ("correct", "incorrect"), ("unparsed", "correct"), ("incorrect", "error")]
    for number, (first, second) in enumerate(verdicts):
        store.add_trajectory(shelf.trajectory(f"s{number}"), shelf.grade(first))
        store.add_trajectory(shelf.trajectory(f"s{number}", run=direct), shelf.grade(second))
    sql = "SELECT sample, arm_a, arm_b, outcome FROM v_ab WHERE run_a = ? AND run_b = ? ORDER BY sample"
    pairs = store.database.conn.execute(sql, (shelf.spec.id, direct)).fetchall()
    assert [tuple(pair) for pair in pairs] == [
        ("s0", "agent", "direct", "both"),
        ("s1", "agent", "direct", "only_a"),
        ("s2", "agent", "direct", "only_b"),
        ("s3", "agent", "direct", None),
    ]


def test_steps_view_shows_the_crop(shelf) -> None:
    shelf.store.add_trajectory(shelf.trajectory(), shelf.grade())
    steps = shelf.store.database.conn.execute("SELECT * FROM v_steps ORDER BY step").fetchall()
    assert [row["observation"] for row in steps] == [shelf.crop.sha256, None]
    assert steps[0]["thumbnail"] == shelf.store.thumbnail(shelf.crop.sha256)
    assert (steps[0]["arm"], steps[0]["sample"], steps[0]["box"]) == ("agent", "s0", "[3,5,10,11]")


def test_threads_share_a_store(shelf) -> None:
    store = shelf.store
    seen: list[int] = []

    def write(attempt: int) -> None:
        store.add_trajectory(shelf.trajectory(attempt=attempt), shelf.grade())
        store.add_image(shelf.picture("red", 20 + attempt, 20), "image/png", Size(20 + attempt, 20))
        seen.append(threading.get_ident())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(64)))
    assert len(set(seen)) > 1
    assert store.done(shelf.spec.id) == {("s0", attempt) for attempt in range(64)}
    assert store.verify() == []


def test_another_connection_reads_while_one_writes(shelf) -> None:
    with Store.open(shelf.store.path, readonly=True) as reader:
        shelf.store.database.conn.execute("BEGIN IMMEDIATE")
        assert reader.trajectories() == []
        shelf.store.database.conn.execute("COMMIT")
        shelf.store.add_trajectory(shelf.trajectory(), shelf.grade())
        assert len(reader.results(shelf.spec.id)) == 1
        with pytest.raises(StoreError, match="readonly"):
            reader.add_trajectory(shelf.trajectory(attempt=1))


def test_pragmas(shelf) -> None:
    connection = shelf.store.database.conn
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    assert [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas] == ["wal", 1, 1, 30_000]


def test_full_disk(shelf) -> None:
    store = shelf.store
    connection = store.database.conn
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 8}")
    stored = 0

    def fill_up() -> None:
        nonlocal stored
        while stored < 1000:
            store.add_trajectory(shelf.trajectory(attempt=stored, text="long " * 1000), shelf.grade())
            stored += 1

    with pytest.raises(StoreError, match="full: free disk space and run the same command again") as caught:
        fill_up()
    assert "\n" not in str(caught.value)
    connection.execute("PRAGMA max_page_count = 100000")
    assert len(store.done(shelf.spec.id)) == stored
    assert store.verify() == []
    store.add_trajectory(shelf.trajectory(attempt=stored, text="long " * 1000), shelf.grade())
    assert store.verify() == []


def test_backup(shelf, tmp_path: Path) -> None:
    id = shelf.store.add_trajectory(shelf.trajectory(), shelf.grade())
    shelf.store.backup(tmp_path / "copy.db")
    with Store.open(tmp_path / "copy.db", readonly=True) as copy:
        assert copy.trajectory(id) == shelf.trajectory()
    with pytest.raises(UsageError, match=r"copy\.db exists"):
        shelf.store.backup(tmp_path / "copy.db")
    with pytest.raises(StoreError, match="unable to open"):
        shelf.store.backup(tmp_path / "no" / "copy.db")


def test_verify_names_what_is_wrong(shelf) -> None:
    shelf.store.objects.path(shelf.crop.sha256).write_bytes(b"something else")
    shelf.store.objects.path(shelf.original.sha256).unlink()
    problems = shelf.store.verify()
    assert len(problems) == 2
    assert any(shelf.crop.sha256 in line and "not what was stored" in line for line in problems)
    assert any(shelf.original.sha256 in line and "is not in" in line for line in problems)


def test_closed_store(shelf) -> None:
    shelf.store.close()
    shelf.store.close()
    with pytest.raises(StoreError, match="open the store again"):
        shelf.store.runs()


def test_tables_refuse_what_is_no_json(shelf) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint"):
        shelf.store.database.conn.execute("UPDATE samples SET choices = '[oops'")
