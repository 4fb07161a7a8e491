"""The comparison for machines: one JSON document, and the schema that it keeps to.

The schema is made from the records, so that a field added to one of them is in it. `schema_version` goes up where a key
goes or changes its meaning; keys may be added under the same version.
"""

from __future__ import annotations

from typing import Any

from zoomgap.compare.finding import finding
from zoomgap.compare.methods import command, warnings
from zoomgap.compare.rows import Comparison

SCHEMA_VERSION = 1

HEAD = {
    "schema_version": {"const": SCHEMA_VERSION},
    "finding": {"type": "string", "description": "The comparison in one sentence."},
    "warnings": {
        "type": "array",
        "items": {"type": "string"},
        "description": "What puts the finding in doubt: settings that differ, runs that are not all there, errors.",
    },
    "command": {"type": "string", "description": "What makes this comparison of the same database again."},
}
"""What the document has before the fields of the comparison."""


def document(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain JSON values, with what it comes to in words."""
    return {
        "schema_version": SCHEMA_VERSION,
        "finding": finding(comparison),
        "warnings": warnings(comparison),
        "command": command(comparison),
        **comparison.to_json(),
    }


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `document`."""
    from pydantic import TypeAdapter

    made = _plain(TypeAdapter(Comparison).json_schema(mode="serialization"))
    properties = HEAD | made["properties"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "zoomgap compare --json",
        "description": "A comparison of runs. Accuracies are shares, sizes pixels of the direct view, times "
        "milliseconds. Keys may be added under the same schema_version.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "$defs": made["$defs"],
    }


def _plain(part: Any) -> Any:
    """The schema without names made from keys and without defaults: the document always has every key."""
    if isinstance(part, list):
        return [_plain(item) for item in part]
    if not isinstance(part, dict):
        return part
    plain = {
        key: {name: _plain(item) for name, item in value.items()} if key in ("properties", "$defs") else _plain(value)
        for key, value in part.items()
        if key not in ("title", "default")
    }
    return plain | ({"required": list(plain["properties"])} if "properties" in plain else {})
