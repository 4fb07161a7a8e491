from dataclasses import replace

from zoomgap.benchmarks import micro
from zoomgap.pipeline import chance


def test_chance_is_exact_for_the_procedural_benchmark_alone():
    samples = [made.sample for made in micro.make(12, 8_000_000)]
    assert {chance(s) for s in samples if s.choices} == {0.25}
    assert {chance(s) for s in samples if s.dimension == "structure" and not s.choices} == {0.25}
    assert {chance(s) for s in samples if s.dimension == "material" and not s.choices} == {0.2}
    numbered = replace(next(s for s in samples if not s.choices), id="17")
    assert chance(numbered) == 0, "another set's ids may be bare numbers"
