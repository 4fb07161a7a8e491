"""Comparison of runs: statistics, acuity, latency, verdicts, figures and the report. Pure functions over results."""

from zoomgap.compare.comparison import compare
from zoomgap.compare.conditions import parse
from zoomgap.compare.contrasts import contrasts, headline_pair
from zoomgap.compare.document import document
from zoomgap.compare.markdown import markdown
from zoomgap.compare.report import AnswerView, SampleGroup, SampleView, ZoomView, render
from zoomgap.compare.rows import Comparison, Role, Settings
from zoomgap.compare.table import RunData

__all__ = [
    "AnswerView",
    "Comparison",
    "Role",
    "RunData",
    "SampleGroup",
    "SampleView",
    "Settings",
    "ZoomView",
    "compare",
    "contrasts",
    "document",
    "headline_pair",
    "markdown",
    "parse",
    "render",
]
