"""The runner with a real store. Run as a program, this file is the process that the resume test kills."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from zoomgap import imaging, prompts
from zoomgap.agents import Limits, Progress, RunSummary, regrade, run_arm
from zoomgap.errors import ModelError, RefusedError, TooLongError, UsageError
from zoomgap.geometry import Size
from zoomgap.grading import GRADER
from zoomgap.models.prices import Price
from zoomgap.models.scripted import ScriptedModel
from zoomgap.records import Image, Reply, Request, RunSpec, Sample, Sampling, Usage
from zoomgap.storage import Store

from ..samples import make_samples

CALL = '<tool_call>{"name": "zoom_in", "arguments": {"bbox_2d": [0, 0, 500, 500]}}</tool_call>'


def spec_of(arm: str = "direct", attempts: int = 1) -> RunSpec:
    return RunSpec(benchmark="b", benchmark_sha256="0" * 64, arm=arm, model="scripted", suffix=False, attempts=attempts)  # type: ignore[arg-type]


class SlowModel(ScriptedModel):
    """Takes its time, as real ones do, and hangs after 40 replies: a run of more never ends by itself."""

    async def reply(self, request: Request) -> Reply:
        await asyncio.sleep(0.02 if len(self.history) < 40 else 3600)
        return await super().reply(request)


def zoom_then_answer(request: Request) -> str:
    return CALL if len(request.messages) == 1 else "7"


async def work(store: Store, n: int, model: ScriptedModel, arm: str = "agent", attempts: int = 2, **more) -> RunSummary:
    return await run_arm(spec_of(arm, attempts), make_samples(store, n), store, model, concurrency=4, **more)


def keys(store: Store) -> list[tuple[str, int]]:
    return sorted((row.sample, row.attempt) for row in store.trajectories())


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "zoomgap.db")


async def test_a_run_is_stored_and_counted(store):
    replies = {"What is 0?": "0", "What is 1?": "9", "What is 2?": "I cannot tell"}

    def reply(request: Request) -> str:
        text = request.messages[0].content[-1].text
        if text in replies:
            return replies[text]
        raise ModelError("it is down")

    seen: list[Progress] = []
    summary = await work(store, 4, ScriptedModel(reply), "direct", attempts=1, progress=seen.append)
    assert (summary.n, summary.attempted, summary.answered, summary.unparsed) == (4, 4, 2, 1)
    assert (summary.errors, summary.correct, summary.resumed) == (1, 1, 0)
    assert summary.run == spec_of().id
    assert [(step.done, step.total) for step in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert seen[-1].errors == 1
    assert seen[-1].eta_s == 0
    verdicts = {result.sample.id: result.verdict for result in store.results(summary.run)}
    assert verdicts == {"s0": "correct", "s1": "incorrect", "s2": "unparsed", "s3": "error"}


async def test_a_variant_is_asked_and_graded_in_its_own_order(store):
    """One who always says the same letter is right where that option moved to; one who says the option, always."""
    (plain, *_) = make_samples(store, 1)
    choices = ("red", "blue", "green", "white")
    samples = [
        replace(plain, benchmark="v", id=f"v{k}", choices=choices, answer="B", answer_kind="choice") for k in range(12)
    ]
    store.add_benchmark("v", "1" * 64, {"kind": "import"}, samples)
    asked = []

    def letter(request: Request) -> str:
        asked.append(request.messages[0].content[-1].text)
        return "A"

    spec = replace(spec_of(), benchmark="v", benchmark_sha256="1" * 64, variant=1, suffix=True)
    summary = await run_arm(spec, samples, store, ScriptedModel(letter), concurrency=1)
    assert all(text.endswith(prompts.phrasing("choice", 1)) for text in asked)
    moved = sum(prompts.vary(sample, 1).answer == "A" for sample in samples)
    assert 0 < moved < 12
    assert summary.correct == moved == sum("A) blue" in text for text in asked)
    assert {result.sample.choices for result in store.results(summary.run)} == {choices}
    store.database.conn.execute("UPDATE grades SET grader = 'rules-0'")
    assert regrade(store, summary.run).changes == ()
    named = await run_arm(replace(spec, variant=2), samples, store, ScriptedModel(lambda request: "blue"))
    assert named.correct == 12


async def test_a_run_of_an_earlier_version_is_graded_anew(store):
    first = await work(store, 4, ScriptedModel(zoom_then_answer), attempts=1, limit=2)
    store.database.conn.execute("UPDATE grades SET grader = 'rules-0'")
    again = await work(store, 4, ScriptedModel(zoom_then_answer), attempts=1)
    assert (again.run, again.attempted, again.resumed) == (first.run, 4, 2)
    graders = [[grade.grader for grade in store.grades(id)] for id in store.trajectory_ids(first.run)]
    assert graders == [["rules-0", GRADER], ["rules-0", GRADER], [GRADER], [GRADER]]


async def test_the_circumstances_of_each_invocation_are_stored(store):
    summary = await work(store, 2, ScriptedModel(zoom_then_answer))
    (invocation,) = store.invocations(summary.run)
    facts = invocation.circumstances
    assert (facts["concurrency"], facts["warm_up"], facts["batch_size"]) == (4, 0, None)
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["packages"]["torch"]
    assert facts["cores"] == os.cpu_count()
    assert all(store.trajectory(id).invocation == invocation.id for id in store.trajectory_ids(summary.run))


def make_large(store: Store) -> list[Sample]:
    """Four samples on two images that are over the view's budget."""
    infos = [
        store.add_image(imaging.encode(PIL.Image.new("RGB", (400, 300), shade)), "image/jpeg", Size(400, 300))
        for shade in ("white", "black")
    ]
    samples = [
        replace(sample, image=infos[k % 2].sha256, width=400, height=300)
        for k, sample in enumerate(make_samples(store, 4, name="small"))
    ]
    store.add_benchmark("b", "0" * 64, {}, [replace(sample, benchmark="b") for sample in samples])
    return [replace(sample, benchmark="b") for sample in samples]


