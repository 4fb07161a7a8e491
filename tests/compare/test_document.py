"""The JSON document keeps to its published schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from zoomgap.compare.comparison import compare
from zoomgap.compare.document import document, schema
from zoomgap.compare.rows import Settings
from zoomgap.records import Sampling

PUBLISHED = Path(__file__).parents[2] / "docs" / "comparison.schema.json"
QUICK = Settings(draws=30, curve_draws=10)


def closed(part: Any) -> Any:
    """The schema with no key allowed that it does not name."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, Mapping):
        return part
    inner = {key: closed(value) for key, value in part.items()}
    return inner | ({"additionalProperties": False} if isinstance(part.get("properties"), Mapping) else {})


@pytest.fixture(scope="module")
def validator():
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(published)
    return jsonschema.Draft202012Validator(closed(published))


def comparisons(world):
    """One of everything: all roles, arms and verdicts, one run, one answer, errors, no boxes, unlike settings."""
    w = world(400)
    same = {"model": "m", "weights": "w"}
    base, agent = w.run("base", 22, **same), w.run("agent", 7, arm="agent", turns=3, **same)
    regions = [w.run(arm, 6, arm=arm, **same) for arm in ("region", "region-lowres", "agent-lowres", "no-image")]
    students = [w.run(name, 12, model=name) for name in ("student", "floor", "ceiling", "placebo")]
    roles = {run.id: run.label for run in students}
    yield compare([base, agent, *regions, *students], roles, settings=QUICK)
    yield compare([base], settings=QUICK)
    yield compare([base, w.run("flaky", 9, errors=0.5, sampling=Sampling(temperature=1, stop=("a",)))], settings=QUICK)
    yield compare([world(1).run("one", 9)], settings=QUICK)


def test_real_documents_are_valid_and_nothing_in_them_is_undescribed(world, validator):
    for comparison in comparisons(world):
        found = json.loads(json.dumps(document(comparison), allow_nan=False))
        validator.validate(found)
        assert found["schema_version"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("finding"), "'finding' is a required property"),
        (lambda d: d["runs"][0].update(accuracy="high"), "'high' is not of type 'number'"),
        (lambda d: d["pairs"][0].update(verdict="maybe"), "'maybe' is not one of"),
        (lambda d: d.update(schema_version=2), "1 was expected"),
        (lambda d: d["runs"][0].update(speed=1), "'speed' was unexpected"),
    ],
)
def test_what_breaks_the_schema_is_seen(world, validator, change, message):
    w = world(40)
    found = document(compare([w.run("a", 9), w.run("b", 9)], settings=QUICK))
    change(found)
    with pytest.raises(jsonschema.ValidationError, match=message):
        validator.validate(json.loads(json.dumps(found)))


def test_the_schema_follows_the_records():
    properties = schema()["properties"]
    assert {"runs", "pairs", "verdicts", "protocol_differences", "identities"} <= properties.keys()
    assert list(properties) == schema()["required"]
