"""The rooms joined: what the command line and the demo both do with a store. Nothing here prints."""

from zoomgap.pipeline.arms import Limits, ModelChoice, RunOptions, ask, dry_run, make_micro, run, run_row, trace_rows
from zoomgap.pipeline.imports import Imported, import_set
from zoomgap.pipeline.reports import chance, compare_runs, parse_role, write_report
from zoomgap.pipeline.students import BuildOptions, build_datasets, train_student

__all__ = [
    "BuildOptions",
    "Imported",
    "Limits",
    "ModelChoice",
    "RunOptions",
    "ask",
    "build_datasets",
    "chance",
    "compare_runs",
    "dry_run",
    "import_set",
    "make_micro",
    "parse_role",
    "run",
    "run_row",
    "trace_rows",
    "train_student",
    "write_report",
]
