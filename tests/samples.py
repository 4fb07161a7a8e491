"""Samples for tests of whole runs: what each asks for is its own number, so that no two answers are alike."""

from __future__ import annotations

from zoomgap import imaging
from zoomgap.geometry import Box, Size
from zoomgap.records import Sample
from zoomgap.storage import Store

SIZE = Size(64, 64)


def make_samples(store: Store, n: int, name: str = "b") -> list[Sample]:
    """Benchmark `name` of n questions, all about one grey picture; sample sK asks for K."""
    info = store.add_image(imaging.encode(imaging.grey(SIZE)), "image/jpeg", SIZE)
    samples = [
        Sample(
            id=f"s{k}", benchmark=name, image=info.sha256, width=64, height=64, question=f"What is {k}?",
            answer=str(k), answer_kind="integer", dimension="counting", evidence=(Box(0, 0, 9, 9),),
            evidence_kind="tight", cluster=f"s{k}",
        )
        for k in range(n)
    ]  # fmt: skip
    store.add_benchmark(name, "0" * 64, {}, samples)
    return samples
