"""Ways to answer: the agent that zooms, the arms it is measured against, and the runner that stores what they do."""

from zoomgap.agents.arms import CROPS, NEED_EVIDENCE, answer, check_arm, images_of, tiles
from zoomgap.agents.circumstances import circumstances, new_invocation
from zoomgap.agents.context import Context, Settings, Zoomer
from zoomgap.agents.grades import Regraded, regrade
from zoomgap.agents.graph import MAX_BAD_CALLS
from zoomgap.agents.runner import Limits, Progress, RunSummary, run_arm
from zoomgap.agents.sight import region_of
from zoomgap.agents.timing import TimedRun, TimingBench, spread_samples
from zoomgap.agents.tools import NAMES as TOOLS

__all__ = [
    "CROPS",
    "MAX_BAD_CALLS",
    "NEED_EVIDENCE",
    "TOOLS",
    "Context",
    "Limits",
    "Progress",
    "Regraded",
    "RunSummary",
    "Settings",
    "TimedRun",
    "TimingBench",
    "Zoomer",
    "answer",
    "check_arm",
    "circumstances",
    "images_of",
    "new_invocation",
    "region_of",
    "regrade",
    "run_arm",
    "spread_samples",
    "tiles",
]
