from dataclasses import replace

import pytest

from zoomgap.benchmarks import micro
from zoomgap.errors import UsageError
from zoomgap.pipeline import ModelChoice, RunOptions, chance, make_micro, parse_roles, run
from zoomgap.storage import Store


def test_chance_is_exact_for_the_procedural_benchmark_alone():
    samples = [made.sample for made in micro.make(12, 8_000_000)]
    assert {chance(s) for s in samples if s.choices} == {0.25}
    assert {chance(s) for s in samples if s.dimension == "structure" and not s.choices} == {0.25}
    assert {chance(s) for s in samples if s.dimension == "material" and not s.choices} == {0.2}
    numbered = replace(next(s for s in samples if not s.choices), id="17")
    assert chance(numbered) == 0, "another set's ids may be bare numbers"


def test_a_run_has_one_role(tmp_path):
    with Store.open(tmp_path / "z.db") as store:
        run(store, make_micro(store, 1, 8_600_100).name, "direct", ModelChoice(), RunOptions())
        (info,) = store.runs()
        assert parse_roles(store, [f"base={info.id[:6]}"]) == {info.id: "base"}
        with pytest.raises(UsageError, match="is given the roles base and student: give it one"):
            parse_roles(store, [f"base={info.id}", f"student={info.id[:6]}"])
        with pytest.raises(UsageError, match="not ROLE=RUN"):
            parse_roles(store, ["boss=1"])
