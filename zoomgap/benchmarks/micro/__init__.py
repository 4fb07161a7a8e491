"""The procedural benchmark `micro`: small details on plain carriers, with the exact box of each.

Endless, seeded and free of licences. Evidence sizes are log-uniform over more than a factor of ten in pixels of the
direct view, drawn apart from everything else, so that the smallest cannot be read at one glance and the largest can.
"""

from zoomgap.benchmarks.micro.questions import LOCAL, QUESTIONS, VALUES, choices_for, guess_rate
from zoomgap.benchmarks.micro.render import render
from zoomgap.benchmarks.micro.samples import MicroSample, benchmark_sha256, default_name, make, value_shown
from zoomgap.benchmarks.micro.scene import Background, Carrier, Detail, Scene, SceneConfig, make_scene
from zoomgap.benchmarks.micro.splits import (
    SPLITS,
    TRAINING,
    check_training_range,
    for_training,
    is_micro,
    seed_of,
    split_of,
)

__all__ = [
    "LOCAL",
    "QUESTIONS",
    "SPLITS",
    "TRAINING",
    "VALUES",
    "Background",
    "Carrier",
    "Detail",
    "MicroSample",
    "Scene",
    "SceneConfig",
    "benchmark_sha256",
    "check_training_range",
    "choices_for",
    "default_name",
    "for_training",
    "guess_rate",
    "is_micro",
    "make",
    "make_scene",
    "render",
    "seed_of",
    "split_of",
    "value_shown",
]
