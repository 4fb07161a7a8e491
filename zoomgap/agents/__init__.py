"""Ways to answer: the agent that zooms, the arms it is measured against, and the runner that stores what they do."""

from zoomgap.agents.arms import NEED_EVIDENCE, answer, check_arm
from zoomgap.agents.circumstances import new_invocation
from zoomgap.agents.context import Context, Settings
from zoomgap.agents.runner import Progress, RunSummary, run_arm
from zoomgap.agents.tools import NAMES as TOOLS

__all__ = [
    "NEED_EVIDENCE",
    "TOOLS",
    "Context",
    "Progress",
    "RunSummary",
    "Settings",
    "answer",
    "check_arm",
    "new_invocation",
    "run_arm",
]
