"""Which differences of two runs are meant, and which put their comparison in doubt."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoomgap.compare.comparison import compare
from zoomgap.compare.protocol import KINDS, flat, protocol_differences, protocol_faults
from zoomgap.compare.report import finding, render
from zoomgap.compare.rows import Settings
from zoomgap.errors import UsageError
from zoomgap.records import ARMS, RunSpec, Sampling

QUICK = Settings(draws=60, curve_draws=20)
BASE = RunSpec(benchmark="b", benchmark_sha256="0", arm="direct", model="m", weights="w", dtype="float32", prompts="p")
AGENT = replace(BASE, arm="agent")
STUDENT = replace(BASE, model="s", weights="v")
LARGER = {"view_pixels": BASE.view_pixels * 2}


def fields(*specs: RunSpec) -> set[str]:
    return {fault.field for fault in protocol_faults(specs)}


def test_every_setting_of_a_run_has_a_kind():
    assert set(KINDS) == set(flat(BASE))


@pytest.mark.parametrize(
    "specs",
    [
        (BASE, AGENT),
        (STUDENT, AGENT),
        (BASE, replace(BASE, **LARGER)),
        (replace(BASE, **LARGER), AGENT),
        (replace(BASE, arm="tiles", **LARGER), AGENT),
        (BASE, replace(BASE, **LARGER), STUDENT),
        (replace(BASE, arm="no-image", **LARGER), BASE),
        (AGENT, replace(AGENT, max_zooms=1)),
        (AGENT, replace(AGENT, tools=("zoom_in", "rotate"))),
        (BASE, replace(AGENT, max_zooms=1, padding=0.1)),
        (BASE, replace(AGENT, convention="absolute", dialect="json", image_return="tool", max_images=4)),
        (BASE, replace(AGENT, crop_pixels=4096)),
        (BASE, replace(BASE, sampling=Sampling(seed=1))),
        (BASE, replace(BASE, sampling=Sampling(top_p=0.9))),
        (replace(BASE, sampling=Sampling(temperature=1)), replace(BASE, sampling=Sampling(temperature=1, seed=1))),
        (BASE, replace(BASE, model="other", weights=None, endpoint="http://x/v1", dtype=None, wire="responses")),
        (AGENT, replace(AGENT, model="other", weights="x", convention="absolute", factor=28)),
        (BASE, replace(BASE, arm="direct-matched", match="run")),
        (BASE, replace(BASE, attempts=4)),
    ],
)
def test_what_arms_and_models_differ_in_is_meant(specs):
    assert fields(*specs) == set()


@pytest.mark.parametrize(
    ("specs", "field"),
    [
        ((BASE, replace(AGENT, prompts="q")), "prompts"),
        ((BASE, replace(AGENT, suffix=False)), "suffix"),
        ((BASE, replace(STUDENT, dtype="bfloat16")), "dtype"),
        ((BASE, replace(STUDENT, sampling=Sampling(temperature=0.7))), "sampling.temperature"),
        ((BASE, replace(STUDENT, sampling=Sampling(max_tokens=9))), "sampling.max_tokens"),
        ((BASE, replace(STUDENT, sampling=Sampling(stop=("x",)))), "sampling.stop"),
        ((BASE, replace(STUDENT, **LARGER)), "view_pixels"),
        ((BASE, replace(AGENT, **LARGER)), "view_pixels"),
        ((AGENT, replace(AGENT, arm="agent-lowres", max_zooms=1)), "max_zooms"),
        ((AGENT, replace(AGENT, arm="agent-random", padding=0.2)), "padding"),
        ((AGENT, replace(AGENT, arm="agent-blind", tools=("zoom_in", "rotate"))), "tools"),
        ((AGENT, replace(AGENT, arm="agent-lowres", crop_pixels=4096)), "crop_pixels"),
        ((replace(BASE, arm="region"), replace(BASE, arm="region-lowres", min_crop_pixels=64)), "min_crop_pixels"),
        ((AGENT, replace(AGENT, dialect="json")), "dialect"),
        ((AGENT, replace(AGENT, convention="absolute")), "convention"),
    ],
)
def test_what_changes_answers_and_is_not_compared_is_a_fault(specs, field):
    assert fields(*specs) == {field}


specs = st.builds(
    RunSpec,
    benchmark=st.just("b"),
    benchmark_sha256=st.just("0"),
    arm=st.sampled_from(ARMS),
    model=st.sampled_from(("m", "n")),
    view_pixels=st.sampled_from((1000, 2000)),
    crop_pixels=st.sampled_from((100, 200)),
    max_zooms=st.integers(0, 2),
    prompts=st.sampled_from(("p", "q")),
    dialect=st.sampled_from(("hermes", "json")),
    sampling=st.builds(Sampling, temperature=st.sampled_from((0.0, 1.0)), top_p=st.sampled_from((0.9, 1.0))),
)


@given(st.lists(specs, min_size=2, max_size=4, unique_by=lambda spec: spec.id))
def test_faults_are_differences_and_do_not_hang_on_the_order(chosen):
    found = protocol_faults(chosen)
    differing = {item.field for item in protocol_differences(chosen)}
    assert {fault.field for fault in found} <= differing
    assert all(fault.a_value != fault.b_value for fault in found)
    turned = {(frozenset((f.a, f.b)), f.field) for f in protocol_faults(chosen[::-1])}
    assert turned == {(frozenset((f.a, f.b)), f.field) for f in found}


def test_an_unknown_setting_cannot_be_allowed():
    with pytest.raises(UsageError, match="setting 'temprature' is not known: allow one of agent, "):
        protocol_faults([BASE, AGENT], ["temprature"])


def test_values_are_grouped_by_the_runs_that_have_them():
    others = [replace(AGENT, max_zooms=k) for k in (0, 1, 3)]
    (item,) = [item for item in protocol_differences([AGENT, *others]) if item.field == "max_zooms"]
    assert item.kind == "arm"
    assert item.grouped == [(3, [AGENT.id]), (0, [others[0].id]), (1, [others[1].id])]


def test_runs_in_doubt_get_no_verdict_unless_the_setting_is_allowed(world):
    w = world(1200)
    same = {"model": "m", "weights": "w"}
    runs = [
        w.run("base", 22, shared=0.7, **same),
        w.run("agent", 7, shared=0.7, arm="agent", sampling=Sampling(temperature=0.7), **same),
    ]
    found = compare(runs, settings=QUICK)
    assert found.pairs[0].verdict == "refused"
    assert found.pairs[0].difference is not None, "what was seen is still told"
    reason = "these runs differ in sampling.temperature (0 and 0.7): a difference may come from it"
    assert reason in found.pairs[0].reason
    assert {cell.verdict for cell in found.verdicts} == {"undecided"}
    assert {cell.reason for cell in found.verdicts} == {"these runs differ in sampling.temperature (0 and 0.7)"}
    assert found.acuity_ratios == ()
    assert finding(found).startswith("No verdict on agent and base")
    page = render(found)
    assert "no verdict on them without --allow sampling.temperature" in page
    assert page.index('class="warnings"') < page.index('class="cards"')
    allowed = compare(runs, settings=Settings(draws=60, curve_draws=20, allow=("sampling.temperature",)))
    assert allowed.pairs[0].verdict == "b better"
    assert allowed.protocol_faults[0].allowed
    assert "allowed: verdicts stand" in render(allowed)
    assert "--allow sampling.temperature" in render(allowed)


def test_a_control_of_another_form_of_the_agent_is_nobodys_fault():
    """Agents of one and of three zooms with the control of the second: each pair that is compared zooms alike."""
    once, control = replace(AGENT, max_zooms=1), replace(AGENT, arm="agent-lowres")
    assert fields(AGENT, once, control) == set()
    assert fields(once, control) == {"max_zooms"}
