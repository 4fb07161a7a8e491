"""The vocabulary, and the one spelling of a JSON value."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, get_args

AnswerKind = Literal["choice", "integer", "text"]
EvidenceKind = Literal["tight", "region"]
Role = Literal["system", "user", "assistant", "tool"]
ImageReturn = Literal["user", "tool", "responses"]
WireName = Literal["chat", "responses"]
Dialect = Literal["native", "hermes", "json"]
Convention = Literal["relative_1000", "relative_1", "absolute", "relative_1000_yx"]
RuleName = Literal[
    "none", "smart_resize", "glm", "internvl", "idefics", "llama4", "square", "longest_side", "kimi", "claude"
]
Verdict = Literal["correct", "incorrect", "unparsed", "error"]
StopReason = Literal["answered", "budget", "repeated_box", "unparsable_call", "context", "endpoint_error", "cancelled"]
Arm = Literal[
    "direct", "direct-schema", "direct-matched", "tiles", "no-image", "region", "region-lowres", "oracle", "agent",
    "agent-lowres", "agent-random", "agent-blind", "router",
]  # fmt: skip
Labels = Literal["agent", "self", "random-crop", "gold"]
TimingMode = Literal["latency", "throughput"]

FAILED: tuple[StopReason, ...] = ("endpoint_error", "cancelled")
"""Ends of what never was an answer: it is asked again."""
ARMS: tuple[str, ...] = get_args(Arm)
JUDGE = "judge:"
"""How the name of a grader begins that is a model: its verdicts stand beside those of the rules."""

LABELS: tuple[str, ...] = get_args(Labels)
DIMENSIONS = ("counting", "ocr", "color", "structure", "material", "object")
"""The six dimensions of ZoomBench (arXiv 2602.11858)."""


def canonical_json(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, no escapes. What hashes and stored requests are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """sha256 (hex) of a JSON value in its canonical spelling."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