async def test_what_is_drawn_and_decoded_is_counted_and_found_by_the_next_run(store):
    samples = make_large(store)
    counts = []
    for seed in (0, 1):
        spec = replace(spec_of("agent"), sampling=Sampling(seed=seed))
        summary = await run_arm(spec, samples, store, ScriptedModel(zoom_then_answer), concurrency=2)
        (invocation,) = store.invocations(summary.run)
        assert invocation.images == summary.images._asdict()
        counts.append(summary.images)
    first, second = counts
    assert (first.drawn, first.decoded, first.decoded_again) == (4, 2, 0)
    assert (second.drawn, second.found, second.decoded) == (0, 8, 0)


async def test_one_at_a_time_each_image_is_seen_for_the_first_time(store):
    samples = make_large(store)
    for seed in (0, 1):
        spec = replace(spec_of("agent"), sampling=Sampling(seed=seed))
        summary = await run_arm(spec, samples, store, ScriptedModel(zoom_then_answer), concurrency=1)
        assert summary.images == (8, 0, 4, 0)


async def test_an_image_within_the_budget_is_sent_as_it_is_stored(store):
    samples = make_samples(store, 3)
    model = ScriptedModel(zoom_then_answer)
    summary = await run_arm(spec_of("agent"), samples, store, model, concurrency=2)
    first = model.history[0].messages[0].content[0]
    assert first == Image(samples[0].image, 64, 64)
    assert (summary.images.drawn, summary.images.decoded) == (1, 1)  # the crop


async def test_every_request_can_be_rebuilt_from_the_store(store):
    model = ScriptedModel(zoom_then_answer)
    summary = await work(store, 1, model, attempts=1)
    (id,) = store.trajectory_ids(summary.run)
    assert [step.request for step in store.trajectory(id).steps] == model.history
    assert store.verify() == []


async def test_what_is_stored_is_not_asked_again(store):
    first = await work(store, 3, ScriptedModel(zoom_then_answer), limit=2)
    assert (first.n, first.attempted) == (4, 4)
    model = ScriptedModel(zoom_then_answer)
    second = await work(store, 3, model)
    assert (second.n, second.attempted, second.resumed) == (6, 6, 4)
    assert len(model.history) == 2 * 2
    third = await work(store, 3, ScriptedModel([]))
    assert (third.n, third.attempted, third.resumed, third.seconds) == (6, 6, 6, 0)
    assert len(store.invocations(third.run)) == 2


