from dataclasses import replace

import pytest

from zoomgap import imaging, pipeline
from zoomgap.benchmarks import micro
from zoomgap.errors import ModelError, UsageError
from zoomgap.geometry import Size
from zoomgap.pipeline.students import MAX_FAILED_VOTES, VoteKeeper
from zoomgap.records import Image, Invocation, Request, RunSpec, Step, Trajectory, Vote
from zoomgap.storage import Store


def test_a_build_ends_after_many_failed_votes_in_a_row_and_keeps_them(tmp_path, monkeypatch):
    stored = []
    with Store.open(tmp_path / "z.db") as store:
        monkeypatch.setattr(store, "put_votes", stored.extend)
        keep = VoteKeeper(store)
        good = Vote(question="q", labels="agent", voter="v", index=0, answer="red")
        bad = replace(good, answer=None, error="down")
        for vote in [*[bad] * (MAX_FAILED_VOTES - 1), good, *[bad] * (MAX_FAILED_VOTES - 1)]:
            keep(vote)
        with pytest.raises(ModelError, match=r"20 errors in a row.*down"):
            keep(bad)
    assert len(stored) == 2 * MAX_FAILED_VOTES


@pytest.fixture
def store(tmp_path):
    """Training scenes, and a run of an agent that zoomed once into each, onto its evidence."""
    with Store.open(tmp_path / "z.db") as found:
        info = pipeline.make_micro(found, 3, 4_150_000)
        spec = RunSpec(benchmark=info.name, benchmark_sha256=info.sha256, arm="agent", model="micro")
        found.start_run(spec)
        found.start_invocation(Invocation(id="i", run=spec.id, started="2026-01-01", circumstances={}))
        for sample in found.samples(info.name):
            box = imaging.region_box(sample.evidence, sample.size)
            crop = imaging.cut(imaging.open_image(found.objects.read(sample.image)), box, 16_384)
            stored = found.add_image(imaging.encode(crop), "image/jpeg", Size(*crop.size))
            seen = Image(stored.sha256, stored.width, stored.height)
            zoom = Step(index=0, request=Request(messages=()), box_written=(0, 0, 9, 9), box=box, observation=seen)
            steps = (zoom, Step(index=1, request=Request(messages=()), text="red"))
            found.add_trajectory(
                Trajectory(
                    run=spec.id, sample=sample.id, attempt=0, invocation="i", stop_reason="answered", text="red",
                    steps=steps, wall_ms=1.0,
                )
            )  # fmt: skip
        yield found


def measure(store: Store, name: str, images: list[bytes]) -> None:
    """A benchmark to measure on, of copies."""
    (made,) = micro.make(1, 4_150_000)
    samples = []
    for k, data in enumerate(images):
        picture = imaging.open_image(data)
        info = store.add_image(data, "image/jpeg", Size(*picture.size))
        samples.append(replace(made.sample, id=f"s{k}", benchmark=name, image=info.sha256))
    store.add_benchmark(name, f"sha-{name}", {"kind": "import"}, samples)


OPTIONS = pipeline.BuildOptions(name="d", labels=("agent",), votes=1, agreement=0.5)


def copies(count: int) -> list[bytes]:
    """The first training images, half as large."""
    pictures = [imaging.open_image(made.jpeg) for made in micro.make(count, 4_150_000)]
    return [imaging.encode(picture.reduce(2)) for picture in pictures]


def test_images_that_a_benchmark_measures_on_are_left_out_and_counted(store):
    measure(store, "photos", copies(1))
    run = store.runs()[0].id
    hashed = []
    built = pipeline.build_datasets(store, run, OPTIONS, hashed=lambda done, total: hashed.append((done, total)))
    assert built["overlap"] == {"images": 1, "trajectories": 1, "questions": 2, "benchmarks": {"photos": 1}}
    assert (built["trajectories"], built["regions"], built["questions"]) == (2, 2, 4)
    assert hashed == [(4, 4)]
    assert {item.sample for item in store.items("d-agent")} <= {"micro-4150001", "micro-4150002"}
    kept = pipeline.build_datasets(store, run, replace(OPTIONS, name="all", allow_overlap=True))
    assert kept["overlap"]["images"] == 0
    assert (kept["trajectories"], kept["questions"]) == (3, 6)
    configs = {info.name: info.config for info in store.datasets()}
    assert configs["all-agent"]["allow_overlap"] is True
    assert "allow_overlap" not in configs["d-agent"]


def test_a_build_of_measured_images_alone_is_refused(store):
    measure(store, "photos", copies(3))
    with pytest.raises(UsageError, match=r"no image that is not also in photos.*--allow-overlap"):
        pipeline.build_datasets(store, store.runs()[0].id, OPTIONS)
    assert store.regions() == []


def test_scenes_of_other_seeds_lose_nothing(store):
    pipeline.make_micro(store, 12, 8_150_000)
    built = pipeline.build_datasets(store, store.runs()[0].id, OPTIONS)
    assert built["overlap"] == {"images": 0, "trajectories": 0, "questions": 0, "benchmarks": {}}
    assert built["trajectories"] == 3
