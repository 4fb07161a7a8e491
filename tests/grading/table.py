"""The table of awkward replies, and what the faults are that another grader has with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (HERE / "table.jsonl").read_text(encoding="utf-8").splitlines()
]
FAULTS: dict[str, str] = json.loads((HERE / "faults.json").read_text(encoding="utf-8"))


def asked(row: dict[str, Any]) -> dict[str, Any]:
    """What a reply is graded by."""
    return {"answer": row["answer"], "answer_kind": row["answer_kind"], "choices": row["choices"]}