async def test_errors_are_asked_again(store):
    failing = await work(store, 2, ScriptedModel([ModelError("it is down")] * 4))
    assert (failing.errors, failing.answered) == (4, 0)
    mended = await work(store, 2, ScriptedModel(zoom_then_answer))
    assert (mended.errors, mended.answered, mended.resumed) == (0, 4, 0)
    assert len(keys(store)) == 4


async def test_samples_are_asked_in_order(store):
    model = ScriptedModel(lambda request: "7")
    await run_arm(spec_of("direct", 2), make_samples(store, 3), store, model, concurrency=1)
    asked = [(request.messages[0].content[-1].text, request.sampling.seed) for request in model.history]
    assert asked == [(f"What is {k}?", seed) for seed in (0, 1) for k in range(3)]


def down(request: Request) -> str:
    raise ModelError("nobody listens")


async def test_a_sample_whose_image_cannot_be_shown_gets_its_error_and_the_run_goes_on(store):
    samples = make_samples(store, 4)
    lost = replace(samples[1], image="f" * 64)
    long = replace(samples[2], image=store.add_image(imaging.encode(imaging.grey(Size(900, 3))), "image/jpeg",
                                                     Size(900, 3)).sha256, width=900, height=3)  # fmt: skip
    summary = await run_arm(spec_of(), [samples[0], lost, long, samples[3]], store, ScriptedModel(lambda _: "7"))
    assert (summary.attempted, summary.answered, summary.errors) == (4, 2, 2)
    errors = {row.sample: row.error for row in store.trajectories(verdict="error")}
    assert "is not in" in errors["s1"]
    assert "900 x 3" in errors["s2"]


async def test_a_dead_endpoint_ends_the_run(store):
    with pytest.raises(ModelError, match="after 20 errors in a row, the last one: nobody listens") as caught:
        await work(store, 100, ScriptedModel(down), "direct", attempts=1)
    assert "\n" not in str(caught.value)
    assert 20 <= len(keys(store)) < 20 + 4  # those that were under way are kept too


async def test_a_shaky_endpoint_does_not(store):
    turn = iter(range(1000))

    def shaky(request: Request) -> str:
        return "7" if next(turn) % 20 == 0 else down(request)

    summary = await work(store, 50, ScriptedModel(shaky), "direct", attempts=1)
    assert (summary.answered, summary.errors) == (3, 47)


async def test_nothing_is_asked_when_the_arm_does_not_fit(store):
    model = ScriptedModel([])
    samples = make_samples(store, 1)
    bare = Sample(**{name: getattr(samples[0], name) for name in Sample.__slots__} | {"evidence": ()})
    with pytest.raises(UsageError, match="evidence"):
        await run_arm(spec_of("region"), [samples[0], bare], store, model, concurrency=1)
    with pytest.raises(UsageError, match="concurrency 0"):
        await run_arm(spec_of(), samples, store, model, concurrency=0)
    assert model.history == []
    assert store.runs() == []


async def test_a_cancelled_run_keeps_what_was_done(store):
    reached = asyncio.Event()
    running = asyncio.create_task(
        work(store, 20, SlowModel(zoom_then_answer), progress=lambda p: reached.set() if p.done == 5 else None)
    )
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    interrupted = store.trajectories(stop_reason="cancelled")
    assert {row.verdict for row in interrupted} == {"error"}
    kept = len(keys(store)) - len(interrupted)
    assert 5 <= kept < 40
    assert len(asyncio.all_tasks()) == 1
    summary = await work(store, 20, ScriptedModel(zoom_then_answer))
    assert (summary.attempted, summary.resumed, summary.errors) == (40, kept, 0)
    assert store.trajectories(stop_reason="cancelled") == []


async def test_a_model_in_process_is_warmed_up_and_says_how_sure_it_is(store, tiny_checkpoint):
    from zoomgap.models.local import LocalModel

    model = LocalModel(tiny_checkpoint, store.objects.read, batch_size=4)
    samples = make_samples(store, 3)
    spec = replace(
        spec_of("agent"), model=model.name, weights=model.weights, dtype=model.dtype, sampling=Sampling(max_tokens=4)
    )
    summary = await run_arm(spec, samples, store, model, concurrency=4)
    await model.aclose()
    assert (summary.attempted, summary.errors) == (3, 0)
    (invocation,) = store.invocations(summary.run)
    assert (invocation.circumstances["warm_up"], invocation.circumstances["batch_size"]) == (1, 4)
    steps = [step for id in store.trajectory_ids(summary.run) for step in store.trajectory(id).steps]
    assert all(step.confidence is not None and 0 < step.confidence <= 1 for step in steps)


