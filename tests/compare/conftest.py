"""Simulated runs whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from scipy.special import expit

from zoomgap.compare.table import RunData
from zoomgap.geometry import Box
from zoomgap.records import Invocation, Result, RunSpec, Sample

CIRCUMSTANCES = {"concurrency": 1, "processor": "a test", "packages": {"torch": "2"}}


class World:
    """Samples of several dimensions with evidence from 5 to 56 px of the view, and arms that read them."""

    def __init__(self, n: int, dimensions: tuple[str, ...] = ("ocr", "color"), seed: int = 0, cluster: int = 1) -> None:
        self.rng = np.random.default_rng(seed)
        self.octave = self.rng.uniform(np.log2(5), np.log2(56), n)
        self.ease = self.rng.random(n)
        self.samples = []
        for k, octave in enumerate(self.octave):
            side = 2**octave * 4
            choice = k % 2 == 0
            self.samples.append(
                Sample(
                    id=f"s{k}",
                    benchmark="sim",
                    image=f"{k:064x}",
                    width=1024,
                    height=1024,
                    question="What is on it?",
                    answer="A" if choice else "red",
                    answer_kind="choice" if choice else "text",
                    dimension=dimensions[(k // cluster) % len(dimensions)],
                    choices=("w", "x", "y", "z") if choice else (),
                    evidence=(Box(100, 100, 100 + side, 100 + side),),
                    evidence_kind="tight",
                    cluster=f"c{k // cluster}",
                )
            )

    def run(
        self,
        label: str,
        threshold: float | Mapping[str, float] = 12.0,
        ceiling: float = 0.95,
        slope: float = 3.0,
        shared: float = 0.0,
        wall: float = 100.0,
        errors: float = 0.0,
        turns: int = 1,
        circumstances: Mapping[str, object] = CIRCUMSTANCES,
        **spec: object,
    ) -> RunData:
        """An arm that reads half (above chance) at `threshold` px. shared: share of answers that hang on the sample."""
        fields: dict = {"benchmark": "sim", "benchmark_sha256": "0", "arm": "direct", "model": label, **spec}
        run = RunSpec(**fields)
        name = run.id
        results = []
        for k, sample in enumerate(self.samples):
            px = threshold if isinstance(threshold, (int, float)) else threshold[sample.dimension]
            guess = 1 / len(sample.choices) if sample.choices else 0.0
            middle = np.log2(px) - np.log(1 / (2 * ceiling - 1)) / slope if ceiling > 0.5 else np.log2(px)
            chance = guess + (1 - guess) * ceiling * expit(slope * (self.octave[k] - middle))
            draw = self.ease[k] if self.rng.random() < shared else self.rng.random()
            failed = self.rng.random() < errors
            results.append(
                Result(
                    run=name,
                    sample=sample,
                    attempt=0,
                    verdict="error" if failed else "correct" if draw < chance else "incorrect",
                    stop_reason="endpoint_error" if failed else "answered",
                    text="red",
                    scale=0.25,
                    wall_ms=float(wall * np.exp(self.rng.normal(0, 0.2))),
                    model_ms=wall * 0.8,
                    preprocess_ms=2.0,
                    tool_ms=3.0 if turns > 1 else None,
                    prompt_tokens=90 * turns,
                    completion_tokens=8 * turns,
                    image_tokens=64 * turns,
                    turns=turns,
                    zooms=turns - 1,
                    invocation=f"i-{name}",
                )
            )
        started = Invocation(id=f"i-{name}", run=name, started="2025-01-01", circumstances=circumstances)
        return RunData(run, label, results, [started])


@pytest.fixture(scope="session")
def world() -> Callable[..., World]:
    return World
