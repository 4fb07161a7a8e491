"""Comparison of runs: statistics, acuity, latency, verdicts, figures and the report. Pure functions over results."""

from zoomgap.compare.comparison import compare
from zoomgap.compare.report import TraceView, render
from zoomgap.compare.rows import Comparison, Role
from zoomgap.compare.table import RunData

__all__ = ["Comparison", "Role", "RunData", "TraceView", "compare", "render"]
