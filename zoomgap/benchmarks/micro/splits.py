"""Seeds of the procedural benchmark: a sample's seed alone decides its split."""

from __future__ import annotations

import re

from zoomgap.errors import UsageError

SPLITS: dict[str, range] = {
    "pretrain": range(4_000_000),
    "distill": range(4_000_000, 8_000_000),
    "tune": range(8_000_000, 9_000_000),
    "test": range(9_000_000, 9_100_000),
    "judge": range(9_100_000, 2**31),
}
"""Seeds of each split. The judge's are left to others: the project never renders them."""

TRAINING = ("pretrain", "distill")
"""Splits that may be trained on."""


_SAMPLE = re.compile(r"micro-(0|[1-9]\d*)(\.[1-9]\d*)?", re.ASCII)


def seed_of(sample: str) -> int | None:
    """The seed in a sample id of the procedural benchmark, `micro-<seed>` or `micro-<seed>.<k>`; None in others."""
    found = _SAMPLE.fullmatch(sample)
    return int(found[1]) if found else None


def is_micro(sample: str) -> bool:
    """Whether a sample id is one of the procedural benchmark's."""
    return seed_of(sample) is not None


def split_of(seed: int) -> str:
    """The split that a seed belongs to. Raises UsageError where it belongs to none."""
    for name, seeds in SPLITS.items():
        if seed in seeds:
            return name
    raise UsageError(f"seed {seed} is outside of 0 to {2**31 - 1}: choose another")


def for_training(first: int, count: int) -> bool:
    """Whether the seeds first to first + count - 1 may all be trained on."""
    return {split_of(first), split_of(first + count - 1)} <= set(TRAINING)


def check_training_range(first: int, count: int, split: str) -> None:
    """Raise UsageError unless the seeds first to first + count - 1 all lie in `split`, one of TRAINING."""
    if split not in TRAINING:
        raise UsageError(f"split {split!r} is not for training: use {' or '.join(TRAINING)}")
    seeds = SPLITS[split]
    if count < 1 or first not in seeds or first + count - 1 not in seeds:
        raise UsageError(
            f"seeds {first} to {first + count - 1} are not all in {split}: "
            f"choose at least one, from {seeds.start} to {seeds.stop - 1}"
        )