def stored(path: Path) -> int:
    if not path.is_file():
        return 0
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM trajectories").fetchone()[0])
    except sqlite3.OperationalError:  # the tables are being made
        return 0
    finally:
        connection.close()


def start(path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.agents.test_runner", str(path)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])


def wait_for(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    while not reached():
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        time.sleep(0.01)


def test_a_killed_run_goes_on_to_the_same_answers(tmp_path):
    killed, undisturbed = tmp_path / "killed.db", tmp_path / "undisturbed" / "zoomgap.db"
    undisturbed.parent.mkdir()
    process = start(killed)
    try:
        wait_for(process, lambda: stored(killed) >= 10)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with_gap = Store.open(killed)
    kept = len(keys(with_gap))
    assert 10 <= kept < 60
    summary = asyncio.run(work(with_gap, 30, ScriptedModel(zoom_then_answer)))
    assert (summary.n, summary.attempted, summary.resumed) == (60, 60, kept)
    whole = Store.open(undisturbed)
    asyncio.run(work(whole, 30, ScriptedModel(zoom_then_answer)))
    assert keys(with_gap) == keys(whole)
    assert with_gap.verify() == []


def test_ctrl_c_ends_the_process_and_keeps_what_was_done(tmp_path):
    path = tmp_path / "zoomgap.db"
    process = start(path)
    try:
        wait_for(process, lambda: stored(path) >= 5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in errors
    store = Store.open(path)
    assert 5 <= len(keys(store)) < 60
    assert store.verify() == []


if __name__ == "__main__":
    # Tests started in the background of a shell inherit an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.run(work(Store.open(sys.argv[1]), 30, SlowModel(zoom_then_answer)))


def counted(request: Request) -> Reply:
    return Reply(text="7", usage=Usage(prompt_tokens=1000, completion_tokens=0))


async def test_a_limit_on_new_answers_stops_and_the_same_call_goes_on(store):
    seen: list[Progress] = []
    limits = Limits(samples=3)
    first = await work(store, 4, ScriptedModel(counted), "direct", 1, limits=limits, progress=seen.append)
    assert (first.attempted, first.resumed, seen[-1].done, seen[-1].total) == (3, 0, 3, 3)
    second = await work(store, 4, ScriptedModel(counted), "direct", 1, limits=limits)
    assert (second.attempted, second.resumed) == (4, 3)


async def test_a_limit_on_cost_stops_after_the_answers_under_way(store):
    price, limits = Price(1000, 0), Limits(cost=2.5)
    summary = await work(store, 20, ScriptedModel(counted), "direct", 1, price=price, limits=limits)
    assert 3 <= summary.attempted <= 3 + 4
    assert [row.cost for row in store.trajectories()] == [1.0] * summary.attempted


async def test_a_cost_that_is_not_known_cannot_be_limited(store):
    with pytest.raises(UsageError, match="--price"):
        await work(store, 1, ScriptedModel(counted), "direct", 1, limits=Limits(cost=1))
    with pytest.raises(ModelError, match="no token counts"):
        await work(store, 1, ScriptedModel(["7"]), "direct", 1, price=Price(1, 1), limits=Limits(cost=1))


async def test_a_refusal_stops_the_run_at_once_and_what_is_stored_stays(store):
    replies = ["7", "7", RefusedError("endpoint answered 401: set ZOOMGAP_API_KEY")]
    with pytest.raises(RefusedError, match="401"):
        await run_arm(spec_of(), make_samples(store, 9), store, ScriptedModel(replies), concurrency=1)
    assert [row.stop_reason for row in store.trajectories()] == ["answered"] * 2


async def test_a_question_that_is_too_long_is_an_error_and_no_answer(store):
    summary = await work(store, 1, ScriptedModel([TooLongError("the prompt has 9000 tokens")]), "agent", 1)
    assert (summary.errors, summary.answered, summary.unparsed) == (1, 0, 0)
    assert [(row.stop_reason, row.verdict) for row in store.trajectories()] == [("context", "error")]
