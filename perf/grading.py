"""Seconds that 100,000 replies take to grade on one core: the table of awkward replies, over and over."""

from __future__ import annotations

import json
import time
from itertools import cycle, islice
from pathlib import Path

from zoomgap.grading import grade

TABLE = Path(__file__).parents[1] / "tests" / "grading" / "table.jsonl"
REPLIES = 100_000


def main() -> None:
    rows = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
    started = time.process_time()
    for row in islice(cycle(rows), REPLIES):
        grade(row["reply"], answer=row["answer"], answer_kind=row["answer_kind"], choices=row["choices"])
    seconds = time.process_time() - started
    length = sum(len(row["reply"]) for row in rows) / len(rows)
    print(f"{REPLIES:,} replies of {length:.0f} characters on average: {seconds:.1f} s of one core")


if __name__ == "__main__":
    main()
